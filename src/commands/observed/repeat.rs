//! Looking again and again, until somebody interrupts.

use std::time::Duration;

use crate::commands::{Exit, Failure, signals};

/// Times between two looks of `-w` and of waits. The orchestrator writes at most every five seconds.
pub(in crate::commands) const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Runs a command that changes nothing which a signal could leave half done: SIGINT ends it with 130, SIGTERM with 143.
pub(in crate::commands) async fn or_interrupted(
    work: impl Future<Output = Result<Exit, Failure>>,
) -> Result<Exit, Failure> {
    tokio::select! {
        biased;
        signal = signals::caught() => Ok(signal?),
        result = work => result,
    }
}
