//! Attempts and the waits between them. The failed run itself is the memory, so that both outlive the process.

use std::time::Duration;

use jiff::Timestamp;

use super::{Purpose, Run, RunPhase};

/// The wait after a first failure; it doubles with each further one.
const FIRST_BACK_OFF: Duration = Duration::from_secs(10);

/// The longest wait between two attempts. A failed run has to be remembered for at least so long.
pub const LONGEST_BACK_OFF: Duration = Duration::from_secs(300);

/// Why the next attempt is not made yet.
pub(super) struct Wait {
    /// Until when it waits.
    pub(super) until: Timestamp,
    /// Its number.
    pub(super) attempt: u32,
    /// Why the last one failed.
    pub(super) reason: String,
}

/// The wait after so many failures in a row, at least one.
pub(super) fn back_off(failures: u32) -> Duration {
    LONGEST_BACK_OFF.min(FIRST_BACK_OFF * 2u32.pow(failures.saturating_sub(1).min(10)))
}

/// The number of the next attempt, or until when it has to wait. A first agent that ended well without serving its
/// request (another request got it) is followed at once. A warm agent that ended well has done what it is for, so for a slot
/// only the `failures` since the last good end count.
pub(super) fn next_attempt(last: Option<&Run>, failures: impl FnOnce() -> u32, now: Timestamp) -> Result<u32, Wait> {
    let Some(last) = last else { return Ok(1) };
    let next = last.attempt + 1;
    let is_warm = matches!(last.purpose, Purpose::Slot(_));
    let (ended_at, failures, reason) = match &last.phase {
        RunPhase::Live => return Ok(next),
        RunPhase::Succeeded(_) if is_warm => return Ok(next),
        RunPhase::Succeeded(at) => (*at, last.attempt - 1, "it ended without serving the job request"),
        RunPhase::Failed(at, reason) if is_warm => (*at, failures(), reason.as_str()),
        RunPhase::Failed(at, reason) => (*at, last.attempt, reason.as_str()),
    };
    let Some(doublings) = failures.checked_sub(1) else { return Ok(next) };
    let until = ended_at + back_off(doublings + 1);
    if now < until { Err(Wait { until, attempt: next, reason: reason.to_owned() }) } else { Ok(next) }
}
