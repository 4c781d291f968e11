//! Pools that left the configuration while no orchestrator ran.

use super::{
    world::{World, start_of},
    *,
};
use crate::core::LeaseRecord;

fn lease(version: u64) -> LeaseView {
    LeaseView { version: version.to_string(), record: LeaseRecord::default() }
}

/// Serves pool A, and makes something happen each second. A run of pool B was started under the Lease "other".
async fn serve_beside(world: &World, seconds: u64, each_second: impl Fn(u64)) -> Arc<Board> {
    let serving = super::slow::serve(world, &["A"], seconds);
    let happening = async {
        for second in 0.. {
            each_second(second);
            sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        board = serving => board,
        () = happening => unreachable!(),
    }
}

fn world() -> World {
    let world = World::new(&["A", "B"]);
    world.pending_run(start_of("B", "left", 99));
    world.started_under.borrow_mut().insert("left".to_owned(), "other");
    world
}

#[tokio::test(start_paused = true)]
async fn runs_of_a_pool_that_nobody_serves_any_more_are_taken_back() {
    for gone in [true, false] {
        let world = world();
        if !gone {
            world.leases.borrow_mut().insert("other".to_owned(), lease(1));
        }
        let board = serve_beside(&world, 290, |_| ()).await;
        assert!(world.stopped.borrow().is_empty() && !board.shows("B"), "it may be served by one that is updated");
        let board = serve_beside(&world, 500, |_| ()).await;
        assert_eq!(*world.stopped.borrow(), ["left"]);
        assert!(!board.shows("B"), "and then nothing is left to show");
        assert!(world.calls_of("lease").len() < 20);
    }
}

#[tokio::test(start_paused = true)]
async fn runs_of_a_pool_that_another_orchestrator_serves_are_left_alone() {
    let world = world();
    let renew = |second| {
        world.leases.borrow_mut().insert("other".to_owned(), lease(second / 5));
    };
    serve_beside(&world, 2_000, renew).await;
    assert!(world.stopped.borrow().is_empty());
}

#[tokio::test(start_paused = true)]
async fn runs_whose_lease_cannot_be_read_or_is_not_known_are_left_alone() {
    let world = world();
    world.fault("lease", None, 0, unavailable());
    world.pending_run(start_of("C", "older", 100));
    serve_beside(&world, 2_000, |_| ()).await;
    assert!(world.stopped.borrow().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_pool_is_given_back_to_an_orchestrator_that_begins_to_serve_it() {
    let world = world();
    // It cannot be ended yet.
    world.fault("stop", None, 0, unavailable());
    let back = |second| {
        if second == 450 {
            world.faults.borrow_mut().clear();
        }
        if second >= 400 {
            world.leases.borrow_mut().insert("other".to_owned(), lease(second / 5));
        }
        if second == 500 {
            world.pending_run(start_of("B", "new", 101));
            world.started_under.borrow_mut().insert("new".to_owned(), "newer");
        }
    };
    let board = serve_beside(&world, 2_000, back).await;
    assert!(!world.stopped.borrow().iter().any(|name| name == "new") && !board.shows("B"));
}

fn unavailable() -> Option<Error> {
    Some(Error::Unavailable { status: 503, message: String::new() })
}
