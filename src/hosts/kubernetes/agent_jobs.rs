//! The agents' Jobs as a person asks for them: each joined to its pod, in two calls.
//!
//! Rights in the namespace: Jobs list, pods list. Who may not see pods still gets the Jobs.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::{Api, api::ListParams, core::Request};
use serde::Deserialize;

use super::{keys, slim::Slim, slim_job::SlimJob, slim_pod::SlimPod, trouble};
use crate::{
    cluster::{Cluster, ClusterError},
    core::{Progress, RequestId, RunPhase, Trouble, pool_label},
};

/// What the Jobs and the pods of all agents are selected by.
pub const AGENT_JOBS: &str = "app.kubernetes.io/managed-by=kubectl-ado";

/// The selector of the Jobs of one installation, of all of them where it is not known: several may share a namespace.
#[must_use]
pub fn jobs_of_installation(installation: Option<&str>) -> String {
    match installation {
        Some(id) => format!("{AGENT_JOBS},{}={id}", keys::INSTALLATION),
        None => AGENT_JOBS.to_owned(),
    }
}

/// The selector of one pool's Jobs and pods.
#[must_use]
pub fn jobs_of_pool(pool: &str) -> String {
    format!("{AGENT_JOBS},{}={}", keys::POOL, pool_label(pool))
}

/// The selector of the Jobs and pods that were started for one job request.
#[must_use]
pub fn jobs_of_request(request: RequestId) -> String {
    format!("{AGENT_JOBS},{}={request}", keys::REQUEST)
}

/// One agent's Job, and what its pod says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentJob {
    /// Its name, which is its agent's.
    pub name: String,
    /// The agent pool.
    pub pool: Option<String>,
    /// The agent template.
    pub template: Option<String>,
    /// The job request that it was started for; which one its agent takes is up to Azure DevOps.
    pub request: Option<RequestId>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Whether it is being deleted.
    pub is_going: bool,
    /// How far it has come.
    pub phase: RunPhase,
    /// How far its agent has come; `None` where no pod is to be seen though no queue holds it.
    pub progress: Option<Progress>,
    /// What keeps its pod from starting.
    pub trouble: Option<Trouble>,
    /// How its pod ended badly.
    pub failure: Option<String>,
    /// Its pod: the one that goes on, or the latest.
    pub pod: Option<String>,
    /// The node that the pod is on.
    pub node: Option<String>,
    /// When the agent's container started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// The Jobs, and why their pods are missing where they are.
#[derive(Clone, Debug)]
pub struct AgentJobs {
    /// Ordered by their creation.
    pub jobs: Vec<AgentJob>,
    /// Why no pods were seen.
    pub without_pods: Option<ClusterError>,
}

#[derive(Deserialize)]
struct List<T> {
    items: Vec<T>,
}

/// The agents' Jobs of a namespace that a label selector selects.
///
/// # Errors
///
/// Jobs may not be listed there, or the cluster does not answer.
pub async fn agent_jobs(cluster: &Cluster, namespace: &str, selector: &str) -> Result<AgentJobs, ClusterError> {
    let (jobs, pods) = tokio::join!(
        list::<SlimJob>(cluster, namespace, selector),
        // A template's pods need not have all the labels that its Jobs have.
        list::<SlimPod>(cluster, namespace, AGENT_JOBS)
    );
    let (pods, without_pods) = match pods {
        Ok(pods) => (pods, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let pods: Vec<_> = pods.into_iter().map(|pod| (pod.clone().keep(""), pod)).collect();
    let mut jobs: Vec<AgentJob> = jobs?
        .into_iter()
        .map(|job| {
            let its = pods.iter().filter(|(kept, _)| kept.job == job.uid());
            let pod = its.max_by_key(|(kept, _)| (!kept.has_ended, kept.created_at));
            joined(&job, pod.map(|(_, pod)| pod))
        })
        .collect();
    jobs.sort_by(|one, other| (one.created_at, &one.name).cmp(&(other.created_at, &other.name)));
    Ok(AgentJobs { jobs, without_pods })
}

/// Why a Job has no pod, by what Events say of it. Needs the right to list Events, and says nothing without it.
pub async fn why_no_pod(cluster: &Cluster, namespace: &str, job: &str) -> Option<Trouble> {
    let api = Api::<Event>::namespaced(cluster.client.clone(), namespace);
    let of_job =
        ListParams::default().fields(&format!("involvedObject.kind=Job,involvedObject.name={job},type=Warning"));
    let what = format!("list the Events in namespace \"{namespace}\"");
    let found = cluster.call(&what, api.list(&of_job)).await.ok()?;
    let refusals = found.into_iter().filter(|event| event.reason.as_deref() == Some("FailedCreate"));
    let latest = refusals.max_by_key(|event| event.last_timestamp.clone().map(|time| time.0));
    Some(trouble::of_refused_pod(&latest?.message?))
}

async fn list<T: Slim>(cluster: &Cluster, namespace: &str, selector: &str) -> Result<Vec<T>, ClusterError> {
    let what = format!("list the {} in namespace \"{namespace}\"", T::WHAT);
    let call = async {
        let request = Request::new(T::path(namespace));
        let request = request.list(&ListParams::default().labels(selector)).map_err(kube::Error::BuildRequest)?;
        let text = cluster.client.request_text(request).await?;
        serde_json::from_str::<List<T>>(&text).map_err(kube::Error::SerdeError)
    };
    Ok(cluster.call(&what, call).await?.items)
}

fn joined(job: &SlimJob, pod: Option<&SlimPod>) -> AgentJob {
    let (phase, _) = job.phase();
    let (pool, template) = job.made_for();
    let kept = pod.map(|pod| pod.clone().keep(""));
    let (started_at, ended_at) = pod.map(SlimPod::ran).unwrap_or_default();
    AgentJob {
        name: job.name().to_owned(),
        pool: pool.map(str::to_owned),
        template: template.map(str::to_owned),
        request: job.request(),
        created_at: job.created_at(),
        is_going: job.is_being_deleted(),
        phase,
        progress: match &kept {
            Some(kept) if kept.has_ended => Some(Progress::Ended),
            Some(kept) => Some(kept.progress),
            None => job.is_queued().then_some(Progress::Queued),
        },
        trouble: kept.as_ref().and_then(|kept| kept.trouble.clone()),
        failure: kept.and_then(|kept| kept.failure),
        pod: pod.map(|pod| pod.name().to_owned()),
        node: pod.and_then(SlimPod::node).map(str::to_owned),
        started_at,
        ended_at,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_job_is_told_by_its_pod() {
        let job = json!({"metadata": {"name": "agent-job-1", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"kubectl-ado/request": "7"}, "annotations": {"kubectl-ado/pool": "Linux", "kubectl-ado/template": "t"}}});
        let pod = json!({"metadata": {"name": "agent-job-1-x", "uid": "p", "creationTimestamp": "2026-01-01T00:00:01Z"},
            "spec": {"nodeName": "n1", "containers": [{"name": "agent"}]},
            "status": {"phase": "Pending", "containerStatuses": [
                {"name": "agent", "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}]}});
        let job: SlimJob = serde_json::from_value(job).unwrap();
        let pod: SlimPod = serde_json::from_value(pod).unwrap();
        let seen = joined(&job, Some(&pod));
        assert_eq!((seen.request, seen.pool.as_deref()), (Some(RequestId(7)), Some("Linux")));
        assert_eq!((seen.node.as_deref(), seen.progress), (Some("n1"), Some(Progress::Placed)));
        assert_eq!(seen.trouble.unwrap().message, "ErrImagePull: not found");
        assert_eq!(joined(&job, None).progress, None);
        let queued = json!({"metadata": {"name": "agent-job-1", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"suspend": true}});
        let queued: SlimJob = serde_json::from_value(queued).unwrap();
        assert_eq!(joined(&queued, None).progress, Some(Progress::Queued));
    }
}
