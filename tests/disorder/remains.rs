//! What is left in the end, in the cluster and in the organization, and what must not be.

use std::collections::BTreeSet;

use k8s_openapi::api::{batch::v1::Job, core::v1::Secret};
use kube::{Api, Client, api::ListParams};
use kubectl_ado::{
    core::{REGISTRATION_CAPABILITY, Recipe},
    sandbox::state::Pool,
};
use serde_json::{Value, json};

use crate::{
    cluster::{
        Cluster,
        resource::{JOBS, SECRETS},
    },
    organization::Organization,
};

/// The Jobs of ours and all Secrets.
pub(crate) struct Remains {
    jobs: Vec<Value>,
    secrets: Vec<Value>,
}

impl Remains {
    pub(crate) fn of(cluster: &Cluster, namespace: &str) -> Self {
        let all = |resource| cluster.all(resource, namespace).iter().map(|object| object.value.clone()).collect();
        Self { jobs: all(JOBS), secrets: all(SECRETS) }
    }

    /// The same for a real cluster.
    pub(crate) async fn asked_for(client: &Client, namespace: &str) -> Self {
        let (jobs, secrets): (Api<Job>, Api<Secret>) =
            (Api::namespaced(client.clone(), namespace), Api::namespaced(client.clone(), namespace));
        let all = ListParams::default();
        let value = |object| serde_json::to_value(object).unwrap();
        Self {
            jobs: jobs.list(&all).await.unwrap().items.into_iter().map(|job| value(json!(job))).collect(),
            secrets: secrets.list(&all).await.unwrap().items.into_iter().map(|secret| value(json!(secret))).collect(),
        }
    }

    /// What is left half done: a Job that waits, one that goes on without its Secret, a Secret without its Job.
    pub(crate) fn half_done(&self) -> Vec<String> {
        let mut wrongs = Vec::new();
        let files =
            || self.secrets.iter().filter(|secret| label(secret, "app.kubernetes.io/component") == "agent-files");
        for job in self.jobs.iter().filter(|job| is_live(job)) {
            let name = &job["metadata"]["name"];
            let annotations = &job["metadata"]["annotations"];
            let belongs_to_it =
                |secret: &Value| owner(secret) == &job["metadata"]["uid"] && secret["metadata"]["name"] == *name;
            if !annotations["kubectl-ado/held"].is_null() || job["spec"]["suspend"] == json!(true) {
                wrongs.push(format!("the Job {name} is held"));
            } else if annotations["kubectl-ado/registration"] == "just-in-time" && !files().any(belongs_to_it) {
                wrongs.push(format!("the Job {name} has no Secret"));
            }
        }
        let uids: BTreeSet<&str> = self.jobs.iter().filter_map(|job| job["metadata"]["uid"].as_str()).collect();
        let orphans = files().filter(|secret| owner(secret).as_str().is_none_or(|uid| !uids.contains(uid)));
        wrongs.extend(orphans.map(|secret| format!("the Secret {} has no Job", secret["metadata"]["name"])));
        wrongs
    }

    /// Registrations that we made and that have no live Job.
    pub(crate) fn orphans(&self, organization: &Organization) -> Vec<String> {
        let live: BTreeSet<&str> =
            self.jobs.iter().filter(|job| is_live(job)).filter_map(|job| job["metadata"]["name"].as_str()).collect();
        organization.see(|state| {
            let agents = state.pools().flat_map(Pool::agents);
            let ours = agents.filter(|agent| {
                agent.system_capabilities.get(REGISTRATION_CAPABILITY).map(String::as_str)
                    == Some(Recipe::JustInTime.name())
            });
            let orphans = ours.filter(|agent| !live.contains(agent.name.as_str()));
            orphans.map(|agent| format!("the registration {} has no Job", agent.name)).collect()
        })
    }
}

fn is_live(job: &Value) -> bool {
    let conditions = job["status"]["conditions"].as_array().into_iter().flatten();
    !conditions.into_iter().any(|condition| {
        matches!(condition["type"].as_str(), Some("Complete" | "Failed" | "SuccessCriteriaMet" | "FailureTarget"))
    })
}

fn label<'a>(object: &'a Value, name: &str) -> &'a str {
    object["metadata"]["labels"][name].as_str().unwrap_or_default()
}

fn owner(object: &Value) -> &Value {
    &object["metadata"]["ownerReferences"][0]["uid"]
}
