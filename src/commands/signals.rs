//! SIGINT and SIGTERM: the first one asks for an orderly end, the second one ends at once.

use std::cell::Cell;
use std::rc::Rc;

use super::Exit;
use crate::orchestrator::Stopper;

/// Which signal came, if any.
#[derive(Clone, Debug, Default)]
pub(super) struct Caught(Rc<Cell<Option<Exit>>>);

impl Caught {
    pub(super) fn exit(&self) -> Option<Exit> {
        self.0.get()
    }
}

/// Waits for signals for ever: the first one stops `stopper`, the second one ends the process.
pub(super) async fn watch(stopper: &Stopper, caught: &Caught) -> std::io::Result<std::convert::Infallible> {
    let mut signals = Signals::new()?;
    caught.0.set(Some(signals.next().await));
    stopper.stop();
    let second = signals.next().await;
    std::process::exit(second.code().into());
}

/// Waits for one signal.
pub(super) async fn caught() -> std::io::Result<Exit> {
    Ok(Signals::new()?.next().await)
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) -> Exit {
        tokio::select! {
            _ = self.interrupt.recv() => Exit::Interrupted,
            _ = self.terminate.recv() => Exit::Terminated,
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> Exit {
        // Without a handler there is nothing to wait for.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Exit::Interrupted
    }
}
