//! What is needed of a pod to read its log: which container, whether it has said anything, and why not.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::{Api, api::ListParams};

use super::Source;
use crate::cluster::{Cluster, ClusterError};

/// A pod that may have a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PodLog {
    /// The pod's name.
    pub(super) pod: String,
    /// The container that matters.
    pub(super) container: String,
    /// How often that was started again.
    pub(super) restarts: i32,
    /// How far it is.
    pub(super) state: LogState,
}

/// How far a container is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LogState {
    /// It has no log yet, and this is why.
    Silent(String),
    /// It runs.
    Running,
    /// It has ended, and may be started again, or others of its pod go on.
    Resting,
    /// It has ended for good.
    Ended,
}

/// The pods of a source, by their age.
pub(super) async fn pods(cluster: &Cluster, source: &Source) -> Result<Vec<PodLog>, ClusterError> {
    let api = Api::<Pod>::namespaced(cluster.client.clone(), &source.namespace);
    let what = format!("list the pods in namespace \"{}\"", source.namespace);
    let mut all = Vec::new();
    for selector in &source.selectors {
        all.extend(cluster.call(&what, api.list(&ListParams::default().labels(selector))).await?);
    }
    all.sort_by_key(|pod| {
        let metadata = &pod.metadata;
        (metadata.creation_timestamp.as_ref().map(|time| time.0), metadata.name.clone())
    });
    all.dedup_by(|one, other| one.metadata.name == other.metadata.name);
    Ok(all.iter().filter_map(pod_log).collect())
}

/// The agent's container is the one named `agent`, the orchestrator's `orchestrator`; else kubectl's default, else the
/// first.
fn pod_log(pod: &Pod) -> Option<PodLog> {
    let containers = &pod.spec.as_ref()?.containers;
    let named = |name: &str| containers.iter().find(|container| container.name == name);
    let annotations = pod.metadata.annotations.as_ref();
    let default = annotations.and_then(|all| all.get("kubectl.kubernetes.io/default-container"));
    let container =
        named("agent").or_else(|| named("orchestrator")).or_else(|| named(default?)).or(containers.first())?;
    let status = pod.status.as_ref();
    let statuses = status.and_then(|status| status.container_statuses.as_ref());
    let known = statuses.and_then(|all| all.iter().find(|status| status.name == container.name));
    let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
    let has_ended = matches!(phase, "Succeeded" | "Failed");
    Some(PodLog {
        pod: pod.metadata.name.clone()?,
        container: container.name.clone(),
        restarts: known.map(|status| status.restart_count).unwrap_or_default(),
        state: match known {
            Some(known) if is_running(known) => LogState::Running,
            Some(known) if has_spoken(known) && has_ended => LogState::Ended,
            Some(known) if has_spoken(known) => LogState::Resting,
            _ => LogState::Silent(why_silent(pod, known, phase)),
        },
    })
}

fn is_running(container: &ContainerStatus) -> bool {
    container.state.as_ref().is_some_and(|state| state.running.is_some())
}

fn has_spoken(container: &ContainerStatus) -> bool {
    let states = [container.state.as_ref(), container.last_state.as_ref()];
    states.into_iter().flatten().any(|state| state.terminated.is_some())
}

fn why_silent(pod: &Pod, container: Option<&ContainerStatus>, phase: &str) -> String {
    let join = |reason: Option<&str>, message: Option<&str>| {
        let words: Vec<_> = [reason, message].into_iter().flatten().filter(|words| !words.is_empty()).collect();
        words.join(": ")
    };
    let waiting = container.and_then(|container| container.state.as_ref()?.waiting.as_ref());
    if let Some(waiting) = waiting {
        return join(waiting.reason.as_deref(), waiting.message.as_deref());
    }
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let unscheduled = conditions.iter().find(|found| found.type_ == "PodScheduled" && found.status == "False");
    if let Some(condition) = unscheduled {
        return join(condition.reason.as_deref(), condition.message.as_deref());
    }
    let reason = status.and_then(|status| status.reason.as_deref());
    let message = status.and_then(|status| status.message.as_deref());
    join(Some(reason.unwrap_or(phase)), message)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn log_of(status: &Value) -> PodLog {
        let pod = json!({"metadata": {"name": "p"}, "status": status,
            "spec": {"containers": [{"name": "proxy"}, {"name": "agent"}]}});
        pod_log(&serde_json::from_value(pod).unwrap()).unwrap()
    }

    fn container(state: &Value) -> Value {
        json!({"phase": "Pending", "containerStatuses": [{"name": "agent", "image": "", "imageID": "", "ready": false,
            "restartCount": 0, "state": state}]})
    }

    #[test]
    fn a_pod_without_a_log_says_why() {
        let pulling = log_of(&container(&json!({"waiting": {"reason": "ErrImagePull", "message": "not found"}})));
        assert_eq!(
            (pulling.container.as_str(), pulling.state),
            ("agent", LogState::Silent("ErrImagePull: not found".into()))
        );
        let conditions =
            json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1"}]);
        let pending = log_of(&json!({"phase": "Pending", "conditions": conditions}));
        assert_eq!(pending.state, LogState::Silent("Unschedulable: 0/1".into()));
        assert_eq!(log_of(&json!({})).state, LogState::Silent("Pending".into()));
    }

    #[test]
    fn a_container_that_runs_or_ran_has_a_log() {
        assert_eq!(log_of(&container(&json!({"running": {}}))).state, LogState::Running);
    }
}
