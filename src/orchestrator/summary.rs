//! The status document, put together from what is on the board, with a condition for each aspect.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use super::board::{Known, Seen};
use crate::core::{
    API_VERSION, Code, Condition, Finding, HostKind, Policy, PoolReport, PoolState, PoolView, Remains, Report, cap,
    pool_report, run_reports,
};

/// The most job requests and agents in a report.
const MOST_REQUESTS: usize = 200;
const MOST_AGENTS: usize = 300;

/// A ConfigMap takes a megabyte; half of it leaves room for whatever stands around it.
const LARGEST: usize = 512 * 1024;

/// What happened and is over is told of for so long.
const LATELY: Duration = Duration::from_secs(600);

/// When each condition last changed, with what it changed to.
pub(super) type Transitions = BTreeMap<String, (String, Timestamp)>;

/// The status at a moment.
pub(super) fn report(known: &mut Known, policy: &Policy, now: Timestamp) -> Report {
    let mut pools: Vec<PoolReport> = Vec::new();
    for pool in &policy.pools {
        let seen = known.pools.entry(pool.name.clone()).or_default();
        let Seen { observed, agents, polled_at, failure, registration, delays, replaced, refusals, never_came, since } =
            seen;
        let lately =
            never_came.iter().chain(&*replaced).filter(|(_, at)| now < *at + LATELY).map(|(finding, _)| finding);
        let mut troubles: Vec<Finding> = registration.values().chain(&*delays).chain(lately).cloned().collect();
        // The same refusal of several kinds of changes is told once.
        let mut told = std::collections::HashSet::new();
        troubles.retain(|finding| told.insert((finding.code, finding.message.clone())));
        let view = PoolView {
            policy,
            host: known.facts.host,
            pool,
            observed: observed.as_ref().map(|(snapshot, plan)| (snapshot, plan)),
            agents: agents.as_deref(),
            polled_at: *polled_at,
            failure: failure.as_ref(),
            troubles: &troubles,
            refusals,
        };
        let mut report = pool_report(view, since, now);
        // Its counts are those of before: what the host does not tell, nobody can plan by.
        if known.host.is_some() && !matches!(report.state, PoolState::Unknown | PoolState::Paused) {
            report.state = PoolState::Degraded;
        }
        if known.facts.host != HostKind::Kubernetes
            && let Some((snapshot, _)) = observed
        {
            report.runs = run_reports(&snapshot.runs);
        }
        pools.push(report);
    }
    cap(&mut pools, MOST_REQUESTS, MOST_AGENTS);

    let of_all = [&known.host, &known.config, &known.control, &known.trial, &known.clocks, &known.tidying];
    let mut findings: Vec<Finding> = of_all.into_iter().flatten().cloned().collect();
    for finding in &mut findings {
        finding.since = Some(known.since.when(finding.code, &finding.message, now));
    }
    known.since.forget(now);
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));

    let conditions = conditions(known, policy, now);
    let report = Report {
        api_version: API_VERSION.to_owned(),
        kind: "Status".to_owned(),
        reported_at: now,
        orchestrator: known.facts.orchestrator.clone(),
        organization: known.facts.organization.clone(),
        conditions,
        findings,
        pools,
    };
    fitting(report)
}

/// Cut until it fits.
fn fitting(mut report: Report) -> Report {
    let (mut requests, mut agents) = (MOST_REQUESTS, MOST_AGENTS);
    while (requests > 0 || agents > 0) && serde_json::to_vec(&report).is_ok_and(|json| json.len() > LARGEST) {
        (requests, agents) = (requests / 2, agents / 2);
        cap(&mut report.pools, requests, agents);
    }
    report
}

/// One aspect: its status, a word and a sentence.
struct Aspect {
    kind: &'static str,
    status: Option<bool>,
    reason: &'static str,
    message: String,
}

impl Aspect {
    fn of(kind: &'static str, finding: Option<&Finding>, known: bool) -> Self {
        match finding {
            Some(finding) => {
                Self { kind, status: Some(false), reason: finding.code.reason(), message: finding.message.clone() }
            }
            None if known => Self { kind, status: Some(true), reason: "Works", message: String::new() },
            None => Self { kind, status: None, reason: "NotYetKnown", message: String::new() },
        }
    }
}

fn conditions(known: &mut Known, policy: &Policy, now: Timestamp) -> Vec<Condition> {
    let failures: Vec<&Finding> = known.pools.values().filter_map(|seen| seen.failure.as_ref()).collect();
    let first = |codes: &[Code]| failures.iter().copied().find(|finding| codes.contains(&finding.code));
    let works = |seen: &Seen| seen.failure.is_none() && seen.polled_at.is_some();
    let any_works = known.pools.values().any(works);
    let all_work = known.pools.values().all(works);
    // A pool that is not found, and a call that is one too many, were answered by somebody who knows the token.
    let answered = any_works || first(&[Code::PoolNotFound, Code::PoolIsHosted, Code::TokenLacksRights]).is_some();
    let heard = answered || first(&[Code::TokenRejected, Code::Throttled]).is_some();
    let aspects = [
        Aspect::of("Connected", first(&[Code::Unreachable, Code::OrganizationNotFound, Code::ServiceFailing]), heard),
        Aspect::of("Authorized", first(&[Code::TokenRejected, Code::TokenLacksRights]), answered),
        Aspect::of("PoolsFound", first(&[Code::PoolNotFound, Code::PoolIsHosted]), all_work),
        Aspect::of("HostReady", known.host.as_ref(), known.host_asked),
    ];
    let wrong = aspects.iter().find(|aspect| aspect.status == Some(false));
    let ready = match (wrong, failures.first()) {
        (Some(wrong), _) => {
            Aspect { kind: "Ready", status: Some(false), reason: wrong.reason, message: wrong.message.clone() }
        }
        (None, failure) => Aspect::of("Ready", failure.copied(), all_work && known.host_asked),
    };
    let config = Aspect::of("ConfigValid", known.config.as_ref(), true);
    let retired = policy.retire.then(|| retired(known, policy));
    let aspects: Vec<Aspect> = [ready].into_iter().chain(aspects).chain([config]).chain(retired).collect();
    aspects.into_iter().map(|aspect| condition(&mut known.transitions, aspect, now)).collect()
}

fn condition(transitions: &mut Transitions, aspect: Aspect, now: Timestamp) -> Condition {
    let Aspect { kind, status, reason, message } = aspect;
    let status = match status {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let (last, since) = transitions.entry(kind.to_owned()).or_insert_with(|| (status.to_owned(), now));
    if last != status {
        (*last, *since) = (status.to_owned(), now);
    }
    Condition {
        kind: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: *since,
    }
}

/// Whether all of ours is gone; what remains until then.
fn retired(known: &Known, policy: &Policy) -> Aspect {
    let mut left = Vec::new();
    for (name, seen) in &known.pools {
        let (Some((snapshot, _)), Some(agents), None) = (&seen.observed, &seen.agents, &seen.failure) else {
            left.push(format!("{name}: not looked at"));
            continue;
        };
        let remains = Remains::of(&policy.installation, &snapshot.runs, agents);
        if !remains.is_nothing() {
            left.push(format!("{name}: {remains}"));
        }
    }
    let done = left.is_empty();
    let reason = if done { "NothingLeft" } else { "SomethingLeft" };
    Aspect { kind: "Retired", status: Some(done), reason, message: left.join("; ") }
}

#[cfg(test)]
mod tests;
