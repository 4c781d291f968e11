//! The kubelet's part, played by hand: each function puts one pod into one state, for real and at once.
//!
//! [`crate::Node`] plays it for a whole namespace. What a pod's status must look like is what the kubelet of 1.36 writes.

use anyhow::{Context, Result};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client};
use serde_json::{Value, json};

/// The one node of the control plane, to which pods are bound. No kubelet stands behind it.
pub const NODE_NAME: &str = "node";

/// The pod is bound to the node and all of its containers run and are ready.
///
/// # Errors
///
/// When the API server refuses it, as when there is no such pod. This holds for all of these functions.
pub async fn set_pod_running(client: &Client, namespace: &str, pod: &str) -> Result<()> {
    let (api, pod) = get(client, namespace, pod).await?;
    bind(&api, &pod).await?;
    report(&api, &pod, running(&pod)).await
}

/// All of its containers ended with exit code 0.
///
/// # Errors
///
/// As [`set_pod_running`].
pub async fn set_pod_succeeded(client: &Client, namespace: &str, pod: &str) -> Result<()> {
    let (api, pod) = get(client, namespace, pod).await?;
    bind(&api, &pod).await?;
    report(&api, &pod, ended(&pod, &Exit { code: 0, reason: "Completed", message: None })).await
}

/// The agent's container ended with `exit_code`, which is not 0, for `reason`: `Error`, `OOMKilled`, …
///
/// # Errors
///
/// As [`set_pod_running`].
pub async fn set_pod_failed(client: &Client, namespace: &str, pod: &str, exit_code: i32, reason: &str) -> Result<()> {
    let (api, pod) = get(client, namespace, pod).await?;
    bind(&api, &pod).await?;
    report(&api, &pod, ended(&pod, &Exit { code: exit_code, reason, message: None })).await
}

/// The node cannot pull `image`: the pod stays Pending, its containers wait with `ImagePullBackOff`.
///
/// # Errors
///
/// As [`set_pod_running`].
pub async fn set_image_pull_error(client: &Client, namespace: &str, pod: &str, image: &str) -> Result<()> {
    let (api, pod) = get(client, namespace, pod).await?;
    bind(&api, &pod).await?;
    let message = format!("Back-off pulling image \"{image}\": ErrImagePull: {image}: not found");
    report(&api, &pod, waiting(&pod, "ImagePullBackOff", &message)).await
}

/// No node suits the pod: it stays Pending, and the scheduler says why.
///
/// # Errors
///
/// As [`set_pod_running`].
pub async fn set_pod_unschedulable(client: &Client, namespace: &str, pod: &str, message: &str) -> Result<()> {
    let (api, pod) = get(client, namespace, pod).await?;
    let condition = json!({
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": message,
        "lastTransitionTime": now(),
    });
    report(&api, &pod, json!({ "phase": "Pending", "conditions": [condition] })).await
}

/// The node ran short of memory and evicted the pod, which is Failed from then on.
///
/// # Errors
///
/// As [`set_pod_running`].
pub async fn evict(client: &Client, namespace: &str, pod: &str) -> Result<()> {
    let (api, pod) = get(client, namespace, pod).await?;
    bind(&api, &pod).await?;
    let message = "The node was low on resource: memory.";
    let mut status = ended(&pod, &Exit { code: 137, reason: "Error", message: None });
    status["reason"] = json!("Evicted");
    status["message"] = json!(message);
    if let Some(conditions) = status["conditions"].as_array_mut() {
        conditions.push(json!({
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "TerminationByKubelet",
            "message": message,
            "lastTransitionTime": now(),
        }));
    }
    report(&api, &pod, status).await
}

/// Finishes the deletion of every pod that is being deleted, as the kubelet does when the containers have stopped.
/// For tests without a [`crate::Node`], where such pods would stay for good.
///
/// # Errors
///
/// As [`set_pod_running`].
pub async fn finish_deletions(client: &Client, namespace: &str) -> Result<()> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    for pod in api.list(&ListParams::default()).await? {
        if pod.metadata.deletion_timestamp.is_some() {
            finish_deletion(&api, &pod).await?;
        }
    }
    Ok(())
}

// === what the node does too ===

/// How the agent's container ended; the others count as done.
pub(crate) struct Exit<'a> {
    pub(crate) code: i32,
    pub(crate) reason: &'a str,
    pub(crate) message: Option<&'a str>,
}

/// The agent's container is the one named `agent`, else the first.
pub(crate) fn agent_container(pod: &Pod) -> Option<&Container> {
    let containers = &pod.spec.as_ref()?.containers;
    containers.iter().find(|container| container.name == "agent").or(containers.first())
}

pub(crate) async fn bind(api: &Api<Pod>, pod: &Pod) -> Result<()> {
    if pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some()) {
        return Ok(());
    }
    let name = name(pod)?;
    let binding = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": { "name": name },
        "target": { "apiVersion": "v1", "kind": "Node", "name": NODE_NAME },
    });
    let outcome: kube::Result<Status> = api.create_subresource("binding", name, &PostParams::default(), &binding).await;
    outcome.map(drop).with_context(|| format!("cannot bind pod {name}"))
}

pub(crate) async fn report(api: &Api<Pod>, pod: &Pod, mut status: Value) -> Result<()> {
    let name = name(pod)?;
    let started = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    if started.is_none() {
        status["startTime"] = json!(now());
    }
    // The uid, so that a namesake which came later is left alone.
    let patch = json!({ "metadata": { "uid": pod.metadata.uid }, "status": status });
    let outcome = api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await;
    outcome.map(drop).with_context(|| format!("cannot set the status of pod {name}"))
}

pub(crate) fn waiting(pod: &Pod, reason: &str, message: &str) -> Value {
    let state = json!({ "waiting": { "reason": reason, "message": message } });
    json!({
        "phase": "Pending",
        "conditions": conditions(false, "ContainersNotReady"),
        "containerStatuses": container_statuses(pod, false, |_| state.clone()),
    })
}

pub(crate) fn running(pod: &Pod) -> Value {
    let state = json!({ "running": { "startedAt": now() } });
    json!({
        "phase": "Running",
        "podIP": "127.0.0.1",
        "podIPs": [{ "ip": "127.0.0.1" }],
        "conditions": conditions(true, ""),
        "containerStatuses": container_statuses(pod, true, |_| state.clone()),
    })
}

pub(crate) fn ended(pod: &Pod, exit: &Exit<'_>) -> Value {
    let agent = agent_container(pod).map(|container| container.name.clone());
    let failed = exit.code != 0;
    let terminated = |container: &Container| {
        let (code, reason, message) = if Some(&container.name) == agent.as_ref() {
            (exit.code, exit.reason, exit.message)
        } else {
            (0, "Completed", None)
        };
        let (started, finished) = (started_at(pod, &container.name).unwrap_or_else(now), now());
        let mut state = json!({ "exitCode": code, "reason": reason, "startedAt": started, "finishedAt": finished });
        if let Some(message) = message {
            state["message"] = json!(message);
        }
        json!({ "terminated": state })
    };
    json!({
        "phase": if failed { "Failed" } else { "Succeeded" },
        "conditions": conditions(false, if failed { "PodFailed" } else { "PodCompleted" }),
        "containerStatuses": container_statuses(pod, false, terminated),
    })
}

/// Gives the pod a final phase, which the Job controller waits for, and lets it go.
pub(crate) async fn finish_deletion(api: &Api<Pod>, pod: &Pod) -> Result<()> {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let final_phase = matches!(phase, Some("Succeeded" | "Failed"));
    if final_phase && pod.metadata.deletion_grace_period_seconds == Some(0) {
        return Ok(()); // Only a finalizer holds it now, and that is not the kubelet's business.
    }
    if !final_phase {
        let exit = Exit { code: 137, reason: "Error", message: None };
        unless_gone(report(api, pod, ended(pod, &exit)).await)?;
    }
    let preconditions = Some(Preconditions { uid: pod.metadata.uid.clone(), resource_version: None });
    let parameters = DeleteParams { preconditions, ..DeleteParams::default().grace_period(0) };
    unless_gone(api.delete(name(pod)?, &parameters).await.map(drop).context("cannot delete a pod"))
}

/// It is as good when the pod is gone already, or another one has taken its name.
pub(crate) fn unless_gone(outcome: Result<()>) -> Result<()> {
    let Err(error) = outcome else { return Ok(()) };
    match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        _ => Err(error),
    }
}

async fn get(client: &Client, namespace: &str, pod: &str) -> Result<(Api<Pod>, Pod)> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let found = api.get(pod).await.with_context(|| format!("cannot get pod {namespace}/{pod}"))?;
    Ok((api, found))
}

fn name(pod: &Pod) -> Result<&str> {
    pod.metadata.name.as_deref().context("a pod without a name")
}

fn now() -> String {
    Timestamp::now().round(jiff::Unit::Second).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

fn started_at(pod: &Pod, container: &str) -> Option<String> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let status = statuses.iter().find(|status| status.name == container)?;
    Some(status.state.as_ref()?.running.as_ref()?.started_at.as_ref()?.0.to_string())
}

fn conditions(ready: bool, reason: &str) -> Value {
    let condition = |kind: &str, holds: bool| {
        let status = if holds { "True" } else { "False" };
        let mut condition = json!({ "type": kind, "status": status, "lastTransitionTime": now() });
        if !holds {
            condition["reason"] = json!(reason);
        }
        condition
    };
    json!([
        condition("PodScheduled", true),
        condition("Initialized", true),
        condition("ContainersReady", ready),
        condition("Ready", ready),
    ])
}

fn container_statuses(pod: &Pod, runs: bool, state: impl Fn(&Container) -> Value) -> Vec<Value> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers
        .map(|container| {
            let image = container.image.as_deref().unwrap_or_default();
            json!({
                "name": container.name,
                "image": image,
                "imageID": if runs { image } else { "" },
                "ready": runs,
                "started": runs,
                "restartCount": 0,
                "state": state(container),
            })
        })
        .collect()
}
