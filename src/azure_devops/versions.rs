//! Which `api-version` a server takes. Azure DevOps Services takes all of them, Azure DevOps Server only those up to
//! its own, and part of what we ask is undocumented and therefore for ever a preview.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What is asked for. Each has a version of its own in the preview's suffix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Pools,
    JobRequests,
    Agents,
    ResourceUsage,
    ConnectionData,
    Packages,
}

impl Endpoint {
    /// Best first: Azure DevOps Server 2020 and later, 2019, and whatever the server chooses when nothing is said.
    fn versions(self) -> [Option<&'static str>; 3] {
        match self {
            Self::Pools | Self::JobRequests | Self::Agents | Self::ConnectionData => {
                [Some("6.0-preview.1"), Some("5.0-preview.1"), None]
            }
            Self::ResourceUsage => [Some("6.0-preview.2"), Some("5.1-preview.2"), None],
            Self::Packages => [Some("6.0-preview.2"), Some("5.0-preview.2"), None],
        }
    }
}

/// The version that worked last, by endpoint.
#[derive(Debug, Default)]
pub(super) struct Versions([AtomicUsize; 6]);

impl Versions {
    /// Where to begin.
    pub(super) fn step(&self, endpoint: Endpoint) -> usize {
        self.0[endpoint as usize].load(Ordering::Relaxed)
    }

    /// Remembers what worked.
    pub(super) fn keep(&self, endpoint: Endpoint, step: usize) {
        self.0[endpoint as usize].store(step, Ordering::Relaxed);
    }
}

/// The header `Accept` of a step; `None` when there are no more.
pub(super) fn accept(endpoint: Endpoint, step: usize) -> Option<String> {
    let version = endpoint.versions().get(step).copied()?;
    Some(version.map_or_else(|| "application/json".to_owned(), |v| format!("application/json;api-version={v}")))
}
