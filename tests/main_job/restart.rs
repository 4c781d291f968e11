//! Whenever `serve` dies, the next one goes on where things stand: nothing is made twice, nothing is forgotten.

use std::time::Duration;

use crate::{leadership::end_of_term, world::World};

#[tokio::test(flavor = "multi_thread")]
async fn a_serve_that_is_killed_between_any_two_passes_and_started_again_makes_nothing_twice() {
    let world = World::new("killed").await;
    let pool = world.pool("Default");
    let mut queued = 0;
    for round in 0..8 {
        world.queue(pool, 4);
        queued += 4;
        let serve = world.serve("Default").start();
        // Killed while it starts, in its first pass, or later, when some of the Jobs are there and others are not.
        match round % 4 {
            0 => {}
            1 => world.passes(1).await,
            2 => drop(world.until_at_least(queued - 3).await),
            _ => world.passes(3).await,
        }
        serve.kill();
        end_of_term(&world).await;
    }
    let _serve = world.serve("Default").start();
    world.jobs_stay(queued).await;
    world.the_token_is_nowhere().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_in_one_namespace_are_one_installation_and_make_nothing_twice() {
    let world = World::new("two-at-once").await;
    let pool = world.pool("Default");
    let _one = world.serve("Default").start();
    let _other = world.serve("Default").start();
    for _ in 0..4 {
        world.queue(pool, 5);
        world.passes(1).await;
    }
    world.jobs_stay(20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_it_well_and_soon() {
    let world = World::new("sigterm").await;
    let pool = world.pool("Default");
    world.queue(pool, 3);
    let serve = world.serve("Default").start();
    world.until_jobs(3).await;
    let (status, took) = serve.terminate().await;
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(10), "{took:?}");
}
