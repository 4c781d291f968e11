//! Just-in-time runs: who makes a waiting one ready, and who takes its registration back.

use kubectl_ado::core::{
    Agent, AgentChange, DeregisterReason, Held, INSTALLATION_CAPABILITY, Progress, Purpose, REGISTRATION_CAPABILITY,
    Recipe, RequestId, Run, RunPhase, Snapshot, StopReason,
};

use crate::situation::*;

/// A run that waits for its files since so many seconds.
fn held(by: &str, seconds: i64) -> Run {
    let held = Some(Held { by: by.to_owned(), since: at(-seconds) });
    Run { held, recipe: Recipe::JustInTime, progress: Progress::Pending, runs_since: None, ..starting("r1", 1) }
}

/// An agent that was registered in its place.
fn enrolled(id: i64, name: &str) -> Agent {
    let mut agent = Agent { online: false, ..agent(id, name) };
    agent.capabilities.set(INSTALLATION_CAPABILITY, "test");
    agent.capabilities.set(REGISTRATION_CAPABILITY, Recipe::JustInTime.name());
    agent
}

fn equips(run: Run, elected: bool) -> Vec<String> {
    let snapshot = Snapshot { elected, ..snapshot(vec![request(1, &[])], vec![run], vec![]) };
    let plan = decide(&simple(), &snapshot);
    assert!(plan.starts.is_empty(), "it is the agent for the request");
    plan.equips.into_iter().map(|equip| equip.name).collect()
}

#[test]
fn whoever_made_a_run_makes_it_ready_again_and_again_until_it_is() {
    assert_eq!(equips(held("me", 0), false), ["r1"]);
}

#[test]
fn another_one_takes_it_up_when_it_is_elected_or_the_time_for_it_is_over() {
    assert_eq!(equips(held("other", 0), true), ["r1"]);
    assert_eq!(equips(held("other", 59), false), Vec::<String>::new());
    assert_eq!(equips(held("other", 60), false), ["r1"]);
    let waits = snapshot(vec![request(1, &[])], vec![held("other", 59)], vec![]);
    assert_eq!(decide(&simple(), &waits).wake_at, Some(at(1)));
}

#[test]
fn a_run_that_is_ready_is_left_alone() {
    assert!(equips(Run { held: None, ..held("me", 0) }, true).is_empty());
}

#[test]
fn no_run_is_made_ready_when_everything_is_to_go() {
    let mut policy = simple();
    policy.retire = true;
    let plan = decide(&policy, &snapshot(vec![request(1, &[])], vec![held("me", 0)], vec![enrolled(1, "r1")]));
    assert!(plan.equips.is_empty());
    let [stop] = &plan.stops[..] else { panic!("{plan:?}") };
    assert_eq!((stop.name.as_str(), &stop.reason), ("r1", &StopReason::NotNeeded));
    assert_eq!(stop.agent.as_ref().map(|agent| agent.name.as_str()), Some("r1"), "its registration goes with it");
}

#[test]
fn the_run_of_a_cancelled_request_goes_though_its_agent_is_registered_already() {
    let plan = decide(&simple(), &snapshot(vec![], vec![held("me", 5)], vec![enrolled(1, "r1")]));
    assert_eq!(plan.stops.len(), 1, "{plan:?}");
    let classic = Run { recipe: Recipe::Token, held: None, ..held("me", 5) };
    let plan = decide(&simple(), &snapshot(vec![], vec![classic], vec![Agent { online: false, ..agent(1, "r1") }]));
    assert!(plan.stops.is_empty(), "one that registered itself has found a place");
}

#[test]
fn a_registration_whose_run_is_gone_is_swept_after_two_minutes_and_others_after_fifteen() {
    let sweeps = |mut agent: Agent, age: i64| {
        agent.created_at = Some(at(-age));
        let plan = decide(&simple(), &snapshot(vec![], vec![], vec![agent]));
        let changes = plan.agents.iter().map(|action| &action.change);
        changes.filter(|change| matches!(change, AgentChange::Deregister(_, DeregisterReason::LeftBehind))).count()
    };
    assert_eq!((sweeps(enrolled(1, "r1"), 119), sweeps(enrolled(1, "r1"), 120)), (0, 1));
    let mut classic = enrolled(1, "r1");
    classic.capabilities.remove(REGISTRATION_CAPABILITY);
    assert_eq!((sweeps(classic.clone(), 899), sweeps(classic, 900)), (0, 1));
}

#[test]
fn the_registration_of_an_ended_run_goes_at_once() {
    let run =
        Run { recipe: Recipe::JustInTime, ..run("r1", Purpose::Request(RequestId(1)), RunPhase::Succeeded(at(-1))) };
    let plan = decide(&simple(), &snapshot(vec![], vec![run], vec![enrolled(1, "r1")]));
    let ended = |change: &AgentChange| matches!(change, AgentChange::Deregister(_, DeregisterReason::Ended));
    assert!(plan.agents.iter().any(|action| ended(&action.change)), "{plan:?}");
}

#[test]
fn what_is_ended_is_not_made_ready_as_well() {
    let late = Run { created_at: at(-400), ..held("me", 400) };
    let plan = decide(&simple(), &snapshot(vec![request(1, &[])], vec![late], vec![]));
    assert_eq!((plan.stops.len(), plan.equips.len()), (1, 0), "{plan:?}");
    assert_eq!(plan.stops[0].reason, StopReason::NeverReady, "no agent has failed");
    assert!(!plan.stops[0].reason.is_failure());
}

#[test]
fn an_agent_that_is_online_has_its_files_whatever_the_mark_says() {
    let online = Agent { online: true, ..enrolled(1, "r1") };
    let plan = decide(&simple(), &snapshot(vec![request(1, &[])], vec![held("me", 5)], vec![online]));
    assert!(plan.equips.is_empty(), "{plan:?}");
}

#[test]
fn no_run_of_a_template_that_is_no_more_is_made_ready() {
    let other = Run { template: "gone".into(), ..held("me", 5) };
    let plan = decide(&simple(), &snapshot(vec![], vec![other], vec![]));
    assert!(plan.equips.is_empty(), "{plan:?}");
}

#[test]
fn whoever_is_online_with_a_key_of_ours_and_without_a_run_is_removed() {
    let stolen = Agent { online: true, created_at: Some(at(-120)), ..enrolled(1, "r1") };
    let plan = decide(&simple(), &snapshot(vec![], vec![], vec![stolen.clone()]));
    let left = |change: &AgentChange| matches!(change, AgentChange::Deregister(_, DeregisterReason::LeftBehind));
    assert!(plan.agents.iter().any(|action| left(&action.change)), "{plan:?}");
    let busy = Agent { assigned: Some(RequestId(7)), ..stolen };
    let plan = decide(&simple(), &snapshot(vec![running(7, &busy)], vec![], vec![busy]));
    assert!(!plan.agents.iter().any(|action| left(&action.change)), "not one that Azure DevOps believes at work");
}
