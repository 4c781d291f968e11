//! Two hundred pipeline jobs by agents that hold no token of the organization.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use kubectl_ado::sandbox::JobResult;

use crate::{
    FILES, no_files_are_left_behind, node, one_agent_for_each, only_placeholders_are_registered,
    processes::Watcher,
    serve,
    world::{World, assert_holds_no_token},
};

const JOBS: usize = 200;

/// Two hundred agents come and go on two cores.
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_jobs_are_served_and_the_token_is_nowhere_near_them() {
    let world = World::new("two-hundred").await;
    let pool = world.pool("Default");
    let _node = node(&world);
    let watcher = Watcher::start(world.sandbox.token(), &format!("AZP_URL={}", world.sandbox.url()));
    let requests = world.queue(pool, JOBS);

    let began = Instant::now();
    let running = serve(&world, "Default", "limits: {maxAgents: 12}\n").start();
    running.says("the organization carries just-in-time agents").await;
    let all_served =
        |state: &kubectl_ado::sandbox::State| state.requests().all(|request| request.finished_at.is_some());
    assert!(world.sandbox.until(PATIENCE, all_served).await, "not all jobs are served:\n{}", running.log());
    let took = began.elapsed();
    for id in &requests {
        assert_eq!(world.sandbox.request(*id).unwrap().result, Some(JobResult::Succeeded));
    }
    one_agent_for_each(&world, &requests);
    only_placeholders_are_registered(&world, pool).await;

    let seen = watcher.stop();
    assert!(seen.found.is_empty(), "the token is in {:?}", seen.found);
    assert!(seen.roots.len() > JOBS / 2, "only {} agents were seen at work", seen.roots.len());
    let assertions = world.sandbox.assertions();
    assert!(assertions.refused.is_empty(), "{assertions:?}");
    assert!(assertions.verified > JOBS as u64, "one for each agent and one for the trial: {assertions:?}");
    println!(
        "{JOBS} jobs in {took:.1?}; {} assertions verified, {} processes and {} roots looked at",
        assertions.verified,
        seen.processes.len(),
        seen.roots.len()
    );

    world.the_token_is_nowhere().await;
    no_files_are_left_behind(&world).await;
    let secrets = world.all::<Secret>().list(&ListParams::default()).await.unwrap().items;
    assert!(
        secrets.iter().all(|secret| {
            let labels = secret.metadata.labels.clone().unwrap_or_default();
            labels.get("app.kubernetes.io/component").is_some_and(|component| component == "agent-files")
        }),
        "the only Secrets are those with the files of one agent: {FILES}"
    );
    for secret in &secrets {
        for (name, content) in secret.data.iter().flatten() {
            assert_holds_no_token(&String::from_utf8_lossy(&content.0), world.sandbox.token(), name);
        }
    }
}
