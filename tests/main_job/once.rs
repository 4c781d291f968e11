//! RUN_ONCE: a single pass, as a CronJob wants it, whose exit code tells whether it worked.

use control_plane::ControlPlane;
use kube::Api;

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn one_pass_makes_the_jobs_and_a_second_one_makes_none() {
    let world = World::new("once").await;
    let pool = world.pool("Default");
    world.queue(pool, 4);
    for _ in 0..2 {
        let (code, log) = world.serve("Default").once().await;
        assert_eq!(code, 0, "{log}");
        assert_eq!(world.jobs().await.len(), 4);
    }
    world.the_token_is_nowhere().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_that_failed_says_so_by_its_exit_code_and_serves_the_other_pools() {
    let world = World::new("half").await;
    let pool = world.pool("Default");
    world.queue(pool, 2);
    let (code, log) = world.serve("Default,No Such Pool").once().await;
    assert_eq!(code, 1);
    assert!(log.contains("No Such Pool"), "{log}");
    assert_eq!(world.jobs().await.len(), 2);

    let (code, log) = world.serve("Default").set("ORG_PAT", "wrong-token-0123456789").once().await;
    assert_eq!(code, 1);
    assert!(log.contains("rejected the token") && log.contains("fix"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_missing_and_may_not_be_created_is_an_error_with_the_line_that_mends_it() {
    let world = World::new("missing").await;
    world.pool("Default");
    let (code, log) = world.serve("Default").set("JOB_NAMESPACE", "not-there").once().await;
    assert_eq!(code, 1);
    assert!(log.contains("not-there") && log.contains("kubectl create namespace not-there"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_missing_is_created_where_that_is_allowed() {
    let world = World::new("initialize").await;
    let pool = world.pool("Default");
    world.queue(pool, 2);
    let admin = ControlPlane::shared().kubeconfig().display().to_string();
    let namespace = format!("{}-made", world.namespace.name());
    let serve = || world.serve("Default").set("KUBECONFIG", &admin).set("JOB_NAMESPACE", &namespace);

    let (code, log) = serve().set("INITIALIZE_NAMESPACE", "false").once().await;
    assert_eq!(code, 1);
    assert!(log.contains(&namespace), "{log}");
    let (code, log) = serve().once().await;
    assert_eq!(code, 0, "{log}");
    let made: Api<k8s_openapi::api::batch::v1::Job> = Api::namespaced(world.client.clone(), &namespace);
    assert_eq!(made.list(&Default::default()).await.unwrap().items.len(), 2);
    world.plane.kubectl(&["delete", "namespace", &namespace, "--wait=false"]).unwrap();
}
