//! What was refused or failed, and until when it is not tried again. After a wait a single call goes first; the others
//! follow when it succeeds.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::{calls::Kind, pace::BackOff};
use crate::{azure_devops, hosts::HostError};

/// The wait where there is no room.
const FULL: Duration = Duration::from_secs(3);

/// The longest wait after something that may pass by itself.
const PASSING: Duration = Duration::from_secs(30);

/// The longest wait after a refusal: somebody has to change a right first.
const REFUSED: Duration = Duration::from_secs(300);

/// What one failure speaks for: a pool, a kind of call, and a template or an object where it speaks for no other one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Scope {
    pub(super) pool: usize,
    pub(super) kind: Kind,
    pub(super) of: String,
}

impl Scope {
    pub(super) fn new(pool: usize, kind: Kind, of: &str) -> Self {
        Self { pool, kind, of: of.to_owned() }
    }
}

/// What a failure says about the next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing: the next one may begin.
    AtOnce,
    /// There is no room now.
    WhenThereIsRoom,
    /// After a wait that doubles up to half a minute, and no sooner than this.
    Soon(Duration),
    /// After a wait that doubles up to five minutes.
    Seldom,
}

impl Next {
    /// After a start or a stop that failed. People who mend a cluster wait no longer than half a minute to see it.
    pub(super) fn after_host(error: &HostError) -> Self {
        match error {
            // A name that is taken says nothing about the next one.
            HostError::Collision { .. } => Self::AtOnce,
            HostError::Full { .. } => Self::WhenThereIsRoom,
            HostError::Refused { .. } | HostError::Unavailable(_) | HostError::Credential(_) => {
                Self::Soon(Duration::ZERO)
            }
        }
    }

    /// After a change that Azure DevOps did not make.
    pub(super) fn after_change(error: &azure_devops::Error) -> Self {
        use azure_devops::Error;
        match error {
            Error::Gone(_) | Error::Taken(_) | Error::Busy(_) => Self::Soon(Duration::ZERO),
            Error::Throttled(pause) => Self::Soon(*pause),
            Error::Unavailable { .. } | Error::Unreachable(_) | Error::Unreadable(_) => Self::Soon(Duration::ZERO),
            _ => Self::Seldom,
        }
    }
}

#[derive(Debug)]
struct Hold {
    back_off: BackOff,
    until: Instant,
    /// A call is in flight to see whether it works again.
    probing: bool,
}

/// All that is held back.
#[derive(Debug, Default)]
pub(super) struct Holds(HashMap<Scope, Hold>);

impl Holds {
    /// Whether a call of this scope may begin.
    pub(super) fn allow(&self, scope: &Scope, now: Instant) -> bool {
        self.0.get(scope).is_none_or(|hold| now >= hold.until && !hold.probing)
    }

    /// A call of this scope begins.
    pub(super) fn began(&mut self, scope: &Scope) {
        if let Some(hold) = self.0.get_mut(scope) {
            hold.probing = true;
        }
    }

    /// A call of this scope worked.
    pub(super) fn worked(&mut self, scope: &Scope) {
        self.0.remove(scope);
    }

    /// A call of this scope failed.
    pub(super) fn failed(&mut self, scope: &Scope, next: Next, now: Instant) {
        if next == Next::AtOnce {
            if let Some(hold) = self.0.get_mut(scope) {
                hold.probing = false;
            }
            return;
        }
        let new = || Hold { back_off: BackOff::default(), until: now, probing: false };
        let hold = self.0.entry(scope.clone()).or_insert_with(new);
        hold.probing = false;
        // Calls that were in flight together fail together: that is one refusal, not sixteen.
        if now < hold.until {
            return;
        }
        hold.until = now
            + match next {
                Next::AtOnce => Duration::ZERO,
                Next::WhenThereIsRoom => {
                    hold.back_off = BackOff::default();
                    FULL
                }
                Next::Soon(least) => hold.back_off.failed_up_to(PASSING).max(least),
                Next::Seldom => hold.back_off.failed_up_to(REFUSED),
            };
    }

    /// The earliest moment still to come at which something may be tried again.
    pub(super) fn next_after(&self, now: Instant) -> Option<Instant> {
        self.0.values().map(|hold| hold.until).filter(|&until| until > now).min()
    }

    /// Forgets what nobody has wanted for a while: the objects are gone.
    pub(super) fn forget(&mut self, now: Instant) {
        self.0.retain(|_, hold| now < hold.until + REFUSED * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        Scope::new(0, Kind::Start, "template")
    }

    /// How long this scope is held back after such a failure, some time after the last one.
    async fn wait_after(holds: &mut Holds, next: Next) -> Duration {
        holds.failed(&scope(), next, Instant::now());
        let until = holds.next_after(Instant::now()).unwrap();
        let wait = until - Instant::now();
        tokio::time::advance(wait).await;
        wait
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_are_answered_with_longer_and_longer_waits_and_a_lack_of_room_is_not() {
        let mut holds = Holds::default();
        let refused = Next::after_host(&HostError::Refused { reason: "quota", message: String::new(), fix: None });
        let (first, second) = (wait_after(&mut holds, refused).await, wait_after(&mut holds, refused).await);
        assert!(second > first, "{first:?} {second:?}");
        for _ in 0..5 {
            assert_eq!(wait_after(&mut holds, Next::WhenThereIsRoom).await, FULL);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_that_is_refused_waits_up_to_five_minutes_and_one_that_failed_half_a_minute() {
        let mut holds = Holds::default();
        let mut last = Duration::ZERO;
        for _ in 0..12 {
            last = wait_after(&mut holds, Next::after_change(&azure_devops::Error::Forbidden(String::new()))).await;
        }
        assert_eq!(last, REFUSED);
        holds.worked(&scope());
        for _ in 0..12 {
            last = wait_after(&mut holds, Next::after_change(&azure_devops::Error::Unreachable(String::new()))).await;
        }
        assert_eq!(last, PASSING);
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_were_in_flight_together_wait_no_longer_for_each_other() {
        let mut holds = Holds::default();
        holds.failed(&scope(), Next::WhenThereIsRoom, Instant::now());
        let until = holds.next_after(Instant::now());
        tokio::time::advance(Duration::from_secs(1)).await;
        holds.failed(&scope(), Next::WhenThereIsRoom, Instant::now());
        assert_eq!(holds.next_after(Instant::now()), until);
        holds.worked(&scope());
        assert!(holds.allow(&scope(), Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_wait_one_goes_first_and_the_others_follow_when_it_has_worked() {
        let mut holds = Holds::default();
        let wait = wait_after(&mut holds, Next::Soon(Duration::ZERO)).await;
        assert!(wait > Duration::ZERO && holds.allow(&scope(), Instant::now()));
        holds.began(&scope());
        assert!(!holds.allow(&scope(), Instant::now()));
        holds.worked(&scope());
        assert!(holds.allow(&scope(), Instant::now()));
    }
}
