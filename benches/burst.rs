//! How fast a burst of job requests becomes Jobs: 1,000 of them at once, through `serve` as a process, against a real API
//! server, beside what a bare kube client reaches with the same Jobs, the same rights and as many calls in flight. Both
//! are counted by the API server's own audit log, from the first create to the last answer. They take turns, and their
//! medians count: the machine may be busy with something else. Then the memory that `serve` holds with 1,000 agents.
//!
//! Exit code 1 when `serve` makes fewer than 0.8 of the Jobs that the bare client makes, or holds 40 MiB or more.
//!
//!     cargo bench --bench burst

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "benchmarks fail by panicking")]
#![allow(clippy::print_stdout, reason = "a benchmark's output is its result")]

#[path = "../tests/world/mod.rs"]
mod world;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use control_plane::{Behaviour, ControlPlane, Node};
use futures::{StreamExt, stream};
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use kubectl_ado::{
    config::{Config, HostConfig},
    core::{Installation, Purpose, RequestId},
    hosts::kubernetes::render,
};
use tokio::time::sleep;

use crate::world::{Running, World, agent_entrypoint, eventually};

const REQUESTS: usize = 1_000;

/// What of the bare client's rate `serve` has to reach.
const LEAST_RATIO: f64 = 0.8;

/// MiB that `serve` may hold with so many agents.
const MEMORY_LIMIT: u64 = 40;

/// Creates in flight at once, as many as `serve` has.
const CONCURRENCY: usize = 16;

/// Creates before the clock runs: connections are made, and the API server has seen a Job.
const WARM_UP: usize = 32;

/// How often each has its turn.
const TURNS: usize = 3;

/// How long the memory is watched, each time.
const WATCHED_FOR: Duration = Duration::from_secs(3);

const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Jobs that were made in a namespace, per second, from the first of these creates to the last answer. The first ones
/// of the namespace do not count.
fn rate(plane: &ControlPlane, namespace: &str, but_for: usize) -> f64 {
    let events = plane.audit_events();
    let is_made = |event: &&control_plane::AuditEvent| {
        (event.verb.as_str(), event.resource.as_str(), event.code) == ("create", "jobs", 201)
            && event.namespace == namespace
    };
    let mut made: Vec<_> = events.iter().filter(is_made).map(|event| (event.received_at, event.answered_at)).collect();
    made.sort_unstable();
    let counted = &made[but_for..];
    assert_eq!(counted.len(), REQUESTS, "Jobs were made more than once, or by somebody else");
    let (first, last) = (counted[0].0, counted.iter().map(|(_, answered_at)| *answered_at).max().unwrap());
    REQUESTS as f64 / last.duration_since(first).as_secs_f64()
}

/// The Jobs that `serve` would make.
fn jobs(namespace: &str) -> Vec<Job> {
    let environment = [
        ("ORG_URL", "http://127.0.0.1:8080"),
        ("ORG_PAT", "any-token-0123456789"),
        ("AGENT_POOLS", "Default"),
        ("HOST_TYPE", "kubernetes"),
        ("JOB_NAMESPACE", namespace),
        ("JOB_IMAGE", "registry.example/agent:1"),
    ];
    let config = Config::load(&environment.into_iter().collect(), None).unwrap();
    let HostConfig::Kubernetes(settings) = &config.host else { panic!("another host") };
    let job = |id| {
        let purpose = Purpose::Request(RequestId(id));
        let us = Installation::new("burst");
        serde_json::from_value(render(&config, settings, &us, ("Default", "default"), purpose).unwrap().job).unwrap()
    };
    (1..).take(WARM_UP + REQUESTS).map(job).collect()
}

/// Waits until the controllers have made the pods of so many Jobs, so that the next turn does not compete with them.
async fn until_settled(world: &World, agents: usize) {
    let pods = || async { world.all::<Pod>().list_metadata(&ListParams::default()).await.unwrap().items.len() };
    while pods().await < agents {
        sleep(LOOK_AGAIN).await;
    }
}

/// What a bare client reaches.
async fn bare() -> f64 {
    let world = World::new("bare").await;
    let namespace = world.namespace.name();
    let api: Api<Job> = Api::namespaced(world.plane.client_of(&world.kubeconfig).await, namespace);
    let jobs = jobs(namespace);
    for jobs in [&jobs[..WARM_UP], &jobs[WARM_UP..]] {
        let create = async |job| api.create(&PostParams::default(), job).await.unwrap();
        stream::iter(jobs).map(create).buffer_unordered(CONCURRENCY).for_each(async |_| ()).await;
    }
    until_settled(&world, WARM_UP + REQUESTS).await;
    rate(world.plane, namespace, WARM_UP)
}

/// `serve` with its burst behind it.
struct Burst {
    serve: Running,
    world: World,
    rate: f64,
    /// From the start of the process to the last Job.
    took: Duration,
}

async fn burst() -> Burst {
    let world = World::new("burst").await;
    let pool = world.pool("Default");
    let serve = world.serve("Default").unset("POLLING_DELAY").start();
    // Of an image that nobody has seen working only a few are started. So one agent serves a request first.
    let node = Node::start(world.plane, world.namespace.name(), Behaviour::Run { entrypoint: agent_entrypoint() });
    let first = world.queue(pool, 1)[0];
    eventually("the first request is served", || world.sandbox.request(first).unwrap().finished_at.is_some()).await;
    let has_succeeded = |job: &Job| job.status.as_ref().and_then(|status| status.succeeded) == Some(1);
    while !world.jobs().await.iter().all(has_succeeded) {
        sleep(LOOK_AGAIN).await;
    }
    drop(node);
    serve.terminate().await;

    // A `serve` that polls while they are queued would see the first few alone, and the others a second later.
    world.queue(pool, REQUESTS);
    let began = Instant::now();
    let serve = world.serve("Default").unset("POLLING_DELAY").start();
    eventually("the burst has its Jobs", || serve.log().matches("\"agent started\"").count() >= REQUESTS).await;
    let took = began.elapsed();
    until_settled(&world, 1 + REQUESTS).await;
    let rate = rate(world.plane, world.namespace.name(), 1);
    Burst { serve, world, rate, took }
}

/// The most memory that it holds over a few seconds.
async fn most_memory(serve: &Running) -> u64 {
    let mut most = 0;
    let began = Instant::now();
    while began.elapsed() < WATCHED_FOR {
        most = most.max(serve.memory());
        sleep(LOOK_AGAIN).await;
    }
    most
}

/// The memory with all agents, and again after a restart, which begins with a list of all of them.
async fn memory(Burst { serve, world, .. }: Burst) -> [u64; 2] {
    let watched = most_memory(&serve).await;
    // It gives the lead back, so that the next one acts at once.
    serve.terminate().await;
    let serve = world.serve("Default").unset("POLLING_DELAY").start();
    serve.address().await;
    [watched, most_memory(&serve).await]
}

fn median(rates: &[f64]) -> f64 {
    let mut rates = rates.to_vec();
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn told(rates: &[f64]) -> String {
    let each: Vec<String> = rates.iter().map(|rate| format!("{rate:.0}")).collect();
    format!("{:.0} Jobs/s ({})", median(rates), each.join(", "))
}

async fn all() -> bool {
    let (mut of_client, mut of_serve, mut last) = (Vec::new(), Vec::new(), None);
    for _ in 0..TURNS {
        // The one before is over.
        drop(last.take());
        of_client.push(bare().await);
        let burst = burst().await;
        of_serve.push(burst.rate);
        last = Some(burst);
    }
    let last = last.unwrap();
    let took = last.took.as_secs_f64();
    let [watched, listed] = memory(last).await;
    let ratio = median(&of_serve) / median(&of_client);
    println!("bare client: {}, {CONCURRENCY} calls in flight", told(&of_client));
    println!("serve:       {}; {took:.1} s from its start to {REQUESTS} Jobs", told(&of_serve));
    println!("ratio:       {ratio:.2}, at least {LEAST_RATIO}");
    println!(
        "memory:      {watched} MiB with {REQUESTS} agents, {listed} MiB after a restart, below {MEMORY_LIMIT} MiB"
    );
    ratio >= LEAST_RATIO && watched.max(listed) < MEMORY_LIMIT
}

fn main() -> ExitCode {
    // `cargo test --benches` only sees whether it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if runtime.block_on(all()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
