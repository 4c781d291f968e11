//! What a policy orders happens in the world.

use jiff::Timestamp;

use super::*;
use crate::{
    core::{AgentId, Capabilities, Demand, Placeholder, Purpose, StartRun},
    sandbox::State,
    simulation::{
        events::Event,
        scalers::{Order, POOL},
        world::World,
    },
};

fn start(name: &str) -> Order {
    Order::Start(StartRun {
        name: name.to_owned(),
        pool: POOL.to_owned(),
        template: "default".to_owned(),
        purpose: Purpose::Slot(1),
        attempt: 1,
        revision: String::new(),
        recipe: crate::core::Recipe::default(),
    })
}

fn placeholder(capability: &str) -> Placeholder {
    let capabilities = [(capability, "1")].into_iter().collect();
    Placeholder { name: "placeholder".to_owned(), template: "default".to_owned(), capabilities }
}

fn in_world(workload: &Workload, story: impl FnOnce(&mut World<'_>)) {
    let (settings, kinds) = (Settings::default(), Kinds::of(workload.jobs()));
    story(&mut World::new(workload, &settings, &kinds, Capabilities::default()).unwrap());
}

/// Lets the world go on for so long.
fn pass(world: &mut World<'_>, seconds: u64) -> Timestamp {
    let (beginning, _) = world.next_event(None).unwrap();
    let now = beginning + Duration::from_secs(seconds);
    while let Some((moment, event)) = world.next_event(Some(now)) {
        world.happen(event, moment);
    }
    world.schedule(beginning, Event::Poll);
    now
}

fn agent_named(world: &mut World<'_>, name: &str, now: Timestamp) -> Option<(AgentId, bool, bool)> {
    let view = world.view(now);
    let found = view.agents().find(|agent| agent.name == name);
    found.map(|agent| (AgentId(agent.id), agent.enabled, agent.online))
}

/// A workload whose one job comes late.
fn quiet() -> Workload {
    Workload::new(vec![job(10_000.0, &[], 1)])
}

#[test]
fn an_agent_comes_online_can_be_disabled_and_goes_with_its_run() {
    in_world(&quiet(), |world| {
        let now = pass(world, 0);
        world.carry_out(start("a"), now);
        // As with a Job of that name.
        world.carry_out(start("a"), now);
        assert_eq!(world.view(now).runs().count(), 1);
        assert_eq!(agent_named(world, "a", now), None);
        let now = pass(world, 40);
        let (agent, enabled, online) = agent_named(world, "a", now).unwrap();
        assert!(enabled && online);
        world.carry_out(Order::Disable(agent), now);
        assert_eq!(agent_named(world, "a", now), Some((agent, false, true)));
        world.carry_out(Order::Stop("a".to_owned()), now);
        assert_eq!(agent_named(world, "a", now), None);
        assert_eq!(world.view(now).runs().count(), 0);
    });
}

#[test]
fn a_run_that_is_stopped_before_its_agent_is_online_never_comes() {
    in_world(&quiet(), |world| {
        let now = pass(world, 0);
        world.carry_out(start("a"), now);
        world.carry_out(Order::Stop("a".to_owned()), now);
        let now = pass(world, 60);
        assert_eq!(agent_named(world, "a", now), None);
    });
}

#[test]
fn placeholders_are_registered_changed_and_removed() {
    in_world(&quiet(), |world| {
        let now = pass(world, 0);
        world.carry_out(Order::Register(placeholder("docker")), now);
        let (agent, enabled, online) = agent_named(world, "placeholder", now).unwrap();
        assert!(!enabled && !online);
        let satisfies = |state: &State, pool, demand: &str| {
            let agent = state.agent(pool, agent.0).unwrap();
            agent.satisfies(&[Demand::parse(demand)])
        };
        let view = world.view(now);
        assert!(
            satisfies(view.state, view.pool, "docker") && satisfies(view.state, view.pool, "Agent.OS -equals linux")
        );
        world.carry_out(Order::Update(agent, placeholder("gpu")), now);
        let view = world.view(now);
        assert!(satisfies(view.state, view.pool, "gpu") && !satisfies(view.state, view.pool, "docker"));
        world.carry_out(Order::Deregister(agent), now);
        assert_eq!(agent_named(world, "placeholder", now), None);
    });
}

#[test]
fn ours_finds_a_pool_in_which_it_was_at_work_before_as_it_left_it() {
    for workload in [quiet(), Workload::new(vec![job(9.0, &["os -equals a"], 1), job(9.0, &["os -equals b"], 1)])] {
        let (settings, kinds) = (Settings::default(), Kinds::of(workload.jobs()));
        let mut ours = scalers(&kinds, &settings).remove(0);
        let mut world = World::new(&workload, &settings, &kinds, ours.marks()).unwrap();
        let now = pass(&mut world, 0);
        let legacy = ours.legacy(now);
        assert_eq!(legacy.len(), kinds.merged.len());
        for order in legacy {
            world.carry_out(order, now);
        }
        assert_eq!(ours.poll(&world.view(now), now), []);
    }
}
