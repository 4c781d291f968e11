//! Placeholder agents: what each template offers, kept registered while no agent runs.

use kubectl_ado::core::{
    Agent, AgentChange, Capabilities, Demand, DeregisterReason, Placeholder, Plan, PoolSnapshot, Purpose, Snapshot,
};

use crate::situation::*;

fn placeholders(plan: &Plan) -> Vec<&Placeholder> {
    let registered = |change| match change {
        &AgentChange::Register(ref placeholder) | &AgentChange::Update(_, ref placeholder) => Some(placeholder),
        _ => None,
    };
    plan.agents.iter().filter_map(|action| registered(&action.change)).collect()
}

fn satisfies(capabilities: &Capabilities, demand: &str) -> bool {
    capabilities.satisfy(&Demand::parse(demand))
}

#[test]
fn each_template_gets_a_placeholder_with_what_it_declares() {
    let policy =
        policy(vec![pool_policy("A", vec![template("gpu", Some(&[("gpu", "1")])), template("default", None)])]);
    let plan = decide(&policy, &snapshot(vec![], vec![], vec![]));
    let [gpu, default] = placeholders(&plan)[..] else { panic!("{plan:?}") };
    assert!(satisfies(&gpu.capabilities, "gpu") && !satisfies(&default.capabilities, "gpu"));
    assert!(satisfies(&default.capabilities, "Agent.Version -gtVersion 4.260.0"));
    assert_ne!(gpu.name, default.name);

    let rested = decide(&policy, &after(snapshot(vec![], vec![], vec![]), &plan));
    assert!(rested.is_idle(), "{rested:?}");
}

#[test]
fn a_placeholder_learns_from_the_first_agent_of_its_image_and_keeps_it() {
    let observed = snapshot(vec![], vec![starting("r1", 1)], vec![agent(1, "r1")]);
    let plan = decide(&simple(), &observed);
    let learned = placeholders(&plan)[0].capabilities.clone();
    assert!(satisfies(&learned, "docker"));
    assert!(!satisfies(&learned, "Agent.Name -equals r1"), "but not what belongs to one agent alone");

    // The agent is gone; the placeholder remembers.
    let mut gone = after(observed, &plan);
    gone.pools[0].runs.clear();
    gone.pools[0].agents.as_mut().unwrap().retain(|agent| agent.name != "r1");
    assert!(decide(&simple(), &gone).is_idle());
    let plan = decide(&simple(), &Snapshot { pools: vec![with(&gone, &["docker"])], ..Snapshot::default() });
    assert_eq!(plan.starts.len(), 1);
    let plan = decide(&simple(), &Snapshot { pools: vec![with(&gone, &["gpu"])], ..Snapshot::default() });
    assert!(plan.starts.is_empty(), "an image that was seen not to offer it is not started for it");
}

fn with(observed: &Snapshot, demands: &[&str]) -> PoolSnapshot {
    PoolSnapshot { requests: vec![request(5, demands)], ..observed.pools[0].clone() }
}

#[test]
fn in_a_pool_without_any_agent_one_is_started_once_to_learn_from() {
    let empty = || Snapshot {
        pools: vec![PoolSnapshot { pool: "A".into(), runs: vec![], requests: vec![], agents: Some(vec![]) }],
        ..Snapshot::default()
    };
    let plan = decide(&simple(), &empty());
    assert_eq!(plan.starts.len(), 1);
    assert_eq!(plan.starts[0].purpose, Purpose::Slot(0));
    assert!(decide(&simple(), &after(empty(), &plan)).starts.is_empty());

    // Nobody looked, or somebody's agent is there, or the template declares what it offers: nothing to learn.
    let unseen = Snapshot { pools: vec![PoolSnapshot { agents: None, ..empty().pools.remove(0) }], ..empty() };
    assert!(decide(&simple(), &unseen).starts.is_empty());
    assert!(decide(&simple(), &snapshot(vec![], vec![], vec![])).starts.is_empty());
    let declared = policy(vec![pool_policy("A", vec![template("gpu", Some(&[("gpu", "1")]))])]);
    assert!(decide(&declared, &empty()).starts.is_empty());
}

#[test]
fn a_placeholder_that_somebody_deleted_changed_or_enabled_is_mended() {
    let plan = decide(&simple(), &snapshot(vec![], vec![], vec![]));
    let rested = after(snapshot(vec![], vec![], vec![]), &plan);
    let spoilt = |spoil: fn(&mut Agent)| {
        let mut world = rested.clone();
        for agent in world.pools[0].agents.as_mut().unwrap() {
            if agent.name.starts_with("placeholder-") {
                spoil(agent);
            }
        }
        let plan = decide(&simple(), &world);
        placeholders(&plan).len()
    };
    assert_eq!(spoilt(|_| {}), 0);
    assert_eq!(spoilt(|agent| agent.enabled = true), 1);
    assert_eq!(spoilt(|agent| agent.capabilities.set("extra", "1")), 1);
    assert_eq!(spoilt(|agent| agent.name = "somewhere-else".into()), 1);
}

#[test]
fn the_placeholder_of_a_template_that_is_no_more_goes() {
    let two = policy(vec![pool_policy("A", vec![template("gpu", Some(&[("gpu", "1")])), template("default", None)])]);
    let plan = decide(&two, &snapshot(vec![], vec![], vec![]));
    let world = after(snapshot(vec![], vec![], vec![]), &plan);
    let plan = decide(&simple(), &world);
    let [action] = &plan.agents[..] else { panic!("{plan:?}") };
    assert!(matches!(action.change, AgentChange::Deregister(_, DeregisterReason::NoTemplate)));
}
