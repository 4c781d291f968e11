//! Just-in-time agents, end to end: `serve` as a process under the Role of `manifests/`, a real Kubernetes API server, a
//! node that runs each pod's agent as a process of its own, and a stand-in for Azure DevOps that verifies what they sign.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod anew;
mod burst;
mod chosen;
mod killed;
mod many;
mod processes;
mod stolen;
#[path = "../world/mod.rs"]
mod world;

use control_plane::{Behaviour, Node};
use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use kubectl_ado::sandbox::JobResult;

use crate::world::{Serve, World, agent_entrypoint, eventually};

/// The Secrets that hold agents' files.
pub(crate) const FILES: &str = "app.kubernetes.io/component=agent-files";

/// A node that starts each agent's pod as our image does.
pub(crate) fn node(world: &World) -> Node {
    Node::start(world.plane, world.namespace.name(), Behaviour::Run { entrypoint: agent_entrypoint() })
}

/// `serve` with our own image and this file.
pub(crate) fn serve(world: &World, pools: &str, file: &str) -> Serve {
    let path = world.folder.path().join("ado.yaml");
    std::fs::write(&path, file).unwrap();
    world.serve(pools).unset("JOB_IMAGE").argument("--config").argument(path.display().to_string())
}

/// Waits until all these job requests were served well.
pub(crate) async fn all_are_served(world: &World, requests: &[i64]) {
    let is_over = |id: &i64| world.sandbox.request(*id).unwrap().finished_at.is_some();
    eventually("all job requests are served", || requests.iter().all(is_over)).await;
    for id in requests {
        let request = world.sandbox.request(*id).unwrap();
        assert_eq!(request.result, Some(JobResult::Succeeded), "{request:?}");
    }
}

/// Waits until nothing but placeholders is registered.
pub(crate) async fn only_placeholders_are_registered(world: &World, pool: i64) {
    let left = || world.sandbox.agents(pool).into_iter().filter(|agent| !agent.name.contains("placeholder")).count();
    eventually("all but the placeholders are removed", || left() == 0).await;
}

/// The agents that were ever there for work, as many as there were job requests, each with one.
pub(crate) fn one_agent_for_each(world: &World, requests: &[i64]) {
    let agents: Vec<_> = world.sandbox.history().into_iter().filter(|agent| agent.online_at.is_some()).collect();
    assert_eq!(agents.len(), requests.len(), "agents and job requests");
    assert!(agents.iter().all(|agent| agent.received == 1), "{agents:?}");
}

/// Each Secret with files has the Job that owns it.
pub(crate) async fn no_files_are_left_behind(world: &World) {
    let jobs = world.jobs().await;
    let is_there = |uid: &str| jobs.iter().any(|job| job.metadata.uid.as_deref() == Some(uid));
    for secret in world.all::<Secret>().list(&ListParams::default().labels(FILES)).await.unwrap() {
        let owners = secret.metadata.owner_references.unwrap_or_default();
        let [owner] = &owners[..] else { panic!("{owners:?}") };
        assert!(is_there(&owner.uid), "the Secret {:?} is left behind", secret.metadata.name);
        assert_eq!((owner.block_owner_deletion, owner.controller), (None, None));
    }
}
