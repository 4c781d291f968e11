//! Several installations may serve one pool; each one leaves the other's agents and Jobs alone.

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::Job;
use kubectl_ado::sandbox::AgentSpec;

use crate::world::World;

fn uids(jobs: &[Job]) -> BTreeSet<String> {
    jobs.iter().map(|job| job.metadata.uid.clone().unwrap()).collect()
}

fn installations(jobs: &[Job]) -> BTreeSet<String> {
    jobs.iter().map(|job| job.metadata.labels.as_ref().unwrap()["kubectl-ado/installation"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_installations_on_one_pool_leave_each_others_agents_and_jobs_alone() {
    let blue = World::new("blue").await;
    let green = World::beside("green", &blue.sandbox).await;
    let pool = blue.pool("Shared");
    blue.queue(pool, 5);

    let _blue = blue.serve("Shared").start();
    let before = uids(&blue.jobs_stay(5).await);
    let _green = green.serve("Shared").start();
    let greens = green.jobs_stay(5).await;
    let blues = blue.jobs_stay(5).await;

    assert_eq!(uids(&blues), before, "the other installation's Jobs are as they were");
    let (of_blue, of_green) = (installations(&blues), installations(&greens));
    assert_eq!((of_blue.len(), of_green.len()), (1, 1));
    assert_ne!(of_blue, of_green);
    let names: BTreeSet<_> = blues.iter().chain(&greens).map(|job| job.metadata.name.clone()).collect();
    assert_eq!(names.len(), 10, "no name is used twice");
    // The installation's short id stands in clear in each name.
    let short = |job: &Job| job.metadata.name.as_ref().unwrap().rsplit('-').nth(1).unwrap().to_owned();
    assert_ne!(short(&blues[0]), short(&greens[0]));
    assert_eq!(blues.iter().map(short).collect::<BTreeSet<_>>().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_somebody_else_under_our_name_is_a_reported_collision_and_stays() {
    let world = World::new("collision").await;
    let pool = world.pool("Default");
    world.queue(pool, 1);
    let (code, log) = world.serve("Default").once().await;
    assert_eq!(code, 0, "{log}");
    let mut job = world.until_jobs(1).await.remove(0);
    let name = job.metadata.name.clone().unwrap();

    // The same name without our labels.
    world.plane.kubectl(&["delete", "job", &name, "-n", world.namespace.name(), "--wait"]).unwrap();
    job.metadata = kube::api::ObjectMeta { name: Some(name.clone()), ..Default::default() };
    let spec = job.spec.as_mut().unwrap();
    (spec.selector, spec.template.metadata) = (None, None);
    job.status = None;
    let theirs = world.all::<Job>().create(&Default::default(), &job).await.unwrap();

    let (code, log) = world.serve("Default").once().await;
    assert_eq!(code, 1);
    assert!(log.contains("collision") && log.contains(&name), "{log}");
    let still = world.all::<Job>().get(&name).await.unwrap();
    assert_eq!(still.metadata.uid, theirs.metadata.uid);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offline_agent_of_somebody_else_is_neither_counted_nor_touched() {
    let world = World::new("theirs").await;
    let pool = world.pool("Default");
    world.sandbox.add_agent(pool, AgentSpec::named("build-box-7")).unwrap();
    world.queue(pool, 2);
    let _serve = world.serve("Default").start();
    world.jobs_stay(2).await;
    let names: BTreeSet<_> = world.sandbox.agents(pool).into_iter().map(|agent| agent.name).collect();
    assert!(names.contains("build-box-7"));
}
