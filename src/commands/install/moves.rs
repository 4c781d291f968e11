//! A change of the agents' namespace, of the organization or of the installation's id makes another installation of an
//! install, which knows nothing of what the former one made.

use serde_json::Value;

use super::{
    super::{
        Exit, Failure,
        uninstall::{Registered, is_live, of_installation, registered, statuses},
    },
    existing::Existing,
    plan::{self, Plan},
    say,
};
use crate::{
    cluster::{Cluster, ClusterError, ErrorKind, NAME, ObjectRef, applied_by_us, namespace_object},
    core::Installation,
};

/// Refuses while agents of the former installation work, and names what stays of it.
pub(super) async fn wind_up(cluster: &Cluster, existing: &Existing, plan: &Plan) -> Result<(), Failure> {
    let Some(install) = &existing.install else { return Ok(()) };
    let (namespace, former) = (&existing.namespace, &install.agents_namespace);
    let ours = plan.config.organization.url.trim_end_matches('/');
    let mut moved: Vec<String> = Vec::new();
    if *former != plan.agents_namespace {
        moved.push(format!("the agents' namespace changes from {former} to {}", plan.agents_namespace));
    }
    let is_other_id = existing.installation_id() != plan.config.installation_id;
    if is_other_id {
        moved.push("the installation's id changes".to_owned());
    }
    // The installation is the same one where its organization alone changes: its objects are found later, too.
    let leaves_objects = !moved.is_empty();
    if let Some(theirs) = existing.organization().filter(|theirs| !theirs.eq_ignore_ascii_case(ours)) {
        moved.push(format!("the organization changes from {theirs} to {ours}"));
    }
    if moved.is_empty() {
        return Ok(());
    }
    let moved = moved.join(", and ");
    let installation = match existing.installation_id() {
        Some(id) => Some(Installation::new(id)),
        None => of_namespace(cluster, former).await?,
    };
    let id = installation.as_ref().map(Installation::id);
    let jobs = match cluster.list("batch/v1", "Job", former, &of_installation(id)).await {
        Err(error) if error.kind == ErrorKind::Forbidden => {
            say(format!("warning: {moved}; what the install had before cannot be seen, and stays: {error}"));
            return Ok(());
        }
        jobs => jobs?,
    };
    let live = jobs.iter().filter(|job| is_live(job)).count();
    if live > 0 {
        let message = format!("{moved}, and {live} agents of before still work: nothing was changed");
        let fix = format!("kubectl ado uninstall -n {namespace} --drain winds them up; then install anew");
        return Err(Failure::new(Exit::Failed, message, Some(fix)));
    }
    say(format!("warning: {moved}; what the install had before stays:"));
    for Registered { organization, pool, agent, .. } in registered(&statuses(cluster, former, id).await?) {
        say(format!("  the agent {agent} of the agent pool \"{pool}\" of {organization}"));
    }
    let left = objects(cluster, former, installation.as_ref()).await?;
    // Those of the same installation are in use, or `uninstall` finds them later.
    let named = left.iter().filter(|reference| leaves_objects || reference.kind == "Secret");
    named.for_each(|reference| say(format!("  {}", reference.long())));
    if leaves_objects && !left.is_empty() {
        let names: Vec<String> = left.iter().map(ToString::to_string).collect();
        say(format!("fix: kubectl -n {former} delete {}", names.join(" ")));
    }
    if *former != plan.agents_namespace {
        of_templates(cluster, former, plan).await?;
    }
    say(format!(
        "fix: kubectl ado uninstall -n {namespace} before the change removes all of it, the agents in Azure DevOps included"
    ));
    Ok(())
}

/// Names what went along with a Job template into the former namespace. A Secret of a template is applied with it and not
/// stored, so that it is not in the new namespace until the template is given again.
async fn of_templates(cluster: &Cluster, former: &str, plan: &Plan) -> Result<(), ClusterError> {
    let new = &plan.agents_namespace;
    for kind in ["Secret", "ConfigMap"] {
        let found = match cluster.list("v1", kind, former, "").await {
            Err(error) if error.kind == ErrorKind::Forbidden => {
                say(format!("  what went along with Job templates, which cannot be seen: {error}"));
                continue;
            }
            found => found?,
        };
        let is_theirs = |object: &&Value| {
            let labels = &object["metadata"]["labels"];
            let is_ours = plan::is_ours(object) || labels["app.kubernetes.io/managed-by"] == NAME;
            applied_by_us(object) && !is_ours
        };
        for reference in found.iter().filter(is_theirs).map(ObjectRef::of) {
            let is_new = plan.objects.iter().map(ObjectRef::of).any(|it| it.name == reference.name && it.kind == kind);
            let lacks = if is_new || kind != "Secret" {
                String::new()
            } else {
                format!(": it is not in namespace \"{new}\" until --template gives the Job template again")
            };
            say(format!("  {} of a Job template{lacks}", reference.long()));
        }
    }
    Ok(())
}

/// The installation whose agents live there; `None` where the namespace may not be looked at.
async fn of_namespace(cluster: &Cluster, name: &str) -> Result<Option<Installation>, ClusterError> {
    match cluster.get(&ObjectRef::of(&namespace_object(name))).await {
        Ok(found) => Ok(found.and_then(|it| Some(Installation::of_namespace(it["metadata"]["uid"].as_str()?)))),
        Err(error) if error.kind == ErrorKind::Forbidden => Ok(None),
        Err(error) => Err(error),
    }
}

/// What an orchestrator of this installation made for itself and for its agents.
async fn objects(
    cluster: &Cluster,
    namespace: &str,
    installation: Option<&Installation>,
) -> Result<Vec<ObjectRef>, ClusterError> {
    let made = of_installation(installation.map(Installation::id));
    let kept = format!("app.kubernetes.io/part-of={NAME}");
    let mut found: Vec<ObjectRef> = Vec::new();
    for (api_version, kind) in [("v1", "Secret"), ("v1", "ConfigMap")] {
        found.extend(cluster.list(api_version, kind, namespace, &made).await?.iter().map(ObjectRef::of));
    }
    // The Lease, the status and the control document are known by their names.
    let start = installation.map(|installation| format!("{NAME}-{}-", installation.short()));
    for (api_version, kind) in [("v1", "ConfigMap"), ("coordination.k8s.io/v1", "Lease")] {
        let listed = cluster.list(api_version, kind, namespace, &kept).await?;
        let ours = listed.iter().map(ObjectRef::of).filter(|reference| match &start {
            Some(start) => reference.name.starts_with(start),
            None => kind == "Lease" || reference.name.ends_with("-status") || reference.name.ends_with("-control"),
        });
        found.extend(ours);
    }
    Ok(found)
}
