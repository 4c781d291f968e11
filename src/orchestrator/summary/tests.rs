//! Conditions and the size of the document.

use super::*;
use crate::{
    core::{Counts, Demand, JobRequest, PoolPlan, PoolSnapshot, RequestId, Stage, Verdict},
    orchestrator::fixtures::policy,
};

fn now(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn works(known: &mut Known, pool: &str) {
    let snapshot = PoolSnapshot { pool: pool.into(), runs: Vec::new(), requests: Vec::new(), agents: Some(Vec::new()) };
    let plan = PoolPlan {
        pool: pool.into(),
        counts: Counts::default(),
        verdicts: Vec::new(),
        busy: Vec::new(),
        unfilled: Vec::new(),
    };
    known.host_asked = true;
    let seen = known.pools.entry(pool.to_owned()).or_default();
    (seen.observed, seen.agents, seen.polled_at) = (Some((snapshot, plan)), Some(Vec::new()), Some(now(0)));
    seen.failure = None;
}

fn fails(known: &mut Known, pool: &str, code: Code) {
    known.host_asked = true;
    known.pools.entry(pool.to_owned()).or_default().failure = Some(Finding::new(code, "why", None));
}

/// Ready, Connected, Authorized, PoolsFound, HostReady, ConfigValid by their first letters.
fn letters(report: &Report) -> String {
    report.conditions.iter().map(|condition| &condition.status[..1]).collect()
}

#[test]
fn each_aspect_has_its_condition() {
    let policy = policy(&["A", "B"]);
    for (a, b, host, expected) in [
        (None, None, false, "UUUUUT"),
        (Some(None), None, true, "UTTUTT"),
        (Some(None), Some(None), true, "TTTTTT"),
        (Some(Some(Code::TokenRejected)), Some(Some(Code::TokenRejected)), true, "FTFUTT"),
        (Some(Some(Code::Unreachable)), Some(Some(Code::Unreachable)), true, "FFUUTT"),
        (Some(None), Some(Some(Code::PoolNotFound)), true, "FTTFTT"),
        (Some(None), Some(Some(Code::Throttled)), true, "FTTUTT"),
    ] {
        let mut known = Known::default();
        for (pool, state) in [("A", a), ("B", b)] {
            match state {
                None => {}
                Some(None) => works(&mut known, pool),
                Some(Some(code)) => fails(&mut known, pool, code),
            }
        }
        known.host_asked = host;
        assert_eq!(letters(&report(&mut known, &policy, now(0))), expected, "{a:?} {b:?}");
    }
}

#[test]
fn a_condition_keeps_the_moment_of_its_last_change() {
    let policy = policy(&["A"]);
    let mut known = Known::default();
    let ready = |known: &mut Known, seconds| {
        let report = report(known, &policy, now(seconds));
        (report.conditions[0].status.clone(), report.conditions[0].last_transition_time)
    };
    works(&mut known, "A");
    assert_eq!(ready(&mut known, 0), ("True".into(), now(0)));
    assert_eq!(ready(&mut known, 9), ("True".into(), now(0)));
    known.host = Some(Finding::new(Code::HostFailing, "gone", None));
    assert_eq!(ready(&mut known, 10), ("False".into(), now(10)));
    let report = report(&mut known, &policy, now(12));
    assert_eq!((report.findings[0].code, report.findings[0].since), (Code::HostFailing, Some(now(10))));
    assert_eq!(report.pools[0].state, PoolState::Degraded, "its counts are those of before");
}

#[test]
fn retired_says_what_remains_until_all_has_been_looked_at_and_is_gone() {
    let mut policy = policy(&["A", "B"]);
    policy.retire = true;
    let mut known = Known::default();
    works(&mut known, "A");
    let last = |known: &mut Known| report(known, &policy, now(0)).conditions.pop().unwrap();
    let retired = last(&mut known);
    assert_eq!((retired.kind.as_str(), retired.status.as_str()), ("Retired", "False"));
    assert_eq!(retired.message, "B: not looked at");
    works(&mut known, "B");
    assert_eq!(last(&mut known).status, "True");
}

#[test]
fn however_long_the_texts_the_document_fits() {
    let policy = policy(&["A"]);
    let mut known = Known::default();
    works(&mut known, "A");
    let long = |c: char| c.to_string().repeat(5000);
    let request = |id| JobRequest {
        id: RequestId(id),
        queued_at: None,
        received_at: None,
        stage: Stage::Waiting,
        demands: (0..40).map(|n| Demand::parse(&format!("{n}{}", long('ü')))).collect(),
        plan_type: None,
        parallelism_tag: None,
        pipeline: Some(long('ß')),
        pipeline_run: Some(long('☃')),
        url: None,
        priority: 0,
    };
    let (snapshot, plan) = known.pools.get_mut("A").unwrap().observed.as_mut().unwrap();
    snapshot.requests = (0..400).map(request).collect();
    let verdict = |id| (RequestId(id), Verdict::NoTemplate { demand: format!("{id}{}", long('x')) });
    plan.verdicts = (0..400).map(verdict).collect();
    let report = report(&mut known, &policy, now(0));
    let size = serde_json::to_vec(&report).unwrap().len();
    assert!(size <= LARGEST, "{size}");
    let pool = &report.pools[0];
    assert!(!pool.requests.is_empty());
    assert_eq!(pool.requests.len() + pool.requests_omitted as usize, 400);
    assert_eq!(pool.findings.len(), 20);
}
