//! An agent template that cannot work, with many waiting requests: a few Jobs show it, and no more are made.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use control_plane::pods;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;

use crate::world::{Running, World};

const REQUESTS: usize = 50;
const WATCHED_FOR: Duration = Duration::from_secs(120);
const MOST_JOBS: usize = 5;

/// The settings are read, Azure DevOps is asked, and the token turns out to be wrong.
const SHORT_LIFE: Duration = Duration::from_secs(2);

/// A node finds out that fast.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

async fn waiting_requests(name: &str) -> (World, Running) {
    let world = World::new(name).await;
    let pool = world.pool("Default");
    world.queue(pool, REQUESTS);
    let serve = world.serve("Default").start();
    (world, serve)
}

/// Does to each new pod what the kubelet would, for two minutes from the first pod on.
async fn two_minutes(world: &World, kubelet: impl AsyncFn(&str)) {
    let pods = world.all::<Pod>();
    let mut done = HashSet::new();
    let mut began: Option<Instant> = None;
    while began.is_none_or(|began| began.elapsed() < WATCHED_FOR) {
        for pod in pods.list(&ListParams::default()).await.unwrap() {
            let name = pod.metadata.name.unwrap();
            if done.insert(name.clone()) {
                began.get_or_insert_with(Instant::now);
                kubelet(&name).await;
            }
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Gives the number of Jobs that were made.
async fn an_image_that_is_not_there() -> usize {
    let (world, serve) = waiting_requests("no-image").await;
    let namespace = world.namespace.name();
    two_minutes(&world, async |pod| {
        pods::set_image_pull_error(&world.client, namespace, pod, "registry.example/agent:1").await.unwrap();
    })
    .await;
    let made = world.jobs_ever_made();
    assert!((1..=MOST_JOBS).contains(&made), "{made} Jobs:\n{}", serve.log());
    let log = serve.log();
    let told = log.lines().filter(|line| line.contains("job requests wait")).collect::<Vec<_>>();
    assert!(told.iter().any(|line| line.contains("the image cannot be pulled: ImagePullBackOff")), "{told:?}");
    assert!(told.len() <= MOST_JOBS, "it is told as it changes, not at each pass: {told:?}");

    // Somebody pushes the image.
    for pod in world.all::<Pod>().list(&ListParams::default()).await.unwrap() {
        pods::set_pod_running(&world.client, namespace, &pod.metadata.name.unwrap()).await.unwrap();
    }
    world.jobs_stay(REQUESTS).await;
    world.the_token_is_nowhere().await;
    made
}

/// Gives the number of Jobs that were made.
async fn an_image_whose_agents_die() -> usize {
    let (world, serve) = waiting_requests("dying").await;
    let namespace = world.namespace.name().to_owned();
    let seen = AtomicU32::new(0);
    two_minutes(&world, async |pod| {
        let (client, namespace, pod) = (world.client.clone(), namespace.clone(), pod.to_owned());
        // Some end at once, and some find out only after a moment that they cannot work.
        if seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            return pods::set_pod_failed(&client, &namespace, &pod, 1, "Error").await.unwrap();
        }
        pods::set_pod_running(&client, &namespace, &pod).await.unwrap();
        tokio::spawn(async move {
            tokio::time::sleep(SHORT_LIFE).await;
            pods::set_pod_failed(&client, &namespace, &pod, 1, "Error").await.unwrap();
        });
    })
    .await;
    let made = world.jobs_ever_made();
    assert!((1..=MOST_JOBS).contains(&made), "{made} Jobs:\n{}", serve.log());
    serve.says("backing off after failed agents of template default (").await;
    world.the_token_is_nowhere().await;
    made
}

/// The two minutes are real ones; both kinds of badness have theirs at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn fifty_requests_for_a_bad_image_make_at_most_five_jobs_in_two_minutes_and_the_reason_is_told() {
    let (missing, dying) = tokio::join!(an_image_that_is_not_there(), an_image_whose_agents_die());
    println!("an image that is not there: {missing} Jobs; one whose agents die: {dying} Jobs");
}
