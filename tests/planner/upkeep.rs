//! What is done to agents that exist.

use kubectl_ado::core::{
    Agent, AgentChange, DeregisterReason, DisableReason, INSTALLATION_CAPABILITY, Plan, Policy, Progress, Purpose,
    Recipe, RequestId, Run, RunPhase, Scale, StopReason, Trouble, TroubleKind,
};

use crate::situation::*;

/// Changes to registrations but those to placeholders.
fn changes(plan: &Plan) -> Vec<&AgentChange> {
    let placeholder = |change: &AgentChange| matches!(change, AgentChange::Register(_) | AgentChange::Update(..));
    plan.agents.iter().map(|action| &action.change).filter(|change| !placeholder(change)).collect()
}

fn stops(plan: &Plan) -> Vec<(&str, &StopReason)> {
    plan.stops.iter().map(|stop| (stop.name.as_str(), &stop.reason)).collect()
}

fn idle_since(seconds: i64) -> (Run, Agent) {
    let run = Run { created_at: at(-seconds - 40), ..starting("r1", 1) };
    (run, Agent { status_changed_at: Some(at(-seconds)), ..agent(1, "r1") })
}

#[test]
fn an_agent_is_fenced_when_it_has_received_its_request() {
    let busy = Agent { assigned: Some(RequestId(1)), ..agent(1, "r1") };
    let plan = decide(&simple(), &snapshot(vec![running(1, &busy)], vec![starting("r1", 1)], vec![busy.clone()]));
    let [AgentChange::Disable(who, DisableReason::Received(RequestId(1)))] = changes(&plan)[..] else {
        panic!("{plan:?}")
    };
    assert_eq!(who.name, "r1");
    let fenced = Agent { enabled: false, ..busy.clone() };
    let plan = decide(&simple(), &snapshot(vec![running(1, &busy)], vec![starting("r1", 1)], vec![fenced]));
    assert!(changes(&plan).is_empty() && plan.stops.is_empty());
}

#[test]
fn an_agent_that_nobody_needs_is_disabled_after_its_time_and_ended_only_when_nothing_came_between() {
    let (run, agent) = idle_since(599);
    let plan = decide(&simple(), &snapshot(vec![], vec![run.clone()], vec![agent.clone()]));
    assert!(changes(&plan).is_empty());
    assert_eq!(plan.wake_at, Some(at(1)));

    let (run, agent) = idle_since(600);
    let plan = decide(&simple(), &snapshot(vec![], vec![run.clone()], vec![agent.clone()]));
    assert!(matches!(changes(&plan)[..], [AgentChange::Disable(_, DisableReason::IdleSince(_))]));
    assert!(plan.stops.is_empty(), "not before a second look");

    let disabled = Agent { enabled: false, ..agent.clone() };
    let plan = decide(&simple(), &snapshot(vec![], vec![run.clone()], vec![disabled.clone()]));
    assert_eq!(stops(&plan), [("r1", &StopReason::TakenBack)]);

    let assigned_meanwhile = Agent { assigned: Some(RequestId(7)), ..disabled };
    let plan = decide(&simple(), &snapshot(vec![], vec![run], vec![assigned_meanwhile]));
    assert!(plan.stops.is_empty(), "a busy agent is never ended");
}

#[test]
fn agents_that_are_wanted_idle_or_needed_by_a_request_stay() {
    let (run, agent) = idle_since(6000);
    let mut policy = simple();
    policy.pools[0].templates[0].scale = Scale { min: 0, idle: 1, max: None };
    let plan = decide(&policy, &snapshot(vec![], vec![run.clone()], vec![agent.clone()]));
    assert!(changes(&plan).is_empty() && plan.stops.is_empty());
    policy.pools[0].templates[0].scale = Scale { min: 1, idle: 0, max: None };
    let plan = decide(&policy, &snapshot(vec![], vec![run.clone()], vec![agent.clone()]));
    assert!(changes(&plan).is_empty() && plan.stops.is_empty());
    let plan = decide(&simple(), &snapshot(vec![request(9, &[])], vec![run], vec![agent]));
    assert!(changes(&plan).is_empty() && plan.stops.is_empty());
}

#[test]
fn an_idle_agent_of_an_old_template_is_rolled_and_a_busy_one_is_not() {
    let mut policy = simple();
    policy.pools[0].templates[0].scale = Scale { min: 1, idle: 0, max: None };
    policy.pools[0].templates[0].revision = "r2".into();
    let (run, idle) = idle_since(5);
    let plan = decide(&policy, &snapshot(vec![], vec![run.clone()], vec![idle.clone()]));
    assert!(matches!(changes(&plan)[..], [AgentChange::Disable(_, DisableReason::Outdated)]));

    let busy = Agent { assigned: Some(RequestId(1)), enabled: false, ..idle };
    let plan = decide(&policy, &snapshot(vec![running(1, &busy)], vec![run], vec![busy.clone()]));
    assert!(changes(&plan).is_empty() && plan.stops.is_empty());
}

#[test]
fn the_pod_of_a_cancelled_request_goes_at_once_if_no_node_was_found_for_it() {
    let unplaced = Run { progress: Progress::Pending, ..starting("r1", 1) };
    let plan = decide(&simple(), &snapshot(vec![], vec![unplaced.clone()], vec![]));
    assert_eq!(stops(&plan), [("r1", &StopReason::NotNeeded)]);
    let plan = decide(&simple(), &snapshot(vec![request(1, &[])], vec![unplaced.clone()], vec![]));
    assert!(plan.stops.is_empty(), "its request still waits");
    let plan = decide(&simple(), &snapshot(vec![request(2, &[])], vec![unplaced], vec![]));
    assert!(plan.stops.is_empty(), "another request can have it");
    let placed = Run { progress: Progress::Placed, ..starting("r1", 1) };
    assert!(decide(&simple(), &snapshot(vec![], vec![placed], vec![])).stops.is_empty());
}

#[test]
fn nobody_is_ended_for_an_agent_that_may_have_done_its_job_and_gone() {
    let unplaced = Run { progress: Progress::Pending, ..starting("r1", 1) };
    let runs_unregistered = Run { progress: Progress::Running, ..starting("r3", 3) };
    let runs = || vec![unplaced.clone(), runs_unregistered.clone()];
    // One of them is enough for the request, if the other one has not gone.
    let plan = decide(&simple(), &snapshot(vec![request(2, &[])], runs(), vec![]));
    assert!(plan.stops.is_empty() && plan.starts.is_empty(), "{plan:?}");
    // A registration that was made in its place is gone, whatever its pod is seen to do.
    let unregistered = Run { recipe: Recipe::JustInTime, progress: Progress::Pending, ..starting("r3", 3) };
    let plan = decide(&simple(), &snapshot(vec![request(2, &[])], vec![unplaced.clone(), unregistered], vec![]));
    assert!(plan.stops.is_empty() && plan.starts.is_empty(), "{plan:?}");
    // It has gone indeed.
    let ended = Run { phase: RunPhase::Succeeded(at(0)), ..runs_unregistered.clone() };
    let plan = decide(&simple(), &snapshot(vec![request(2, &[])], vec![unplaced.clone(), ended], vec![]));
    assert!(plan.stops.is_empty() && plan.starts.is_empty(), "{plan:?}");
    // Two are spare, and one of them surely is.
    let another = Run { progress: Progress::Pending, ..starting("r4", 4) };
    let three = vec![unplaced.clone(), another, runs_unregistered.clone()];
    assert_eq!(decide(&simple(), &snapshot(vec![request(2, &[])], three, vec![])).stops.len(), 1);
    let retiring = Policy { retire: true, ..simple() };
    assert_eq!(stops(&decide(&retiring, &snapshot(vec![], runs(), vec![]))), [("r1", &StopReason::NotNeeded)]);
}

#[test]
fn an_agent_that_never_came_is_ended_with_the_trouble_it_had() {
    let trouble = Trouble { kind: TroubleKind::Image, message: "no such image".into() };
    let placed = Run { progress: Progress::Placed, runs_since: None, ..starting("r1", 1) };
    let late = Run { created_at: at(-900), trouble: Some(trouble), ..placed };
    let plan = decide(&simple(), &snapshot(vec![request(1, &[])], vec![late], vec![]));
    assert_eq!(stops(&plan), [("r1", &StopReason::NeverCame(Some("no such image".into())))]);
}

#[test]
fn an_agent_that_was_lost_is_ended_when_it_has_been_offline_for_long() {
    let run = Run { created_at: at(-5000), runs_since: Some(at(-4990)), ..starting("r1", 1) };
    let offline = |ago: i64| Agent { online: false, status_changed_at: Some(at(-ago)), ..agent(1, "r1") };
    assert!(decide(&simple(), &snapshot(vec![], vec![run.clone()], vec![offline(299)])).stops.is_empty());
    assert_eq!(decide(&simple(), &snapshot(vec![], vec![run], vec![offline(300)])).stops.len(), 1);
}

#[test]
fn a_run_goes_with_its_agent_even_if_a_sidecar_stays_and_is_not_left_to_hang() {
    let sidecar = |ago: i64| Run { created_at: at(-100), agent_ended_at: Some(at(-ago)), ..starting("r1", 1) };
    assert!(decide(&simple(), &snapshot(vec![], vec![sidecar(29)], vec![])).stops.is_empty());
    let plan = decide(&simple(), &snapshot(vec![], vec![sidecar(30)], vec![]));
    assert_eq!(stops(&plan), [("r1", &StopReason::AgentEnded)]);

    let done = |ago: i64| Agent { last_finished_at: Some(at(-ago)), enabled: false, ..agent(1, "r1") };
    let run = starting("r1", 1);
    assert!(decide(&simple(), &snapshot(vec![], vec![run.clone()], vec![done(299)])).stops.is_empty());
    assert_eq!(stops(&decide(&simple(), &snapshot(vec![], vec![run], vec![done(300)]))), [("r1", &StopReason::Hangs)]);
}

#[test]
fn an_agent_whose_request_was_cancelled_before_it_was_fenced_is_disabled_before_it_is_ended() {
    // Azure DevOps may give it another request between the look and the end.
    let idle = Agent { last_finished_at: Some(at(-300)), ..agent(1, "r1") };
    let plan = decide(&simple(), &snapshot(vec![], vec![starting("r1", 1)], vec![idle.clone()]));
    assert!(matches!(changes(&plan)[..], [AgentChange::Disable(_, DisableReason::IdleSince(_))]));
    assert!(plan.stops.is_empty(), "not before a second look");
    let disabled = Agent { enabled: false, ..idle };
    let plan = decide(&simple(), &snapshot(vec![], vec![starting("r1", 1)], vec![disabled]));
    assert_eq!(stops(&plan), [("r1", &StopReason::Hangs)]);
}

#[test]
fn a_run_whose_agent_works_is_never_ended_even_if_the_agents_were_looked_at_before_it_was_there() {
    let unseen = agent(1, "r1");
    let long_ago = Run { created_at: at(-5000), progress: Progress::Pending, ..starting("r1", 2) };
    let plan = decide(&simple(), &snapshot(vec![running(1, &unseen)], vec![long_ago.clone()], vec![]));
    assert!(plan.stops.is_empty(), "{plan:?}");
    assert_eq!(plan.pools[0].counts.busy, 1);

    let young = Run { created_at: at(-5), ..long_ago };
    let queue = vec![running(1, &unseen), request(2, &[])];
    let plan = decide(&simple(), &snapshot(queue, vec![young], vec![]));
    assert_eq!(started_for(&plan), [2], "it is no supply either");
}

#[test]
fn an_agent_that_has_done_its_job_serves_nobody_else() {
    let done = Agent { last_finished_at: Some(at(-1)), ..agent(1, "r1") };
    let plan = decide(&simple(), &snapshot(vec![request(2, &[])], vec![starting("r1", 1)], vec![done]));
    assert_eq!(started_for(&plan), [2]);
}

#[test]
fn a_registration_goes_with_its_run_unless_azure_devops_believes_it_busy() {
    let ended = run("r1", Purpose::Request(RequestId(1)), RunPhase::Succeeded(at(-1)));
    let left = Agent { online: false, ..agent(1, "r1") };
    let plan = decide(&simple(), &snapshot(vec![], vec![ended.clone()], vec![left.clone()]));
    assert!(matches!(changes(&plan)[..], [AgentChange::Deregister(_, DeregisterReason::Ended)]));
    let busy = Agent { assigned: Some(RequestId(1)), ..left };
    assert!(changes(&decide(&simple(), &snapshot(vec![], vec![ended], vec![busy]))).is_empty());
}

#[test]
fn only_registrations_that_are_ours_beyond_doubt_are_swept() {
    let left = |installation: &str| {
        let mut agent = Agent { online: false, created_at: Some(at(-900)), ..agent(1, "agent-job-x-y") };
        agent.capabilities.set(INSTALLATION_CAPABILITY, installation);
        agent
    };
    let swept = |agent: Agent| changes(&decide(&simple(), &snapshot(vec![], vec![], vec![agent]))).len();
    assert_eq!(swept(left("test")), 1);
    assert_eq!(swept(left("another")), 0, "another installation's");
    assert_eq!(swept(agent(1, "agent-job-x-y")), 0, "no installation's");
    assert_eq!(swept(Agent { online: true, ..left("test") }), 0, "online");
    assert_eq!(swept(Agent { created_at: Some(at(-899)), ..left("test") }), 0, "too young");
    assert_eq!(swept(Agent { assigned: Some(RequestId(4)), ..left("test") }), 0, "busy");
}

#[test]
fn an_agent_that_has_ended_serves_nobody_while_its_run_comes_to_its_end() {
    let ended = Run { progress: Progress::Ended, ..starting("r1", 1) };
    let with_sidecar = Run { agent_ended_at: Some(at(-1)), ..starting("r1", 1) };
    for run in [ended, with_sidecar] {
        let plan = decide(&simple(), &snapshot(vec![request(2, &[])], vec![run], vec![]));
        assert_eq!(started_for(&plan), [2]);
        assert_eq!(plan.pools[0].counts.starting, 0);
        assert!(plan.stops.is_empty());
    }
}
