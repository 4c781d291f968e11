//! Lists that tell less, more, or something else than what is.

use std::time::Duration;

use kubectl_ado::core::{
    Agent, AgentId, AgentRef, Clocks, JobRequest, Memory, Progress, Purpose, RequestId, Run, RunPhase, Snapshot, Stage,
    run_name,
};

use crate::situation::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_request_that_stands_twice_in_the_list_gets_one_agent() {
    let plan = decide(&simple(), &snapshot(vec![request(1, &[]), request(2, &[]), request(1, &[])], vec![], vec![]));
    assert_eq!(started_for(&plan), [1, 2], "{plan:?}");
    assert_eq!(plan.pools[0].counts.waiting, 2);
    assert_eq!(plan.pools[0].verdicts.len(), 2);
}

#[test]
fn a_request_that_stands_once_as_waiting_and_once_as_running_is_running() {
    let busy = agent(1, "r1");
    let requests = vec![request(1, &[]), running(1, &busy)];
    let plan = decide(&simple(), &snapshot(requests, vec![starting("r1", 1)], vec![]));
    assert!(plan.starts.is_empty(), "{plan:?}");
    assert_eq!((plan.pools[0].counts.waiting, plan.pools[0].counts.running), (0, 1));
}

#[test]
fn an_agent_that_stands_twice_in_the_list_is_one_agent() {
    let theirs = agent(7, "theirs");
    let plan =
        decide(&simple(), &snapshot(vec![request(1, &[]), request(2, &[])], vec![], vec![theirs.clone(), theirs]));
    assert_eq!(started_for(&plan).len(), 1, "one agent serves one request: {plan:?}");
}

#[test]
fn an_agent_that_is_busy_in_one_of_two_lines_is_busy() {
    let idle = agent(7, "r1");
    let busy = Agent { assigned: Some(RequestId(3)), ..idle.clone() };
    for both in [vec![idle.clone(), busy.clone()], vec![busy, idle]] {
        let plan = decide(&simple(), &snapshot(vec![request(1, &[])], vec![starting("r1", 3)], both));
        assert_eq!(plan.pools[0].counts.busy, 1, "{plan:?}");
        assert_eq!(started_for(&plan), [1]);
    }
}

#[test]
fn the_letter_case_of_a_pool_or_an_organization_makes_no_other_run() {
    let name = |organization: &str, pool: &str| {
        let us = kubectl_ado::core::Installation::new("test");
        run_name("a", &us, organization, pool, "t", Purpose::Request(RequestId(1)), 1)
    };
    let base = name("https://dev.azure.com/contoso", "linux builds");
    assert_eq!(name("https://dev.azure.com/Contoso", "linux builds"), base);
    assert_eq!(name("https://dev.azure.com/contoso", "Linux Builds"), base);
    assert_ne!(name("https://dev.azure.com/contoso", "Linux Builds 2"), base);
}

fn live(name: &str, request: i64) -> Run {
    run(name, Purpose::Request(RequestId(request)), RunPhase::Live)
}

#[test]
fn a_run_whose_agent_took_its_registration_back_is_not_taken_for_one_that_never_came() {
    // A token agent after a job of six minutes: its container ends in a moment.
    let run = Run { created_at: at(-400), runs_since: Some(at(-390)), ..live("r1", 1) };
    let plan = decide(&simple(), &snapshot(vec![], vec![run], vec![]));
    assert!(plan.stops.is_empty(), "{plan:?}");
}

#[test]
fn an_empty_answer_ends_no_run_that_works() {
    let runs: Vec<Run> = (1..=3)
        .map(|id| Run { created_at: at(-400), runs_since: Some(at(-390)), ..live(&format!("r{id}"), id) })
        .collect();
    let works = |id: i64| Agent { assigned: Some(RequestId(id)), enabled: false, ..agent(id, &format!("r{id}")) };
    let by = |id: i64| Stage::Running(Some(AgentRef { id: AgentId(id), name: format!("r{id}") }));
    let requests = (1..=3).map(|id| JobRequest { stage: by(id), ..request(id, &[]) }).collect();
    let before = snapshot(requests, runs.clone(), (1..=3).map(works).collect());
    let mut empty = snapshot(vec![], runs, vec![]);
    empty.pools[0].agents = Some(vec![]);
    let memory = &mut Memory::default();
    assert!(look(memory, &simple(), &before, SECOND).stops.is_empty());
    // For two hours.
    for minute in 1..120 {
        let decided = look(memory, &simple(), &empty, SECOND * 60 * minute);
        assert!(decided.stops.is_empty() && decided.starts.is_empty(), "after {minute} min: {decided:?}");
    }
    // Nor by one who has seen nothing else.
    let memory = &mut Memory::default();
    for minute in 1..120 {
        assert!(look(memory, &simple(), &empty, SECOND * 60 * minute).stops.is_empty(), "after {minute} min");
    }
}

#[test]
fn a_pulled_image_does_not_use_up_the_time_to_start() {
    let pulls = Run { created_at: at(-400), progress: Progress::Placed, runs_since: None, ..live("r1", 1) };
    let plan = decide(&simple(), &snapshot(vec![request(1, &[])], vec![pulls], vec![]));
    assert!(plan.stops.is_empty() && plan.starts.is_empty(), "{plan:?}");
}

#[test]
fn a_clock_that_is_five_minutes_ahead_ends_no_starting_run() {
    // Made a moment ago by the host's clock, which is behind ours.
    let fresh = Run { created_at: at(-901), progress: Progress::Pending, runs_since: None, ..live("r1", 1) };
    let before = snapshot(vec![request(1, &[])], vec![], vec![]);
    let observed = snapshot(vec![request(1, &[])], vec![fresh], vec![]);
    let clocks = Clocks { host: Some(at(-900)), azure_devops: None };
    let told = decide(&simple(), &Snapshot { clocks, ..observed.clone() });
    assert!(told.stops.is_empty() && told.starts.is_empty(), "where the host's clock is known: {told:?}");
    // Where it is not known, what was seen to begin is as old as we have seen it.
    let memory = &mut Memory::default();
    look(memory, &simple(), &before, SECOND);
    for second in 2..900 {
        let plan = look(memory, &simple(), &observed, SECOND * second);
        assert!(plan.stops.is_empty() && plan.starts.is_empty(), "after {second} s: {plan:?}");
    }
    look(memory, &simple(), &observed, SECOND * 902);
    assert_eq!(look(memory, &simple(), &observed, SECOND * 904).stops.len(), 1, "and not for ever");
}
