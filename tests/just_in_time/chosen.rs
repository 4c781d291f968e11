//! Which agents are just-in-time ones, and what is said where they are not.

use control_plane::AuditEvent;
use kubectl_ado::sandbox::FaultKind;

use crate::{
    all_are_served, node, one_agent_for_each, only_placeholders_are_registered, serve,
    world::{World, environment},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_that_does_not_carry_it_gets_agents_with_a_token_and_is_told_why() {
    let world = World::new("does-not-carry").await;
    let pool = world.pool("Default");
    world.sandbox.inject(FaultKind::InvalidClient.always());
    world.queue(pool, 2);
    let running = serve(&world, "Default", "limits: {maxAgents: 9}\n").start();
    running.says("agents are not registered just in time: the organization did not exchange its assertion").await;
    for job in world.jobs_stay(2).await {
        assert!(environment(&job).contains_key("AZP_TOKEN_FILE"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_for_by_name_never_falls_back() {
    let world = World::new("by-name").await;
    let pool = world.pool("Default");
    world.sandbox.inject(FaultKind::Forbidden.always().on(format!("POST /{}", path(&world, pool))));
    world.queue(pool, 1);
    let running = serve(&world, "Default", "defaults: {registration: just-in-time}\n").start();
    running.says("cannot be registered in the pool").await;
    let [job] = &world.jobs_stay(1).await[..] else { panic!("one Job") };
    assert!(!environment(job).contains_key("AZP_TOKEN_FILE"));
    assert_eq!(job.spec.as_ref().unwrap().suspend, Some(true), "it waits");
    world.sandbox.clear_faults();
    let _node = node(&world);
    let requests: Vec<i64> = world.sandbox.requests().iter().map(|request| request.id).collect();
    all_are_served(&world, &requests).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_image_gets_the_token_unless_its_template_asks_for_it() {
    let world = World::new("foreign").await;
    let pool = world.pool("Default");
    world.queue(pool, 1);
    let templates = "pools: [{name: Default, templates: [{name: mine, image: registry.example/mine:1}]}]\n";
    let running = serve(&world, "Default", templates).start();
    let [job] = &world.jobs_stay(1).await[..] else { panic!("one Job") };
    assert!(environment(job).contains_key("AZP_TOKEN_FILE"), "{}", running.log());
    drop(running);

    let other = World::new("foreign-asks").await;
    let pool = other.pool("Default");
    let requests = other.queue(pool, 2);
    let _node = node(&other);
    let templates = "pools: [{name: Default, templates: [{name: mine, image: registry.example/mine:1, \
                     registration: just-in-time}]}]\n";
    let _running = serve(&other, "Default", templates).start();
    all_are_served(&other, &requests).await;
    one_agent_for_each(&other, &requests);
    only_placeholders_are_registered(&other, pool).await;
    let secrets = |event: &AuditEvent| event.resource == "secrets" && event.namespace == other.namespace.name();
    let verbs = |event: &AuditEvent| ["get", "list", "watch", "patch", "update"].contains(&event.verb.as_str());
    let ours = |event: &AuditEvent| event.user.ends_with(&format!("{}:kubectl-ado", other.namespace.name()));
    let read = other.plane.audit_events().into_iter().filter(|event| secrets(event) && verbs(event) && ours(event));
    assert_eq!(read.count(), 0, "no Secret was read");
}

fn path(world: &World, pool: i64) -> String {
    let organization = world.sandbox.url().rsplit('/').next().unwrap().to_owned();
    format!("{organization}/_apis/distributedtask/pools/{pool}/agents")
}
