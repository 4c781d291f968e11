//! Has the orchestrator tidy up in Azure DevOps: it alone holds the token and knows which agents are ours.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    super::{Exit, Failure},
    belongings::Belongings,
    remove, say,
};
use crate::cluster::{Cluster, change_control, read_reports};

/// Between two looks.
const AGAIN: Duration = Duration::from_millis(500);

/// How long an orchestrator that is asked to retire may keep agents that were ended by force: Azure DevOps holds on to
/// their registrations for some minutes, and nobody waits for that.
const BY_FORCE: Duration = Duration::from_secs(30);

/// Asks all orchestrators of the install to retire and waits until they have. What stays registered is the answer, each
/// with the way to remove it.
pub(super) async fn retire(
    cluster: &Cluster,
    ours: &Belongings,
    force: bool,
    timeout: Duration,
) -> Result<Vec<(String, Option<String>)>, Failure> {
    if !ours.speaks() {
        let why = if ours.alive { "has not reported for a while" } else { "does not run" };
        say(format!("the orchestrator {why} and cannot remove its agents from Azure DevOps"));
        return Ok(left(ours));
    }
    for lease in &ours.leases {
        change_control(cluster, &ours.agents_namespace, lease, false, |control| control.retire = true).await?;
    }
    if force {
        remove::live_jobs(cluster, ours).await?;
    }
    say("the orchestrator takes back its agents and placeholders");
    let deadline = Instant::now() + if force { timeout.min(BY_FORCE) } else { timeout };
    let mut told = None;
    loop {
        let mut latest = read_reports(cluster, &ours.agents_namespace).await?;
        latest.retain(|reported| ours.reports.iter().any(|known| known.name == reported.name));
        let retired = |reported: &crate::cluster::Reported| {
            let conditions = &reported.report.conditions;
            conditions.iter().any(|condition| condition.kind == "Retired" && condition.status == "True")
        };
        // A report that is gone says nothing.
        if latest.len() == ours.reports.len() && latest.iter().all(retired) {
            return Ok(Vec::new());
        }
        let pools = || latest.iter().flat_map(|reported| &reported.report.pools);
        let busy: u32 = pools().map(|pool| pool.busy).sum();
        if told != Some(busy) && busy > 0 {
            say(format!("waiting for {busy} agents that are at work"));
        }
        told = Some(busy);
        if Instant::now() >= deadline {
            let still = Belongings { reports: latest, ..ours.clone() };
            if force {
                return Ok(left(&still));
            }
            for lease in &ours.leases {
                change_control(cluster, &ours.agents_namespace, lease, false, |control| control.retire = false).await?;
            }
            let message = match busy {
                0 => format!(
                    "the orchestrator has not removed its agents within {} s; nothing was deleted",
                    timeout.as_secs()
                ),
                busy => format!("{busy} agents are still at work after {} s; nothing was deleted", timeout.as_secs()),
            };
            let fix = "a longer --timeout, or --force".to_owned();
            return Err(Failure::new(Exit::TimedOut, message, Some(fix)));
        }
        sleep(AGAIN).await;
    }
}

/// What stays in Azure DevOps.
fn left(ours: &Belongings) -> Vec<(String, Option<String>)> {
    let registered = ours.registered();
    if registered.is_empty() && ours.reports.is_empty() {
        let message = "agents of this install may still be registered in Azure DevOps: no report tells which";
        let fix = "Organization settings > Agent pools > the pool > Agents: delete the offline ones whose names this install gave";
        return vec![(message.to_owned(), Some(fix.to_owned()))];
    }
    let line = |(pool, agent): (String, String)| {
        let fix = format!("Organization settings > Agent pools > {pool} > Agents > {agent}: delete it");
        (format!("the agent {agent} stays registered in the agent pool \"{pool}\""), Some(fix))
    };
    registered.into_iter().map(line).collect()
}
