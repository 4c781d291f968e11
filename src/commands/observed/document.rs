//! How an install stands, as one document: what `status -o json` prints and what every command that observes reads.
//!
//! The orchestrator's own report is in it as it is; what the cluster says beside it (is anybody ready, does anybody lead,
//! how old is the report) is judged here and nowhere else.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::core::{Condition, Finding, HostKind, OrganizationReport, PoolReport, Severity};

/// How an install stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::commands) struct InstallStatus {
    /// Always [`crate::core::API_VERSION`].
    pub(in crate::commands) api_version: String,
    /// Always `InstallStatus`.
    pub(in crate::commands) kind: String,
    /// Whether nothing that should work fails: the exit code is 0, and else 3.
    pub(in crate::commands) healthy: bool,
    /// Whether the report is older than it may be, or nobody leads: pools are shown as they were.
    pub(in crate::commands) stale: bool,
    /// The namespace of the orchestrator.
    pub(in crate::commands) namespace: String,
    /// The namespace of its agents and its status.
    pub(in crate::commands) agents_namespace: String,
    /// The orchestrator.
    pub(in crate::commands) orchestrator: Orchestrator,
    /// What it serves, as far as it has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::commands) organization: Option<OrganizationReport>,
    /// The orchestrator's conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::commands) conditions: Vec<Condition>,
    /// What is wrong or worth knowing, the worst first.
    pub(in crate::commands) findings: Vec<PlacedFinding>,
    /// The pools, as the orchestrator reports them.
    pub(in crate::commands) pools: Vec<PoolReport>,
    /// The agents' Jobs, which are counted where the report is missing or old.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::commands) jobs: Option<JobCounts>,
}

/// The orchestrator, as the cluster and its own report tell of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::commands) struct Orchestrator {
    /// The Deployment's name; absent where it may not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::commands) deployment: Option<String>,
    /// How many pods it should have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::commands) desired: Option<i32>,
    /// How many are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::commands) ready: Option<i32>,
    /// Its image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::commands) image: Option<String>,
    /// Its version, by its report, else by the Deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::commands) version: Option<String>,
    /// Where its agents run: `kubernetes`, `aci` or `local`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::commands) host: Option<String>,
    /// The Lease's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::commands) lease: Option<String>,
    /// The pod that leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::commands) leader: Option<String>,
    /// When the Lease was renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::commands) lease_renewed_at: Option<Timestamp>,
    /// The installation's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::commands) installation: Option<String>,
    /// When the leader started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::commands) started_at: Option<Timestamp>,
    /// When it last wrote its report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::commands) reported_at: Option<Timestamp>,
    /// When it last polled any pool with success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::commands) last_polled_at: Option<Timestamp>,
}

/// A finding and the pool that it concerns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::commands) struct PlacedFinding {
    /// The pool; absent where it concerns no single one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::commands) pool: Option<String>,
    /// What it is.
    #[serde(flatten)]
    pub(in crate::commands) finding: Finding,
}

/// How many Jobs of agents there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::commands) struct JobCounts {
    /// Those that go on.
    pub(in crate::commands) live: u32,
    /// Those that ended well.
    pub(in crate::commands) succeeded: u32,
    /// Those that failed.
    pub(in crate::commands) failed: u32,
}

impl InstallStatus {
    /// The pool of this name, compared as Azure DevOps does.
    pub(in crate::commands) fn pool(&self, name: &str) -> Option<&PoolReport> {
        self.pools.iter().find(|pool| pool.name.to_lowercase() == name.to_lowercase())
    }

    /// Where its agents run. One that does not say is older than other hosts are; one that we do not know is no cluster.
    pub(in crate::commands) fn host(&self) -> HostKind {
        let of_name = |name| HostKind::of_name(name).unwrap_or(HostKind::Local);
        self.orchestrator.host.as_deref().map(of_name).unwrap_or_default()
    }

    /// Whether its agents are Jobs of a cluster.
    pub(in crate::commands) fn in_cluster(&self) -> bool {
        self.host() == HostKind::Kubernetes
    }

    /// The names of the pools, for messages.
    pub(in crate::commands) fn pool_names(&self) -> String {
        let names: Vec<_> = self.pools.iter().map(|pool| pool.name.as_str()).collect();
        if names.is_empty() { "none is known yet".to_owned() } else { names.join(", ") }
    }

    /// Only what concerns one pool.
    pub(in crate::commands) fn of_pool(mut self, name: &str) -> Self {
        self.pools.retain(|pool| pool.name.to_lowercase() == name.to_lowercase());
        let concerns =
            |found: &PlacedFinding| found.pool.as_ref().is_none_or(|pool| pool.to_lowercase() == name.to_lowercase());
        self.findings.retain(concerns);
        self.healthy = !self.findings.iter().any(|found| found.finding.severity == Severity::Error);
        self
    }

    /// Whether nothing waits, starts or works.
    pub(in crate::commands) fn is_idle(&self) -> bool {
        self.pools.iter().all(|pool| pool.queued + pool.starting + pool.busy == 0)
    }
}
