//! What is read of an agent's pod, and what it says: how far it has come, what keeps it, how its agent ended.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use serde::Deserialize;

use super::{slim::Slim, trouble};
use crate::core::{Progress, Trouble};

/// What is read of a pod.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct SlimPod {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    uid: String,
    #[serde(default)]
    resource_version: String,
    creation_timestamp: Timestamp,
    deletion_timestamp: Option<Timestamp>,
    #[serde(default)]
    labels: Labels,
    #[serde(default)]
    owner_references: Vec<Owner>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Labels {
    #[serde(rename = "kubectl-ado/busy")]
    busy: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Owner {
    kind: String,
    uid: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: Option<String>,
    restart_policy: String,
    containers: Vec<Named>,
    init_containers: Vec<Named>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    name: String,
    restart_policy: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    phase: String,
    reason: String,
    message: String,
    conditions: Vec<Condition>,
    init_container_statuses: Vec<Container>,
    container_statuses: Vec<Container>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
    last_transition_time: Option<Timestamp>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    name: String,
    #[serde(default)]
    state: ContainerState,
    #[serde(default)]
    last_state: ContainerState,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ContainerState {
    waiting: Option<Waiting>,
    running: Option<Running>,
    terminated: Option<Terminated>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Waiting {
    reason: String,
    message: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Running {
    started_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Terminated {
    exit_code: i32,
    reason: String,
    message: String,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
}

/// What is kept of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeptPod {
    pub(super) uid: String,
    /// The uid of its Job.
    pub(super) job: String,
    pub(super) created_at: Timestamp,
    /// Whether none of it goes on.
    pub(super) has_ended: bool,
    /// Whether it is labelled as one whose agent has a job request.
    pub(super) is_busy: bool,
    pub(super) progress: Progress,
    /// When a node took it.
    pub(super) placed_at: Option<Timestamp>,
    /// Since when its agent's container runs.
    pub(super) runs_since: Option<Timestamp>,
    pub(super) trouble: Option<Trouble>,
    /// When its agent ended, where something else of it goes on.
    pub(super) agent_ended_at: Option<Timestamp>,
    /// How it ended badly, in people's words.
    pub(super) failure: Option<String>,
}

impl Slim for SlimPod {
    type Kept = KeptPod;
    const WHAT: &'static str = "pods";

    fn path(namespace: &str) -> String {
        Pod::url_path(&(), Some(namespace))
    }

    fn name(&self) -> &str {
        &self.metadata.name
    }

    fn version(&self) -> &str {
        &self.metadata.resource_version
    }

    fn keep(self, _organization: &str) -> KeptPod {
        let progress = self.progress();
        let has_ended = matches!(self.status.phase.as_str(), "Succeeded" | "Failed");
        let starts = progress < Progress::Running && !has_ended;
        KeptPod {
            progress,
            placed_at: self.placed_at(),
            runs_since: if has_ended { None } else { self.runs_since() },
            has_ended,
            is_busy: self.metadata.labels.busy.is_some(),
            trouble: if starts { self.trouble() } else { None },
            agent_ended_at: if has_ended { None } else { self.agent_ended_at() },
            failure: self.failure(),
            created_at: self.metadata.creation_timestamp,
            uid: self.metadata.uid,
            job: self
                .metadata
                .owner_references
                .into_iter()
                .find(|owner| owner.kind == "Job")
                .map_or_else(String::new, |owner| owner.uid),
        }
    }
}

impl SlimPod {
    /// The agent's container is the one named `agent`, else the first.
    fn agent(&self) -> Option<&Container> {
        let containers = &self.spec.containers;
        let agent = containers.iter().find(|container| container.name == "agent").or(containers.first())?;
        self.status.container_statuses.iter().find(|status| status.name == agent.name)
    }

    /// Whether it is a pod of the Job of that uid and a node has taken it.
    pub(super) fn is_placed_for(&self, job: &str) -> bool {
        self.spec.node_name.is_some() && self.metadata.owner_references.iter().any(|owner| owner.uid == job)
    }

    /// The node that has taken it.
    pub(super) fn node(&self) -> Option<&str> {
        self.spec.node_name.as_deref()
    }

    /// From when until when its agent's container ran.
    pub(super) fn ran(&self) -> (Option<Timestamp>, Option<Timestamp>) {
        let Some(agent) = self.agent() else { return (None, None) };
        match (&agent.state.running, &agent.state.terminated) {
            (Some(running), _) => (running.started_at, None),
            (None, Some(ended)) => (ended.started_at, ended.finished_at),
            (None, None) => (None, None),
        }
    }

    fn progress(&self) -> Progress {
        let ran = |agent: &Container| {
            let was = [&agent.state, &agent.last_state].into_iter().filter_map(|state| state.terminated.as_ref());
            agent.state.running.is_some() || was.into_iter().any(Terminated::has_run)
        };
        if self.agent().is_some_and(ran) {
            Progress::Running
        } else if self.spec.node_name.is_some() {
            Progress::Placed
        } else {
            Progress::Pending
        }
    }

    fn placed_at(&self) -> Option<Timestamp> {
        let placed = |found: &&Condition| found.kind == "PodScheduled" && found.status == "True";
        self.status.conditions.iter().find(placed)?.last_transition_time
    }

    fn runs_since(&self) -> Option<Timestamp> {
        let running = self.agent()?.state.running.as_ref()?;
        Some(running.started_at.unwrap_or(self.metadata.creation_timestamp))
    }

    fn trouble(&self) -> Option<Trouble> {
        let unschedulable = self.status.conditions.iter().find(|condition| {
            condition.kind == "PodScheduled" && condition.status == "False" && condition.reason == "Unschedulable"
        });
        if let Some(condition) = unschedulable.filter(|_| self.spec.node_name.is_none()) {
            return Some(trouble::of_unschedulable(&condition.message));
        }
        // What comes before the agent's container first, then it, then what stands beside it.
        let status = &self.status;
        let all = status.init_container_statuses.iter().chain(self.agent()).chain(&status.container_statuses);
        all.filter_map(|container| container.state.waiting.as_ref())
            .find_map(|waiting| trouble::of_waiting(&waiting.reason, &waiting.message))
    }

    fn agent_ended_at(&self) -> Option<Timestamp> {
        let agent = self.agent()?;
        let ended = agent.state.terminated.as_ref()?;
        let starts_again = self.spec.restart_policy == "OnFailure" && ended.exit_code != 0;
        let others = self.status.container_statuses.iter().filter(|other| other.name != agent.name);
        let stay = |init: &&Named| init.restart_policy.as_deref() == Some("Always");
        let sidecars = self.spec.init_containers.iter().filter(stay).filter_map(|sidecar| {
            self.status.init_container_statuses.iter().find(|status| status.name == sidecar.name)
        });
        let goes_on = others.chain(sidecars).any(|other| other.state.terminated.is_none());
        (goes_on && !starts_again).then(|| ended.finished_at.unwrap_or(self.metadata.creation_timestamp))
    }

    /// The pod's own reason (`Evicted`, `NodeLost`, …) first, then who disrupted it, then its containers.
    fn failure(&self) -> Option<String> {
        let status = &self.status;
        if status.phase == "Failed" && !status.reason.is_empty() {
            return Some(trouble::join(&status.reason, &status.message));
        }
        let disrupted =
            status.conditions.iter().find(|found| found.kind == "DisruptionTarget" && found.status == "True");
        if let Some(condition) = disrupted {
            return Some(trouble::join(&condition.reason, &condition.message));
        }
        let ended = |container: &Container| container.state.terminated.clone().filter(|ended| ended.exit_code != 0);
        if let Some(ended) = self.agent().and_then(ended) {
            let is_deleted = self.metadata.deletion_timestamp.is_some() && ended.is_unexplained();
            let words = ended.in_words();
            return Some(if is_deleted { format!("Deleted: somebody deleted its pod ({words})") } else { words });
        }
        if status.phase != "Failed" {
            return None;
        }
        let all = status.init_container_statuses.iter().chain(&status.container_statuses);
        let other = all.into_iter().find_map(|container| Some((container, ended(container)?)));
        other.map(|(container, ended)| format!("the container \"{}\": {}", container.name, ended.in_words()))
    }
}

impl Terminated {
    /// A container that could not be started has "ended" too.
    fn has_run(&self) -> bool {
        !matches!(self.reason.as_str(), "StartError" | "ContainerCannotRun" | "ContainerStatusUnknown")
    }

    fn is_unexplained(&self) -> bool {
        matches!(self.reason.as_str(), "" | "Error" | "Completed")
    }

    fn in_words(&self) -> String {
        match self.reason.as_str() {
            "OOMKilled" => "OOMKilled: it used more memory than its limit".to_owned(),
            _ if self.is_unexplained() => format!("exit code {}", self.exit_code),
            reason => trouble::join(reason, &self.message),
        }
    }
}

#[cfg(test)]
mod tests;
