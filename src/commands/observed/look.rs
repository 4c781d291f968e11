//! From the flags to how the install stands, in at most six calls.

use jiff::Timestamp;

use super::{
    document::{InstallStatus, JobCounts},
    judge::judge,
};
use crate::{
    cluster::{Cluster, ErrorKind, Install, Observation, Section, find_installs, observe},
    commands::{
        Exit, Failure,
        cluster_flags::{Chosen, ClusterFlags, Found, one_of},
    },
    core::{Code, RunPhase},
    hosts::kubernetes::{agent_jobs, jobs_of_installation},
};

/// The most calls that one look makes.
const MOST_CALLS: usize = 6;

/// How the install stands to which the flags lead.
pub(in crate::commands) async fn look(flags: &ClusterFlags, cluster: &Cluster) -> Result<InstallStatus, Failure> {
    let before = cluster.calls();
    let (namespace, install) = find(flags, cluster).await?;
    let seen = observe(cluster, &namespace, install).await;
    Ok(judged(cluster, &seen, before).await)
}

/// How all installs of the cluster stand, for `-A`.
pub(in crate::commands) async fn look_everywhere(cluster: &Cluster) -> Result<Vec<InstallStatus>, Failure> {
    let mut all = Vec::new();
    for install in find_installs(cluster, None).await? {
        let namespace = install.namespace.clone();
        let before = cluster.calls();
        let seen = observe(cluster, &namespace, Ok(Some(install))).await;
        all.push(judged(cluster, &seen, before).await);
    }
    Ok(all)
}

/// Who may not list Deployments in the namespace that they named may still read the status there.
async fn find(flags: &ClusterFlags, cluster: &Cluster) -> Result<(String, Section<Option<Install>>), Failure> {
    let found = match flags.asked_namespace() {
        Some(namespace) => match find_installs(cluster, Some(&namespace)).await {
            Err(error) if error.kind == ErrorKind::Forbidden => return Ok((namespace, Err(error))),
            installs => one_of(installs?, namespace, Chosen::Asked)?,
        },
        None => flags.find(cluster).await?,
    };
    match found {
        Found { namespace, install: Some(install), .. } => Ok((namespace, Ok(Some(install)))),
        Found { namespace, install: None, chosen } => Err(not_installed(&namespace, chosen)),
    }
}

fn not_installed(namespace: &str, chosen: Chosen) -> Failure {
    let place = match chosen {
        Chosen::Asked => format!("in namespace \"{namespace}\""),
        Chosen::Found | Chosen::Default => "in any namespace".to_owned(),
    };
    Failure::new(
        Exit::Failed,
        format!("{} kubectl-ado is not installed {place}", Code::NotInstalled),
        Some("kubectl ado install, or name its namespace with -n".into()),
    )
}

/// Where the report cannot be believed, the Jobs are counted instead, if the calls suffice.
async fn judged(cluster: &Cluster, seen: &Observation, before: usize) -> InstallStatus {
    let mut status = judge(seen, env!("CARGO_PKG_VERSION"), Timestamp::now());
    let is_known = !status.stale && status.orchestrator.reported_at.is_some();
    if is_known || cluster.calls() - before + 2 > MOST_CALLS {
        return status;
    }
    let selector = jobs_of_installation(status.orchestrator.installation.as_deref());
    // Whoever may not list Jobs has been told enough already.
    if let Ok(found) = agent_jobs(cluster, &seen.agents_namespace, &selector).await {
        let mut counts = JobCounts::default();
        for job in found.jobs {
            match job.phase {
                RunPhase::Live => counts.live += 1,
                RunPhase::Succeeded(_) => counts.succeeded += 1,
                RunPhase::Failed(..) => counts.failed += 1,
            }
        }
        status.jobs = Some(counts);
    }
    status
}
