//! The plugin's way to a cluster: a client whose calls all have the deadline of `--request-timeout`.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use kube::Client;

use super::{Access, ClusterError, call::call_within, client};
use crate::clock::ServerClock;

/// A cluster that a person talks to. Opening it contacts nothing.
#[derive(Clone)]
pub struct Cluster {
    /// For calls that [`Cluster::call`] wraps.
    pub client: Client,
    /// The API server's clock.
    pub clock: ServerClock,
    /// The API server's address.
    pub url: String,
    /// The namespace of the kubeconfig's context.
    pub context_namespace: String,
    deadline: Duration,
    calls: Arc<AtomicUsize>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Cluster {
    /// A client for the cluster that the flags and the kubeconfig name.
    ///
    /// # Errors
    ///
    /// No cluster is configured, or the kubeconfig cannot be used.
    pub fn open(access: &Access) -> Result<Self, ClusterError> {
        let (config, origin) = client::settings(access)?;
        let url = config.cluster_url.to_string();
        let context_namespace = config.default_namespace.clone();
        let clock = ServerClock::default();
        let client = client::client(config, &clock)
            .map_err(|error| ClusterError::from_kube(&format!("use the cluster {url} of {origin}"), &error))?;
        Ok(Self {
            client,
            clock,
            url,
            context_namespace,
            deadline: access.request_timeout.unwrap_or(super::DEADLINE),
            calls: Arc::default(),
        })
    }

    /// Makes one call. `what` completes the sentence "cannot …".
    ///
    /// # Errors
    ///
    /// The call failed or took longer than `--request-timeout`.
    pub async fn call<T>(&self, what: &str, call: impl Future<Output = kube::Result<T>>) -> Result<T, ClusterError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let began = Instant::now();
        let answer = call_within(self.deadline, what, call).await;
        let milliseconds = began.elapsed().as_millis();
        match &answer {
            Ok(_) => tracing::debug!(milliseconds, "{what}"),
            Err(error) => tracing::debug!(milliseconds, "{}", error.message),
        }
        answer
    }

    /// How many calls have been made.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// How long one call may take.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.deadline
    }
}
