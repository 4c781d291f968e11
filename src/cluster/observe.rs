//! What a cluster tells about an install, in as few calls as possible, each section readable or not for itself: who may
//! not see Leases still gets the pools.
//!
//! Rights: Deployments list; in the agents' namespace ConfigMaps and Leases list; pods list beside the orchestrator,
//! which is asked for only while it is not ready. Never a Secret.

use k8s_openapi::api::{
    apps::v1::Deployment,
    coordination::v1::Lease,
    core::v1::{ConfigMap, Pod},
};
use kube::{Api, api::ListParams};

use super::{Cluster, ClusterError, INSTALL_LABELS, Install, STATUS_KEY, STATUS_LABELS, lease};
use crate::core::{LeaseRecord, Report};

/// What was read, or why it was not.
pub type Section<T> = Result<T, ClusterError>;

/// What a cluster tells about one install.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The namespace of the orchestrator.
    pub namespace: String,
    /// The namespace of its agents, Lease and status.
    pub agents_namespace: String,
    /// Its Deployment; `None` where there is none.
    pub rollout: Section<Option<Rollout>>,
    /// What it wrote; `None` where it has written nothing yet.
    pub status: Section<Option<StatusSeen>>,
    /// The Lease it leads by; `None` where there is none.
    pub lease: Section<Option<LeaseSeen>>,
    /// Why its pods do not run, where it is not ready.
    pub pods: Section<Vec<PodSeen>>,
}

/// An orchestrator's Deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// Its name.
    pub name: String,
    /// How many pods it should have.
    pub desired: i32,
    /// How many are ready.
    pub ready: i32,
    /// The image of the orchestrator's container.
    pub image: Option<String>,
    /// The label `app.kubernetes.io/version`, else the image's tag.
    pub version: Option<String>,
}

/// A status, and by which ConfigMap it came.
#[derive(Clone, Debug)]
pub struct StatusSeen {
    /// The Lease's name, of which the ConfigMap's is made.
    pub lease: String,
    /// The report; else why it cannot be understood.
    pub report: Result<Report, String>,
}

/// A Lease by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseSeen {
    /// Its name.
    pub name: String,
    /// What it says.
    pub record: LeaseRecord,
}

/// A pod of the orchestrator that is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSeen {
    /// Its name.
    pub name: String,
    /// `ImagePullBackOff: …`, `CrashLoopBackOff: …`, or its phase.
    pub reason: String,
}

/// Looks at an install: two calls, and a third where it is not ready.
///
/// `install` is what [`super::find_installs`] said.
pub async fn observe(cluster: &Cluster, namespace: &str, install: Section<Option<Install>>) -> Observation {
    let agents_namespace = match &install {
        Ok(Some(install)) => install.agents_namespace.clone(),
        Ok(None) | Err(_) => namespace.to_owned(),
    };
    let rollout = install.map(|install| install.map(|install| rollout(&install.deployment)));
    let known = rollout.as_ref().ok().and_then(Option::as_ref);
    let name = known.map(|rollout| rollout.name.clone());
    let is_ready = known.is_some_and(|rollout| rollout.ready >= rollout.desired && rollout.desired > 0);
    let pods = async {
        if is_ready || known.is_none() { Ok(Vec::new()) } else { orchestrator_pods(cluster, namespace).await }
    };
    let (statuses, leases, pods) =
        tokio::join!(statuses(cluster, &agents_namespace), leases(cluster, &agents_namespace), pods);
    let status = statuses.map(|found| best_status(found, name.as_deref()));
    let wanted = match &status {
        Ok(Some(status)) => Some(status.lease.clone()),
        Ok(None) | Err(_) => None,
    };
    let lease = leases.map(|found| {
        let is_wanted = |lease: &LeaseSeen| wanted.as_ref().is_none_or(|wanted| lease.name == *wanted);
        found.into_iter().filter(is_wanted).max_by_key(|lease| lease.record.renewed_at)
    });
    Observation { namespace: namespace.to_owned(), agents_namespace, rollout, status, lease, pods }
}

/// The report of an install alone, and the Lease's name: one call.
///
/// # Errors
///
/// ConfigMaps may not be listed there, or the cluster does not answer.
pub async fn observe_status(cluster: &Cluster, install: &Install) -> Result<Option<StatusSeen>, ClusterError> {
    let found = statuses(cluster, &install.agents_namespace).await?;
    Ok(best_status(found, install.deployment.metadata.name.as_deref()))
}

fn rollout(deployment: &Deployment) -> Rollout {
    let spec = deployment.spec.as_ref();
    let containers = spec.and_then(|spec| spec.template.spec.as_ref()).map(|pod| pod.containers.as_slice());
    let containers = containers.unwrap_or_default();
    let container = containers.iter().find(|container| container.name == "orchestrator").or(containers.first());
    let image = container.and_then(|container| container.image.clone());
    let labels = deployment.metadata.labels.as_ref();
    let label = labels.and_then(|labels| labels.get("app.kubernetes.io/version").cloned());
    let tag = image.as_deref().and_then(image_tag).map(str::to_owned);
    let status = deployment.status.as_ref();
    Rollout {
        name: deployment.metadata.name.clone().unwrap_or_default(),
        desired: spec.and_then(|spec| spec.replicas).unwrap_or(1),
        ready: status.and_then(|status| status.ready_replicas).unwrap_or_default(),
        image,
        version: label.or(tag),
    }
}

/// The tag of an image's name, if it has one: a colon before the last slash belongs to a port.
#[must_use]
pub fn image_tag(image: &str) -> Option<&str> {
    let name = image.split('@').next()?;
    name.rsplit('/').next()?.split_once(':').map(|(_, tag)| tag)
}

/// All statuses in a namespace, readable or not.
pub(super) async fn statuses(cluster: &Cluster, namespace: &str) -> Section<Vec<StatusSeen>> {
    let api = Api::<ConfigMap>::namespaced(cluster.client.clone(), namespace);
    let what = format!("list the ConfigMaps in namespace \"{namespace}\"");
    let found = cluster.call(&what, api.list(&ListParams::default().labels(STATUS_LABELS))).await?;
    Ok(found.into_iter().filter_map(status).collect())
}

fn status(map: ConfigMap) -> Option<StatusSeen> {
    let lease = map.metadata.name?.strip_suffix("-status")?.to_owned();
    let text = map.data.unwrap_or_default().remove(STATUS_KEY).unwrap_or_default();
    let report = serde_json::from_str(&text).map_err(|error| error.to_string());
    Some(StatusSeen { lease, report })
}

/// Several orchestrators may write into one namespace; theirs are told apart by the pod that wrote, else the latest
/// counts.
fn best_status(found: Vec<StatusSeen>, deployment: Option<&str>) -> Option<StatusSeen> {
    let rank = |status: &StatusSeen| {
        let report = status.report.as_ref().ok();
        let is_its_own = report.zip(deployment).is_some_and(|(report, name)| {
            report.orchestrator.identity.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'))
        });
        (is_its_own, report.map(|report| report.reported_at))
    };
    found.into_iter().max_by_key(rank)
}

async fn leases(cluster: &Cluster, namespace: &str) -> Section<Vec<LeaseSeen>> {
    let api = Api::<Lease>::namespaced(cluster.client.clone(), namespace);
    let what = format!("list the Leases in namespace \"{namespace}\"");
    let found = cluster.call(&what, api.list(&ListParams::default().labels(INSTALL_LABELS))).await?;
    let seen = found.into_iter().map(|found| LeaseSeen {
        name: found.metadata.name.clone().unwrap_or_default(),
        record: lease::view(found).record,
    });
    Ok(seen.collect())
}

async fn orchestrator_pods(cluster: &Cluster, namespace: &str) -> Section<Vec<PodSeen>> {
    let api = Api::<Pod>::namespaced(cluster.client.clone(), namespace);
    let what = format!("list the pods in namespace \"{namespace}\"");
    let found = cluster.call(&what, api.list(&ListParams::default().labels(INSTALL_LABELS))).await?;
    Ok(found.into_iter().filter_map(pod_that_is_not_ready).collect())
}

fn pod_that_is_not_ready(pod: Pod) -> Option<PodSeen> {
    let status = pod.status.unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    if conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True") {
        return None;
    }
    let join = |reason: &str, message: Option<&str>| match message.filter(|message| !message.is_empty()) {
        Some(message) => format!("{reason}: {message}"),
        None => reason.to_owned(),
    };
    let containers = status.container_statuses.unwrap_or_default();
    let waiting = containers.iter().find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
        let words = last.and_then(|last| last.message.as_deref()).or(waiting.message.as_deref());
        Some(join(waiting.reason.as_deref().unwrap_or("Waiting"), words))
    });
    let unscheduled =
        conditions.iter().find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    let unscheduled = unscheduled
        .map(|condition| join(condition.reason.as_deref().unwrap_or("Unschedulable"), condition.message.as_deref()));
    let phase = status.phase.unwrap_or_else(|| "Pending".to_owned());
    let reason = waiting.or(unscheduled).unwrap_or_else(|| join(&phase, status.message.as_deref()));
    Some(PodSeen { name: pod.metadata.name.unwrap_or_default(), reason })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_image_s_tag_is_no_registry_s_port() {
        assert_eq!(image_tag("ghcr.io/x/kubectl-ado:0.1.0"), Some("0.1.0"));
        assert_eq!(image_tag("registry:5000/x/kubectl-ado"), None);
        assert_eq!(image_tag("registry:5000/x/kubectl-ado:1@sha256:abc"), Some("1"));
    }

    #[test]
    fn a_pod_that_is_not_ready_says_why() {
        let pod = |status: &serde_json::Value| {
            let pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "status": status})).unwrap();
            pod_that_is_not_ready(pod).map(|seen| seen.reason)
        };
        let ready = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        assert_eq!(pod(&ready), None);
        let crash = json!({"phase": "Running", "containerStatuses": [{"name": "o", "image": "", "imageID": "", "ready": false,
            "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
            "lastState": {"terminated": {"exitCode": 2, "message": "error: ORG_URL is missing"}}}]});
        assert_eq!(pod(&crash).as_deref(), Some("CrashLoopBackOff: error: ORG_URL is missing"));
        let pending = json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]});
        assert_eq!(pod(&pending).as_deref(), Some("Unschedulable: 0/1 nodes"));
        assert_eq!(pod(&json!({"phase": "Pending"})).as_deref(), Some("Pending"));
    }
}
