//! An API server that refuses: the reason is told once, the loop goes on, and when the cause is mended so are the Jobs.

use serde_json::{Value, json};

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_create_jobs_it_says_which_right_and_goes_on() {
    let world = World::new("forbidden").await;
    let pool = world.pool("Default");
    let take = r#"[{"op": "replace", "path": "/rules/0/verbs", "value": ["get", "list", "watch", "patch", "delete"]}]"#;
    let patch = |patch: &str| {
        let namespace = world.namespace.name();
        world.plane.kubectl(&["patch", "role", "kubectl-ado", "-n", namespace, "--type=json", "-p", patch]).unwrap()
    };
    patch(take);
    world.queue(pool, 3);

    let serve = world.serve("Default").start();
    serve.says("\"reason\":\"forbidden\"").await;
    serve.says("manifests/role.yaml").await;
    assert_eq!(world.jobs().await.len(), 0);
    patch(&take.replace(r#""patch","#, r#""create", "patch","#));
    world.jobs_stay(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_job_is_told_with_the_field_and_the_loop_goes_on() {
    let world = World::new("invalid").await;
    let (bad, good) = (world.pool("Bad"), world.pool("Good"));
    std::fs::write(
        world.folder.path().join("bad.yaml"),
        "apiVersion: batch/v1\nkind: Job\nspec:\n  template:\n    spec:\n      containers:\n      - name: agent\n        image: a\n        resources: {limits: {cpu: lots}}\n",
    )
    .unwrap();
    let file = "pools:\n- name: Bad\n  templates: [{name: bad, jobTemplate: bad.yaml}]\n- name: Good\n";
    std::fs::write(world.folder.path().join("ado.yaml"), file).unwrap();
    world.queue(bad, 2);
    world.queue(good, 2);

    let serve = world.serve("Bad,Good").unset("AGENT_POOLS").argument("--config").argument("ado.yaml").start();
    serve.says("\"reason\":\"invalid\"").await;
    world.jobs_stay(2).await;
    let log = serve.log();
    assert!(log.contains("quantit"), "the API server's own words are there: {log}");
    let told = log.lines().filter(|line| line.contains("agent not started")).count();
    assert_eq!(told, 1, "it is told once, not at each pass: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_fills_up_is_told_and_drains_when_it_grows() {
    let world = World::new("quota").await;
    let pool = world.pool("Default");
    let quota = |jobs: u32| -> Value {
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "jobs"}, "spec": {"hard": {"count/jobs.batch": jobs.to_string()}}})
    };
    world.plane.apply(world.namespace.name(), &quota(3).to_string()).unwrap();
    world.queue(pool, 8);

    let serve = world.serve("Default").start();
    world.until_jobs(3).await;
    serve.says("\"reason\":\"quota\"").await;
    world.jobs_stay(3).await;
    world.plane.apply(world.namespace.name(), &quota(100).to_string()).unwrap();
    world.jobs_stay(8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pools_that_agents_cannot_serve_are_refused_with_the_reason() {
    use kubectl_ado::sandbox::{PoolKind, PoolSpec};
    let world = World::new("unfit").await;
    let pool = world.pool("Good");
    world.queue(pool, 1);
    for (name, kind) in
        [("Hosted", PoolKind::Hosted), ("Deploy", PoolKind::Deployment), ("Scale Set", PoolKind::Elastic)]
    {
        world.sandbox.add_pool(PoolSpec { name: name.into(), kind }).unwrap();
    }
    let serve = world.serve("Good,Hosted,Deploy,Scale Set").start();
    for name in ["Hosted", "Deploy", "Scale Set"] {
        serve.says(&format!("agent pool \\\"{name}\\\" cannot be served")).await;
    }
    world.until_jobs(1).await;
}
