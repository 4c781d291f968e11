//! What does not change while the same configuration is served: who writes the status, and for whom.

use jiff::Timestamp;

use crate::core::{OrchestratorReport, OrganizationReport};

/// Who writes the status, and for whom.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) orchestrator: OrchestratorReport,
    pub(super) organization: OrganizationReport,
}

impl Facts {
    /// Whether the host itself lists the runs to whoever asks, as a cluster does its Jobs.
    pub(super) fn host_lists_runs(&self) -> bool {
        self.orchestrator.host == "kubernetes"
    }
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            orchestrator: OrchestratorReport {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                identity: String::new(),
                started_at: Timestamp::UNIX_EPOCH,
                installation: String::new(),
                installation_short: String::new(),
                host: String::new(),
                namespace: None,
                lease: None,
            },
            organization: OrganizationReport { url: String::new(), authentication: "pat".to_owned(), identity: None },
        }
    }
}
