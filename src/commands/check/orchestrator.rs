//! The orchestrator: whether it runs, leads, polls, and goes by the configuration that is there.

use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::Deployment, coordination::v1::Lease, core::v1::Pod};
use kube::{Api, api::ListParams};

use super::{
    super::{
        installed::Installed,
        observed::{CLOCKS_DIFFER, versions_fix},
    },
    result::{Check, CheckResult, Section},
    status::is_stale,
};
use crate::{
    cluster::{Cluster, ClusterError, ErrorKind, INSTALL_LABELS, Install},
    config::ConfigErrors,
    core::{Code, Report},
};

fn check(name: &'static str) -> Check {
    Check(Section::Orchestrator, name)
}

/// That there is no install, or none that may be seen.
pub(super) fn missing(namespace: &str, error: Option<&ClusterError>) -> Vec<CheckResult> {
    let installed = check("installed");
    let first = match error {
        None => installed
            .fail(Code::NotInstalled, format!("kubectl-ado is not installed in namespace \"{namespace}\""))
            .fix("kubectl ado install, or name its namespace with -n; kubectl ado check --pre checks before an install"),
        Some(error) if error.kind == ErrorKind::Forbidden => installed
            .fail(Code::Forbidden, "whether kubectl-ado is installed may not be seen")
            .evidence(&error.message)
            .fix("have the Role that `kubectl ado permissions check -o yaml` prints given to you, and name the namespace with -n"),
        Some(error) => {
            let failed = installed.fail(Code::ClusterUnreachable, &error.message);
            failed.fix(error.fix.clone().unwrap_or_else(|| "see that kubectl works with the same kubeconfig".to_owned()))
        }
    };
    let rest = [("rollout", "rollout"), ("leader", "leader"), ("last-poll", "last poll"), ("config", "configuration")];
    let rest = rest.map(|(name, what)| check(name).skipped(format!("{what}: the install has to be found first")));
    std::iter::once(first).chain(rest).collect()
}

/// All checks of the orchestrator, in their order.
pub(super) async fn orchestrator(
    cluster: &Cluster,
    install: &Install,
    installed: &Result<(Installed, Option<ConfigErrors>), String>,
    report: &Result<Option<Report>, ClusterError>,
    now: Timestamp,
) -> Vec<CheckResult> {
    let name = install.deployment.metadata.name.clone().unwrap_or_default();
    let mut results = vec![
        check("installed")
            .ok(format!("kubectl-ado is installed in \"{}\"", install.namespace))
            .evidence(format!("Deployment {name}")),
    ];
    results.push(rollout(cluster, install).await);
    let known = report.as_ref().ok().and_then(Option::as_ref);
    results.push(leader(cluster, install, known, now).await);
    results.push(last_poll(report, now));
    results.push(configuration(installed, known));
    results.push(version(&install.deployment, known));
    results
}

async fn rollout(cluster: &Cluster, install: &Install) -> CheckResult {
    let rollout = check("rollout");
    let deployment = &install.deployment;
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    let (ready, updated) = (status.ready_replicas.unwrap_or(0), status.updated_replicas.unwrap_or(0));
    let seen = status.observed_generation >= deployment.metadata.generation;
    if wanted == 0 {
        let stopped = rollout.fail(Code::OrchestratorNotReady, "the Deployment is scaled to 0");
        return stopped.fix(format!("kubectl scale -n {} deployment/kubectl-ado --replicas=1", install.namespace));
    }
    if seen && ready >= wanted && updated >= wanted {
        return rollout.ok("the Deployment is rolled out").evidence(format!("{ready} of {wanted} ready"));
    }
    let why = why_not_ready(cluster, install).await.unwrap_or_else(|| "no pod says why".to_owned());
    let result = if ready > 0 {
        rollout.warn(Code::OrchestratorNotReady, format!("{ready} of {wanted} orchestrators are ready"))
    } else {
        rollout.fail(Code::OrchestratorNotReady, "no orchestrator is ready")
    };
    result.evidence(why).fix("kubectl ado logs shows what it says; kubectl describe pod shows what keeps it")
}

/// What the newest pod that is not ready says.
async fn why_not_ready(cluster: &Cluster, install: &Install) -> Option<String> {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &install.namespace);
    let what = format!("list the pods in namespace \"{}\"", install.namespace);
    let pods = match cluster.call(&what, api.list(&ListParams::default().labels(INSTALL_LABELS))).await {
        Ok(pods) => pods.items,
        Err(error) if error.kind == ErrorKind::Forbidden => return Some("you may not list its pods".to_owned()),
        Err(_) => return None,
    };
    let newest = pods.iter().max_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0))?;
    let status = newest.status.as_ref()?;
    let name = newest.metadata.name.as_deref().unwrap_or_default();
    for container in status.container_statuses.iter().flatten() {
        let state = container.state.as_ref();
        if let Some(waiting) = state.and_then(|state| state.waiting.as_ref()) {
            let reason = waiting.reason.as_deref().unwrap_or("Waiting");
            return Some(
                format!("pod {name}: {reason} {}", waiting.message.as_deref().unwrap_or_default())
                    .trim_end()
                    .to_owned(),
            );
        }
        let ended = state.and_then(|state| state.terminated.as_ref());
        if let Some(ended) = ended {
            return Some(format!("pod {name}: ended with {}", ended.exit_code));
        }
    }
    let condition = status.conditions.iter().flatten().find(|condition| condition.status == "False")?;
    let reason = condition.reason.as_deref().unwrap_or(&condition.type_);
    Some(format!("pod {name}: {reason} {}", condition.message.as_deref().unwrap_or_default()).trim_end().to_owned())
}

async fn leader(cluster: &Cluster, install: &Install, report: Option<&Report>, now: Timestamp) -> CheckResult {
    let leader = check("leader");
    let Some(name) = report.and_then(|report| report.orchestrator.lease.clone()) else {
        return leader.skipped("leader: no status names the Lease");
    };
    let namespace = &install.agents_namespace;
    let api: Api<Lease> = Api::namespaced(cluster.client.clone(), namespace);
    let what = format!("get the Lease \"{name}\" in namespace \"{namespace}\"");
    let lease = match cluster.call(&what, api.get(&name)).await {
        Ok(lease) => lease.spec.unwrap_or_default(),
        Err(error) if error.kind == ErrorKind::Forbidden => {
            return leader.info("who leads is unknown").evidence("you may not get the Lease");
        }
        Err(error) if error.kind == ErrorKind::NotFound => {
            return leader.fail(Code::NoLeader, "nobody leads").evidence("there is no Lease").fix("kubectl ado logs");
        }
        Err(error) => return leader.info("who leads is unknown").evidence(error.message),
    };
    let holder = lease.holder_identity.filter(|holder| !holder.is_empty());
    let term = i64::from(lease.lease_duration_seconds.unwrap_or(15));
    let age = lease.renew_time.map(|time| now.duration_since(time.0).as_secs());
    match (holder, age) {
        (Some(holder), Some(age)) if age <= term + CLOCKS_DIFFER.as_secs().cast_signed() => {
            leader.ok("an orchestrator leads").evidence(holder)
        }
        (Some(holder), Some(age)) => leader
            .fail(Code::NoLeader, "nobody leads")
            .evidence(format!("{holder} renewed the Lease {age} s ago, for {term} s"))
            .fix("kubectl ado logs shows what keeps the orchestrator"),
        _ => leader.fail(Code::NoLeader, "nobody leads").evidence("the Lease has no holder").fix("kubectl ado logs"),
    }
}

fn last_poll(report: &Result<Option<Report>, ClusterError>, now: Timestamp) -> CheckResult {
    let poll = check("last-poll");
    let report = match report {
        Ok(Some(report)) => report,
        Ok(None) => {
            return poll
                .fail(Code::StatusMissing, "the orchestrator has written no status")
                .fix("wait a minute after its start; then kubectl ado logs shows what keeps it");
        }
        Err(error) if error.kind == ErrorKind::Forbidden => {
            return poll.info("when it last polled is unknown").evidence("you may not list ConfigMaps");
        }
        Err(error) => return poll.info("when it last polled is unknown").evidence(&error.message),
    };
    let age = now.duration_since(report.reported_at).as_secs();
    if is_stale(report, now) {
        return poll
            .fail(Code::StatusStale, "the orchestrator's status is old")
            .evidence(format!("written {age} s ago"))
            .fix("kubectl ado logs shows what keeps it");
    }
    let oldest = report.pools.iter().map(|pool| pool.last_polled_at).min().flatten();
    let never: Vec<_> =
        report.pools.iter().filter(|pool| pool.last_polled_at.is_none()).map(|pool| pool.name.as_str()).collect();
    if !never.is_empty() {
        return poll
            .fail(Code::OrchestratorNotReady, "pools have not been polled with success")
            .evidence(never.join(", "))
            .fix("the azure-devops section says what is wrong; kubectl ado status too");
    }
    let ago = oldest.map(|oldest| format!("{} s ago", now.duration_since(oldest).as_secs().max(0))).unwrap_or_default();
    poll.ok("every pool was polled").evidence(ago)
}

fn configuration(
    installed: &Result<(Installed, Option<ConfigErrors>), String>,
    report: Option<&Report>,
) -> CheckResult {
    let config = check("config");
    let condition =
        report.and_then(|report| report.conditions.iter().find(|condition| condition.kind == "ConfigValid"));
    if let Some(condition) = condition.filter(|condition| condition.status == "False") {
        return config
            .fail(Code::ConfigRejected, "the orchestrator does not accept the changed configuration")
            .evidence(&condition.message)
            .fix("kubectl ado config view shows it with each mistake; kubectl ado config set PATH=VALUE mends it");
    }
    match installed {
        Ok((_, None)) if condition.is_some() => config.ok("the configuration is valid and in force"),
        Ok((_, None)) => config.ok("the configuration is valid"),
        Ok((_, Some(errors))) => {
            let first = errors.0.first().map(|error| error.message.clone()).unwrap_or_default();
            config
                .fail(Code::ConfigRejected, format!("the configuration has {} mistakes", errors.0.len()))
                .evidence(first)
                .fix("kubectl ado config view shows each of them; kubectl ado config set PATH=VALUE mends it")
        }
        Err(why) => config.info("whether the configuration is valid is unknown").evidence(why),
    }
}

fn version(deployment: &Deployment, report: Option<&Report>) -> CheckResult {
    let version = check("version");
    let labels = deployment.metadata.labels.clone().unwrap_or_default();
    let theirs = report.map(|report| report.orchestrator.version.clone());
    let theirs = theirs.or_else(|| labels.get("app.kubernetes.io/version").cloned());
    let ours = env!("CARGO_PKG_VERSION");
    match theirs {
        Some(theirs) if theirs == ours => version.ok("plugin and orchestrator have the same version").evidence(ours),
        Some(theirs) => CheckResult {
            code: Some(Code::VersionsDiffer),
            ..version.info(format!("plugin {ours}, orchestrator {theirs}")).fix(versions_fix(&theirs, ours))
        },
        None => version.info("the orchestrator's version is unknown"),
    }
}
