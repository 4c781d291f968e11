//! The cluster: what it is, what the person and the orchestrator's account may do, and whether it takes what an install
//! makes. Access reviews know nothing of admission and of the rules against escalation, so the objects are tried as well.

use futures::future::join_all;
use k8s_openapi::api::core::v1::{LimitRange, Namespace, ResourceQuota};
use kube::{Api, api::ListParams};
use serde_json::{Value, json};

use super::{
    super::cluster_flags::ClusterFlags,
    objects,
    result::{Check, CheckResult, Section},
};
use crate::{
    cluster::{
        Account, Cluster, ClusterError, Decision, ErrorKind, Right, dry_run_apply, dry_run_create, may_account, may_i,
    },
    core::Code,
};

/// The oldest minor version that is tested.
const OLDEST_MINOR: u32 = 28;

/// What is checked.
pub(in crate::commands) struct ClusterTarget<'a> {
    /// The cluster, as the person.
    pub(in crate::commands) cluster: &'a Cluster,
    /// The way to it, to go as somebody else.
    pub(in crate::commands) flags: &'a ClusterFlags,
    /// The install's namespace.
    pub(in crate::commands) namespace: &'a str,
    /// The agents' namespace.
    pub(in crate::commands) agents_namespace: &'a str,
    /// The orchestrator's account.
    pub(in crate::commands) account: Account,
    /// Whether that account is there already.
    pub(in crate::commands) installed: bool,
    /// What `install` would apply; those of `manifests/` where it is empty.
    pub(in crate::commands) objects: Vec<Value>,
    /// The Job of an agent, as it would be made; or why there is none.
    pub(in crate::commands) job: Result<Value, String>,
}

fn check(name: &'static str) -> Check {
    Check(Section::Cluster, name)
}

/// All checks of the cluster, in their order. The second value tells whether it answers at all.
pub(in crate::commands) async fn cluster(target: &ClusterTarget<'_>) -> (Vec<CheckResult>, bool) {
    let mut results = Vec::new();
    let version = check("version");
    let what = format!("reach the cluster {}", target.cluster.url);
    match target.cluster.call(&what, target.cluster.client.apiserver_version()).await {
        Ok(info) => {
            let minor: String = info.minor.chars().take_while(char::is_ascii_digit).collect();
            let old = minor.parse::<u32>().is_ok_and(|minor| info.major == "1" && minor < OLDEST_MINOR);
            let found = format!("the cluster answers: Kubernetes {}", info.git_version);
            results.push(if old {
                version.warn(Code::ClusterTooOld, found).fix("upgrade the cluster to 1.28 or later")
            } else {
                version.ok(found).evidence(&target.cluster.url)
            });
        }
        Err(error) => {
            let result = version.fail(Code::ClusterUnreachable, error.message);
            results.push(result.fix(error.fix.unwrap_or_else(|| {
                "see that `kubectl get namespaces` works with the same kubeconfig and context".to_owned()
            })));
            for (name, what) in [
                ("namespace", "namespaces"),
                ("rights", "what you may do"),
                ("orchestrator-rights", "what the orchestrator may do"),
                ("install-dry-run", "dry run of the install"),
                ("job-dry-run", "dry run of an agent's Job"),
                ("quota", "quotas"),
            ] {
                results.push(check(name).skipped(format!("{what}: the cluster has to answer first")));
            }
            return (results, false);
        }
    }
    let there = namespaces(target, &mut results).await;
    my_rights(target, &mut results).await;
    orchestrator_rights(target, &mut results).await;
    install_dry_run(target, there, &mut results).await;
    job_dry_run(target, there, &mut results).await;
    quotas(target, there, &mut results).await;
    (results, true)
}

/// Whether the namespaces are there, as far as it may be seen, and their Pod Security level.
async fn namespaces(target: &ClusterTarget<'_>, results: &mut Vec<CheckResult>) -> bool {
    let api: Api<Namespace> = Api::all(target.cluster.client.clone());
    let mut names = vec![target.namespace];
    names.extend((target.agents_namespace != target.namespace).then_some(target.agents_namespace));
    let mut all_there = true;
    for name in names {
        let exists = check("namespace");
        match target.cluster.call(&format!("get the namespace \"{name}\""), api.get(name)).await {
            Ok(namespace) => {
                let labels = namespace.metadata.labels.unwrap_or_default();
                let level = labels.get("pod-security.kubernetes.io/enforce").map(String::as_str);
                let level = level.unwrap_or("privileged (no label)");
                results.push(
                    exists.ok(format!("namespace \"{name}\" exists")).evidence(format!("Pod Security level {level}")),
                );
            }
            Err(error) if error.kind == ErrorKind::NotFound && !target.installed => {
                all_there = false;
                results.push(exists.info(format!("namespace \"{name}\" does not exist yet; install creates it")));
            }
            Err(error) if error.kind == ErrorKind::NotFound => {
                all_there = false;
                let missing = exists.fail(Code::NamespaceMissing, format!("namespace \"{name}\" does not exist"));
                results.push(missing.fix(format!("kubectl create namespace {name}")));
            }
            Err(error) if error.kind == ErrorKind::Forbidden => {
                let unknown = exists.info(format!("namespace \"{name}\": whether it exists and its Pod Security level are unknown"));
                results.push(unknown.evidence("you may not get it"));
            }
            Err(error) => results.push(troubled(exists, &error)),
        }
    }
    all_there
}

fn troubled(check: Check, error: &ClusterError) -> CheckResult {
    let code = match error.kind {
        ErrorKind::Forbidden => Code::Forbidden,
        ErrorKind::Quota => Code::QuotaUsedUp,
        _ => Code::ClusterUnreachable,
    };
    let result = check.fail(code, &error.message);
    match &error.fix {
        Some(fix) => result.fix(fix),
        None => result.fix(format!("kubectl ado explain {code}")),
    }
}

fn listed(rights: &[&Right]) -> String {
    rights.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

async fn my_rights(target: &ClusterTarget<'_>, results: &mut Vec<CheckResult>) {
    let mine = check("rights");
    let rights = objects::install_rights();
    let asked = join_all(rights.iter().map(|right| may_i(target.cluster, right, target.namespace))).await;
    if let Some(error) = asked.iter().find_map(|answer| answer.as_ref().err()) {
        results.push(mine.info("what you may do is unknown").evidence(&error.message));
        return;
    }
    let denied: Vec<&Right> =
        rights.iter().zip(&asked).filter(|(_, answer)| matches!(answer, Ok(Decision::Denied))).map(|(right, _)| right).collect();
    let namespace = target.namespace;
    if denied.is_empty() {
        results.push(mine.ok(format!("you may apply an install in \"{namespace}\"")).evidence("SelfSubjectAccessReview"));
    } else if target.installed {
        // Those who look after an install need not be able to make one.
        let missing = mine.info(format!("you may not apply an install or upgrade in \"{namespace}\""));
        results.push(missing.evidence(format!("denied: {}", listed(&denied))));
    } else {
        let missing = mine.fail(Code::Forbidden, format!("you may not apply an install in \"{namespace}\""));
        results.push(
            missing
                .evidence(format!("denied: {}", listed(&denied)))
                .fix("have the Role that `kubectl ado permissions install -o yaml` prints given to you, or be admin of the namespace"),
        );
    }
}

async fn orchestrator_rights(target: &ClusterTarget<'_>, results: &mut Vec<CheckResult>) {
    let theirs = check("orchestrator-rights");
    if !target.installed {
        results.push(theirs.skipped("what the orchestrator's account may do: it is not there yet"));
        return;
    }
    let rights = objects::orchestrator_rights();
    let namespace = target.agents_namespace;
    let asked = join_all(rights.iter().map(|right| may_account(target.cluster, &target.account, right, namespace))).await;
    let (asked, way) = match asked.iter().find_map(|answer| answer.as_ref().err()) {
        None => (asked, "SubjectAccessReview"),
        Some(_) => match target.flags.open_as(&target.account) {
            Ok(other) => {
                let asked = join_all(rights.iter().map(|right| may_i(&other, right, namespace))).await;
                (asked, "SelfSubjectAccessReview, impersonated")
            }
            Err(_) => (asked, "SubjectAccessReview"),
        },
    };
    if let Some(error) = asked.iter().find_map(|answer| answer.as_ref().err()) {
        let why = if error.kind == ErrorKind::Forbidden {
            "you may neither create subjectaccessreviews nor impersonate it"
        } else {
            error.message.as_str()
        };
        results.push(theirs.info("what the orchestrator's account may do is unknown").evidence(why));
        return;
    }
    let denied: Vec<&Right> =
        rights.iter().zip(&asked).filter(|(_, answer)| matches!(answer, Ok(Decision::Denied))).map(|(right, _)| right).collect();
    results.push(if denied.is_empty() {
        theirs.ok(format!("the orchestrator's account may do its work in \"{namespace}\"")).evidence(way)
    } else {
        theirs
            .fail(Code::OrchestratorForbidden, format!("the orchestrator's account lacks rights in \"{namespace}\""))
            .evidence(format!("denied: {}; {way}", listed(&denied)))
            .fix("kubectl ado upgrade")
    });
}

async fn install_dry_run(target: &ClusterTarget<'_>, there: bool, results: &mut Vec<CheckResult>) {
    let tried = check("install-dry-run");
    let objects = if target.objects.is_empty() { objects::objects() } else { target.objects.clone() };
    let count = objects.len();
    if target.installed {
        results.push(tried.skipped("dry run of the install: it is there already; kubectl ado upgrade --dry-run=server"));
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
        None => tried.ok(format!("the cluster takes the {count} objects of an install")).evidence("server-side dry run"),
        Some(first) => {
            let result = tried.fail(Code::Forbidden, format!("the cluster refuses {} of the {count} objects of an install", refused.len()));
            let result = result.evidence(&first.message);
            match &first.fix {
                Some(fix) => result.fix(fix),
                None => result.fix("change the rule that the message names, or have somebody with more rights install"),
            }
        }
    });
}

/// An agent's Job as the orchestrator, and its pod as the person: Jobs are taken that no pod can be made of.
async fn job_dry_run(target: &ClusterTarget<'_>, there: bool, results: &mut Vec<CheckResult>) {
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
        try_job(target.cluster, target.flags, &target.account, target.installed, namespace, job).await;
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
        Ok(()) => admitted.ok("the cluster admits an agent's pod").evidence("Pod Security, quotas, limits; dry run as you"),
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
) -> (Result<(), ClusterError>, String) {
    let mut why = "the account is not there yet";
    if installed && let Ok(other) = flags.open_as(account) {
        match dry_run_create(&other, namespace, job).await {
            Err(error) if error.message.contains("cannot impersonate") => {
                why = "you may not impersonate the orchestrator's account";
            }
            outcome => return (outcome, format!("as {}", account.user())),
        }
    }
    (dry_run_create(cluster, namespace, job).await, format!("as you; {why}"))
}

fn refused_job(check: Check, error: &ClusterError, who: &str) -> CheckResult {
    let as_you = who.starts_with("as you");
    let evidence = format!("{}; dry run {who}", error.message);
    match error.kind {
        ErrorKind::Forbidden if error.message.contains("cannot create resource") && as_you => {
            check.info("whether the cluster takes an agent's Job is unknown").evidence(format!("you may not create Jobs; {who}"))
        }
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

async fn quotas(target: &ClusterTarget<'_>, there: bool, results: &mut Vec<CheckResult>) {
    let quota = check("quota");
    let namespace = target.agents_namespace;
    if !there {
        results.push(quota.skipped("quotas: the namespace does not exist yet"));
        return;
    }
    let quotas: Api<ResourceQuota> = Api::namespaced(target.cluster.client.clone(), namespace);
    let what = format!("list the ResourceQuotas in namespace \"{namespace}\"");
    let found = match target.cluster.call(&what, quotas.list(&ListParams::default())).await {
        Ok(found) => found.items,
        Err(error) => {
            let why = if error.kind == ErrorKind::Forbidden { "you may not list them" } else { error.message.as_str() };
            results.push(quota.info(format!("the quotas of \"{namespace}\" are unknown")).evidence(why));
            return;
        }
    };
    let mut shown = Vec::new();
    let mut used_up = Vec::new();
    for one in &found {
        let status = one.status.as_ref();
        let hard = status.and_then(|status| status.hard.clone()).unwrap_or_default();
        let used = status.and_then(|status| status.used.clone()).unwrap_or_default();
        for (resource, hard) in hard {
            let used = used.get(&resource).map_or("0", |used| used.0.as_str());
            let line = format!("{resource} {used} of {}", hard.0);
            if used == hard.0 && hard.0 != "0" {
                used_up.push(line.clone());
            }
            shown.push(line);
        }
    }
    let limits: Api<LimitRange> = Api::namespaced(target.cluster.client.clone(), namespace);
    let what = format!("list the LimitRanges in namespace \"{namespace}\"");
    if let Ok(limits) = target.cluster.call(&what, limits.list(&ListParams::default())).await {
        shown.extend(limits.items.iter().filter_map(|limit| Some(format!("limit range {}", limit.metadata.name.as_deref()?))));
    }
    results.push(if !used_up.is_empty() {
        let full = quota.warn(Code::QuotaUsedUp, format!("a quota of \"{namespace}\" is used up"));
        full.evidence(used_up.join(", ")).fix(format!("kubectl describe quota -n {namespace}, and raise it"))
    } else if shown.is_empty() {
        quota.ok(format!("no quota limits the agents in \"{namespace}\""))
    } else {
        quota.ok(format!("the quotas of \"{namespace}\" leave room")).evidence(shown.join(", "))
    });
}
