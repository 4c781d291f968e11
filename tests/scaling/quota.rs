//! A namespace that takes ten pods, and fifty job requests for it.

use control_plane::{Behaviour, Node};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kubectl_ado::sandbox::JobResult;
use serde_json::json;

use crate::world::{World, agent_entrypoint, eventually};

const PODS: usize = 10;

/// So many requests come before the quota is used up, and as many after it.
const AT_ONCE: usize = 25;

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_of_ten_pods_fills_up_is_told_lets_no_further_job_be_made_and_drains_until_all_fifty_are_served() {
    let world = World::new("ten-pods").await;
    let pool = world.pool("Default");
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "pods"}, "spec": {"hard": {"pods": PODS.to_string()}}});
    world.plane.apply(world.namespace.name(), &quota.to_string()).unwrap();
    let behaviour = Behaviour::Run { entrypoint: agent_entrypoint() };
    let _node = Node::start(world.plane, world.namespace.name(), behaviour);
    let opened = world.folder.path().join("opened");
    let until_opened = format!("while [ ! -e '{}' ]; do sleep 1; done", opened.display());

    let serve = world.serve("Default").start();
    let mut requests = world.queue_script(pool, AT_ONCE, &until_opened);
    serve.says("job requests wait: a quota is used up: ").await;
    let busy = || world.sandbox.requests().iter().filter(|request| request.received_at.is_some()).count();
    eventually("the quota is filled up by working agents", || busy() == PODS).await;
    let made = world.jobs_ever_made();
    requests.extend(world.queue_script(pool, AT_ONCE, &until_opened));
    world.passes(20).await;
    assert_eq!(world.jobs_ever_made(), made, "further Jobs were made:\n{}", serve.log());
    assert_eq!(world.all::<Pod>().list(&ListParams::default()).await.unwrap().items.len(), PODS);
    assert_eq!(serve.log().matches("job requests wait: a quota is used up").count(), 1, "{}", serve.log());

    let began = std::time::Instant::now();
    std::fs::write(&opened, "").unwrap();
    let drained = world
        .sandbox
        .until(std::time::Duration::from_secs(150), |state| state.requests().all(|request| request.result.is_some()))
        .await;
    let served = world.sandbox.requests().iter().filter(|request| request.result.is_some()).count();
    println!("{made} Jobs when the quota was used up; {served} served {:.1?} later", began.elapsed());
    assert!(drained, "{served} of {}:\n{}", requests.len(), serve.log());
    for id in requests {
        assert_eq!(world.sandbox.request(id).unwrap().result, Some(JobResult::Succeeded));
    }
    world.the_token_is_nowhere().await;
}
