//! Whatever Azure DevOps does, the number of Jobs is right in the end, and nothing is decided on a view that failed.

use std::time::Duration;

use kubectl_ado::sandbox::{Fault, FaultKind, Settings};

use crate::world::{World, eventually};

/// A fault for good, and what the log has to say about it; then the fault goes.
async fn leaves_the_number_of_jobs_right(name: &str, fault: Fault, says: &str) {
    let world = World::new(name).await;
    let pool = world.pool("Default");
    world.queue(pool, 3);
    let serve = world.serve("Default").start();
    let before = world.jobs_stay(3).await;

    world.sandbox.inject(fault);
    world.queue(pool, 2);
    serve.says(says).await;
    assert_eq!(world.jobs().await.len(), 3, "nothing is made or taken away while the view is bad");

    world.sandbox.clear_faults();
    let after = world.jobs_stay(5).await;
    for job in before {
        assert!(after.iter().any(|other| other.metadata.uid == job.metadata.uid), "what was there is still there");
    }
    world.the_token_is_nowhere().await;
}

macro_rules! fault {
    ($test:ident, $fault:expr, $says:expr) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            leaves_the_number_of_jobs_right(&stringify!($test)[..12].replace('_', "-"), $fault, $says).await;
        }
    };
}

fault!(sign_in_page_is_a_rejected_token_and_no_empty_queue, FaultKind::SignInPage.always(), "rejected the token");
fault!(redirection_to_the_sign_in_page_is_a_rejected_token, FaultKind::Redirect.always(), "rejected the token");
fault!(unauthorized_is_a_rejected_token, FaultKind::Unauthorized.always(), "rejected the token");
fault!(forbidden_is_told, FaultKind::Forbidden.always(), "\"reason\":\"forbidden\"");
fault!(not_found_is_told_and_the_pool_looked_up_again, FaultKind::NotFound.always().on("jobrequests"), "not found");
fault!(conflicts_are_told, FaultKind::Conflict.always().on("jobrequests"), "\"reason\":\"taken\"");
fault!(throttling_is_obeyed, FaultKind::Throttled(Duration::from_secs(1)).times(3), "throttled");
fault!(server_errors_are_told, FaultKind::ServerError.always(), "500");
fault!(truncated_answers_are_no_empty_queue, FaultKind::CutOff.always(), "unreadable");
fault!(dropped_connections_are_told, FaultKind::Dropped.always(), "no answer");
fault!(lost_replies_are_told, FaultKind::LostReply.always(), "no answer");

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_fails_does_not_hold_up_the_others() {
    let world = World::new("one-fails").await;
    let (sick, well) = (world.pool("Sick"), world.pool("Well"));
    world.sandbox.inject(FaultKind::ServerError.always().on(format!("pools/{sick}/")));
    world.queue(sick, 2);
    world.queue(well, 2);
    let _serve = world.serve("Sick,Well").start();
    world.until_jobs(2).await;
    world.sandbox.clear_faults();
    world.jobs_stay(4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_slow_does_not_hold_up_the_others() {
    let world = World::new("one-is-slow").await;
    let (slow, quick) = (world.pool("Slow"), world.pool("Quick"));
    world.sandbox.inject(FaultKind::Latency(Duration::from_secs(20)).always().on(format!("pools/{slow}/jobrequests")));
    world.queue(slow, 2);
    let _serve = world.serve("Slow,Quick").start();
    let polls_of_quick = || {
        let route = |request: &(&String, &u64)| request.0.starts_with("GET") && request.0.ends_with("/jobrequests");
        world.sandbox.calls().iter().filter(route).map(|(_, calls)| *calls).sum::<u64>()
    };
    for number in 1..=5 {
        let began = std::time::Instant::now();
        world.queue(quick, 1);
        world.until_jobs(number).await;
        assert!(began.elapsed() < Duration::from_secs(15), "it waited for the slow pool");
    }
    eventually("the quick pool is polled often", || polls_of_quick() > 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_on_a_good_answer_is_obeyed() {
    let world = World::new("retry-after").await;
    let pool = world.pool("Default");
    world.queue(pool, 2);
    world.sandbox.inject(FaultKind::RetryAfter(Duration::from_secs(1)).times(3));
    let _serve = world.serve("Default").start();
    world.jobs_stay(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_finished_requests_are_not_asked_for() {
    let mut settings = Settings::default();
    settings.rules.old_finished_requests = 10_000;
    let world = World::with("old-ones", settings).await;
    let pool = world.pool("Default");
    world.queue(pool, 3);
    let _serve = world.serve("Default").start();
    world.jobs_stay(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_job_of_a_request_that_is_cancelled_before_it_found_a_node_goes_and_none_comes_after_it() {
    let world = World::new("cancelled").await;
    let pool = world.pool("Default");
    let requests = world.queue(pool, 3);
    let serve = world.serve("Default").start();
    world.until_jobs(3).await;
    world.sandbox.cancel(requests[0]).unwrap();
    world.jobs_stay(2).await;
    serve.says("its job request is gone").await;
}
