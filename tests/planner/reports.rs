//! What the status document says of a pool.

use std::collections::BTreeMap;

use kubectl_ado::core::{
    Agent, AgentOwner, Code, Finding, HostKind, INSTALLATION_CAPABILITY, Pause, Policy, PoolReport, PoolState,
    PoolView, Purpose, RequestId, Run, RunPhase, Scale, Severity, Since, Snapshot, Trouble, TroubleKind, cap,
    pool_report,
};

use crate::situation::*;

fn report(policy: &Policy, observed: &Snapshot) -> PoolReport {
    with(policy, observed, None, &BTreeMap::new(), &mut Since::default(), 0)
}

fn with(
    policy: &Policy,
    observed: &Snapshot,
    failure: Option<&Finding>,
    refusals: &BTreeMap<String, Finding>,
    since: &mut Since,
    seconds: i64,
) -> PoolReport {
    let plan = kubectl_ado::core::plan(policy, observed, &kubectl_ado::core::Memory::default(), at(seconds));
    let view = PoolView {
        policy,
        host: HostKind::Kubernetes,
        pool: &policy.pools[0],
        observed: Some((&observed.pools[0], &plan.pools[0])),
        agents: observed.pools[0].agents.as_deref(),
        polled_at: Some(at(seconds)),
        failure,
        troubles: &[],
        refusals,
    };
    pool_report(view, since, at(seconds))
}

fn codes(report: &PoolReport) -> Vec<Code> {
    report.findings.iter().map(|finding| finding.code).collect()
}

#[test]
fn a_pool_where_all_is_well_says_so() {
    let busy = agent(1, "one");
    let ours = Agent {
        online: false,
        enabled: false,
        capabilities: [(INSTALLATION_CAPABILITY, "test"), ("KUBECTL_ADO_PLACEHOLDER", "default")].into_iter().collect(),
        ..agent(2, "placeholder")
    };
    let observed = snapshot(vec![running(1, &busy)], vec![starting("one", 1)], vec![busy, ours]);
    let report = report(&simple(), &observed);
    assert_eq!((report.state, report.busy, report.queued, report.offline), (PoolState::Healthy, 1, 0, Some(1)));
    assert!(report.findings.is_empty(), "{report:?}");
    assert_eq!(report.requests[0].agent.as_deref(), Some("one"));
    assert_eq!(report.requests[0].verdict, None);
    let owners: Vec<_> = report.agents.iter().map(|agent| (agent.name.as_str(), agent.owner)).collect();
    let expected =
        [("one", AgentOwner::Ours), ("placeholder", AgentOwner::Placeholder), ("old-box", AgentOwner::Foreign)];
    assert_eq!(owners, expected);
}

#[test]
fn requests_that_one_cause_keeps_make_one_finding() {
    let mut policy = simple();
    policy.pools[0].max_agents = Some(1);
    let requests = (1..=4).map(|id| request(id, &[])).chain([request(5, &["cuda"])]).collect();
    policy.pools[0].templates = vec![template("default", Some(&[]))];
    let report = report(&policy, &snapshot(requests, vec![], vec![]));
    assert_eq!(codes(&report), [Code::UnsatisfiedDemand, Code::AtMaximum]);
    assert_eq!(report.findings[1].message, "at the maximum of 1 agents of the pool (3 job requests wait)");
    assert_eq!(report.findings[0].severity, Severity::Error);
    assert_eq!(report.state, PoolState::Degraded);
    assert_eq!(report.max, Some(1));
    let order: Vec<i64> = report.requests.iter().map(|request| request.id.0).collect();
    assert_eq!(order, [5, 2, 3, 4, 1], "the worst first, then by age, last what goes well");
}

#[test]
fn a_limit_a_start_and_a_pause_have_their_words() {
    let mut policy = simple();
    let observed = snapshot(vec![request(1, &[]), request(2, &[])], vec![], vec![]);
    assert_eq!(report(&policy, &observed).state, PoolState::Scaling);
    policy.max_agents = Some(1);
    assert_eq!(report(&policy, &observed).state, PoolState::AtLimit);
    policy.pools[0].paused = Some(Pause::default());
    let paused = report(&policy, &observed);
    assert_eq!((paused.state, codes(&paused)), (PoolState::Paused, vec![Code::Paused]));
    assert_eq!(paused.findings[0].message, "the pool is paused (2 job requests wait)");
    policy.retire = true;
    let retiring = report(&policy, &observed);
    assert_eq!((retiring.state, codes(&retiring)), (PoolState::Degraded, vec![Code::Retiring]));
}

#[test]
fn a_pool_whose_poll_failed_keeps_its_counts_and_is_degraded() {
    let failure = Finding::new(Code::Throttled, "patience", None);
    let observed = snapshot(vec![request(1, &[])], vec![], vec![]);
    let report = with(&simple(), &observed, Some(&failure), &BTreeMap::new(), &mut Since::default(), 0);
    assert_eq!((report.state, report.queued, codes(&report)), (PoolState::Degraded, 1, vec![Code::Throttled]));
}

#[test]
fn a_pool_that_nobody_has_heard_of_is_unknown() {
    let policy = simple();
    let view = PoolView {
        policy: &policy,
        host: HostKind::Kubernetes,
        pool: &policy.pools[0],
        observed: None,
        agents: None,
        polled_at: None,
        failure: None,
        troubles: &[],
        refusals: &BTreeMap::new(),
    };
    let report = pool_report(view, &mut Since::default(), at(0));
    assert_eq!((report.state, report.offline), (PoolState::Unknown, None));
}

#[test]
fn trouble_of_a_warm_agent_shows_although_no_request_waits() {
    let mut policy = simple();
    policy.pools[0].templates[0].scale = Scale { min: 1, idle: 0, max: None };
    let trouble = Some(Trouble { kind: TroubleKind::Image, message: "no such tag".into() });
    let stuck = Run { trouble, ..run("warm", Purpose::Slot(0), RunPhase::Live) };
    let stuck_report = report(&policy, &snapshot(vec![], vec![stuck], vec![]));
    assert_eq!((stuck_report.state, codes(&stuck_report)), (PoolState::Degraded, vec![Code::ImageNotPulled]));
    assert!(stuck_report.findings[0].message.ends_with("(1 agent)"), "{stuck_report:?}");

    let failed = run("warm", Purpose::Slot(0), RunPhase::Failed(at(-1), "exit code 1".into()));
    let failing = report(&policy, &snapshot(vec![], vec![failed], vec![]));
    assert_eq!(codes(&failing), [Code::AgentsFail]);
}

#[test]
fn a_request_whose_agent_the_host_refuses_is_told_why() {
    let refusal = Finding::new(Code::TemplateRefused, "no such field", Some("mend it".into()));
    let refusals = [("default".to_owned(), refusal)].into();
    let observed = snapshot(vec![request(1, &[])], vec![], vec![]);
    let report = with(&simple(), &observed, None, &refusals, &mut Since::default(), 0);
    let verdict = report.requests[0].verdict.as_ref().unwrap();
    assert_eq!((verdict.reason.as_str(), verdict.code), ("TemplateRefused", Some(Code::TemplateRefused)));
    assert_eq!(report.findings.len(), 1);
    assert_eq!(report.findings[0].message, "no such field (1 job request waits)");
}

#[test]
fn a_finding_keeps_its_first_moment_while_it_lasts() {
    let mut policy = simple();
    policy.max_agents = Some(0);
    let mut since = Since::default();
    let mut look = |requests: i64, seconds| {
        let requests = (1..=requests).map(|id| request(id, &[])).collect();
        let observed = snapshot(requests, vec![], vec![]);
        with(&policy, &observed, None, &BTreeMap::new(), &mut since, seconds).findings.first().and_then(|f| f.since)
    };
    assert_eq!(look(1, 0), Some(at(0)));
    assert_eq!(look(3, 10), Some(at(0)), "more requests, the same cause");
    assert_eq!(look(0, 20), None);
    assert_eq!(look(1, 40), Some(at(0)), "gone for a moment only");
    assert_eq!(look(0, 400), None);
    assert_eq!(look(1, 500), Some(at(500)));
}

#[test]
fn a_long_queue_is_cut_and_what_is_cut_is_counted() {
    let mut policy = simple();
    policy.max_agents = Some(0);
    let long = snapshot((1..=500).map(|id| request(id, &[])).collect(), vec![], vec![]);
    let short = snapshot(vec![request(1, &[])], vec![], (1..=400).map(|id| agent(id, &format!("a{id}"))).collect());
    let mut pools = [report(&policy, &long), report(&policy, &short)];
    cap(&mut pools, 200, 300);
    let requests: Vec<_> = pools.iter().map(|pool| (pool.requests.len(), pool.requests_omitted)).collect();
    assert_eq!(requests, [(199, 301), (1, 0)]);
    assert_eq!((pools[1].agents.len(), pools[1].agents_omitted), (299, 102));
    assert_eq!(pools[0].requests[0].id, RequestId(1));
}

#[test]
fn on_the_local_host_a_just_in_time_agent_is_not_said_to_keep_the_token_from_pipelines() {
    let mut policy = simple();
    policy.pools[0].templates[0].recipe = kubectl_ado::core::Recipe::JustInTime;
    let observed = snapshot(vec![], vec![], vec![]);
    let plan = kubectl_ado::core::plan(&policy, &observed, &kubectl_ado::core::Memory::default(), at(0));
    let said = |host| {
        let view = PoolView {
            policy: &policy,
            host,
            pool: &policy.pools[0],
            observed: Some((&observed.pools[0], &plan.pools[0])),
            agents: None,
            polled_at: None,
            failure: None,
            troubles: &[],
            refusals: &BTreeMap::new(),
        };
        pool_report(view, &mut Since::default(), at(0)).templates[0].registers()
    };
    let just_in_time = "are registered just in time: they hold no token of the organization";
    assert!(said(HostKind::Kubernetes).ends_with(just_in_time), "{}", said(HostKind::Kubernetes));
    assert!(said(HostKind::Local).contains("a pipeline step can read it all the same"), "{}", said(HostKind::Local));
}
