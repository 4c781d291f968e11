//! The cluster: what it is, its namespaces and quotas; [`super::rights`] and [`super::dry_runs`] say what may be done in it.

use k8s_openapi::api::core::v1::{LimitRange, Namespace, ResourceQuota};
use kube::{Api, api::ListParams};
use serde_json::Value;

use super::{
    super::cluster_flags::ClusterFlags,
    dry_runs::{install_dry_run, job_dry_run},
    result::{Check, CheckResult, Section},
    rights::{my_rights, orchestrator_rights},
};
use crate::{
    cluster::{Account, Cluster, ClusterError, ErrorKind},
    core::{Code, clock_skew},
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
    /// Whether `install` asks: it tries its own objects, and makes the account and what goes along with a Job template.
    pub(in crate::commands) by_install: bool,
    /// The Job of an agent, as it would be made; or why there is none.
    pub(in crate::commands) job: Result<Value, String>,
}

impl ClusterTarget<'_> {
    /// Whether the namespaces and the account have to be there by now.
    pub(super) fn is_settled(&self) -> bool {
        self.installed && !self.by_install
    }
}

pub(super) fn check(name: &'static str) -> Check {
    Check(Section::Cluster, name)
}

/// That there is no cluster to check.
pub(super) fn none(message: &str, fix: Option<&str>) -> CheckResult {
    let result = check("version").fail(Code::ClusterUnreachable, message);
    result.fix(fix.unwrap_or("name a kubeconfig with --kubeconfig or in KUBECONFIG"))
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
    let skew = target
        .cluster
        .clock
        .ahead()
        .and_then(|ahead| clock_skew("this machine", None, Some(("the API server", ahead))));
    if let Some(skew) = skew {
        results.push(check("clock").warn(skew.code, skew.message).fix(skew.fix.unwrap_or_default()));
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
            Err(error) if error.kind == ErrorKind::NotFound && !target.is_settled() => {
                all_there = false;
                results.push(exists.info(format!("namespace \"{name}\" does not exist yet; install creates it")));
            }
            Err(error) if error.kind == ErrorKind::NotFound => {
                all_there = false;
                let missing = exists.fail(Code::NamespaceMissing, format!("namespace \"{name}\" does not exist"));
                results.push(missing.fix(format!("kubectl create namespace {name}")));
            }
            Err(error) if error.kind == ErrorKind::Forbidden => {
                let unknown = exists
                    .info(format!("namespace \"{name}\": whether it exists and its Pod Security level are unknown"));
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
        shown.extend(
            limits.items.iter().filter_map(|limit| Some(format!("limit range {}", limit.metadata.name.as_deref()?))),
        );
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
