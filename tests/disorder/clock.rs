//! The time of day that goes with tokio's clock: on a thread whose runtime is paused it is counted from a fixed moment.
//!
//! Three machines tell the time: the orchestrator's, the API server's and Azure DevOps'. Each may be wrong by its own
//! amount, and the amount may change at any moment.

use std::cell::Cell;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// When virtual time begins: a Tuesday morning.
const BEGINNING: &str = "2026-11-24T08:00:00Z";

/// Whose clock is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Machine {
    Orchestrator,
    ApiServer,
    AzureDevOps,
}

thread_local! {
    static ORIGIN: Cell<Option<Instant>> = const { Cell::new(None) };
    /// By how many seconds each machine's clock is ahead.
    static AHEAD: Cell<[i64; 3]> = const { Cell::new([0; 3]) };
}

/// Makes this moment the beginning of virtual time, for this thread.
pub(crate) fn begin() {
    ORIGIN.set(Some(Instant::now()));
    AHEAD.set([0; 3]);
}

/// Goes back to real time, on this thread.
pub(crate) fn end() {
    ORIGIN.set(None);
    AHEAD.set([0; 3]);
}

/// Sets a machine's clock, by so many seconds before or behind the right time.
pub(crate) fn set(machine: Machine, seconds_ahead: i64) {
    let mut ahead = AHEAD.get();
    ahead[machine as usize] = seconds_ahead;
    AHEAD.set(ahead);
}

/// The right time: virtual where virtual time has begun, else real.
pub(crate) fn now() -> Timestamp {
    match ORIGIN.get() {
        Some(origin) => BEGINNING.parse::<Timestamp>().unwrap() + origin.elapsed(),
        None => Timestamp::now(),
    }
}

/// A moment as a machine's clock shows it.
pub(crate) fn shown_by(machine: Machine, moment: Timestamp) -> Timestamp {
    moment + SignedDuration::from_secs(AHEAD.get()[machine as usize])
}

/// What the orchestrator takes for the time.
pub(crate) fn of_orchestrator() -> Timestamp {
    shown_by(Machine::Orchestrator, now())
}

/// What the API server takes for the time.
pub(crate) fn of_api_server() -> Timestamp {
    shown_by(Machine::ApiServer, now())
}

/// A moment as the API server writes it: in whole seconds.
pub(crate) fn written(moment: Timestamp) -> String {
    Timestamp::from_second(moment.as_second()).unwrap().to_string()
}

/// A moment as the header `Date` has it.
pub(crate) fn dated(moment: Timestamp) -> String {
    jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&moment).unwrap()
}
