//! A pool full of registrations that nothing is behind: ours are swept, others' stay.

use std::{collections::BTreeSet, time::Duration};

use kubectl_ado::sandbox::AgentSpec;

use crate::world::{World, eventually};

const OURS: &str = "blue";
const MARK: &str = "KUBECTL_ADO_INSTALLATION";

const DEAD: usize = 300;

/// Longer than any start takes.
const OLD: Duration = Duration::from_secs(20 * 60);

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_dead_registrations_of_ours_are_swept_and_three_hundred_of_others_stay() {
    let world = World::new("dead").await;
    let pool = world.pool("Default");
    let mut wanted: BTreeSet<String> = world.sandbox.agents(pool).into_iter().map(|agent| agent.name).collect();
    let mut add = |spec: AgentSpec, age: Duration, stays: bool| {
        wanted.extend(stays.then(|| spec.name.clone()));
        world.sandbox.add_old_agent(pool, spec, age).unwrap();
    };
    for number in 0..DEAD {
        add(AgentSpec::named(format!("agent-job-ours-{number}")).with(MARK, OURS), OLD, false);
        // A third each: another installation's, a person's, and one that only looks like ours.
        let theirs = match number % 3 {
            0 => AgentSpec::named(format!("agent-job-green-{number}")).with(MARK, "green"),
            1 => AgentSpec::named(format!("build-box-{number}")),
            _ => AgentSpec::named(format!("agent-job-ours-too-{number}")),
        };
        add(theirs, OLD, true);
    }
    for number in 0..20 {
        // Its pod may just be starting.
        add(AgentSpec::named(format!("agent-job-young-{number}")).with(MARK, OURS), Duration::from_secs(60), true);
    }

    let began = std::time::Instant::now();
    let serve = world.serve("Default").set("INSTALLATION_ID", OURS).start();
    let names = || world.sandbox.agents(pool).into_iter().map(|agent| agent.name).collect::<BTreeSet<_>>();
    eventually("ours are swept", || {
        !names().iter().any(|name| name.starts_with("agent-job-ours-") && !wanted.contains(name))
    })
    .await;
    println!("swept after {:.1?}", began.elapsed());
    world.passes(5).await;
    let mut left = names();
    left.retain(|name| !name.starts_with("placeholder-"));
    assert_eq!(left, wanted);
    let log = serve.log();
    assert_eq!(log.matches("agent deregistered: it was left behind").count(), DEAD);
    assert_eq!(log.matches("agent deregistered").count(), DEAD);
    assert_eq!(world.jobs().await.len(), 0, "nobody asked for an agent");
}
