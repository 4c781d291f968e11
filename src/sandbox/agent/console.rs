//! What the agent says, and what it is told by signals.

use std::io::Write as _;

/// One line in the agent's log, with the time in front as in the real one's.
pub(super) fn say(line: &str) {
    // Whoever read the log may be gone; that is no reason to stop working.
    let _ = writeln!(std::io::stdout(), "{:.0}: {line}", jiff::Timestamp::now());
}

pub(super) fn error(line: &str) {
    let _ = writeln!(std::io::stderr(), "error: {line}");
}

/// Resolves when the process is asked to end.
#[cfg(unix)]
pub(super) async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        _ => std::future::pending().await,
    }
}

/// Resolves when the process is asked to end.
#[cfg(not(unix))]
pub(super) async fn stop_signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
