//! Paused pools, and an installation that is being given up.

use kubectl_ado::core::{
    AgentChange, Capabilities, DeregisterReason, DisableReason, INSTALLATION_CAPABILITY, Memory, Pause, Purpose,
    Remains, Run, RunPhase, Scale, Schedule, StopReason, Verdict, Weekday, plan,
};

use crate::situation::*;

fn paused() -> kubectl_ado::core::Policy {
    let mut policy = simple();
    policy.pools[0].paused = Some(Pause { reason: Some("release".into()), until: Some(at(90)), since: None });
    policy
}

#[test]
fn a_paused_pool_starts_nothing_and_says_why_until_the_pause_is_over() {
    let mut policy = paused();
    policy.pools[0].templates[0].scale = Scale { min: 2, idle: 1, max: None };
    let observed = snapshot(vec![request(1, &[])], vec![], vec![]);
    let decided = decide(&policy, &observed);
    assert!(decided.starts.is_empty());
    let verdict = verdict(&decided, 1);
    assert_eq!(*verdict, Verdict::Paused { reason: Some("release".into()), until: Some(at(90)) });
    assert_eq!(decided.wake_at, Some(at(90)));
    assert_eq!(
        plan(&policy, &observed, &Memory::default(), at(90)).starts.len(),
        2,
        "one for the request, one to be idle"
    );
}

#[test]
fn a_pause_of_one_pool_leaves_the_others_and_its_own_agents_alone() {
    let mut policy = paused();
    policy.pools.push(pool_policy("B", vec![template("default", None)]));
    let busy = agent(1, "one");
    let mut observed = snapshot(vec![running(1, &busy)], vec![starting("one", 1)], vec![busy]);
    let other = kubectl_ado::core::PoolSnapshot {
        pool: "B".into(),
        ..snapshot(vec![request(7, &[])], vec![], vec![]).pools[0].clone()
    };
    observed.pools.push(other);
    let decided = decide(&policy, &observed);
    assert_eq!(started_for(&decided), [7]);
    assert!(decided.stops.is_empty());
    let fenced = |change: &AgentChange| matches!(change, AgentChange::Disable(_, DisableReason::Received(_)));
    assert!(decided.agents.iter().any(|action| fenced(&action.change)), "the busy agent is still fenced");
}

#[test]
fn the_plan_is_looked_at_again_when_a_schedule_opens() {
    let mut policy = simple();
    let hour = jiff::civil::time(8, 0, 0, 0);
    policy.pools[0].templates[0].schedules = vec![Schedule {
        days: vec![
            Weekday::Monday,
            Weekday::Tuesday,
            Weekday::Wednesday,
            Weekday::Thursday,
            Weekday::Friday,
            Weekday::Saturday,
            Weekday::Sunday,
        ],
        from: hour,
        to: jiff::civil::time(9, 0, 0, 0),
        time_zone: jiff::tz::TimeZone::UTC,
        min: Some(1),
        idle: None,
        max: None,
    }];
    // The builders' moment is 08:00 of a Friday.
    let decided = plan(&policy, &snapshot(vec![], vec![], vec![]), &Memory::default(), at(-1));
    assert!(decided.starts.is_empty());
    assert_eq!(decided.wake_at, Some(at(0)));
    assert_eq!(decide(&policy, &snapshot(vec![], vec![], vec![])).starts.len(), 1);
}

fn ours(capabilities: &[(&str, &str)]) -> Capabilities {
    let mut all: Capabilities = capabilities.iter().copied().collect();
    all.set(INSTALLATION_CAPABILITY, "test");
    all
}

#[test]
fn an_installation_that_is_given_up_goes_bit_by_bit_and_never_a_busy_agent() {
    let mut policy = simple();
    policy.retire = true;
    policy.pools[0].templates[0].scale = Scale { min: 3, idle: 3, max: None };
    let (idle, taken_back, busy) = (agent(1, "idle"), agent(2, "back"), agent(3, "busy"));
    let placeholder = kubectl_ado::core::Agent {
        enabled: false,
        online: false,
        capabilities: ours(&[("KUBECTL_ADO_PLACEHOLDER", "default")]),
        ..agent(4, "placeholder-x")
    };
    let left = kubectl_ado::core::Agent {
        online: false,
        created_at: Some(at(-1)),
        capabilities: ours(&[]),
        ..agent(5, "left")
    };
    let pending = Run { progress: kubectl_ado::core::Progress::Pending, ..starting("pending", 9) };
    let slot = |name: &str| run(name, Purpose::Slot(0), RunPhase::Live);
    let observed = snapshot(
        vec![running(1, &busy), request(9, &[])],
        vec![slot("idle"), slot("back"), starting("busy", 1), pending],
        vec![
            idle,
            kubectl_ado::core::Agent { enabled: false, ..taken_back },
            kubectl_ado::core::Agent { enabled: false, assigned: Some(kubectl_ado::core::RequestId(1)), ..busy },
            placeholder,
            left,
        ],
    );
    let decided = decide(&policy, &observed);
    assert!(decided.starts.is_empty());
    let stops: Vec<_> = decided.stops.iter().map(|stop| (stop.name.as_str(), &stop.reason)).collect();
    assert_eq!(stops, [("pending", &StopReason::NotNeeded), ("back", &StopReason::TakenBack)]);
    let changes: Vec<String> = decided
        .agents
        .iter()
        .map(|action| match &action.change {
            AgentChange::Disable(agent, DisableReason::Retiring) => format!("disable {}", agent.name),
            AgentChange::Deregister(agent, DeregisterReason::Retiring) => format!("retire {}", agent.name),
            AgentChange::Deregister(agent, DeregisterReason::LeftBehind) => format!("sweep {}", agent.name),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(changes, ["disable idle", "sweep left", "retire placeholder-x"]);
    assert_eq!(*verdict(&decided, 9), Verdict::Covered, "it may still get the agent that was started for it");
}

#[test]
fn what_remains_is_told_apart() {
    let policy = simple();
    let placeholder = kubectl_ado::core::Agent {
        online: false,
        capabilities: ours(&[("KUBECTL_ADO_PLACEHOLDER", "default")]),
        ..agent(4, "p")
    };
    let registered = kubectl_ado::core::Agent { capabilities: ours(&[]), ..agent(5, "a") };
    let runs = [starting("a", 1), run("b", Purpose::Slot(0), RunPhase::Succeeded(at(0)))];
    let agents = [placeholder, registered, agent(6, "b"), agent(7, "theirs")];
    let remains = Remains::of(&policy.installation, &runs, &agents);
    assert_eq!(remains, Remains { runs: 1, placeholders: 1, registrations: 2 });
    assert!(Remains::of(&policy.installation, &runs[1..], &agents[3..]).is_nothing());
}
