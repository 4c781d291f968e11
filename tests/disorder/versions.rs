//! Who waits for the next version of something. Unlike a `watch` channel, which wakes by chance, it wakes in the order in
//! which they began to wait, so that a schedule can be repeated.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

/// The newest version, and who waits for the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Versions(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    newest: AtomicU64,
    changed: Notify,
}

/// One who waits, and what they have seen.
#[derive(Debug)]
pub(crate) struct Waiter {
    versions: Versions,
    seen: u64,
}

impl Versions {
    /// There is a new version.
    pub(crate) fn announce(&self, version: u64) {
        self.0.newest.store(version, Ordering::Relaxed);
        self.0.changed.notify_waiters();
    }

    pub(crate) fn waiter(&self) -> Waiter {
        Waiter { versions: self.clone(), seen: self.newest() }
    }

    fn newest(&self) -> u64 {
        self.0.newest.load(Ordering::Relaxed)
    }
}

impl Waiter {
    /// What is there now needs no waiting for.
    pub(crate) fn look(&mut self) {
        self.seen = self.versions.newest();
    }

    /// Waits for a version that was not there at the last look.
    pub(crate) async fn changed(&mut self) {
        loop {
            let mut changed = pin!(self.versions.0.changed.notified());
            changed.as_mut().enable();
            let newest = self.versions.newest();
            if newest != self.seen {
                self.seen = newest;
                return;
            }
            changed.await;
        }
    }
}
