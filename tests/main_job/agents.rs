//! One agent for each waiting job request: no more, no fewer, each in the right pool.

use std::collections::BTreeMap;

use control_plane::{Behaviour, Node, pods};
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::api::ListParams;
use kubectl_ado::sandbox::JobResult;

use crate::world::{World, agent_entrypoint, environment, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn twenty_five_queued_jobs_in_two_pools_become_twenty_five_jobs_and_a_second_pass_makes_none() {
    let world = World::new("two-pools").await;
    let (linux, windows) = (world.pool("Linux Builds"), world.pool("Größe/Ünïcode ✓"));
    world.queue(linux, 15);
    world.queue(windows, 10);

    let _serve = world.serve("Linux Builds, Größe/Ünïcode ✓").start();
    let jobs = world.jobs_stay(25).await;

    let mut pools: BTreeMap<String, usize> = BTreeMap::new();
    for job in &jobs {
        let environment = environment(job);
        *pools.entry(environment["AZP_POOL"].clone()).or_default() += 1;
        assert_eq!(environment["AZP_URL"], world.sandbox.url());
        assert_eq!(Some(&environment["AZP_AGENT_NAME"]), job.metadata.name.as_ref());
        assert!(!environment.contains_key("AZP_TOKEN"));
        assert!(environment.contains_key("AZP_TOKEN_FILE"));
    }
    assert_eq!(pools, [("Linux Builds".to_owned(), 15), ("Größe/Ünïcode ✓".to_owned(), 10)].into());
    world.the_token_is_nowhere().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_that_are_real_processes_serve_every_job_and_go() {
    let world = World::new("lively").await;
    let pool = world.pool("Default");
    let behaviour = Behaviour::Run { entrypoint: agent_entrypoint() };
    let _node = Node::start(world.plane, world.namespace.name(), behaviour);
    let requests = world.queue(pool, 6);

    let _serve = world.serve("Default").start();
    eventually("all job requests are served", || {
        requests.iter().all(|id| world.sandbox.request(*id).unwrap().finished_at.is_some())
    })
    .await;
    for id in requests {
        let request = world.sandbox.request(id).unwrap();
        assert_eq!(request.result, Some(JobResult::Succeeded), "{request:?}");
    }
    eventually("all but the placeholders deregister", || world.sandbox.agents(pool).len() == 2).await;
    let agents: Vec<_> = world.sandbox.history().into_iter().filter(|agent| agent.online_at.is_some()).collect();
    assert_eq!(agents.len(), 6, "one agent each");
    assert!(agents.iter().all(|agent| agent.received == 1));
    world.the_token_is_nowhere().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn finished_jobs_vanish_by_their_ttl() {
    let world = World::new("ttl").await;
    let pool = world.pool("Default");
    let requests = world.queue(pool, 2);
    let template = "apiVersion: batch/v1\nkind: Job\nspec: {ttlSecondsAfterFinished: 30, template: {spec: {containers: [{name: agent}]}}}\n";
    std::fs::write(world.folder.path().join("job.yaml"), template).unwrap();

    let _serve = world.serve("Default").set("JOB_DEFINITION_FILE", "job.yaml").start();
    world.until_jobs(2).await;
    for pod in running_without_requests(&world, requests).await {
        pods::set_pod_succeeded(&world.client, world.namespace.name(), &pod).await.unwrap();
    }
    world.jobs_stay(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_ended_well_is_kept_ten_minutes_and_a_failed_one_a_day() {
    let world = World::new("kept").await;
    let pool = world.pool("Default");
    let requests = world.queue(pool, 2);

    let _serve = world.serve("Default").start();
    world.until_jobs(2).await;
    let pods = running_without_requests(&world, requests).await;
    pods::set_pod_failed(&world.client, world.namespace.name(), &pods[0], 1, "Error").await.unwrap();
    pods::set_pod_succeeded(&world.client, world.namespace.name(), &pods[1]).await.unwrap();

    let kept = |jobs: &[Job], pod: &str| {
        let job = jobs.iter().find(|job| pod.starts_with(job.metadata.name.as_ref().unwrap())).unwrap();
        job.spec.as_ref().unwrap().ttl_seconds_after_finished
    };
    let mut jobs = world.jobs_stay(2).await;
    for _ in 0..100 {
        if kept(&jobs, &pods[0]) == Some(24 * 3600) {
            break;
        }
        world.passes(1).await;
        jobs = world.jobs().await;
    }
    assert_eq!(kept(&jobs, &pods[0]), Some(24 * 3600));
    assert_eq!(kept(&jobs, &pods[1]), Some(600));
}

/// The requests' pods, running, with the requests themselves cancelled: nothing but the pods' own end is of interest.
async fn running_without_requests(world: &World, requests: Vec<i64>) -> Vec<String> {
    let pods = until_pods(world, requests.len()).await;
    for pod in &pods {
        pods::set_pod_running(&world.client, world.namespace.name(), pod).await.unwrap();
    }
    world.passes(2).await;
    for id in requests {
        world.sandbox.cancel(id).unwrap();
    }
    pods
}

async fn until_pods(world: &World, count: usize) -> Vec<String> {
    let api = world.all::<Pod>();
    for _ in 0..100 {
        let pods = api.list(&ListParams::default()).await.unwrap().items;
        if pods.len() == count {
            return pods.into_iter().filter_map(|pod| pod.metadata.name).collect();
        }
        world.passes(1).await;
    }
    panic!("there are no {count} pods");
}
