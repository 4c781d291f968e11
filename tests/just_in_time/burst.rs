//! How much memory a burst of just-in-time agents takes: a key, a registration, a Secret and a Job for each of them, many
//! at once.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;

use crate::{
    node, serve,
    world::{World, eventually, eventually_within},
};

/// `JIT_BURST` sets another number, for a measurement.
const AGENTS: usize = 100;

/// Of its own, so without the program itself: with some 14 MiB of that it stays far below 48 MiB, for 500 agents as for these.
const LIMIT_KIB: u64 = 24 * 1024;

const PATIENCE: Duration = Duration::from_secs(300);

fn kib(pid: u32, what: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_just_in_time_agents_fits_into_the_manifests_limit() {
    let agents = std::env::var("JIT_BURST").map_or(AGENTS, |number| number.parse().unwrap());
    let world = World::new("jit-burst").await;
    let pool = world.pool("Default");
    // Of an image that nobody has seen working only a few are started.
    let node = node(&world);
    let running = serve(&world, "Default", "").unset("POLLING_DELAY").start();
    let first = world.queue(pool, 1)[0];
    eventually("the first one is served", || world.sandbox.request(first).unwrap().finished_at.is_some()).await;
    let has_succeeded = |job: &Job| job.status.as_ref().and_then(|status| status.succeeded) == Some(1);
    while !world.jobs().await.iter().all(has_succeeded) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(node);
    running.terminate().await;

    world.queue(pool, agents);
    let running = serve(&world, "Default", "").unset("POLLING_DELAY").start();
    let pid = running.pid();
    let mut most = (0, 0);
    eventually_within(PATIENCE, "all of them are started", || {
        most = (most.0.max(kib(pid, "RssAnon")), most.1.max(kib(pid, "VmRSS")));
        running.log().matches("\"agent started\"").count() >= agents
    })
    .await;
    println!("{agents} just-in-time agents: {} KiB of its own, {} KiB resident at most", most.0, most.1);
    assert!(most.0 < LIMIT_KIB, "{} KiB of its own", most.0);
    world.the_token_is_nowhere().await;
}
