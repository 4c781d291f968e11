//! What is observed: job requests and agents as Azure DevOps reports them, runs as the host reports them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Capabilities, Demand, Held, Moment, Recipe};

/// The capability that says which installation registered an agent.
pub const INSTALLATION_CAPABILITY: &str = "KUBECTL_ADO_INSTALLATION";

/// The capability that says how an agent of ours was registered, by the name of its [`Recipe`].
pub const REGISTRATION_CAPABILITY: &str = "KUBECTL_ADO_REGISTRATION";

/// Azure DevOps' number for a job request; unique within an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub i64);

/// Azure DevOps' number for a registered agent; unique within a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AgentId(pub i64);

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// An agent as a job request names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentRef {
    /// Its number in the pool.
    pub id: AgentId,
    /// Its name in the pool.
    pub name: String,
}

/// A pipeline job that Azure DevOps wants an agent for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRequest {
    /// Its number.
    pub id: RequestId,
    /// When it was queued, by Azure DevOps' clock.
    pub queued_at: Option<Timestamp>,
    /// When an agent took it, by Azure DevOps' clock.
    pub received_at: Option<Timestamp>,
    /// How far it has come.
    pub stage: Stage,
    /// What it asks of an agent.
    pub demands: Vec<Demand>,
    /// `Build`, `Release`, `PoolMaintenance` …
    pub plan_type: Option<String>,
    /// Which kind of parallel job it uses up: `Private` or `Public`.
    pub parallelism_tag: Option<String>,
    /// The pipeline's name. Written by users: escape before printing.
    pub pipeline: Option<String>,
    /// The pipeline run's name. Written by users: escape before printing.
    pub pipeline_run: Option<String>,
    /// Where a browser shows the pipeline run: always http or https.
    pub url: Option<String>,
    /// Higher ones are served first; 0 is usual.
    pub priority: i64,
}

/// How far a job request has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// No agent is reserved for it.
    Waiting,
    /// An agent is reserved for it and has not taken it yet.
    Assigned(AgentRef),
    /// An agent works on it.
    Running(Option<AgentRef>),
    /// It has ended, in whatever way.
    Finished,
}

impl JobRequest {
    /// Whether it is meant for one certain agent, so that no new agent could serve it.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.plan_type.as_deref() == Some("PoolMaintenance") || self.demands.iter().any(Demand::pins_an_agent)
    }
}

/// An agent that is registered in a pool, ours or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Its number in the pool.
    pub id: AgentId,
    /// Its name in the pool; for ours, the name of its run.
    pub name: String,
    /// Whether Azure DevOps may give it job requests.
    pub enabled: bool,
    /// Whether it holds a session.
    pub online: bool,
    /// The job request it works on.
    pub assigned: Option<RequestId>,
    /// What it offers.
    pub capabilities: Capabilities,
    /// When it was registered.
    pub created_at: Option<Timestamp>,
    /// When it last came online or went offline.
    pub status_changed_at: Option<Timestamp>,
    /// When it ended its last job request. An agent of ours takes one in its life.
    pub last_finished_at: Option<Timestamp>,
}

impl Agent {
    /// The installation that it was registered by, if it was one of this project's.
    #[must_use]
    pub fn installation(&self) -> Option<&str> {
        self.capabilities.get(INSTALLATION_CAPABILITY)
    }

    /// Whether it was registered in its place, by us or by an init container, so that it cannot take that back itself.
    #[must_use]
    pub fn is_registered_in_its_place(&self) -> bool {
        let recipe = self.capabilities.get(REGISTRATION_CAPABILITY).and_then(Recipe::of_name);
        matches!(recipe, Some(Recipe::JustInTime | Recipe::InitContainer))
    }
}

/// What one of our agents was started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Purpose {
    /// A job request. Which one the agent really takes is up to Azure DevOps.
    Request(RequestId),
    /// Being ready: the numbered warm slot of its template.
    Slot(u32),
}

/// One agent of ours on a host: a Kubernetes Job, a container group or a local process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The name of the run and of its agent.
    pub name: String,
    /// The pool it serves.
    pub pool: String,
    /// The agent template it was made from.
    pub template: String,
    /// What it was started for.
    pub purpose: Purpose,
    /// Counts the tries for one purpose, from 1.
    pub attempt: u32,
    /// When it was created, by the host's clock.
    pub created_at: Timestamp,
    /// How far it has come.
    pub phase: RunPhase,
    /// What it was made from: equal to [`super::AgentTemplate::revision`] unless that has changed since.
    pub revision: String,
    /// How far its agent has come on the host.
    pub progress: Progress,
    /// Since when it is that far, by the host's clock, where the host says so.
    pub progress_since: Option<Timestamp>,
    /// Since when its agent's container or process runs without a break; `None` while it does not.
    pub runs_since: Option<Timestamp>,
    /// What keeps it from starting.
    pub trouble: Option<Trouble>,
    /// When its agent ended, where something else of it (a sidecar) goes on.
    pub agent_ended_at: Option<Timestamp>,
    /// How its agent gets the right to work.
    pub recipe: Recipe,
    /// Set while it waits for the files of its agent.
    pub held: Option<Held>,
    /// Whether its host has a mark that its agent was given a job request. The mark survives a restart of ours.
    pub was_busy: bool,
    /// The Lease of the orchestrators that started it, where its host knows.
    pub lease: Option<Box<str>>,
}

/// How far a live run's agent has come on its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// A queue of others (Kueue, or somebody who suspended it) holds it: it may not start yet.
    Queued,
    /// No place was found for it yet: ending it loses nothing.
    Pending,
    /// It has a place, and its image is pulled or its volumes are mounted.
    Placed,
    /// Its agent's own container or process runs: the image is good.
    Running,
    /// Its agent has ended, and the run is about to.
    Ended,
}

/// What keeps a run from starting. It may pass by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What sort.
    pub kind: TroubleKind,
    /// The host's own words.
    pub message: String,
}

/// The sorts of trouble that somebody tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TroubleKind {
    /// The image cannot be pulled.
    Image,
    /// No node takes it.
    Unschedulable,
    /// A quota is used up.
    Quota,
    /// An admission rule refuses it: Pod Security, a limit range, a webhook.
    Refused,
    /// A volume, Secret or ConfigMap is missing or cannot be mounted.
    Volume,
}

impl TroubleKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Image, Self::Unschedulable, Self::Quota, Self::Refused, Self::Volume];
}

/// How far a run has come, as its host sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunPhase {
    /// It has not ended.
    Live,
    /// It ended well, which says nothing of the pipeline job.
    Succeeded(Timestamp),
    /// It ended badly, with the host's reason.
    Failed(Timestamp, String),
}

impl Run {
    /// Whether it has not ended.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.phase == RunPhase::Live
    }

    /// Whether its agent has ended, be it that the run is about to or that a sidecar goes on.
    #[must_use]
    pub fn agent_has_ended(&self) -> bool {
        self.progress == Progress::Ended || self.agent_ended_at.is_some()
    }
}

/// The organization's parallel jobs of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParallelJobs {
    /// How many may run at once.
    pub total: u32,
    /// How many run now, in all pools of the organization.
    pub used: u32,
}

/// One pool at one moment. A pool that could not be observed has no snapshot, so that nothing is decided about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSnapshot {
    /// The pool's name.
    pub pool: String,
    /// Our runs for this pool, observed *before* the requests: an older view of supply can only delay an agent,
    /// never start one too many.
    pub runs: Vec<Run>,
    /// Its unfinished job requests.
    pub requests: Vec<JobRequest>,
    /// Its registered agents, observed *after* the requests. `None` if nothing depended on them.
    pub agents: Option<Vec<Agent>>,
}

/// What the clocks show that stamp what is observed. One that is not known is taken to show what ours does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clocks {
    /// Now, by the clock that stamps runs.
    pub host: Option<Timestamp>,
    /// Now, by the clock that stamps agents and requests.
    pub azure_devops: Option<Timestamp>,
}

/// Everything a plan is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The pools that could be observed.
    pub pools: Vec<PoolSnapshot>,
    /// Live runs of the pools that are not in `pools`; they count towards the limit over all.
    pub live_elsewhere: u32,
    /// Whether nobody else acts for this installation and these pools: whoever did before is known to have stopped.
    pub elected: bool,
    /// Parallel jobs by their tag (`Private`, `Public`). A tag that is absent is not limited.
    pub parallel_jobs: BTreeMap<String, ParallelJobs>,
    /// When this was looked at, by a clock of ours that never jumps.
    pub looked_at: Moment,
    /// What other clocks show.
    pub clocks: Clocks,
}
