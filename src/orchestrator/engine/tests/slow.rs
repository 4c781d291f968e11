//! Nothing waits for what it does not need: slow, hanging and refused calls beside agents that have to be started.

use std::time::Duration;

use super::{
    world::{World, agent, now, start_of},
    *,
};
use crate::{
    azure_devops::ProofStep,
    core::{Code, Recipe, Timeouts},
    orchestrator::{Wish, facts::Facts},
};

/// Serves the pools of a world for so long, in the time of the test.
pub(super) async fn serve(world: &World, pools: &[&str], seconds: u64) -> Arc<Board> {
    serve_with(world, policy(pools), Wishes::new(), seconds).await
}

async fn serve_with(world: &World, policy: Policy, wishes: Wishes, seconds: u64) -> Arc<Board> {
    let board = Arc::new(Board::default());
    board.serves(&policy, Facts::default());
    let settings = Settings { respect_parallel_jobs: true, now, ..SETTINGS };
    let mut engine = Engine::new(world, world, policy, settings, Arc::new(Metrics::default()))
        .reporting_to(Arc::clone(&board))
        .wishing(wishes);
    let (_stopper, stop) = stop_pair();
    let _ = timeout(Duration::from_secs(seconds), engine.run(&stop)).await;
    board
}

fn unreachable() -> Option<Error> {
    Some(Error::Unreachable("no answer in time".to_owned()))
}

fn codes(board: &Board, pool: usize) -> Vec<Code> {
    let report = board.report(now()).unwrap();
    report.pools[pool].findings.iter().map(|finding| finding.code).collect()
}

#[tokio::test(start_paused = true)]
async fn parallel_jobs_that_answer_slowly_do_not_keep_agents_from_being_started() {
    let world = World::new(&["A"]);
    world.fault("parallel_jobs", None, 11, None);
    world.queue(1, 1..=3);
    serve(&world, &["A"], 15).await;
    let starts = world.starts();
    assert_eq!(starts.len(), 3);
    assert!(starts.iter().all(|(_, at)| *at < Duration::from_secs(4)), "{starts:?}");
}

#[tokio::test(start_paused = true)]
async fn where_every_call_takes_five_seconds_agents_are_started_in_half_a_minute() {
    let world = World::new(&["A"]);
    world.latency.set(Duration::from_millis(5_100));
    world.queue(1, 1..=3);
    serve(&world, &["A"], 60).await;
    let starts = world.starts();
    assert_eq!(starts.len(), 3);
    assert!(starts.iter().all(|(_, at)| *at < Duration::from_secs(35)), "{starts:?}");
    assert_eq!(world.done(), 3);
}

#[tokio::test(start_paused = true)]
async fn where_every_call_takes_thirty_seconds_agents_are_started_and_the_delay_is_told() {
    let world = World::new(&["A"]);
    world.latency.set(Duration::from_secs(30));
    world.queue(1, 1..=3);
    let board = serve(&world, &["A"], 110).await;
    assert_eq!(codes(&board, 0), [Code::Delayed]);
    serve(&world, &["A"], 200).await;
    let starts = world.starts();
    assert_eq!(starts.len(), 3);
    // The pool's number, its requests, its agents, its requests once more, and the start itself.
    assert!(starts.iter().all(|(_, at)| *at < Duration::from_secs(110 + 155)), "{starts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_cannot_be_deleted_holds_up_no_other_pool() {
    let world = World::new(&["A", "B"]);
    world.fault("stop", None, 10, unreachable());
    world.pending_run(start_of("A", "needless", 99));
    world.queue(2, 1..=2);
    let board = serve(&world, &["A", "B"], 60).await;
    let starts = world.starts();
    let of_b = starts.iter().filter(|(start, _)| start.pool == "B");
    assert_eq!(of_b.clone().count(), 2);
    assert!(of_b.clone().all(|(_, at)| *at < Duration::from_secs(4)), "{starts:?}");
    let tries = world.calls_of("stop").len();
    assert!((2..=6).contains(&tries), "it is tried again, less and less often: {tries}");
    drop(board);
}

#[tokio::test(start_paused = true)]
async fn a_pool_whose_changes_hang_leaves_another_one_all_its_agents() {
    let world = World::new(&["A", "B"]);
    for call in ["deregister", "register", "update", "disable"] {
        world.fault(call, Some(2), 30, unreachable());
    }
    let dead = (2000..2250).map(|id| {
        let mut dead = agent(id, &format!("dead-{id}"));
        dead.online = false;
        dead.created_at = Some(now() - jiff::SignedDuration::from_hours(1));
        dead
    });
    world.left_behind.borrow_mut().extend(dead);
    world.work.set(Duration::from_secs(3));
    world.queue(1, 1..=6);
    let mut policy = policy(&["A", "B"]);
    policy.pools[0].max_agents = Some(1);
    serve_with(&world, policy, Wishes::new(), 40).await;
    assert_eq!(world.done(), 6, "{:?}", world.starts());
}

#[tokio::test(start_paused = true)]
async fn registrations_to_sweep_do_not_delay_a_start() {
    let world = World::new(&["A", "B"]);
    world.fault("deregister", None, 2, None);
    let dead = (2000..2250).map(|id| {
        let mut dead = agent(id, &format!("dead-{id}"));
        dead.online = false;
        dead.created_at = Some(now() - jiff::SignedDuration::from_hours(1));
        dead
    });
    world.left_behind.borrow_mut().extend(dead);
    world.queue(2, 1..=1);
    serve(&world, &["A", "B"], 180).await;
    assert!(world.starts()[0].1 < Duration::from_secs(3));
    assert!(world.left_behind.borrow().is_empty(), "{} are left", world.left_behind.borrow().len());
    assert_eq!(world.calls_of("deregister").len(), 250, "each once");
}

#[tokio::test(start_paused = true)]
async fn refused_changes_are_tried_again_less_and_less_often() {
    let world = World::new(&["A"]);
    for call in ["disable", "register", "update", "deregister"] {
        world.fault(call, None, 0, Some(Error::Forbidden("read only".to_owned())));
    }
    world.work.set(Duration::from_secs(600));
    world.queue(1, 1..=10);
    let board = serve(&world, &["A"], 45).await;
    assert_eq!(world.starts().len(), 10);
    let disables = world.calls_of("disable");
    // Those that are sent together are refused together; after that it is one at a time.
    assert!(disables.len() <= 16, "{disables:?}");
    assert!(world.calls_of("register").len() <= 7, "{:?}", world.calls_of("register"));
    assert_eq!(codes(&board, 0), [Code::PoolNotManageable]);
}

#[tokio::test(start_paused = true)]
async fn starts_that_are_refused_are_not_said_to_be_slow() {
    let world = World::new(&["A"]);
    world.fault("start", None, 0, unreachable());
    world.fault("parallel_jobs", None, 1, None);
    world.queue(1, 1..=3);
    let policy = policy(&["A"]);
    let board = Arc::new(Board::default());
    board.serves(&policy, Facts::default());
    let settings = Settings { respect_parallel_jobs: true, now, ..SETTINGS };
    let engine = Engine::new(&world, &world, policy, settings, Arc::new(Metrics::default()));
    let mut engine = engine.reporting_to(Arc::clone(&board));
    let (_stopper, stop) = stop_pair();
    let watch = async {
        for _ in 0..480 {
            tokio::time::sleep(Duration::from_millis(250)).await;
            assert!(!codes(&board, 0).contains(&Code::Delayed), "{:?}", board.report(now()).unwrap().pools[0].findings);
        }
    };
    tokio::select! { () = engine.run(&stop) => {}, () = watch => {} }
    assert!(world.calls_of("start").len() > 4 && world.calls_of("parallel_jobs").len() > 4);
}

#[tokio::test(start_paused = true)]
async fn a_fault_at_the_trial_puts_no_token_into_any_agent() {
    let world = World::new(&["A"]);
    let fault = || (ProofStep::OpenSession, Error::Unavailable { status: 500, message: String::new() });
    world.trials.borrow_mut().extend([fault(), fault(), fault()]);
    world.queue(1, 1..=3);
    let wishes: Wishes = [(("A".to_owned(), "default".to_owned()), Wish::default())].into();
    let board = serve_with(&world, policy(&["A"]), wishes.clone(), 2).await;
    assert_eq!((codes(&board, 0), world.starts().len()), (vec![Code::RegistrationPending], 0));
    serve_with(&world, policy(&["A"]), wishes, 30).await;
    let starts = world.starts();
    assert_eq!(starts.len(), 3);
    assert!(starts.iter().all(|(start, _)| start.recipe == Recipe::JustInTime), "{starts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_hangs_holds_up_no_pool_that_does_not_need_it() {
    let world = World::new(&["A", "B"]);
    world.fault("prove", None, 3600, None);
    world.queue(2, 1..=1);
    let wishes: Wishes = [(("A".to_owned(), "default".to_owned()), Wish::default())].into();
    serve_with(&world, policy(&["A", "B"]), wishes, 10).await;
    assert!(world.starts()[0].1 < Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_is_made_anew_is_served_and_the_runs_of_before_are_not_ended() {
    let world = World::new(&["A"]);
    world.work.set(Duration::from_secs(100_000));
    world.queue(1, 1..=2);
    let mut policy = policy(&["A"]);
    policy.timeouts = Timeouts::of_start(Duration::from_secs(30));
    let board = Arc::new(Board::default());
    board.serves(&policy, Facts::default());
    let engine = Engine::new(&world, &world, policy, Settings { now, ..SETTINGS }, Arc::new(Metrics::default()));
    let mut engine = engine.reporting_to(Arc::clone(&board));
    let (_stopper, stop) = stop_pair();
    let change = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(world.starts().len(), 2);
        world.numbers.borrow_mut().insert("A".to_owned(), 7);
        world.queue(7, 11..=11);
        tokio::time::sleep(Duration::from_secs(600)).await;
    };
    tokio::select! { () = engine.run(&stop) => {}, () = change => {} }
    assert_eq!(world.starts().len(), 3, "the new pool is served");
    assert!(world.stopped.borrow().is_empty(), "{:?}", world.stopped.borrow());
}

#[tokio::test(start_paused = true)]
async fn a_start_that_waits_is_begun_after_a_second_look_and_one_that_nobody_waits_for_is_not() {
    let world = World::new(&["A"]);
    world.queue(1, 1..=40);
    world.work.set(Duration::from_secs(100_000));
    // The first look is quick, all later ones hang; starts take so long that some wait for their turn.
    world.fault("start", None, 6, None);
    let board = {
        let engine = async { serve(&world, &["A"], 60).await };
        let change = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            world.fault("agents", None, 3600, None);
            std::future::pending::<()>().await;
        };
        tokio::select! { board = engine => board, () = change => unreachable!() }
    };
    assert_eq!(world.starts().len(), 40);
    assert!(codes(&board, 0).contains(&Code::Delayed));
}

#[tokio::test(start_paused = true)]
async fn limits_hold_while_starts_are_in_flight() {
    let world = World::new(&["A", "B"]);
    world.work.set(Duration::from_secs(100_000));
    world.fault("start", None, 5, None);
    world.queue(1, 1..=6);
    world.queue(2, 11..=16);
    let policy = Policy { max_agents: Some(3), ..policy(&["A", "B"]) };
    serve_with(&world, policy, Wishes::new(), 60).await;
    assert_eq!(world.starts().len(), 3, "{:?}", world.starts());
    assert_eq!(world.calls_of("start").len(), 3, "each was begun once");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_listed_twice_gets_one_start() {
    let world = World::new(&["A"]);
    world.queue(1, 1..=2);
    world.queue(1, 1..=2);
    serve(&world, &["A"], 2).await;
    assert_eq!(world.calls_of("start").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_was_removed_is_shown_until_nothing_of_ours_is_left_in_it() {
    let world = World::new(&["A", "B"]);
    world.fault("stop", None, 10, unreachable());
    world.pending_run(start_of("B", "left", 99));
    world.queue(2, 1..=1);
    let mut policy = policy(&["A", "B"]);
    policy.pools[1] = policy.pools[1].clone().without_agents();
    let board = serve_with(&world, policy.clone(), Wishes::new(), 5).await;
    assert!(codes(&board, 1).contains(&Code::PoolRemoved), "{:?}", codes(&board, 1));
    world.faults.borrow_mut().clear();
    let board = serve_with(&world, policy, Wishes::new(), 30).await;
    assert_eq!(*world.stopped.borrow(), ["left"]);
    assert!(world.starts().is_empty(), "nothing is started there");
    assert!(!board.shows("B") && board.shows("A"));
    let polls = world.calls_of("agents").len();
    assert!(polls < 30, "it is not asked for any more: {polls}");
}

#[tokio::test(start_paused = true)]
async fn a_single_pass_waits_for_the_answer_to_its_trial() {
    let world = World::new(&["A"]);
    let fault = || (ProofStep::OpenSession, Error::Unavailable { status: 503, message: String::new() });
    world.trials.borrow_mut().extend([fault(), fault()]);
    world.queue(1, 1..=2);
    let wishes: Wishes = [(("A".to_owned(), "default".to_owned()), Wish::default())].into();
    let metrics = Arc::new(Metrics::default());
    let mut engine = Engine::new(&world, &world, policy(&["A"]), Settings { now, ..SETTINGS }, metrics).wishing(wishes);
    let (_stopper, stop) = stop_pair();
    let outcome = engine.run_once(&stop).await;
    assert_eq!(outcome, Outcome { failures: 0, started: 2 });
    assert!(world.starts().iter().all(|(start, _)| start.recipe == Recipe::JustInTime));
}

/// A future is moved by value into each one that waits for it, and a debug build has each of these moves on its stack.
#[tokio::test]
async fn the_loop_is_a_small_future() {
    let world = World::new(&["A"]);
    let mut engine = Engine::new(&world, &world, policy(&["A"]), SETTINGS, Arc::new(Metrics::default()));
    let (_stopper, stop) = stop_pair();
    assert!(size_of_val(&engine.run(&stop)) < 4096);
    assert!(size_of_val(&engine.run_once(&stop)) < 4096);
}
