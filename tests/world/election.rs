//! What the tests of the leader election share.

use std::time::Duration;

use super::{Running, World, eventually, project_file};

/// What a Lease promises.
pub(crate) const TERM: Duration = Duration::from_secs(15);

/// How often those who stand by look.
pub(crate) const LOOK: Duration = Duration::from_secs(2);

/// What a busy machine may add.
pub(crate) const SLACK: Duration = Duration::from_secs(6);

pub(crate) const LEADING: &str = "\"message\":\"leading\"";
pub(crate) const FOLLOWING: &str = "following another orchestrator";

/// One that leads and one that stands by.
pub(crate) async fn leader_and_stand_by(world: &World, pools: &str) -> (Running, Running) {
    let leader = world.serve(pools).start();
    leader.says(LEADING).await;
    let stand_by = world.serve(pools).start();
    stand_by.says(FOLLOWING).await;
    (leader, stand_by)
}

/// Takes the right to touch Leases away, without which all act.
pub(crate) async fn take_the_right_to_leases(world: &World) {
    let namespace = world.namespace.name();
    let role = project_file("manifests/role.yaml");
    let leases_too = role.split_once("- apiGroups: [coordination.k8s.io]").unwrap();
    let older = format!("{}{}", leases_too.0, leases_too.1.split_once("verbs: [get, create, update]\n").unwrap().1);
    world.plane.apply(namespace, &older).unwrap();
    let may = || world.plane.kubectl_of(&world.kubeconfig, &["auth", "can-i", "get", "leases", "-n", namespace]);
    eventually("the right is taken away", || may().is_err()).await;
}
