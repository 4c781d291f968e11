//! What has changed between two looks, a line each: `status -w` where no terminal is.

use std::collections::BTreeSet;

use crate::{
    commands::{observed::InstallStatus, pools::state},
    output::harmless,
};

/// The lines of all that is new since `before`, or of everything where there was nothing before.
pub(super) fn changes(before: Option<&InstallStatus>, now: &InstallStatus) -> Vec<String> {
    let (old, new) = (before.map(lines).unwrap_or_default(), lines(now));
    let mut said: Vec<String> = new.iter().filter(|line| !old.contains(line)).cloned().collect();
    let (old, new) = (before.map(findings).unwrap_or_default(), findings(now));
    said.extend(new.difference(&old).map(|finding| format!("+ {finding}")));
    said.extend(old.difference(&new).map(|finding| format!("- {finding}")));
    said
}

fn lines(status: &InstallStatus) -> Vec<String> {
    let orchestrator = &status.orchestrator;
    let count = |number: Option<i32>| number.map_or("?".to_owned(), |number| number.to_string());
    let (ready, desired) = (count(orchestrator.ready), count(orchestrator.desired));
    let leader = orchestrator.leader.as_deref().unwrap_or("none");
    let mut lines = vec![format!("orchestrator: {ready}/{desired} ready, leader {leader}")];
    lines.extend(status.pools.iter().map(|pool| {
        let (name, state) = (harmless(&pool.name), state(status, pool));
        let (queued, starting, busy, idle) = (pool.queued, pool.starting, pool.busy, pool.idle);
        format!("pool {name}: {state} queued={queued} starting={starting} busy={busy} idle={idle}")
    }));
    lines
}

/// Without their messages, which count seconds.
fn findings(status: &InstallStatus) -> BTreeSet<String> {
    let line = |found: &crate::commands::observed::PlacedFinding| {
        let finding = &found.finding;
        let place = found.pool.as_ref().map(|pool| format!(" (pool {})", harmless(pool))).unwrap_or_default();
        format!("{} {} {}{place}", finding.severity, finding.code, finding.code.title())
    };
    status.findings.iter().map(line).collect()
}
