//! The one status document: what the orchestrator knows and thinks, for everybody who reads it.
//!
//! `serve` writes it to a ConfigMap (and answers with it over HTTP), every command that observes reads it, and none of
//! them decides anything again. Its JSON form is versioned and documented by the types below.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AgentId, Finding, Recipe, RequestId, RunReport};

/// The version of all documents that this program writes for machines.
pub const API_VERSION: &str = "kubectl-ado/v1alpha1";

/// How the orchestrator and its pools stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Always [`API_VERSION`].
    pub api_version: String,
    /// Always `Status`.
    pub kind: String,
    /// When it was written, by the orchestrator's clock. It is written when something changes, and every 30 seconds.
    pub reported_at: Timestamp,
    /// Who wrote it.
    pub orchestrator: OrchestratorReport,
    /// What it serves.
    pub organization: OrganizationReport,
    /// Summaries, as Kubernetes has them: `Ready`, `Connected`, `Authorized`, `PoolsFound`, `ConfigValid`, `HostReady`.
    pub conditions: Vec<Condition>,
    /// What concerns no single pool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// The pools, in the configuration's order.
    pub pools: Vec<PoolReport>,
}

/// The orchestrator that leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrchestratorReport {
    /// Its version.
    pub version: String,
    /// The pod or machine it runs on; the holder of the Lease.
    pub identity: String,
    /// When it started.
    pub started_at: Timestamp,
    /// The installation's id.
    pub installation: String,
    /// The id as it stands in names.
    pub installation_short: String,
    /// `kubernetes`, `aci` or `local`.
    pub host: String,
    /// Where agents run, where the host has namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The Lease it leads by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<String>,
}

/// The organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrganizationReport {
    /// Its URL.
    pub url: String,
    /// `pat` or `entra`.
    pub authentication: String,
    /// Which identity of Entra that is, and what its token was had by, as far as it was known when the orchestrator began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
}

/// A summary of one aspect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Which aspect.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One CamelCase word.
    pub reason: String,
    /// For a person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When the status last changed.
    pub last_transition_time: Timestamp,
}

/// How one agent pool stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolReport {
    /// Its name, as the configuration has it.
    pub name: String,
    /// In a word.
    pub state: PoolState,
    /// Set while it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Pause>,
    /// The last poll that worked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_polled_at: Option<Timestamp>,
    /// Job requests that no agent has received.
    pub queued: u32,
    /// When the oldest of them was queued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_queued_at: Option<Timestamp>,
    /// Agents of ours that are not online yet.
    pub starting: u32,
    /// Agents of ours that work on a job request.
    pub busy: u32,
    /// Agents of ours that are online and free.
    pub idle: u32,
    /// Agents of the pool that are not online, whoever's they are; placeholders are not counted. Absent if nobody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offline: Option<u32>,
    /// Agents kept alive at this time of the week, over all its templates.
    pub min: u32,
    /// The most agents; absent is no maximum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    /// Its agent templates, in the order in which they are tried.
    pub templates: Vec<TemplateReport>,
    /// What is wrong or worth knowing, the worst first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// Its unfinished job requests: those that something stops first, then by age. At most 200 over all pools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<RequestReport>,
    /// How many more job requests there are than `requests` has.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub requests_omitted: u32,
    /// Its registered agents as they were last looked at. At most 300 over all pools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<AgentReport>,
    /// How many more agents there are than `agents` has.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub agents_omitted: u32,
    /// Its runs, the live ones first, then the latest; at most 300. Absent where agents are Jobs of a cluster, which tells
    /// of them itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<RunReport>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A pool in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PoolState {
    /// Nothing has been heard of it yet.
    Unknown,
    /// Each job request has an agent or is about to get one, and nothing is wrong.
    Healthy,
    /// Agents are starting.
    Scaling,
    /// Job requests wait because a limit is reached.
    AtLimit,
    /// No agents are started because somebody said so.
    Paused,
    /// Something that should work does not.
    Degraded,
}

/// Why and until when a pool is paused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pause {
    /// Why, in the words of whoever did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Pause {
    /// Whether it holds at a moment.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// One agent template of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplateReport {
    /// Its name.
    pub name: String,
    /// How its agents get the right to work: `just-in-time`, `init-container` or `token`.
    pub registration: String,
    /// Why they get it in no safer way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_reason: Option<String>,
    /// Live agents made from it.
    pub live: u32,
    /// Agents kept alive at this time of the week.
    pub min: u32,
    /// Idle agents kept ready at this time of the week.
    pub idle: u32,
    /// The most agents; absent is no maximum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
}

impl TemplateReport {
    /// How its agents get the right to work, and why in no safer way, as people are told it.
    #[must_use]
    pub fn registers(&self) -> String {
        let name = &self.name;
        let how = match Recipe::of_name(&self.registration) {
            Some(Recipe::JustInTime) => {
                format!(
                    "agents of the template {name} are registered just in time: they hold no token of the organization"
                )
            }
            Some(Recipe::InitContainer) => {
                format!(
                    "agents of the template {name} are registered by an init container, which alone holds the token"
                )
            }
            _ => format!("agents of the template {name} hold the organization's token"),
        };
        match &self.registration_reason {
            Some(reason) => format!("{how}: {reason}"),
            None => how,
        }
    }
}

/// One unfinished job request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestReport {
    /// Its number.
    pub id: RequestId,
    /// The pipeline's name. Written by users: escape before printing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// The pipeline run's name. Written by users: escape before printing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline_run: Option<String>,
    /// Where a browser shows the pipeline run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// When it was queued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_at: Option<Timestamp>,
    /// When an agent received it; absent while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_at: Option<Timestamp>,
    /// The agent that has it or is reserved for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Its demands as Azure DevOps writes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub demands: Vec<String>,
    /// Why it still waits; absent once an agent has received it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<VerdictReport>,
}

/// Why a job request still waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerdictReport {
    /// One CamelCase word.
    pub reason: String,
    /// What is being done, or what stands in the way, with its evidence.
    pub message: String,
    /// The code of what stands in the way; absent while all goes well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<super::Code>,
    /// The line that mends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// The run that was started for it or has the trouble.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// When the next try is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// One registered agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentReport {
    /// Its number in the pool.
    pub id: AgentId,
    /// Its name; for ours, the name of its Job.
    pub name: String,
    /// Whose it is.
    pub owner: AgentOwner,
    /// Whether Azure DevOps may give it job requests.
    pub enabled: bool,
    /// Whether it holds a session.
    pub online: bool,
    /// The job request it works on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// When it was registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
}

/// Whose an agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentOwner {
    /// This installation's.
    Ours,
    /// This installation's placeholder.
    Placeholder,
    /// Another installation's of this project.
    Installation,
    /// Somebody else's.
    Foreign,
}
