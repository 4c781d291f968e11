//! From the Jobs in the namespace to runs. Only a handful of fields is read, page by page: a thousand whole Jobs would
//! be tens of megabytes.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kube::{
    Client,
    api::ListParams,
    core::{Request, Resource},
};
use serde::Deserialize;

use super::keys;
use crate::{
    cluster::{ClusterError, call},
    core::{Installation, Progress, Purpose, RequestId, Run, RunPhase},
};

/// The text of a page is held as a whole while it is read: a hundred Jobs are about half a megabyte.
const PAGE_SIZE: u32 = 100;

/// What one look at the namespace found.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The runs of our installation and organization.
    pub(super) runs: Vec<Run>,
    /// Failed Jobs whose TTL is ours, as (name, uid, TTL in seconds).
    pub(super) failed: Vec<(String, String, Option<i32>)>,
    /// The Secrets that Jobs of the installation mount, ended ones included.
    pub(super) mounted: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
struct Page {
    metadata: PageMetadata,
    items: Vec<SlimJob>,
}

#[derive(Debug, Deserialize)]
struct PageMetadata {
    #[serde(rename = "continue", default)]
    next: Option<String>,
}

/// What is read of a Job.
#[derive(Debug, Deserialize)]
pub(super) struct SlimJob {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    uid: String,
    creation_timestamp: Timestamp,
    deletion_timestamp: Option<Timestamp>,
    #[serde(default)]
    labels: Labels,
    #[serde(default)]
    annotations: Annotations,
}

#[derive(Debug, Default, Deserialize)]
struct Labels {
    #[serde(rename = "app.kubernetes.io/managed-by")]
    managed_by: Option<String>,
    #[serde(rename = "kubectl-ado/installation")]
    installation: Option<String>,
    #[serde(rename = "kubectl-ado/request")]
    request: Option<String>,
    #[serde(rename = "kubectl-ado/slot")]
    slot: Option<String>,
    #[serde(rename = "kubectl-ado/attempt")]
    attempt: Option<String>,
    #[serde(rename = "kubectl-ado/revision")]
    revision: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Annotations {
    #[serde(rename = "kubectl-ado/organization")]
    organization: Option<String>,
    #[serde(rename = "kubectl-ado/pool")]
    pool: Option<String>,
    #[serde(rename = "kubectl-ado/template")]
    template: Option<String>,
    #[serde(rename = "kubectl-ado/token-secret")]
    token_secret: Option<String>,
    #[serde(rename = "kubectl-ado/managed-ttl")]
    managed_ttl: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    ttl_seconds_after_finished: Option<i32>,
}

#[derive(Debug, Default, Deserialize)]
struct Status {
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    last_transition_time: Option<Timestamp>,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
}

/// Lists all Jobs of the installation.
pub(super) async fn list(
    client: &Client,
    namespace: &str,
    installation: &Installation,
    organization: &str,
) -> Result<Listing, ClusterError> {
    let selector = format!("{}={},{}={}", keys::MANAGED_BY, keys::US, keys::INSTALLATION, installation.id());
    let what = format!("list the Jobs in namespace \"{namespace}\"");
    let mut listing = Listing::default();
    let mut params = ListParams::default().labels(&selector).limit(PAGE_SIZE);
    loop {
        let page = call(&what, async {
            let request = Request::new(jobs_path(namespace)).list(&params).map_err(kube::Error::BuildRequest)?;
            let text = client.request_text(request).await?;
            serde_json::from_str::<Page>(&text).map_err(kube::Error::SerdeError)
        })
        .await?;
        for job in page.items {
            listing.add(job, organization);
        }
        match page.metadata.next.filter(|next| !next.is_empty()) {
            Some(next) => params = params.continue_token(&next),
            None => return Ok(listing),
        }
    }
}

/// The path of the Jobs of a namespace.
pub(super) fn jobs_path(namespace: &str) -> String {
    k8s_openapi::api::batch::v1::Job::url_path(&(), Some(namespace))
}

impl Listing {
    fn add(&mut self, job: SlimJob, organization: &str) {
        self.mounted.extend(job.metadata.annotations.token_secret.clone());
        // Another orchestrator in this namespace may serve another organization with pools of the same names.
        if job.metadata.annotations.organization.as_deref() != Some(organization) {
            return;
        }
        let phase = job.phase();
        if matches!(phase, RunPhase::Failed(..)) && job.metadata.annotations.managed_ttl.is_some() {
            let ttl = job.spec.ttl_seconds_after_finished;
            self.failed.push((job.metadata.name.clone(), job.metadata.uid.clone(), ttl));
        }
        let name = job.metadata.name.clone();
        match job.into_run(phase) {
            Some(run) => self.runs.push(run),
            None => tracing::debug!(job = name, "a Job with our label lacks the others; it is left alone"),
        }
    }
}

impl SlimJob {
    fn phase(&self) -> RunPhase {
        let condition = |kinds: [&str; 2]| {
            kinds.into_iter().find_map(|kind| {
                self.status.conditions.iter().find(|condition| condition.kind == kind && condition.status == "True")
            })
        };
        let created_at = self.metadata.creation_timestamp;
        // The second of each pair comes first: the Job has ended, and its pods are still being put away.
        if let Some(failed) = condition(["Failed", "FailureTarget"]) {
            let reason = [failed.reason.as_str(), failed.message.as_str()];
            let reason = reason.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(": ");
            return RunPhase::Failed(failed.last_transition_time.unwrap_or(created_at), reason);
        }
        if let Some(complete) = condition(["Complete", "SuccessCriteriaMet"]) {
            return RunPhase::Succeeded(complete.last_transition_time.unwrap_or(created_at));
        }
        match self.metadata.deletion_timestamp {
            Some(at) => RunPhase::Failed(at, "Deleted: somebody deleted the Job".to_owned()),
            None => RunPhase::Live,
        }
    }

    fn into_run(self, phase: RunPhase) -> Option<Run> {
        let Metadata { name, labels, annotations, creation_timestamp, .. } = self.metadata;
        let purpose = match (labels.request, labels.slot) {
            (Some(request), _) => Purpose::Request(RequestId(request.parse().ok()?)),
            (None, Some(slot)) => Purpose::Slot(slot.parse().ok()?),
            (None, None) => return None,
        };
        Some(Run {
            name,
            pool: annotations.pool?,
            template: annotations.template?,
            purpose,
            attempt: labels.attempt?.parse().ok()?,
            created_at: creation_timestamp,
            phase,
            revision: labels.revision.unwrap_or_default(),
            progress: Progress::Pending,
            trouble: None,
            agent_ended_at: None,
        })
    }

    /// `Ok` where it serves this pool for us, else whose it is.
    pub(super) fn belongs_to(&self, installation: &Installation, organization: &str, pool: &str) -> Result<(), String> {
        let Metadata { labels, annotations, .. } = &self.metadata;
        match (&labels.installation, &labels.managed_by) {
            (Some(id), _) if id != installation.id() => Err(format!("the kubectl-ado installation \"{id}\"")),
            (None, Some(other)) => Err(format!("\"{other}\" (its label {})", keys::MANAGED_BY)),
            (None, None) => Err("somebody else: it has no label of kubectl-ado".to_owned()),
            (Some(_), _) => {
                let is = |annotation: &Option<String>, ours: &str| annotation.as_deref() == Some(ours);
                if is(&annotations.organization, organization) && is(&annotations.pool, pool) {
                    return Ok(());
                }
                let pool = annotations.pool.as_deref().unwrap_or("an unknown one");
                Err(format!("this installation, but to another pool or organization ({pool})"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const URL: &str = "https://dev.azure.com/contoso";

    fn job(conditions: &Value) -> Value {
        json!({
            "metadata": {
                "name": "agent-job-abcde-1", "uid": "u1", "creationTimestamp": "2026-11-24T08:00:00Z",
                "labels": {
                    "app.kubernetes.io/managed-by": "kubectl-ado", "kubectl-ado/installation": "us",
                    "kubectl-ado/request": "17", "kubectl-ado/attempt": "2", "theirs": "kept out",
                },
                "annotations": {
                    "kubectl-ado/organization": URL, "kubectl-ado/pool": "Linux Builds", "kubectl-ado/template": "default",
                    "kubectl-ado/token-secret": "s1", "kubectl-ado/managed-ttl": "true",
                },
            },
            "spec": {"ttlSecondsAfterFinished": 600, "template": {}},
            "status": {"conditions": conditions},
        })
    }

    fn listing(jobs: Vec<Value>) -> Listing {
        let mut listing = Listing::default();
        for job in jobs {
            listing.add(serde_json::from_value(job).unwrap(), URL);
        }
        listing
    }

    fn phase(conditions: &Value) -> RunPhase {
        listing(vec![job(conditions)]).runs.remove(0).phase
    }

    #[test]
    fn a_job_tells_what_it_is_for() {
        let found = listing(vec![job(&json!([]))]);
        let run = &found.runs[0];
        assert_eq!((run.pool.as_str(), run.template.as_str(), run.attempt), ("Linux Builds", "default", 2));
        assert_eq!(run.purpose, Purpose::Request(RequestId(17)));
        assert!(run.is_live());
        assert!(found.mounted.contains("s1") && found.failed.is_empty());
    }

    #[test]
    fn conditions_that_are_true_tell_how_it_ended() {
        let at = "2026-11-24T08:05:00Z";
        let condition = |kind: &str, status: &str| json!([{"type": kind, "status": status, "lastTransitionTime": at, "reason": "R", "message": "m"}]);
        for kind in ["Complete", "SuccessCriteriaMet"] {
            assert_eq!(phase(&condition(kind, "True")), RunPhase::Succeeded(at.parse().unwrap()), "{kind}");
        }
        for kind in ["Failed", "FailureTarget"] {
            assert_eq!(phase(&condition(kind, "True")), RunPhase::Failed(at.parse().unwrap(), "R: m".into()), "{kind}");
        }
        for (kind, status) in [("Complete", "False"), ("Suspended", "True")] {
            assert_eq!(phase(&condition(kind, status)), RunPhase::Live, "{kind} {status}");
        }
    }

    #[test]
    fn a_job_that_is_being_deleted_counts_no_more() {
        let mut deleted = job(&json!([]));
        deleted["metadata"]["deletionTimestamp"] = json!("2026-11-24T08:05:00Z");
        assert!(!listing(vec![deleted]).runs[0].is_live());
    }

    #[test]
    fn failed_jobs_are_remembered_where_their_ttl_is_ours() {
        let failed = json!([{"type": "Failed", "status": "True"}]);
        let mut theirs = job(&failed);
        theirs["metadata"]["annotations"]["kubectl-ado/managed-ttl"] = Value::Null;
        let found = listing(vec![job(&failed), theirs]);
        assert_eq!(found.failed, [("agent-job-abcde-1".to_owned(), "u1".to_owned(), Some(600))]);
        assert_eq!(found.runs.len(), 2);
    }

    #[test]
    fn another_organization_s_jobs_are_not_ours_but_their_secrets_are_in_use() {
        let mut other = job(&json!([]));
        other["metadata"]["annotations"]["kubectl-ado/organization"] = json!("https://dev.azure.com/fabrikam");
        let found = listing(vec![other]);
        assert!(found.runs.is_empty() && found.mounted.contains("s1"));
    }

    #[test]
    fn a_job_without_its_labels_is_left_alone() {
        let mut broken = job(&json!([]));
        broken["metadata"]["labels"]["kubectl-ado/request"] = json!("seventeen");
        assert!(listing(vec![broken]).runs.is_empty());
    }

    #[test]
    fn a_collision_names_the_owner() {
        let us = Installation::new("us");
        let owner = |change: fn(&mut Value), pool: &str| {
            let mut job = job(&json!([]));
            change(&mut job["metadata"]["labels"]);
            serde_json::from_value::<SlimJob>(job).unwrap().belongs_to(&us, URL, pool)
        };
        assert_eq!(owner(|_| {}, "Linux Builds"), Ok(()));
        assert!(owner(|_| {}, "Other").unwrap_err().contains("Linux Builds"));
        let other = owner(|labels| labels["kubectl-ado/installation"] = json!("them"), "Linux Builds");
        assert!(other.unwrap_err().contains("\"them\""));
        assert!(owner(|labels| *labels = json!({}), "Linux Builds").unwrap_err().contains("somebody else"));
        let helm = owner(|labels| *labels = json!({"app.kubernetes.io/managed-by": "Helm"}), "Linux Builds");
        assert!(helm.unwrap_err().contains("Helm"));
    }
}
