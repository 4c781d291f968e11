//! A job request that is cancelled while its agent waits for a node: Job and pod go at once.

use std::time::Instant;

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;

use crate::world::{World, request_of};

const REQUESTS: usize = 6;
const CANCELLED: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn the_pod_of_a_cancelled_request_is_gone_within_two_polls() {
    let world = World::new("cancelled").await;
    let pool = world.pool("Default");
    let requests = world.queue(pool, REQUESTS);
    let serve = world.serve("Default").set("POLLING_DELAY", "2000").start();
    let jobs = world.until_jobs(REQUESTS).await;
    let pods = world.all::<Pod>();
    let pods_of = async |job: &str| {
        let of_job = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={job}"));
        pods.list(&of_job).await.unwrap().items.len()
    };
    for request in requests.into_iter().take(CANCELLED) {
        let job = jobs.iter().find(|job| request_of(job) == Some(request)).unwrap();
        let job = job.metadata.name.as_deref().unwrap();
        while pods_of(job).await == 0 {
            world.passes(1).await;
        }
        let (before, began) = (world.polls(), Instant::now());
        world.sandbox.cancel(request).unwrap();
        while pods_of(job).await > 0 {
            assert!(world.polls() - before <= 2, "the pod of {job} is there still:\n{}", serve.log());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let polls = world.polls() - before;
        println!("gone after {polls} polls, {:.1?}", began.elapsed());
        assert!(polls <= 2);
    }
    world.jobs_stay(REQUESTS - CANCELLED).await;
    assert_eq!(world.jobs_ever_made(), REQUESTS, "none was made anew");
    serve.says("its job request is gone").await;
}
