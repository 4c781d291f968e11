//! What the cluster says to the real objects without keeping them. Access reviews know nothing of admission and of the rules
//! against escalation.

use serde_json::{Value, json};

use super::{
    super::cluster_flags::ClusterFlags,
    cluster::{ClusterTarget, check},
    objects,
    result::{Check, CheckResult},
};
use crate::{
    cluster::{Account, Cluster, ClusterError, ErrorKind, dry_run_apply, dry_run_create, dry_run_create_strictly},
    core::Code,
};

pub(super) async fn install_dry_run(target: &ClusterTarget<'_>, there: bool, results: &mut Vec<CheckResult>) {
    let tried = check("install-dry-run");
    if target.by_install {
        return;
    }
    let objects = objects::objects();
    let count = objects.len();
    if target.installed {
        results
            .push(tried.skipped("dry run of the install: it is there already; kubectl ado upgrade --dry-run=server"));
        return;
    }
    if !there {
        results.push(tried.skipped(format!("dry run of the {count} objects: their namespace does not exist yet")));
        return;
    }
    let mut refused: Vec<ClusterError> = Vec::new();
    for object in &objects {
        let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or(target.namespace);
        if let Err(error) = dry_run_apply(target.cluster, namespace, object).await {
            refused.push(error);
        }
    }
    results.push(match refused.first() {
        None => {
            tried.ok(format!("the cluster takes the {count} objects of an install")).evidence("server-side dry run")
        }
        Some(first) => {
            let result = tried.fail(
                Code::Forbidden,
                format!("the cluster refuses {} of the {count} objects of an install", refused.len()),
            );
            let result = result.evidence(&first.message);
            match &first.fix {
                Some(fix) => result.fix(fix),
                None => result.fix("change the rule that the message names, or have somebody with more rights install"),
            }
        }
    });
}

/// An agent's Job as the orchestrator, and its pod as the person: Jobs are taken that no pod can be made of.
pub(super) async fn job_dry_run(target: &ClusterTarget<'_>, there: bool, results: &mut Vec<CheckResult>) {
    let tried = check("job-dry-run");
    let job = match &target.job {
        Ok(job) => job,
        Err(why) => {
            results.push(tried.skipped(format!("dry run of an agent's Job: {why}")));
            return;
        }
    };
    if !there {
        results.push(tried.skipped("dry run of an agent's Job: its namespace does not exist yet"));
        return;
    }
    let namespace = target.agents_namespace;
    let (outcome, who) =
        try_job(target.cluster, target.flags, &target.account, target.is_settled(), namespace, job, Fields::Dropped)
            .await;
    results.push(match outcome {
        Ok(()) => tried.ok("the cluster takes an agent's Job").evidence(format!("server-side dry run {who}")),
        Err(error) => refused_job(tried, &error, &who),
    });
    let admitted = check("pod-dry-run");
    let template = &job["spec"]["template"];
    let mut metadata = template["metadata"].clone();
    if metadata.is_null() {
        metadata = json!({});
    }
    metadata["name"] = json!("kubectl-ado-check");
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]});
    results.push(match dry_run_create(target.cluster, namespace, &pod).await {
        Ok(()) => {
            admitted.ok("the cluster admits an agent's pod").evidence("Pod Security, quotas, limits; dry run as you")
        }
        Err(error) if error.message.contains("cannot create resource") => {
            admitted.info("whether the cluster admits an agent's pod is unknown").evidence("you may not create pods")
        }
        Err(error) if error.kind == ErrorKind::Quota => admitted
            .warn(Code::QuotaUsedUp, "a quota leaves no room for an agent's pod")
            .evidence(&error.message)
            .fix(format!("kubectl describe quota -n {namespace}, and raise it")),
        Err(error) => admitted
            .fail(Code::PodRefused, "the cluster refuses an agent's pod")
            .evidence(&error.message)
            .fix("change the Job template or the rule that the message names"),
    });
}

/// Has the API server try a Job as the orchestrator's account, else as the person, and says as whom.
pub(in crate::commands) async fn try_job(
    cluster: &Cluster,
    flags: &ClusterFlags,
    account: &Account,
    installed: bool,
    namespace: &str,
    job: &Value,
    fields: Fields,
) -> (Result<(), ClusterError>, String) {
    let mut why = "the account is not there yet";
    if installed && let Ok(other) = flags.open_as(account) {
        match fields.try_create(&other, namespace, job).await {
            Err(error) if error.message.contains("cannot impersonate") => {
                why = "you may not impersonate the orchestrator's account";
            }
            outcome => return (outcome, format!("as {}", account.user())),
        }
    }
    (fields.try_create(cluster, namespace, job).await, format!("as you; {why}"))
}

/// What becomes of fields that the API server does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::commands) enum Fields {
    /// They are dropped, as when the orchestrator creates the Job.
    Dropped,
    /// They are an error.
    Checked,
}

impl Fields {
    async fn try_create(self, cluster: &Cluster, namespace: &str, job: &Value) -> Result<(), ClusterError> {
        match self {
            Self::Dropped => dry_run_create(cluster, namespace, job).await,
            Self::Checked => dry_run_create_strictly(cluster, namespace, job).await,
        }
    }
}

fn refused_job(check: Check, error: &ClusterError, who: &str) -> CheckResult {
    let as_you = who.starts_with("as you");
    let evidence = format!("{}; dry run {who}", error.message);
    match error.kind {
        ErrorKind::Forbidden if error.message.contains("cannot create resource") && as_you => check
            .info("whether the cluster takes an agent's Job is unknown")
            .evidence(format!("you may not create Jobs; {who}")),
        ErrorKind::Forbidden if error.message.contains("cannot create resource") => check
            .fail(Code::OrchestratorForbidden, "the orchestrator's account may not create Jobs")
            .evidence(evidence)
            .fix("kubectl ado upgrade"),
        ErrorKind::Quota => check
            .warn(Code::QuotaUsedUp, "a quota leaves no room for an agent's Job")
            .evidence(evidence)
            .fix("kubectl describe quota shows it; raise it"),
        _ => check
            .fail(Code::TemplateRefused, "the cluster refuses an agent's Job")
            .evidence(evidence)
            .fix("kubectl ado template validate --server -f FILE shows where the Job template is wrong"),
    }
}
