//! Two `serve` in one namespace for the same pools: one acts, the other one stands by and takes over.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::api::{DeleteParams, ListParams};

use crate::world::{
    Running, World,
    election::{FOLLOWING, LEADING, LOOK, SLACK, TERM, leader_and_stand_by, take_the_right_to_leases},
};

/// Whoever was killed holds its Lease still. This is as if one had waited for the end of its term.
pub(crate) async fn end_of_term(world: &World) {
    let leases = world.all::<Lease>();
    leases.delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
}

async fn leases(world: &World) -> Vec<LeaseSpec> {
    let leases = world.all::<Lease>().list(&ListParams::default()).await.unwrap();
    leases.items.into_iter().filter_map(|lease| lease.spec).collect()
}

async fn get(serve: &Running, path: &str) -> (u16, String) {
    let answer = reqwest::get(format!("http://{}{path}", serve.address().await)).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// Waits until it is ready, and gives its metrics.
async fn metrics_once_ready(serve: &Running) -> String {
    let deadline = Instant::now() + TERM + SLACK;
    while get(serve, "/readyz").await.0 != 200 {
        assert!(Instant::now() < deadline, "it does not become ready:\n{}", serve.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    get(serve, "/metrics").await.1
}

#[tokio::test(flavor = "multi_thread")]
async fn one_acts_and_the_other_is_ready_to() {
    let world = World::new("stand-by").await;
    let pool = world.pool("Default");
    world.queue(pool, 3);
    let (leader, stand_by) = leader_and_stand_by(&world, "Default").await;
    world.queue(pool, 2);
    world.jobs_stay(5).await;
    assert_eq!(leader.log().matches("\"agent started\"").count(), 5, "{}", leader.log());
    assert!(!stand_by.log().contains("agent started"), "{}", stand_by.log());

    let polled = "kubectl_ado_last_successful_poll_timestamp_seconds{";
    let metrics = metrics_once_ready(&leader).await;
    assert!(metrics.contains("kubectl_ado_leader 1\n") && metrics.contains(polled), "{metrics}");
    let metrics = metrics_once_ready(&stand_by).await;
    assert!(metrics.contains("kubectl_ado_leader 0\n") && !metrics.contains(polled), "{metrics}");
    assert_eq!(get(&stand_by, "/healthz").await.0, 200);
    world.the_token_is_nowhere().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_leader_is_killed_the_other_takes_over_within_a_term_and_a_look() {
    let world = World::new("take-over").await;
    let pool = world.pool("Default");
    world.queue(pool, 3);
    let (leader, stand_by) = leader_and_stand_by(&world, "Default").await;
    world.jobs_stay(3).await;

    let killed = Instant::now();
    leader.kill();
    world.queue(pool, 3);
    stand_by.says(LEADING).await;
    let took = killed.elapsed();
    assert!(took <= TERM + LOOK + SLACK, "{took:?}");
    assert!(took >= Duration::from_secs(9), "a leader that may be acting still was overtaken after {took:?}");
    world.jobs_stay(6).await;
    assert_eq!(leases(&world).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_told_to_end_hands_over_at_once() {
    let world = World::new("hand-over").await;
    let pool = world.pool("Default");
    let (leader, stand_by) = leader_and_stand_by(&world, "Default").await;
    world.queue(pool, 2);
    world.until_jobs(2).await;

    let (status, _) = leader.terminate().await;
    let ended = Instant::now();
    assert_eq!(status.code(), Some(0));
    world.queue(pool, 2);
    stand_by.says(LEADING).await;
    assert!(ended.elapsed() <= LOOK + SLACK, "{:?}", ended.elapsed());
    world.jobs_stay(4).await;
    assert_eq!(leases(&world).await[0].lease_transitions, Some(1));

    let (status, _) = stand_by.terminate().await;
    assert_eq!(status.code(), Some(0));
    assert_eq!(leases(&world).await[0].holder_identity, None, "the last one released it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_stood_still_follows_when_it_goes_on() {
    use nix::{sys::signal, unistd::Pid};
    let world = World::new("stood-still").await;
    let pool = world.pool("Default");
    world.queue(pool, 2);
    let (leader, stand_by) = leader_and_stand_by(&world, "Default").await;
    world.jobs_stay(2).await;
    let signal = |signal| signal::kill(Pid::from_raw(leader.pid().try_into().unwrap()), signal).unwrap();

    signal(signal::Signal::SIGSTOP);
    stand_by.says(LEADING).await;
    world.queue(pool, 2);
    world.until_jobs(4).await;
    signal(signal::Signal::SIGCONT);
    leader.says(FOLLOWING).await;
    world.queue(pool, 2);
    world.jobs_stay(6).await;
    assert_eq!(leader.log().matches("\"agent started\"").count(), 2, "{}", leader.log());
    assert_eq!(get(&leader, "/healthz").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn orchestrators_for_other_pools_lead_side_by_side() {
    let world = World::new("side-by-side").await;
    let (one, other) = (world.pool("One"), world.pool("Other"));
    world.queue(one, 2);
    world.queue(other, 2);
    let first = world.serve("One").start();
    let second = world.serve("Other").start();
    first.says(LEADING).await;
    second.says(LEADING).await;
    world.jobs_stay(4).await;
    assert_eq!(leases(&world).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_leases_all_act_say_how_to_mend_it_and_make_nothing_twice() {
    let world = World::new("no-leases").await;
    let namespace = world.namespace.name();
    take_the_right_to_leases(&world).await;

    let pool = world.pool("Default");
    let one = world.serve("Default").start();
    let other = world.serve("Default").start();
    for _ in 0..4 {
        world.queue(pool, 5);
        world.passes(1).await;
    }
    world.jobs_stay(20).await;
    for serve in [&one, &other] {
        serve.says("working without leader election").await;
        let log = serve.log();
        assert_eq!(log.matches("working without leader election").count(), 1, "{log}");
        assert!(log.contains(&format!("kubectl apply -n {namespace} -f manifests/role.yaml")), "{log}");
        assert!(metrics_once_ready(serve).await.contains("kubectl_ado_leader 1\n"));
    }
    assert!(leases(&world).await.is_empty());
}
