//! Where kubectl-ado is installed: its Deployments are known by their labels, whoever applied them.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, api::ListParams};

use super::{Cluster, ClusterError};

/// What an orchestrator's Deployment is known by.
pub const INSTALL_LABELS: &str = "app.kubernetes.io/name=kubectl-ado,app.kubernetes.io/component=orchestrator";

/// What the ConfigMap with an orchestrator's status is known by. It lives where the agents live.
pub const STATUS_LABELS: &str = "app.kubernetes.io/name=kubectl-ado,app.kubernetes.io/component=status";

/// The key of that ConfigMap that holds the [report](crate::core::Report) as JSON.
pub const STATUS_KEY: &str = "status.json";

/// The key of the ConfigMap of [`control_name`] that holds the [control document](crate::core::Control) as JSON.
pub const CONTROL_KEY: &str = "control.json";

/// The ConfigMap in which the orchestrator that leads by this Lease writes its status.
#[must_use]
pub fn status_name(lease: &str) -> String {
    format!("{lease}-status")
}

/// The ConfigMap in which it is asked for things: one for each installation, `kubectl-ado-SHORT-control`. The Lease's name
/// ends with a hash of the pools, and what people ask must outlive a change of these.
#[must_use]
pub fn control_name(lease: &str) -> String {
    let installation = lease.rsplit_once('-').map_or(lease, |(installation, _)| installation);
    format!("{installation}-control")
}

/// An orchestrator's Deployment.
#[derive(Clone, Debug)]
pub struct Install {
    /// Its namespace.
    pub namespace: String,
    /// The namespace of its agents, Leases, status and notes: `JOB_NAMESPACE` of the Deployment, else its own.
    pub agents_namespace: String,
    /// All of it.
    pub deployment: Deployment,
}

/// The installs of one namespace, or of all of them.
///
/// # Errors
///
/// Deployments may not be listed there, or the cluster does not answer.
pub async fn find_installs(cluster: &Cluster, namespace: Option<&str>) -> Result<Vec<Install>, ClusterError> {
    let (api, place) = match namespace {
        Some(namespace) => {
            (Api::<Deployment>::namespaced(cluster.client.clone(), namespace), format!("namespace \"{namespace}\""))
        }
        None => (Api::all(cluster.client.clone()), "all namespaces".to_owned()),
    };
    let parameters = ListParams::default().labels(INSTALL_LABELS);
    let found = cluster.call(&format!("list the Deployments in {place}"), api.list(&parameters)).await?;
    let mut installs: Vec<Install> = found.into_iter().map(install).collect();
    installs.sort_by(|one, other| one.namespace.cmp(&other.namespace));
    Ok(installs)
}

fn install(deployment: Deployment) -> Install {
    let namespace = deployment.metadata.namespace.clone().unwrap_or_default();
    let agents_namespace = environment(&deployment).remove("JOB_NAMESPACE").unwrap_or_else(|| namespace.clone());
    Install { namespace, agents_namespace, deployment }
}

/// The literal environment variables of the orchestrator's container.
fn environment(deployment: &Deployment) -> BTreeMap<String, String> {
    let pod = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let containers = pod.map(|pod| pod.containers.as_slice()).unwrap_or_default();
    let container = containers.iter().find(|container| container.name == "orchestrator").or(containers.first());
    let variables = container.and_then(|container| container.env.as_deref()).unwrap_or_default();
    variables.iter().filter_map(|variable| Some((variable.name.clone(), variable.value.clone()?))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(variables: &serde_json::Value) -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"name": "kubectl-ado", "namespace": "ado-system"},
            "spec": {"selector": {}, "template": {"spec": {"containers": [
                {"name": "proxy"}, {"name": "orchestrator", "env": variables}]}}}
        }))
        .unwrap()
    }

    #[test]
    fn agents_live_where_job_namespace_says_and_else_beside_their_orchestrator() {
        let apart = install(deployment(&json!([{"name": "JOB_NAMESPACE", "value": "agents"}])));
        assert_eq!((apart.namespace.as_str(), apart.agents_namespace.as_str()), ("ado-system", "agents"));
        let own = json!([{"name": "JOB_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}]);
        assert_eq!(install(deployment(&own)).agents_namespace, "ado-system");
    }
}
