//! Two `serve` for the same 200 job requests: one Job each, whoever makes it and whoever dies.

use std::{collections::BTreeSet, time::Instant};

use crate::world::{
    World,
    election::{LEADING, LOOK, SLACK, TERM, leader_and_stand_by, take_the_right_to_leases},
    request_of,
};

const REQUESTS: usize = 200;

/// The leader is killed when there are so many Jobs.
const MIDWAY: usize = 60;

/// Requests to the API server that a leader has open at most. Those of a killed one are made without being told.
const IN_FLIGHT: usize = 16;

/// Each request has its Job, and no other one was ever made.
async fn assert_one_job_for_each(world: &World, requests: Vec<i64>) {
    let jobs = world.jobs_stay(REQUESTS).await;
    let served: BTreeSet<i64> = jobs.iter().filter_map(request_of).collect();
    assert_eq!(served, requests.into_iter().collect());
    let taken_away = ["delete", "deletecollection"].map(|verb| world.jobs_ever(verb, 200));
    assert_eq!(taken_away, [0, 0], "nothing was made twice and taken away again");
    assert!(world.jobs_ever_made() <= REQUESTS);
}

fn started(log: &str) -> usize {
    log.matches("\"agent started\"").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_leader_is_killed_midway_through_200_requests_the_other_makes_the_rest_and_none_twice() {
    let world = World::new("midway").await;
    let pool = world.pool("Default");
    let (leader, stand_by) = leader_and_stand_by(&world, "Default").await;

    let requests = world.queue(pool, REQUESTS);
    let there = world.until_at_least(MIDWAY).await.len();
    let killed = Instant::now();
    let log = leader.kill();
    let left = world.jobs().await.len();
    assert!(left < REQUESTS, "the leader was done before it was killed");
    stand_by.says(LEADING).await;
    let took = killed.elapsed();
    assert!(took <= TERM + LOOK + SLACK, "{took:?}");

    assert_one_job_for_each(&world, requests).await;
    let (before, after) = (started(&log), started(&stand_by.log()));
    println!(
        "killed at {there} Jobs, {left} there then; {took:.1?} until the other led; {before} and {after} made and told"
    );
    assert!(after >= REQUESTS - left - IN_FLIGHT, "{after}");
    assert!((REQUESTS - IN_FLIGHT..=REQUESTS).contains(&(before + after)), "each but those in flight is told once");
    world.the_token_is_nowhere().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_without_an_election_make_200_jobs_and_none_twice() {
    let world = World::new("unopposed").await;
    take_the_right_to_leases(&world).await;
    let pool = world.pool("Default");
    let both = [world.serve("Default").start(), world.serve("Default").start()];
    for serve in &both {
        serve.says("working without leader election").await;
    }

    let requests = world.queue(pool, REQUESTS);
    assert_one_job_for_each(&world, requests).await;
    println!("{} creates met a Job that was there", world.jobs_ever("create", 409));
    let [one, other] = both.each_ref().map(|serve| started(&serve.log()));
    println!("{one} and {other} made");
    assert_eq!(one + other, REQUESTS, "each Job has one maker");
    world.the_token_is_nowhere().await;
}
