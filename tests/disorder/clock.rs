//! The time of day that goes with tokio's clock: on a thread whose runtime is paused it is counted from a fixed moment.

use std::cell::Cell;

use jiff::Timestamp;
use tokio::time::Instant;

/// When virtual time begins: a Tuesday morning.
const BEGINNING: &str = "2026-11-24T08:00:00Z";

thread_local! {
    static ORIGIN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Makes this moment the beginning of virtual time, for this thread.
pub(crate) fn begin() {
    ORIGIN.set(Some(Instant::now()));
}

/// Goes back to real time, on this thread.
pub(crate) fn end() {
    ORIGIN.set(None);
}

/// The moment it is: virtual where virtual time has begun, else real.
pub(crate) fn now() -> Timestamp {
    match ORIGIN.get() {
        Some(origin) => BEGINNING.parse::<Timestamp>().unwrap() + origin.elapsed(),
        None => Timestamp::now(),
    }
}

/// A moment as the API server writes it: in whole seconds.
pub(crate) fn written(moment: Timestamp) -> String {
    Timestamp::from_second(moment.as_second()).unwrap().to_string()
}
