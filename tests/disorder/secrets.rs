//! The files of just-in-time agents: what a pod finds in its Secret when it is set up, and what must not stay behind.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kubectl_ado::{core::REGISTRATION_CAPABILITY, sandbox::State};
use serde_json::Value;
use tokio::time::sleep;

use crate::{
    cluster::{
        Cluster, Key,
        resource::{JOBS, SECRETS},
    },
    organization::Organization,
};

/// How often the kubelet looks again for a Secret that is not there yet.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

const HELD: &str = "kubectl-ado/held";

/// Which agent they let somebody be, and with which key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) agent: i64,
    pub(crate) key: String,
}

impl Files {
    /// Reads them from a Secret's data.
    pub(crate) fn read(data: &Value) -> Self {
        let file = |name: &str| {
            let text = STANDARD.decode(data[name].as_str().unwrap_or_default()).unwrap();
            String::from_utf8(text).unwrap()
        };
        let settings: Value = serde_json::from_str(&file(".agent")).unwrap();
        Self { agent: settings["agentId"].as_i64().unwrap(), key: file(".credentials_rsaparams") }
    }

    /// Whether the agent of this name is registered with this key now.
    pub(crate) fn fit(&self, state: &State, pool: &str, name: &str) -> Option<(i64, i64)> {
        let pool = state.pool_named(pool)?;
        let agent = pool.agents().find(|agent| agent.id == self.agent && agent.name == name)?;
        let key = &agent.authorization.as_ref()?.public_key.modulus;
        (*key == self.key.as_bytes()).then_some((pool.id, agent.id))
    }
}

/// The Secret that the pods of a Job get their files from.
pub(crate) fn wanted(job: &Value) -> Option<&str> {
    let volumes = job["spec"]["template"]["spec"]["volumes"].as_array()?;
    volumes.iter().find(|volume| volume["name"] == "kubectl-ado-agent")?["secret"]["secretName"].as_str()
}

/// What a pod of the fake cluster has mounted; it waits until there is something.
pub(crate) async fn mounted(cluster: &Cluster, namespace: &str, name: &str) -> Files {
    loop {
        if let Some(secret) = cluster.get(&Key::new(SECRETS, namespace, name)) {
            return Files::read(&secret.value["data"]);
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// What of just-in-time agents is left although all jobs are done: held Jobs, registrations, Secrets without their Jobs.
pub(crate) fn left_behind(cluster: &Cluster, namespace: &str, organization: &Organization) -> Result<(), String> {
    left_behind_in(cluster, namespace)?;
    let registered = organization.see(|state| {
        let agents = state.pools().flat_map(kubectl_ado::sandbox::state::Pool::agents);
        let ours = agents.filter(|agent| agent.enabled || agent.authorization.is_some());
        let just_in_time = ours.filter(|agent| agent.system_capabilities.contains_key(REGISTRATION_CAPABILITY));
        just_in_time.map(|agent| agent.name.clone()).collect::<Vec<_>>()
    });
    if registered.is_empty() { Ok(()) } else { Err(format!("registered for nothing: {registered:?}")) }
}

/// The same, of the cluster alone.
pub(crate) fn left_behind_in(cluster: &Cluster, namespace: &str) -> Result<(), String> {
    let jobs = cluster.all(JOBS, namespace);
    if let Some(job) = jobs.iter().find(|job| job.value["metadata"]["annotations"].get(HELD).is_some()) {
        return Err(format!("the Job {} is held for ever", job.metadata("name")));
    }
    for secret in cluster.all(SECRETS, namespace) {
        let owner = &secret.value["metadata"]["ownerReferences"][0];
        let is_of_agent = secret.value["metadata"]["labels"]["app.kubernetes.io/component"] == "agent-files";
        if is_of_agent && !jobs.iter().any(|job| owner["uid"] == job.metadata("uid")) {
            return Err(format!("the Secret {} has no Job", secret.metadata("name")));
        }
    }
    Ok(())
}
