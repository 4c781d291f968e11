//! Signals to processes, and what processes end with.

use std::process::ExitStatus;

#[cfg(unix)]
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};

/// Asks one process to stop.
#[cfg(unix)]
pub(super) fn terminate(process: u32) {
    let _ = kill(Pid::from_raw(process.cast_signed()), Signal::SIGTERM);
}

/// Kills a group.
#[cfg(unix)]
pub(super) fn kill_group(group: u32) {
    let _ = killpg(Pid::from_raw(group.cast_signed()), Signal::SIGKILL);
}

/// The exit code; ended by a signal counts as 128 and the signal.
#[cfg(unix)]
pub(super) fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// There is nothing to ask with.
#[cfg(not(unix))]
pub(super) fn terminate(_: u32) {}

/// There are no groups.
#[cfg(not(unix))]
pub(super) fn kill_group(_: u32) {}

/// The exit code.
#[cfg(not(unix))]
pub(super) fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or(1)
}
