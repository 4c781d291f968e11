//! How fast a burst of job requests becomes Jobs: 1,000 of them at once, through `serve` as a process, against a real API
//! server, beside what a bare kube client reaches with the same Jobs, the same account and as many calls in flight. Both
//! are counted by the API server's own audit log, from the first create to the last answer, each on a control plane of
//! its own; the bare client has its turn before `serve` and after it, since the machine may be busy with something else.
//! Then the memory that `serve` holds with 1,000 agents.
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

use crate::world::{Running, World, agent_entrypoint, eventually, project_file};

const REQUESTS: usize = 1_000;

/// What of the bare client's rate `serve` has to reach.
const LEAST_RATIO: f64 = 0.8;

/// MiB that `serve` may hold with so many agents.
const MEMORY_LIMIT: u64 = 40;

/// Creates in flight at once, as many as `serve` has.
const CONCURRENCY: usize = 16;

/// Creates before the clock runs: connections are made, and the API server has seen a Job.
const WARM_UP: usize = 32;

/// How long the memory is watched, each time.
const WATCHED_FOR: Duration = Duration::from_secs(5);

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

/// What a bare client reaches.
async fn bare() -> f64 {
    let plane = ControlPlane::start().unwrap();
    let namespace = plane.namespace("bare").await;
    for manifest in ["serviceaccount", "role", "rolebinding"] {
        plane.apply(namespace.name(), &project_file(&format!("manifests/{manifest}.yaml"))).unwrap();
    }
    let account = plane.service_account_kubeconfig(namespace.name(), "kubectl-ado").await;
    let api: Api<Job> = Api::namespaced(plane.client_of(&account).await, namespace.name());
    let jobs = jobs(namespace.name());
    for jobs in [&jobs[..WARM_UP], &jobs[WARM_UP..]] {
        let create = async |job| api.create(&PostParams::default(), job).await.unwrap();
        stream::iter(jobs).map(create).buffer_unordered(CONCURRENCY).for_each(async |_| ()).await;
    }
    rate(&plane, namespace.name(), WARM_UP)
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
    let pods = || async { world.all::<Pod>().list(&ListParams::default()).await.unwrap().items };
    while pods().await.iter().any(|pod| pod.status.as_ref().unwrap().phase.as_deref() != Some("Succeeded")) {
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

async fn all() -> bool {
    let before = bare().await;
    let Burst { serve, world, rate, took } = burst().await;
    let all_have_pods = || async {
        let pods = world.all::<Pod>().list_metadata(&ListParams::default()).await.unwrap();
        pods.items.len() > REQUESTS
    };
    while !all_have_pods().await {
        sleep(LOOK_AGAIN).await;
    }
    let watched = most_memory(&serve).await;
    // The next one begins with a list of all of them.
    serve.kill();
    let serve = world.serve("Default").unset("POLLING_DELAY").start();
    serve.address().await;
    let listed = most_memory(&serve).await;
    serve.kill();
    let after = bare().await;

    let bare = f64::midpoint(before, after);
    let ratio = rate / bare;
    println!("bare client: {bare:.0} Jobs/s ({before:.0} before, {after:.0} after), {CONCURRENCY} calls in flight");
    println!("serve:       {rate:.0} Jobs/s; {:.1} s from its start to {REQUESTS} Jobs", took.as_secs_f64());
    println!("ratio:       {ratio:.2}, at least {LEAST_RATIO}");
    println!("memory:      {watched} MiB with {REQUESTS} agents, {listed} MiB after a restart, below {MEMORY_LIMIT} MiB");
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
