//! What a person has asked for so far, and what a cluster has to hold then.

use serde_json::{Value, json};

/// An install as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) url: String,
    pub(crate) pools: Vec<String>,
    pub(crate) agents: String,
    pub(crate) id: Option<String>,
    pub(crate) max: Option<u32>,
    pub(crate) idle: Option<u32>,
    pub(crate) template: bool,
    /// The token lies in a Secret of ours.
    pub(crate) our_secret: bool,
    pub(crate) replicas: u32,
    pub(crate) memory: Option<String>,
}

impl Model {
    /// `ado.yaml`, for an install in this namespace.
    pub(crate) fn configuration(&self, namespace: &str) -> Value {
        let mut document = json!({
            "organization": {"url": self.url},
            "pools": self.pools.iter().map(|name| json!({"name": name})).collect::<Vec<_>>(),
        });
        if self.agents != namespace {
            document["namespace"] = json!(self.agents);
        }
        if let Some(id) = &self.id {
            document["installationId"] = json!(id);
        }
        if let Some(max) = self.max {
            document["limits"] = json!({"maxAgents": max});
        }
        if let Some(idle) = self.idle {
            document["defaults"] = json!({"idleAgents": idle});
        }
        if self.template {
            document["jobTemplate"] = json!("job-template.yaml");
        }
        document
    }
}

/// A Job template with what goes along with it.
pub(crate) const TEMPLATE: &str = "\
apiVersion: batch/v1
kind: Job
metadata: {name: agent}
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
      - {name: agent, image: registry.example/agent:1}
      imagePullSecrets: [{name: pull}]
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {a: b}}
---
{apiVersion: v1, kind: Secret, metadata: {name: pull}, type: kubernetes.io/dockerconfigjson,
 stringData: {.dockerconfigjson: '{\"auths\":{}}'}}
";
