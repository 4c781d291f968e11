//! The watches at work.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kube::Client;
use tokio::{task::JoinHandle, time::timeout};

use super::{
    feed::{Source, follow},
    keys,
    runs::Listing,
    slim_job::SlimJob,
    slim_pod::SlimPod,
    view::{Standing, View},
    warnings::follow_warnings,
};
use crate::hosts::HostError;

/// How long the first question for our runs waits for the first lists.
const FIRST_LISTS: Duration = Duration::from_secs(20);

/// The watches of a host. Dropping it ends them.
#[derive(Debug)]
pub(super) struct Watching {
    view: Arc<View>,
    tasks: [JoinHandle<()>; 3],
    /// The changes that the last listing held.
    seen: AtomicU64,
}

impl Watching {
    /// Begins to watch, on the runtime that this is called on.
    pub(super) fn begin(client: &Client, namespace: &str, installation: &str, organization: &str) -> Self {
        let view = Arc::new(View::new(namespace, organization));
        let selector = format!("{}={},{}={installation}", keys::MANAGED_BY, keys::US, keys::INSTALLATION);
        let source = || Source { client: client.clone(), namespace: namespace.to_owned(), selector: selector.clone() };
        let tasks = [
            tokio::spawn(follow::<SlimJob>(source(), Arc::clone(&view))),
            tokio::spawn(follow::<SlimPod>(source(), Arc::clone(&view))),
            tokio::spawn(follow_warnings(source(), Arc::clone(&view))),
        ];
        Self { view, tasks, seen: AtomicU64::new(0) }
    }

    pub(super) fn view(&self) -> &View {
        &self.view
    }

    /// What the watches have told, as long as it can be trusted. At the very start it waits for the first lists.
    pub(super) async fn listing(&self) -> Result<Listing, HostError> {
        let listed = async {
            loop {
                let version = self.view.version();
                self.seen.store(version, Ordering::Relaxed);
                match self.view.standing() {
                    Standing::Fresh => return Ok(self.view.listing()),
                    Standing::Broken(error) => return Err(error),
                    Standing::Awaited => self.view.changed_since(version).await,
                }
            }
        };
        let late = || {
            let (namespace, seconds) = (&self.view.namespace, FIRST_LISTS.as_secs());
            let message = format!("the Jobs and pods in namespace \"{namespace}\" are not listed after {seconds} s");
            HostError::Unavailable(message)
        };
        timeout(FIRST_LISTS, listed).await.unwrap_or_else(|_| Err(late()))
    }

    /// Waits until there is more to tell than the last listing held.
    pub(super) async fn changed(&self) {
        self.view.changed_since(self.seen.load(Ordering::Relaxed)).await;
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
