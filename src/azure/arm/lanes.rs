//! Resource Manager's allowances: one for reads, one for writes, one for deletions, as it counts them itself. Source:
//! Microsoft's page on throttling of Resource Manager requests.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use reqwest::{
    StatusCode,
    header::{HeaderMap, RETRY_AFTER},
};
use tokio::time::{Instant, sleep_until};

use super::ArmError;

/// Whoever asks for more than an hour's silence is mistaken.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// The pause after a 429 that does not say how long.
const UNSAID_PAUSE: Duration = Duration::from_secs(10);

/// A pause that is waited for; after a longer one there are other things to do first.
const SHORT: Duration = Duration::from_secs(2);

/// With fewer calls left than these, one is made at a time, so far apart. Azure grants ten a second anew.
const FEW: u64 = 20;
const SPACING: Duration = Duration::from_secs(1);

/// What a call does, as Resource Manager counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// GET.
    Read,
    /// PUT and POST.
    Write,
    /// DELETE.
    Delete,
}

impl Sort {
    fn what(self) -> &'static str {
        match self {
            Self::Read => "reads",
            Self::Write => "writes",
            Self::Delete => "deletions",
        }
    }

    fn header(self) -> &'static str {
        match self {
            Self::Read => "x-ms-ratelimit-remaining-subscription-reads",
            Self::Write => "x-ms-ratelimit-remaining-subscription-writes",
            Self::Delete => "x-ms-ratelimit-remaining-subscription-deletes",
        }
    }
}

/// What Azure said of one kind of calls.
#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    /// Until when nothing may be sent.
    closed_until: Option<Instant>,
    /// How many calls are left, when it was last said.
    left: Option<u64>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Lanes([Mutex<Lane>; 3]);

impl Lanes {
    fn lane(&self, sort: Sort) -> MutexGuard<'_, Lane> {
        let [reads, writes, deletions] = &self.0;
        let lane = match sort {
            Sort::Read => reads,
            Sort::Write => writes,
            Sort::Delete => deletions,
        };
        lane.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many calls of the kind are left, as far as Azure has said.
    pub(super) fn left(&self, sort: Sort) -> Option<u64> {
        self.lane(sort).left
    }

    /// Waits until a call may be sent, if that is soon.
    pub(super) async fn pass(&self, sort: Sort) -> Result<(), ArmError> {
        loop {
            let now = Instant::now();
            let Some(until) = self.lane(sort).closed_until.filter(|until| *until > now) else { return Ok(()) };
            if until > now + SHORT {
                return Err(ArmError::Throttled { what: sort.what(), pause: until - now });
            }
            sleep_until(until).await;
        }
    }

    /// Takes note of what an answer says. An error if it refuses the call for our haste.
    pub(super) fn note(&self, sort: Sort, status: StatusCode, headers: &HeaderMap) -> Result<(), ArmError> {
        let mut lane = self.lane(sort);
        if let Some(left) = number(headers, sort.header()) {
            lane.left = Some(left);
        }
        if status != StatusCode::TOO_MANY_REQUESTS {
            // Reads slow down by themselves; a write or a deletion waits here until some more are granted.
            if sort != Sort::Read && lane.left.is_some_and(|left| left < FEW) {
                lane.closed_until = lane.closed_until.max(Some(Instant::now() + SPACING));
            }
            return Ok(());
        }
        let asked = number(headers, RETRY_AFTER.as_str()).map(Duration::from_secs);
        let pause = asked.unwrap_or(UNSAID_PAUSE).clamp(Duration::from_secs(1), LONGEST_PAUSE);
        lane.closed_until = lane.closed_until.max(Some(Instant::now() + pause));
        Err(ArmError::Throttled { what: sort.what(), pause })
    }
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_kind_that_is_throttled_holds_up_no_other() {
        let lanes = Lanes::default();
        let asked = lanes.note(Sort::Write, StatusCode::TOO_MANY_REQUESTS, &headers(&[("retry-after", "30")]));
        assert_eq!(asked, Err(ArmError::Throttled { what: "writes", pause: Duration::from_secs(30) }));
        assert!(matches!(lanes.pass(Sort::Write).await, Err(ArmError::Throttled { what: "writes", .. })));
        assert_eq!(lanes.pass(Sort::Read).await, Ok(()));
        assert_eq!(lanes.pass(Sort::Delete).await, Ok(()));
        tokio::time::advance(Duration::from_secs(29)).await;
        let before = Instant::now();
        assert_eq!(lanes.pass(Sort::Write).await, Ok(()));
        assert_eq!(before.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_is_no_pause_where_nothing_was_refused() {
        let lanes = Lanes::default();
        let polled = [("retry-after", "20"), ("x-ms-ratelimit-remaining-subscription-writes", "199")];
        assert_eq!(lanes.note(Sort::Write, StatusCode::CREATED, &headers(&polled)), Ok(()));
        assert_eq!(lanes.pass(Sort::Write).await, Ok(()));
        assert_eq!((lanes.left(Sort::Write), lanes.left(Sort::Read)), (Some(199), None));
    }

    #[tokio::test(start_paused = true)]
    async fn where_few_writes_are_left_they_are_made_one_after_the_other() {
        let lanes = Lanes::default();
        let few = [("x-ms-ratelimit-remaining-subscription-writes", "3")];
        assert_eq!(lanes.note(Sort::Write, StatusCode::CREATED, &headers(&few)), Ok(()));
        let before = Instant::now();
        assert_eq!(lanes.pass(Sort::Write).await, Ok(()));
        assert_eq!(before.elapsed(), SPACING);
        let plenty = [("x-ms-ratelimit-remaining-subscription-writes", "150")];
        assert_eq!(lanes.note(Sort::Write, StatusCode::CREATED, &headers(&plenty)), Ok(()));
        assert_eq!(lanes.pass(Sort::Write).await, Ok(()));
        assert_eq!(before.elapsed(), SPACING);
    }

    #[test]
    fn a_refusal_that_does_not_say_how_long_is_ten_seconds() {
        for (said, seconds) in [("", 10), ("soon", 10), ("0", 1), ("999999", 3600)] {
            let lanes = Lanes::default();
            let asked = lanes.note(Sort::Read, StatusCode::TOO_MANY_REQUESTS, &headers(&[("retry-after", said)]));
            assert_eq!(asked, Err(ArmError::Throttled { what: "reads", pause: Duration::from_secs(seconds) }));
        }
    }
}
