//! How it stands, for people: two lines of heads, the pools, and what is wrong with the line that mends it.

use jiff::Timestamp;

use crate::{
    commands::{
        observed::{InstallStatus, since},
        pools::state,
    },
    core::{PoolReport, Severity},
    output::{Level, Paint, age, aligned, finding, harmless, side_by_side},
};

/// All of it.
pub(super) fn view(
    status: &InstallStatus,
    is_wide: bool,
    now: Timestamp,
    paint: Paint,
    columns: Option<usize>,
) -> String {
    let mut text = heads(status, is_wide, now, paint, columns);
    if !status.pools.is_empty() {
        text.push('\n');
        text.push_str(&pools(status, is_wide, now));
    }
    if !status.findings.is_empty() {
        text.push('\n');
        text.push_str(&finding_lines(status, paint, columns));
    }
    text
}

const INDENT: usize = 15;

fn head(name: &str, parts: &[String], paint: Paint, columns: Option<usize>) -> String {
    let mut all = vec![format!("{name:<12}")];
    all.extend(parts.iter().map(|part| harmless(part)));
    let line = side_by_side(&all, INDENT, columns);
    format!("{}{}\n", paint.bold(name), line.strip_prefix(name).unwrap_or(&line))
}

fn heads(status: &InstallStatus, is_wide: bool, now: Timestamp, paint: Paint, columns: Option<usize>) -> String {
    let orchestrator = &status.orchestrator;
    let ago = |moment: Timestamp| format!("{} ago", age(since(moment, now)));
    let name = orchestrator.deployment.as_deref().unwrap_or("<unknown>");
    let mut parts = if status.in_cluster() {
        vec![format!("{}/{name}", status.namespace)]
    } else {
        vec![format!("host {}", orchestrator.host.as_deref().unwrap_or_default())]
    };
    if let (Some(ready), Some(desired)) = (orchestrator.ready, orchestrator.desired) {
        parts.push(format!("{ready}/{desired} ready"));
    }
    parts.extend(orchestrator.version.as_ref().map(|version| format!("v{}", version.trim_start_matches('v'))));
    let leader = orchestrator.leader.as_deref().unwrap_or("<unknown>");
    parts.push(if status.in_cluster() { format!("leader {leader}") } else { format!("on {leader}") });
    parts.push(match orchestrator.last_polled_at {
        Some(polled) => format!("last poll {}", ago(polled)),
        None => "no poll yet".to_owned(),
    });
    if status.stale {
        parts.push(match orchestrator.reported_at {
            Some(reported) => format!("STALE: status of {}", ago(reported)),
            None => "STALE".to_owned(),
        });
    }
    let mut text = head("Orchestrator", &parts, paint, columns);
    if let Some(organization) = &status.organization {
        let mut parts = vec![organization.url.clone()];
        for (kind, good, bad) in
            [("Connected", "connected", "not connected"), ("Authorized", "token ok", "token not accepted")]
        {
            let condition = status.conditions.iter().find(|condition| condition.kind == kind);
            let words = condition.and_then(|condition| match condition.status.as_str() {
                "True" => Some(good.to_owned()),
                "False" => Some(format!("{bad} ({})", condition.reason)),
                _ => None,
            });
            parts.extend(words);
        }
        text.push_str(&head("Azure DevOps", &parts, paint, columns));
    }
    if let Some(jobs) = status.jobs {
        let counts = format!(
            "{} live, {} succeeded, {} failed, in {}",
            jobs.live, jobs.succeeded, jobs.failed, status.agents_namespace
        );
        text.push_str(&head("Agent Jobs", &[counts], paint, columns));
    }
    if is_wide {
        text.push_str(&wide_heads(status, now, paint, columns));
    }
    text
}

fn wide_heads(status: &InstallStatus, now: Timestamp, paint: Paint, columns: Option<usize>) -> String {
    let orchestrator = &status.orchestrator;
    let mut parts: Vec<String> = Vec::new();
    parts.extend(orchestrator.image.as_ref().map(|image| format!("image {image}")));
    parts.extend(orchestrator.installation.as_ref().map(|id| format!("installation {id}")));
    parts.extend(orchestrator.lease.as_ref().map(|lease| format!("lease {lease}")));
    parts.extend(orchestrator.started_at.map(|started| format!("up {}", age(since(started, now)))));
    if status.in_cluster() {
        parts.push(format!("agents in {}", status.agents_namespace));
    }
    let mut text = head("Details", &parts, paint, columns);
    let conditions: Vec<String> =
        status.conditions.iter().map(|condition| format!("{}={}", condition.kind, condition.status)).collect();
    if !conditions.is_empty() {
        text.push_str(&head("Conditions", &conditions, paint, columns));
    }
    text
}

fn pools(status: &InstallStatus, is_wide: bool, now: Timestamp) -> String {
    let mut head: Vec<_> =
        ["POOL", "QUEUED", "OLDEST", "STARTING", "BUSY", "IDLE", "OFFLINE", "MIN", "MAX", "STATE"].into();
    if is_wide {
        head.extend(["TEMPLATES", "POLLED"]);
    }
    let head = head.into_iter().map(str::to_owned).collect();
    aligned(std::iter::once(head).chain(status.pools.iter().map(|pool| row(status, pool, is_wide, now))))
}

fn row(status: &InstallStatus, pool: &PoolReport, is_wide: bool, now: Timestamp) -> Vec<String> {
    let ago = |moment: Timestamp| age(since(moment, now));
    let mut cells = vec![
        harmless(&pool.name),
        pool.queued.to_string(),
        pool.oldest_queued_at.map_or("<none>".to_owned(), ago),
        pool.starting.to_string(),
        pool.busy.to_string(),
        pool.idle.to_string(),
        pool.offline.map_or("<unknown>".to_owned(), |count| count.to_string()),
        pool.min.to_string(),
        pool.max.map_or("<none>".to_owned(), |max| max.to_string()),
        state(status, pool),
    ];
    if is_wide {
        let template = |template: &crate::core::TemplateReport| match template.max {
            Some(max) => format!("{}={}/{max}", harmless(&template.name), template.live),
            None => format!("{}={}", harmless(&template.name), template.live),
        };
        cells.push(pool.templates.iter().map(template).collect::<Vec<_>>().join(","));
        cells.push(pool.last_polled_at.map_or("<never>".to_owned(), ago));
    }
    cells
}

/// The findings, the worst first, each with the pool that it concerns.
fn finding_lines(status: &InstallStatus, paint: Paint, columns: Option<usize>) -> String {
    let line = |found: &crate::commands::observed::PlacedFinding| {
        let of = &found.finding;
        let level = match of.severity {
            Severity::Info => Level::Info,
            Severity::Warning => Level::Warning,
            Severity::Error => Level::Error,
        };
        let message = match &found.pool {
            Some(pool) if !of.message.contains(pool.as_str()) => format!("pool {pool}: {}", of.message),
            Some(_) | None => of.message.clone(),
        };
        finding(level, &of.code.to_string(), &message, of.fix.as_deref(), paint, columns)
    };
    status.findings.iter().map(line).collect()
}
