//! What is read of a Job, and what it says of a run. A handful of fields: a thousand whole Jobs would be tens of
//! megabytes.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kube::Resource;
use serde::Deserialize;

use super::{keys, slim::Slim};
use crate::core::{Held, Installation, Progress, Purpose, Recipe, RequestId, Run, RunPhase, is_same_name};

/// What is read of a Job.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct SlimJob {
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
    annotations: Annotations,
}

#[derive(Clone, Debug, Default, Deserialize)]
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

#[derive(Clone, Debug, Default, Deserialize)]
struct Annotations {
    #[serde(rename = "kubectl-ado/organization")]
    organization: Option<String>,
    #[serde(rename = "kubectl-ado/pool")]
    pool: Option<String>,
    #[serde(rename = "kubectl-ado/template")]
    template: Option<String>,
    #[serde(rename = "kubectl-ado/lease")]
    lease: Option<String>,
    #[serde(rename = "kubectl-ado/token-secret")]
    token_secret: Option<String>,
    #[serde(rename = "kubectl-ado/managed-ttl")]
    managed_ttl: Option<String>,
    #[serde(rename = "kubectl-ado/registration")]
    registration: Option<String>,
    #[serde(rename = "kubectl-ado/held")]
    held: Option<String>,
    #[serde(rename = "kubectl-ado/own-suspend")]
    own_suspend: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    ttl_seconds_after_finished: Option<i32>,
    #[serde(default)]
    suspend: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    /// When its controller began with it, anew each time that it is resumed.
    start_time: Option<Timestamp>,
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Deserialize)]
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

/// What is kept of a Job of our installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeptJob {
    pub(super) uid: String,
    /// The Secret that its agent's token is mounted from.
    pub(super) token_secret: Option<String>,
    pub(super) ttl: Option<i32>,
    /// Whether the TTL is ours rather than the template's.
    pub(super) managed_ttl: bool,
    /// Whether its suspension is somebody else's business.
    pub(super) own_suspend: bool,
    /// In one word, why it failed.
    pub(super) failure: Option<String>,
    /// As far as the Job alone tells. `None` where it is another organization's.
    pub(super) run: Option<Run>,
}

/// The path of the Jobs of a namespace.
pub(super) fn jobs_path(namespace: &str) -> String {
    Job::url_path(&(), Some(namespace))
}

impl Slim for SlimJob {
    type Kept = KeptJob;
    const WHAT: &'static str = "Jobs";

    fn path(namespace: &str) -> String {
        jobs_path(namespace)
    }

    fn name(&self) -> &str {
        &self.metadata.name
    }

    fn version(&self) -> &str {
        &self.metadata.resource_version
    }

    fn keep(self, organization: &str) -> KeptJob {
        let (phase, failure) = self.phase();
        let annotations = &self.metadata.annotations;
        // Another orchestrator in this namespace may serve another organization with pools of the same names.
        let ours = annotations.organization.as_deref().is_some_and(|theirs| is_same_name(theirs, organization));
        let run = if ours { self.as_run(phase) } else { None };
        if ours && run.is_none() {
            let job = self.metadata.name;
            tracing::debug!(job, "a Job with our label lacks the others; it is left alone");
        }
        KeptJob {
            uid: self.metadata.uid,
            token_secret: self.metadata.annotations.token_secret,
            ttl: self.spec.ttl_seconds_after_finished,
            managed_ttl: self.metadata.annotations.managed_ttl.is_some(),
            own_suspend: self.metadata.annotations.own_suspend.is_some(),
            failure,
            run,
        }
    }
}

impl SlimJob {
    pub(super) fn created_at(&self) -> Timestamp {
        self.metadata.creation_timestamp
    }

    pub(super) fn uid(&self) -> &str {
        &self.metadata.uid
    }

    /// Who makes it ready, as it says itself.
    pub(super) fn mark(&self) -> Option<&str> {
        self.metadata.annotations.held.as_deref()
    }

    /// Who makes it ready.
    pub(super) fn held(&self) -> Option<Held> {
        self.mark().map(|mark| held(mark, self.metadata.creation_timestamp))
    }

    /// Whether its suspension is somebody else's business.
    pub(super) fn is_suspended_by_others(&self) -> bool {
        self.metadata.annotations.own_suspend.is_some()
    }

    /// Whether it is suspended.
    pub(super) fn is_suspended(&self) -> bool {
        self.spec.suspend
    }

    /// Whether a queue of others holds it. While we make it ready it is ours to resume.
    pub(super) fn is_queued(&self) -> bool {
        self.is_suspended() && self.mark().is_none()
    }

    fn queued_or_started_at(&self) -> Option<Timestamp> {
        if !self.is_queued() {
            return self.status.start_time;
        }
        let suspended = |condition: &&Condition| condition.kind == "Suspended" && condition.status == "True";
        self.status.conditions.iter().find(suspended)?.last_transition_time
    }

    /// Its pool and agent template.
    pub(super) fn made_for(&self) -> (Option<&str>, Option<&str>) {
        let annotations = &self.metadata.annotations;
        (annotations.pool.as_deref(), annotations.template.as_deref())
    }

    /// The job request that it was started for.
    pub(super) fn request(&self) -> Option<RequestId> {
        self.metadata.labels.request.as_ref()?.parse().ok().map(RequestId)
    }

    pub(super) fn is_being_deleted(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// How far it has come, and in one word why it failed.
    pub(super) fn phase(&self) -> (RunPhase, Option<String>) {
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
            let at = failed.last_transition_time.unwrap_or(created_at);
            return (RunPhase::Failed(at, reason), Some(failed.reason.clone()));
        }
        if let Some(complete) = condition(["Complete", "SuccessCriteriaMet"]) {
            return (RunPhase::Succeeded(complete.last_transition_time.unwrap_or(created_at)), None);
        }
        match self.metadata.deletion_timestamp {
            Some(at) => (RunPhase::Failed(at, "Deleted: somebody deleted the Job".to_owned()), None),
            None => (RunPhase::Live, None),
        }
    }

    fn as_run(&self, phase: RunPhase) -> Option<Run> {
        let Metadata { name, labels, annotations, creation_timestamp, .. } = &self.metadata;
        let purpose = match (&labels.request, &labels.slot) {
            (Some(request), _) => Purpose::Request(RequestId(request.parse().ok()?)),
            (None, Some(slot)) => Purpose::Slot(slot.parse().ok()?),
            (None, None) => return None,
        };
        Some(Run {
            name: name.clone(),
            pool: annotations.pool.clone()?,
            template: annotations.template.clone()?,
            purpose,
            attempt: labels.attempt.as_ref()?.parse().ok()?,
            created_at: *creation_timestamp,
            phase,
            revision: labels.revision.clone().unwrap_or_default(),
            progress: if self.is_queued() { Progress::Queued } else { Progress::Pending },
            progress_since: self.queued_or_started_at(),
            runs_since: None,
            trouble: None,
            agent_ended_at: None,
            recipe: annotations.registration.as_deref().and_then(Recipe::of_name).unwrap_or_default(),
            held: self.held(),
            was_busy: false,
            lease: annotations.lease.as_deref().map(Box::from),
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
                let is = |annotation: &Option<String>, ours: &str| {
                    annotation.as_deref().is_some_and(|theirs| is_same_name(theirs, ours))
                };
                if is(&annotations.organization, organization) && is(&annotations.pool, pool) {
                    return Ok(());
                }
                let pool = annotations.pool.as_deref().unwrap_or("an unknown one");
                Err(format!("this installation, but to another pool or organization ({pool})"))
            }
        }
    }
}

/// The mark that says who makes a run ready, as an annotation.
pub(super) fn held_mark(held: &Held) -> String {
    format!("{} {:.3}", held.by, held.since)
}

fn held(mark: &str, created_at: Timestamp) -> Held {
    let (by, since) = mark.rsplit_once(' ').unwrap_or((mark, ""));
    Held { by: by.to_owned(), since: since.parse().unwrap_or(created_at) }
}

#[cfg(test)]
mod tests;
