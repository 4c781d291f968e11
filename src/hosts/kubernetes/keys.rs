//! The labels and annotations that tell whose a Job is and what it is for. Labels are for selecting, and hold what
//! fits into a label; annotations hold the exact text.

use kube::api::PostParams;

pub(super) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub(super) const US: &str = "kubectl-ado";
pub(super) const COMPONENT: &str = "app.kubernetes.io/component";

/// Label: the whole id of the installation.
pub(super) const INSTALLATION: &str = "kubectl-ado/installation";
/// Label and annotation: the agent pool.
pub(super) const POOL: &str = "kubectl-ado/pool";
/// Label and annotation: the agent template.
pub(super) const TEMPLATE: &str = "kubectl-ado/template";
/// Label and annotation: the job request that the run was started for.
pub(super) const REQUEST: &str = "kubectl-ado/request";
/// Label: the warm slot that the run was started for.
pub(super) const SLOT: &str = "kubectl-ado/slot";
/// Label: counts the tries, from 1.
pub(super) const ATTEMPT: &str = "kubectl-ado/attempt";
/// Label: the fingerprint of what the run was made from.
pub(super) const REVISION: &str = "kubectl-ado/revision";
/// Annotation: the organization's URL.
pub(super) const ORGANIZATION: &str = "kubectl-ado/organization";
/// Annotation: the Lease of the orchestrators that started the run. Others of this installation find out by it whether
/// somebody still serves the run's pool.
pub(super) const LEASE: &str = "kubectl-ado/lease";
/// Annotation: the Secret that the agent's token is mounted from.
pub(super) const TOKEN_SECRET: &str = "kubectl-ado/token-secret";
/// Annotation: how the agent gets the right to work, where that is not the organization's token.
pub(super) const REGISTRATION: &str = "kubectl-ado/registration";
/// Annotation: who makes the run ready, and since when. Gone when it is.
pub(super) const HELD: &str = "kubectl-ado/held";
/// Annotation: set where `spec.suspend` of a run that is held is not ours to change.
pub(super) const OWN_SUSPEND: &str = "kubectl-ado/own-suspend";
/// Label of a pod: its agent has a job request.
pub(super) const BUSY: &str = "kubectl-ado/busy";
/// Annotation: set where `ttlSecondsAfterFinished` is ours to change.
pub(super) const MANAGED_TTL: &str = "kubectl-ado/managed-ttl";

/// Parameters of a create or update in our name, as `managedFields` shows it.
pub(super) fn as_us() -> PostParams {
    PostParams { field_manager: Some(US.to_owned()), ..PostParams::default() }
}
