//! What is known of the token for one scope: kept until shortly before its end, and asked for by one at a time.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use super::{AccessToken, EntraError};

/// How long before its end a token is renewed.
const MARGIN: Duration = Duration::from_mins(5);

/// The least time between two tries to renew a token that is still good: some are given out shortly before their end, and
/// asking anew gives the same one.
const PAUSE: SignedDuration = SignedDuration::from_secs(30);

/// How long a failure stands where there is no token: every poll asks.
const FAILURE_STANDS: SignedDuration = SignedDuration::from_secs(15);

/// The least time between two tokens that are forgotten because they were refused: a new one is refused for the same reason,
/// if it was not the token's fault.
const FORGET_AGAIN: SignedDuration = SignedDuration::from_mins(5);

/// The place of one scope.
#[derive(Debug, Default)]
pub(super) struct Slot {
    known: Mutex<Known>,
    forgotten_at: Mutex<Option<Timestamp>>,
    /// Held by who is asking.
    pub(super) flight: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Clone, Debug, Default)]
struct Known {
    token: Option<AccessToken>,
    /// How long it was good for when it came.
    granted: SignedDuration,
    failure: Option<EntraError>,
    tried_at: Timestamp,
}

/// What to do when a token is wanted.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    /// This one is good.
    Good(AccessToken),
    /// This one is good and shall be renewed.
    Aging(AccessToken),
    /// There is none.
    Missing,
    /// There is none, and it has just been tried.
    Failed(EntraError),
}

impl Slot {
    /// `at_least` is how long the token will be needed.
    pub(super) fn verdict(&self, now: Timestamp, at_least: Duration) -> Verdict {
        self.known().verdict(now, at_least)
    }

    pub(super) fn came(&self, token: AccessToken, now: Timestamp) {
        let granted = token.expires_at.duration_since(now);
        *self.known() = Known { token: Some(token), granted, failure: None, tried_at: now };
    }

    /// Gives the token that can be used in spite of it.
    pub(super) fn failed(&self, error: EntraError, now: Timestamp) -> Option<AccessToken> {
        let mut known = self.known();
        known.failure = Some(error);
        known.tried_at = now;
        known.token.clone().filter(|token| token.expires_at > now)
    }

    /// Drops the token if it is this one, and none was dropped a moment ago.
    pub(super) fn forget(&self, now: Timestamp, refused: &dyn Fn(&AccessToken) -> bool) -> bool {
        let mut known = self.known();
        let mut forgotten_at = self.forgotten_at.lock().unwrap_or_else(PoisonError::into_inner);
        let is_again = forgotten_at.is_some_and(|at| now.duration_since(at) < FORGET_AGAIN);
        let is_it = !is_again && known.token.as_ref().is_some_and(refused);
        if is_it {
            *known = Known::default();
            *forgotten_at = Some(now);
        }
        is_it
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn verdict(&self, now: Timestamp, at_least: Duration) -> Verdict {
        let since = now.duration_since(self.tried_at);
        let good = self.token.as_ref().filter(|token| token.expires_at > now);
        let Some(token) = good else {
            return match &self.failure {
                // A clock that was set back must not make it stand for hours.
                Some(failure) if (SignedDuration::ZERO..FAILURE_STANDS).contains(&since) => {
                    Verdict::Failed(failure.clone())
                }
                _ => Verdict::Missing,
            };
        };
        let is_short = token.remaining(now) < at_least.max(MARGIN);
        if is_short && (since >= PAUSE.min(self.granted / 2) || since.is_negative()) {
            Verdict::Aging(token.clone())
        } else {
            Verdict::Good(token.clone())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn holding(lifetime: i64) -> Slot {
        let slot = Slot::default();
        slot.came(AccessToken { secret: "t".into(), expires_at: at(lifetime), link: "test" }, at(0));
        slot
    }

    fn word(slot: &Slot, now: i64, at_least: u64) -> &'static str {
        match slot.verdict(at(now), Duration::from_secs(at_least)) {
            Verdict::Good(_) => "good",
            Verdict::Aging(_) => "aging",
            Verdict::Missing => "missing",
            Verdict::Failed(_) => "failed",
        }
    }

    #[test]
    fn a_token_is_renewed_five_minutes_before_its_end() {
        let slot = holding(3600);
        assert_eq!(word(&slot, 3299, 0), "good");
        assert_eq!(word(&slot, 3301, 0), "aging");
        assert_eq!(word(&slot, 3600, 0), "missing");
    }

    #[test]
    fn who_needs_it_longer_gets_a_newer_one() {
        let slot = holding(3600);
        assert_eq!(word(&slot, 2399, 1200), "good");
        assert_eq!(word(&slot, 2401, 1200), "aging");
    }

    #[test]
    fn a_short_token_is_not_asked_for_anew_by_each_call() {
        let slot = holding(240);
        assert_eq!(word(&slot, 29, 1200), "good");
        assert_eq!(word(&slot, 31, 1200), "aging");
        let seconds = holding(4);
        assert_eq!([word(&seconds, 1, 0), word(&seconds, 2, 0), word(&seconds, 4, 0)], ["good", "aging", "missing"]);
    }

    #[test]
    fn a_failure_stands_for_a_while_and_a_token_that_is_still_good_outweighs_it() {
        let error = EntraError::new(Vec::new(), String::new());
        let slot = holding(3600);
        assert!(slot.failed(error.clone(), at(3400)).is_some());
        assert_eq!([word(&slot, 3410, 0), word(&slot, 3431, 0)], ["good", "aging"]);
        assert!(slot.failed(error, at(3600)).is_none());
        assert_eq!([word(&slot, 3610, 0), word(&slot, 3616, 0)], ["failed", "missing"]);
    }

    #[test]
    fn a_clock_that_is_set_back_holds_nothing_up() {
        let slot = Slot::default();
        assert!(slot.failed(EntraError::new(Vec::new(), String::new()), at(0)).is_none());
        assert_eq!([word(&slot, 10, 0), word(&slot, -3600, 0)], ["failed", "missing"]);
        let slot = holding(240);
        assert_eq!(word(&slot, -30, 0), "aging");
    }

    #[test]
    fn a_token_that_was_refused_is_forgotten_once() {
        let slot = holding(3600);
        let token = || AccessToken { secret: "t".into(), expires_at: at(3600), link: "test" };
        assert!(!slot.forget(at(1), &|_| false));
        assert!(slot.forget(at(1), &|_| true));
        assert_eq!(word(&slot, 1, 0), "missing");
        slot.came(token(), at(2));
        assert!(!slot.forget(at(3), &|_| true), "it was not the token's fault");
        assert!(slot.forget(at(302), &|_| true));
    }
}
