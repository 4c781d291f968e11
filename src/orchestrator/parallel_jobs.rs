//! The organization's parallel jobs: asked for beside everything else, and only when agents are about to be started. Where
//! no answer comes, agents are started all the same.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::pace::BackOff;
use crate::{azure_devops::Error, core::ParallelJobs};

type Answer = BTreeMap<String, ParallelJobs>;

/// An answer this young says how it is now.
const FRESH: Duration = Duration::from_secs(2);

/// An answer this old still says more than nothing.
const USABLE: Duration = Duration::from_secs(180);

/// Starts wait no longer than this for an answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What is known of them.
#[derive(Debug, Default)]
pub(super) struct KnownParallelJobs {
    answer: Option<(Answer, Instant)>,
    /// Since when the call that is in flight is waited for.
    asked: Option<Instant>,
    back_off: BackOff,
    /// After a failure: when it is asked again.
    again: Option<Instant>,
}

impl KnownParallelJobs {
    /// What a plan goes by.
    pub(super) fn usable(&self, now: Instant) -> Answer {
        let usable = self.answer.as_ref().filter(|(_, at)| now < *at + USABLE);
        usable.map(|(answer, _)| answer.clone()).unwrap_or_default()
    }

    /// Whether it is worth a call before agents are started.
    pub(super) fn should_ask(&self, now: Instant) -> bool {
        let fresh = self.answer.as_ref().is_some_and(|(_, at)| now < *at + FRESH);
        !fresh && self.asked.is_none() && self.again.is_none_or(|again| now >= again)
    }

    /// A call begins.
    pub(super) fn asks(&mut self, now: Instant) {
        self.asked = Some(now);
    }

    /// Until when starts wait for the call in flight.
    pub(super) fn starts_wait_until(&self, now: Instant) -> Option<Instant> {
        self.asked.map(|asked| asked + TIMEOUT).filter(|until| now < *until)
    }

    /// The call came out. Whether starts waited for it and were decided on something else.
    pub(super) fn came_out(&mut self, result: Result<&Answer, &Error>, now: Instant) -> bool {
        let waited = self.starts_wait_until(now).is_some();
        self.asked = None;
        match result {
            Ok(answer) => {
                let differs = self.usable(now) != *answer;
                (self.back_off, self.again) = (BackOff::default(), None);
                self.answer = Some((answer.clone(), now));
                waited && differs
            }
            Err(error) => {
                self.again = Some(now + self.back_off.failed().max(error.retry_after().unwrap_or_default()));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(used: u32) -> Answer {
        [("Private".to_owned(), ParallelJobs { total: 3, used })].into()
    }

    #[tokio::test(start_paused = true)]
    async fn starts_wait_for_an_answer_and_not_for_one_that_does_not_come() {
        let mut known = KnownParallelJobs::default();
        let now = Instant::now();
        assert!(known.should_ask(now) && known.usable(now).is_empty());
        known.asks(now);
        assert!(known.starts_wait_until(now).is_some() && !known.should_ask(now));
        assert!(known.starts_wait_until(now + TIMEOUT).is_none());
        assert!(!known.came_out(Ok(&used(1)), now + Duration::from_secs(9)), "they have not waited");
        assert_eq!(known.usable(now + Duration::from_secs(60)), used(1));
        assert!(known.usable(now + Duration::from_secs(600)).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_changes_what_was_decided_is_told_apart() {
        let mut known = KnownParallelJobs::default();
        let now = Instant::now();
        known.asks(now);
        assert!(known.came_out(Ok(&used(1)), now));
        assert!(!known.should_ask(now + Duration::from_secs(1)));
        let later = now + FRESH;
        known.asks(later);
        assert!(!known.came_out(Ok(&used(1)), later));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_asked_again_later_and_later() {
        let mut known = KnownParallelJobs::default();
        let mut now = Instant::now();
        for wait in [1, 2, 4] {
            known.asks(now);
            known.came_out(Err(&Error::Unreachable(String::new())), now);
            assert!(!known.should_ask(now + Duration::from_secs(wait) - Duration::from_millis(1)));
            now += Duration::from_secs(wait);
            assert!(known.should_ask(now));
        }
    }
}
