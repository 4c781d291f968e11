//! How long to wait: between polls, and after failures.

use std::time::Duration;

use crate::config::Polling;

/// The pace while anything waits or starts.
pub(super) const BUSY: Duration = Duration::from_secs(1);

/// The pace when all has been quiet for a while: one call per pool and five seconds is 17,280 a day.
const QUIET: Duration = Duration::from_secs(5);

/// The first wait after a failure; it doubles with each further one.
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);

/// The longest wait after a failure. A person who mends the cause waits no longer than this to see it.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);

/// The time from one poll to the next.
#[derive(Debug)]
pub(super) struct Pace {
    polling: Polling,
    quiet_polls: u32,
}

impl Pace {
    pub(super) fn new(polling: Polling) -> Self {
        Self { polling, quiet_polls: 0 }
    }

    /// The wait after a poll that found something going on, or nothing.
    pub(super) fn after(&mut self, something_is_going_on: bool) -> Duration {
        self.quiet_polls = if something_is_going_on { 0 } else { self.quiet_polls.saturating_add(1) };
        match self.polling {
            Polling::Every(delay) => delay,
            Polling::Adaptive => QUIET.min(BUSY * self.quiet_polls.saturating_add(1)),
        }
    }
}

/// Failures in a row, and the wait that they cost.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BackOff {
    failures: u32,
}

impl BackOff {
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    pub(super) fn failed(&mut self) -> Duration {
        self.failed_up_to(LONGEST_BACK_OFF)
    }

    /// The same with another longest wait.
    pub(super) fn failed_up_to(&mut self, longest: Duration) -> Duration {
        let wait = FIRST_BACK_OFF * 2u32.pow(self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        wait.min(longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_slows_the_polls_down_and_work_speeds_them_up_at_once() {
        let mut pace = Pace::new(Polling::Adaptive);
        let seconds: Vec<u64> =
            [true, false, false, false, false, false, true].map(|busy| pace.after(busy).as_secs()).into();
        assert_eq!(seconds, [1, 2, 3, 4, 5, 5, 1]);
    }

    #[test]
    fn a_delay_that_was_set_is_kept() {
        let mut pace = Pace::new(Polling::Every(Duration::from_millis(250)));
        assert_eq!(pace.after(true), pace.after(false));
    }

    #[test]
    fn failures_wait_longer_and_longer_up_to_half_a_minute() {
        let mut back_off = BackOff::default();
        let seconds: Vec<u64> = (0..7).map(|_| back_off.failed().as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30]);
        back_off.succeeded();
        assert_eq!(back_off.failed().as_secs(), 1);
    }
}
