//! What does not change while the same configuration is served: who writes the status, and for whom.

use jiff::Timestamp;

use crate::core::{HostKind, OrchestratorReport, OrganizationReport};

/// Who writes the status, and for whom.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// Where agents run. A cluster tells of its Jobs itself.
    pub(super) host: HostKind,
    pub(super) orchestrator: OrchestratorReport,
    pub(super) organization: OrganizationReport,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            host: HostKind::default(),
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
