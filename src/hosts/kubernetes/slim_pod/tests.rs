//! What pods tell, from the JSON that the kubelet and the scheduler of 1.36 write.

use serde_json::{Value, json};

use super::*;
use crate::core::TroubleKind;

const AT: &str = "2026-11-24T08:05:00Z";

/// A pod of an agent and a sidecar that was placed on a node.
fn pod(status: &Value) -> Value {
    json!({
        "metadata": {
            "name": "a-1-x", "uid": "p1", "resourceVersion": "7", "creationTimestamp": "2026-11-24T08:00:00Z",
            "labels": {"kubectl-ado/installation": "us"},
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "a-1", "uid": "j1", "controller": true}],
        },
        "spec": {"nodeName": "n1", "restartPolicy": "Never", "containers": [{"name": "dind"}, {"name": "agent", "image": "i"}]},
        "status": status,
    })
}

fn kept(pod: Value) -> KeptPod {
    serde_json::from_value::<SlimPod>(pod).unwrap().keep("")
}

fn of(status: &Value) -> KeptPod {
    kept(pod(status))
}

fn containers(agent: &Value, sidecar: &Value) -> Value {
    json!([{"name": "agent", "state": agent}, {"name": "dind", "state": sidecar}])
}

fn ended(code: i32, reason: &str) -> Value {
    json!({"terminated": {"exitCode": code, "reason": reason, "startedAt": AT, "finishedAt": AT, "message": "m"}})
}

#[test]
fn it_belongs_to_its_job_and_starts_out_pending() {
    let mut fresh = pod(&json!({"phase": "Pending"}));
    fresh["spec"]["nodeName"] = Value::Null;
    let found = kept(fresh);
    assert_eq!((found.job.as_str(), found.progress, found.has_ended), ("j1", Progress::Pending, false));
    assert_eq!((found.trouble, found.failure, found.agent_ended_at), (None, None, None));
}

#[test]
fn the_agent_s_own_container_tells_how_far_it_is() {
    let (runs, waits) = (json!({"running": {"startedAt": AT}}), json!({"waiting": {"reason": "ContainerCreating"}}));
    for (agent, progress) in [
        (waits.clone(), Progress::Placed),
        (runs.clone(), Progress::Running),
        (ended(1, "Error"), Progress::Running),
        (ended(128, "StartError"), Progress::Placed),
    ] {
        let found = of(&json!({"phase": "Running", "containerStatuses": containers(&agent, &runs)}));
        assert_eq!(found.progress, progress, "{agent}");
        assert_eq!(found.runs_since, (agent == runs).then(|| AT.parse().unwrap()), "{agent}");
    }
    assert_eq!(of(&json!({"phase": "Pending"})).progress, Progress::Placed);
    // Without one of that name the first counts.
    let mut other = pod(&json!({"phase": "Running", "containerStatuses": [{"name": "dind", "state": runs}]}));
    other["spec"]["containers"] = json!([{"name": "dind"}, {"name": "z"}]);
    assert_eq!(kept(other).progress, Progress::Running);
}

#[test]
fn an_image_that_cannot_be_pulled_is_told_in_the_kubelet_s_words() {
    let waits = json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image \"i\""}});
    let found = of(&json!({"phase": "Pending", "containerStatuses": containers(&waits, &json!({"running": {}}))}));
    let expected =
        Trouble { kind: TroubleKind::Image, message: "ImagePullBackOff: Back-off pulling image \"i\"".into() };
    assert_eq!(found.trouble, Some(expected));
    let init = json!([{"name": "fetch", "state": waits}]);
    let found = of(&json!({"phase": "Pending", "initContainerStatuses": init}));
    assert_eq!(found.trouble.unwrap().kind, TroubleKind::Image);
}

#[test]
fn an_agent_that_runs_has_no_trouble_whatever_stands_beside_it() {
    let waits = json!({"waiting": {"reason": "ImagePullBackOff", "message": "m"}});
    let found = of(&json!({"phase": "Pending", "containerStatuses": containers(&json!({"running": {}}), &waits)}));
    assert_eq!(found.trouble, None);
}

#[test]
fn a_pod_that_fits_no_node_is_unschedulable_and_a_gated_one_is_not() {
    for (reason, kind) in [("Unschedulable", Some(TroubleKind::Unschedulable)), ("SchedulingGated", None)] {
        let condition =
            json!({"type": "PodScheduled", "status": "False", "reason": reason, "message": "0/1 nodes are available"});
        let mut unplaced = pod(&json!({"phase": "Pending", "conditions": [condition]}));
        unplaced["spec"]["nodeName"] = Value::Null;
        let found = kept(unplaced);
        assert_eq!(found.trouble.map(|trouble| trouble.kind), kind, "{reason}");
        assert_eq!(found.progress, Progress::Pending);
    }
}

#[test]
fn an_agent_that_ended_while_a_sidecar_stays_is_told_with_its_time() {
    let runs = json!({"running": {}});
    let with = |agent: &Value, sidecar: &Value, phase: &str| {
        of(&json!({"phase": phase, "containerStatuses": containers(agent, sidecar)})).agent_ended_at
    };
    assert_eq!(with(&ended(0, "Completed"), &runs, "Running"), Some(AT.parse().unwrap()));
    assert_eq!(with(&runs, &ended(0, "Completed"), "Running"), None);
    assert_eq!(with(&ended(0, "Completed"), &ended(0, "Completed"), "Running"), None, "nothing of it goes on");
    assert_eq!(with(&ended(0, "Completed"), &runs, "Failed"), None, "the pod was ended");

    let status = json!({"phase": "Running", "containerStatuses": containers(&ended(1, "Error"), &runs)});
    let mut restarts = pod(&status);
    restarts["spec"]["restartPolicy"] = json!("OnFailure");
    assert_eq!(kept(restarts).agent_ended_at, None, "it is about to be restarted");
}

#[test]
fn a_sidecar_among_the_init_containers_stays_too() {
    let mut native = pod(&json!({
        "phase": "Running",
        "initContainerStatuses": [{"name": "proxy", "state": {"running": {}}}],
        "containerStatuses": [{"name": "agent", "state": ended(0, "Completed")}],
    }));
    native["spec"]["containers"] = json!([{"name": "agent"}]);
    native["spec"]["initContainers"] = json!([{"name": "proxy", "restartPolicy": "Always"}]);
    assert_eq!(kept(native.clone()).agent_ended_at, Some(AT.parse().unwrap()));
    native["spec"]["initContainers"] = json!([{"name": "proxy"}]);
    assert_eq!(kept(native).agent_ended_at, None);
}

/// What Kubernetes 1.36 writes when it is not the agent that ends a pod.
#[test]
fn a_pod_that_was_killed_is_told_by_whoever_killed_it() {
    let condition = |reason: &str, message: &str| {
        json!([{"type": "PodScheduled", "status": "True"},
            {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}])
    };
    let killed = ended(137, "Error");
    for (case, more, words) in [
        (
            "the node's memory is used up",
            json!({"reason": "Evicted", "message": "The node was low on resource: memory.",
                "conditions": condition("TerminationByKubelet", "The node was low on resource: memory.")}),
            "Evicted: The node was low on resource: memory.",
        ),
        (
            "the pod's own deadline",
            json!({"reason": "DeadlineExceeded", "message": "Pod was active on the node longer than the specified deadline"}),
            "DeadlineExceeded: Pod was active on the node longer than the specified deadline",
        ),
        (
            "the node shuts down",
            json!({"reason": "Terminated", "message": "Pod was terminated in response to imminent node shutdown.",
                "conditions": condition("TerminationByKubelet", "Pod was terminated in response to imminent node shutdown.")}),
            "Terminated: Pod was terminated in response to imminent node shutdown.",
        ),
        (
            "a pod of more priority",
            json!({"conditions": condition("PreemptionByScheduler", "default-scheduler: preempting to accommodate a higher priority pod")}),
            "PreemptionByScheduler: default-scheduler: preempting to accommodate a higher priority pod",
        ),
        (
            "kubectl drain",
            json!({"conditions": condition("EvictionByEvictionAPI", "Eviction API: evicting")}),
            "EvictionByEvictionAPI: Eviction API: evicting",
        ),
        (
            "the node is gone",
            json!({"conditions": condition("DeletionByPodGC", "PodGC: node no longer exists")}),
            "DeletionByPodGC: PodGC: node no longer exists",
        ),
    ] {
        let mut status = json!({"phase": "Failed", "containerStatuses": containers(&killed, &killed)});
        for (key, value) in more.as_object().unwrap() {
            status[key] = value.clone();
        }
        assert_eq!(of(&status).failure.as_deref(), Some(words), "{case}");
        // The API server may forget the pod before its end is written.
        let known = status["conditions"].is_array();
        let containers = containers(&json!({"running": {}}), &killed);
        let mut going = pod(&json!({"phase": "Running", "containerStatuses": containers}));
        if known {
            going["status"]["conditions"] = status["conditions"].clone();
        }
        going["metadata"]["deletionTimestamp"] = json!(AT);
        assert_eq!(kept(going).failure.is_some(), known, "{case}");
    }
    let mut deleted = pod(&json!({"phase": "Failed", "containerStatuses": containers(&killed, &killed)}));
    deleted["metadata"]["deletionTimestamp"] = json!(AT);
    assert_eq!(kept(deleted).failure.as_deref(), Some("Deleted: somebody deleted its pod (exit code 137)"));
}

#[test]
fn a_pod_is_known_to_be_marked_as_busy() {
    let mut marked = pod(&json!({"phase": "Running"}));
    assert!(!kept(marked.clone()).is_busy);
    marked["metadata"]["labels"]["kubectl-ado/busy"] = json!("true");
    assert!(kept(marked).is_busy);
}

#[test]
fn a_bad_end_is_told_in_people_s_words() {
    let sidecar = ended(0, "Completed");
    let fails = |agent: &Value, more: &Value| {
        let mut status = json!({"phase": "Failed", "containerStatuses": containers(agent, &sidecar)});
        for (key, value) in more.as_object().unwrap() {
            status[key] = value.clone();
        }
        of(&status).failure
    };
    let disrupted = json!({"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
        "message": "Taint manager: deleting due to NoExecute taint"}]});
    for (agent, more, words) in [
        (ended(7, "Error"), json!({}), "exit code 7"),
        (ended(137, "OOMKilled"), json!({}), "OOMKilled: it used more memory than its limit"),
        (ended(128, "StartError"), json!({}), "StartError: m"),
        (
            ended(137, "Error"),
            json!({"reason": "Evicted", "message": "The node was low on resource: memory."}),
            "Evicted: The node was low on resource: memory.",
        ),
        (ended(137, "Error"), json!({"reason": "NodeLost"}), "NodeLost"),
        (ended(137, "Error"), disrupted, "DeletionByTaintManager: Taint manager: deleting due to NoExecute taint"),
    ] {
        assert_eq!(fails(&agent, &more).as_deref(), Some(words));
    }
    let init = json!([{"name": "fetch", "state": ended(3, "Error")}]);
    let found = of(&json!({"phase": "Failed", "initContainerStatuses": init}));
    assert_eq!(found.failure.as_deref(), Some("the container \"fetch\": exit code 3"));
    assert_eq!(
        of(&json!({"phase": "Succeeded", "containerStatuses": containers(&ended(0, "Completed"), &sidecar)})).failure,
        None
    );
}
