//! Whether a Deployment's new pods have come, and if not, why: the pod's own reason, and at once where waiting is no use.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{ContainerStatus, Pod},
};
use kube::{Api, api::ListParams};

use super::{Cluster, ClusterError, INSTALL_LABELS};

/// What keeps a container from starting and does not go away by itself.
const HOPELESS: &[&str] = &[
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "CrashLoopBackOff",
];

const REVISION: &str = "deployment.kubernetes.io/revision";

/// How a rollout stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RolloutProgress {
    /// All pods are of the newest kind and available.
    Done,
    /// Not yet; what is missing.
    Waiting(String),
    /// It will not come by waiting.
    Failed {
        /// The pod that shows it.
        pod: String,
        /// The pod's own reason, in one line or its last words in several.
        why: String,
    },
}

/// How often each container of some pods had been restarted at a moment, by the pod's uid and the container's name. What
/// one of these pods says of an end before that moment says nothing of a change that was made then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restarts(BTreeMap<(String, String), i32>);

impl Restarts {
    /// Of pods as they are now.
    #[must_use]
    pub fn of(pods: &[Pod]) -> Self {
        let statuses = pods.iter().flat_map(|pod| statuses_of(pod).iter().map(move |status| (pod, status)));
        Self(statuses.map(|(pod, status)| (key(pod, status), status.restart_count)).collect())
    }

    /// Whether the container has not been restarted since, so that all it says is from before.
    fn is_from_before(&self, pod: &Pod, status: &ContainerStatus) -> bool {
        self.0.get(&key(pod, status)).is_some_and(|count| status.restart_count <= *count)
    }
}

fn statuses_of(pod: &Pod) -> &[ContainerStatus] {
    pod.status.as_ref().and_then(|status| status.container_statuses.as_deref()).unwrap_or_default()
}

fn key(pod: &Pod, status: &ContainerStatus) -> (String, String) {
    (pod.metadata.uid.clone().unwrap_or_default(), status.name.clone())
}

/// Whether a pod waits to be restarted after an end. A kubelet waits up to five minutes, whatever has been put right.
#[must_use]
pub fn is_backing_off(pod: &Pod) -> bool {
    statuses_of(pod).iter().any(|status| {
        let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
        waiting.is_some_and(|waiting| waiting.reason.as_deref() == Some("CrashLoopBackOff"))
    })
}

/// How the rollout stands, by the Deployment and the pods of its newest kind. `before` is how those pods were when the
/// change was made that is waited for.
#[must_use]
pub fn judge_rollout(deployment: &Deployment, pods: &[Pod], before: &Restarts) -> RolloutProgress {
    let status = deployment.status.clone().unwrap_or_default();
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let seen = status.observed_generation >= deployment.metadata.generation;
    let (updated, available) = (status.updated_replicas.unwrap_or(0), status.available_replicas.unwrap_or(0));
    let total = status.replicas.unwrap_or(0);
    if seen && updated >= wanted && total <= updated && available >= updated {
        return RolloutProgress::Done;
    }
    if seen && let Some(failed) = pods.iter().find_map(|pod| hopeless(pod, before)) {
        return failed;
    }
    let blocked = pods.iter().find_map(unschedulable);
    let conditions = status.conditions.iter().flatten();
    // A pod that no quota or admission lets through shows nowhere but here.
    let refused = conditions.into_iter().find(|condition| condition.type_ == "ReplicaFailure");
    let refused = refused.filter(|condition| condition.status == "True").and_then(|it| it.message.clone());
    RolloutProgress::Waiting(match (seen, refused.or(blocked)) {
        (false, _) => "the cluster has not looked at it yet".to_owned(),
        (true, Some(why)) => why,
        (true, None) if updated >= wanted && total > updated => {
            format!("{} old pods are still ending", total - updated)
        }
        (true, None) => format!("{} of {wanted} pods are ready", available.min(updated)),
    })
}

fn hopeless(pod: &Pod, before: &Restarts) -> Option<RolloutProgress> {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let since = statuses_of(pod).iter().filter(|container| !before.is_from_before(pod, container));
    since.into_iter().find_map(|container| {
        let failed = |why| Some(RolloutProgress::Failed { pod: name.clone(), why });
        if let Some(last_words) = last_words(container).filter(|_| !container.ready && container.restart_count > 0) {
            return failed(last_words);
        }
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.as_deref().filter(|reason| HOPELESS.contains(reason))?;
        failed(match waiting.message.as_deref() {
            Some(message) => format!("{reason}: {message}"),
            None => reason.to_owned(),
        })
    })
}

/// What the container said before it ended, the last time.
fn last_words(container: &ContainerStatus) -> Option<String> {
    let ended = |state: &Option<_>| {
        let state: &k8s_openapi::api::core::v1::ContainerState = state.as_ref()?;
        state.terminated.clone()
    };
    let ended = ended(&container.state).or_else(|| ended(&container.last_state))?;
    let message = ended.message.unwrap_or_default();
    let said: Vec<&str> = message.lines().filter(|line| !line.trim().is_empty()).collect();
    // The last words are an error and its mend; before them there may be a long log.
    let errors: Vec<&str> =
        said.iter().copied().filter(|line| line.starts_with("error:") || line.starts_with("fix:")).collect();
    let end = if errors.is_empty() { said.iter().rev().take(2).rev().copied().collect() } else { errors };
    let reason = ended.reason.as_deref().filter(|reason| *reason != "Error");
    let head = match reason {
        Some(reason) => format!("it ended with exit code {} ({reason})", ended.exit_code),
        None => format!("it ended with exit code {}", ended.exit_code),
    };
    Some(if end.is_empty() { head } else { format!("{head}: {}", end.join("\n")) })
}

fn unschedulable(pod: &Pod) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions.iter().find(|it| it.type_ == "PodScheduled" && it.status == "False")?;
    let reason = condition.reason.as_deref().unwrap_or("not scheduled");
    Some(format!("{reason}: {}", condition.message.as_deref().unwrap_or("no node takes the pod")))
}

/// The pods of the Deployment's newest kind; of all its kinds where ReplicaSets may not be listed.
///
/// # Errors
///
/// Pods may not be listed, or the cluster does not answer.
pub async fn pods_of(cluster: &Cluster, namespace: &str, deployment: &Deployment) -> Result<Vec<Pod>, ClusterError> {
    let sets: Api<ReplicaSet> = Api::namespaced(cluster.client.clone(), namespace);
    let parameters = ListParams::default().labels(INSTALL_LABELS);
    let what = format!("list the ReplicaSets in namespace \"{namespace}\"");
    let sets = cluster.call(&what, sets.list(&parameters)).await.map(|list| list.items).unwrap_or_default();
    let revision = |metadata: &kube::api::ObjectMeta| metadata.annotations.as_ref()?.get(REVISION).cloned();
    let newest = revision(&deployment.metadata);
    let newest = sets.iter().find(|set| newest.is_some() && revision(&set.metadata) == newest);
    let hash = newest.and_then(|set| set.metadata.labels.as_ref()?.get("pod-template-hash").cloned());

    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let labels = match hash {
        Some(hash) => format!("{INSTALL_LABELS},pod-template-hash={hash}"),
        None => INSTALL_LABELS.to_owned(),
    };
    let what = format!("list the pods in namespace \"{namespace}\"");
    Ok(cluster.call(&what, pods.list(&ListParams::default().labels(&labels))).await?.items)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn deployment(status: &Value) -> Deployment {
        serde_json::from_value(json!({"metadata": {"generation": 2}, "spec": {"replicas": 2, "selector": {},
            "template": {}}, "status": status}))
        .unwrap()
    }

    fn pod(container: &Value) -> Pod {
        let container: Value = [
            ("name", json!("orchestrator")),
            ("ready", json!(false)),
            ("restartCount", json!(0)),
            ("image", json!("")),
            ("imageID", json!("")),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .chain(container.as_object().unwrap().clone())
        .collect::<serde_json::Map<_, _>>()
        .into();
        serde_json::from_value(json!({"metadata": {"name": "p"}, "status": {"containerStatuses": [container]}}))
            .unwrap()
    }

    #[test]
    fn it_is_done_when_all_pods_are_new_and_available() {
        let done = json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2});
        assert_eq!(judge_rollout(&deployment(&done), &[], &Restarts::default()), RolloutProgress::Done);
        for waiting in [
            json!({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}),
            json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 3}),
            json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1}),
            json!({}),
        ] {
            let judged = judge_rollout(&deployment(&waiting), &[], &Restarts::default());
            assert!(matches!(judged, RolloutProgress::Waiting(_)), "{waiting} {judged:?}");
        }
    }

    #[test]
    fn a_pod_that_cannot_start_ends_the_wait_with_its_own_reason() {
        let status = || deployment(&json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1}));
        let why = |container: &Value| match judge_rollout(&status(), &[pod(container)], &Restarts::default()) {
            RolloutProgress::Failed { why, .. } => why,
            other => panic!("{other:?}"),
        };
        let pull = json!({"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}});
        assert_eq!(why(&pull), "ImagePullBackOff: no such image");
        let words = "{\"level\":\"INFO\"}\nerror: ado.yaml:3:1: pools is empty\nfix: name one\n";
        let ended = json!({"exitCode": 2, "reason": "Error", "message": words});
        let crash = json!({"restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": ended}});
        assert_eq!(why(&crash), "it ended with exit code 2: error: ado.yaml:3:1: pools is empty\nfix: name one");
    }

    #[test]
    fn what_a_pod_said_before_the_change_is_not_held_against_the_change() {
        let status = deployment(&json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1}));
        let ended = json!({"exitCode": 2, "message": "error: wrong"});
        let crash = |count: i32| {
            pod(&json!({"restartCount": count, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": ended}}))
        };
        let before = Restarts::of(&[crash(3)]);
        assert!(is_backing_off(&crash(3)));
        let waiting = RolloutProgress::Waiting("0 of 2 pods are ready".into());
        assert_eq!(judge_rollout(&status, &[crash(3)], &before), waiting);
        let again = judge_rollout(&status, &[crash(4)], &before);
        assert!(matches!(again, RolloutProgress::Failed { .. }), "{again:?}");
    }

    #[test]
    fn what_may_still_come_is_waited_for_and_said() {
        let status = deployment(&json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1}));
        let creating = pod(&json!({"state": {"waiting": {"reason": "ErrImagePull"}}}));
        assert_eq!(
            judge_rollout(&status, &[creating], &Restarts::default()),
            RolloutProgress::Waiting("0 of 2 pods are ready".into())
        );
        let full: Pod = serde_json::from_value(json!({"status": {"conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]}}))
        .unwrap();
        assert_eq!(
            judge_rollout(&status, &[full], &Restarts::default()),
            RolloutProgress::Waiting("Unschedulable: 0/1 nodes".into())
        );
    }
}
