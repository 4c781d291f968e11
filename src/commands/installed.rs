//! The configuration of an install as its orchestrator sees it: `ado.yaml` and what lies beside it in the ConfigMap, and
//! the environment of the Deployment.

use std::{collections::BTreeMap, path::Path};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Container, PodSpec},
};
use kube::Api;
use tempfile::TempDir;

use super::{Exit, Failure};
use crate::{
    cluster::{Account, Cluster, Install},
    config::{Config, ConfigErrors, Environment, SecretKey, Setting},
};

/// Where `serve` finds the folder with `ado.yaml`, and the file in it.
const MOUNTED: &str = "/etc/kubectl-ado";
pub(super) const FILE: &str = "ado.yaml";

/// The names that `install` gives.
const CONFIG_MAP: &str = "kubectl-ado-config";
const TOKEN_SECRET: &str = "kubectl-ado-token";
const TOKEN_KEY: &str = "token";
const TOKEN_FOLDER: &str = "/run/secrets/kubectl-ado";
pub(super) const ACCOUNT: &str = "kubectl-ado";

/// The configuration of an install.
pub(super) struct Installed {
    /// The ConfigMap; `None` where all comes from the environment.
    pub(super) map: Option<ConfigMap>,
    /// The text of `ado.yaml`; empty where there is none.
    pub(super) text: String,
    environment: Environment,
    folder: TempDir,
}

impl Installed {
    /// Reads it from the cluster.
    pub(super) async fn read(cluster: &Cluster, install: &Install) -> Result<Self, Failure> {
        let pod = pod(&install.deployment);
        let map = match pod.and_then(config_map_name) {
            Some(name) => {
                let api: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), &install.namespace);
                let what = format!("get the ConfigMap \"{name}\" in namespace \"{}\"", install.namespace);
                Some(cluster.call(&what, api.get(&name)).await?)
            }
            None => None,
        };
        let folder = TempDir::new()?;
        let data = map.iter().flat_map(|map| map.data.iter().flatten());
        for (key, text) in data.clone().filter(|(key, _)| *key != FILE) {
            std::fs::write(folder.path().join(key), text)?;
        }
        let text = data.clone().find(|(key, _)| *key == FILE).map(|(_, text)| text.clone()).unwrap_or_default();
        Ok(Self { map, text, environment: environment(install), folder })
    }

    /// What `serve` would make of this text in the place of `ado.yaml`.
    pub(super) fn check(&self, text: &str) -> Result<(Config, Vec<Setting>), ConfigErrors> {
        Config::of_text(&self.environment, text, Path::new(FILE), self.folder.path())
    }

    /// What it makes of the text that is there.
    pub(super) fn config(&self) -> Result<(Config, Vec<Setting>), ConfigErrors> {
        self.check(&self.text)
    }

    /// The same or the reasons as a failure of the command.
    pub(super) fn valid(&self) -> Result<Config, Failure> {
        self.config().map(|(config, _)| config).map_err(|errors| {
            let causes = errors.0.into_iter().map(|error| (error.message, error.fix)).collect();
            Failure { exit: Exit::Failed, causes }
        })
    }
}

/// The account that the orchestrator runs as.
pub(super) fn account(install: &Install) -> Account {
    let name = pod(&install.deployment).and_then(|pod| pod.service_account_name.clone());
    Account { namespace: install.namespace.clone(), name: name.unwrap_or_else(|| "default".to_owned()) }
}

/// The Secret that holds the orchestrator's token.
pub(super) fn token_secret(install: &Install) -> SecretKey {
    let mounted = pod(&install.deployment).and_then(|pod| {
        let container = orchestrator(pod)?;
        let mount = container.volume_mounts.iter().flatten().find(|mount| mount.mount_path == TOKEN_FOLDER)?;
        let volume = pod.volumes.iter().flatten().find(|volume| volume.name == mount.name)?;
        let secret = volume.secret.as_ref()?;
        let item = secret.items.iter().flatten().find(|item| item.path == TOKEN_KEY);
        let key = item.map_or_else(|| TOKEN_KEY.to_owned(), |item| item.key.clone());
        Some(SecretKey { name: secret.secret_name.clone()?, key })
    });
    let by_variable = || {
        let container = pod(&install.deployment).and_then(orchestrator)?;
        let variable = container.env.iter().flatten().find(|variable| variable.name == "ORG_PAT")?;
        let reference = variable.value_from.as_ref()?.secret_key_ref.as_ref()?;
        Some(SecretKey { name: reference.name.clone(), key: reference.key.clone() })
    };
    mounted
        .or_else(by_variable)
        .unwrap_or_else(|| SecretKey { name: TOKEN_SECRET.to_owned(), key: TOKEN_KEY.to_owned() })
}

fn pod(deployment: &Deployment) -> Option<&PodSpec> {
    deployment.spec.as_ref()?.template.spec.as_ref()
}

fn orchestrator(pod: &PodSpec) -> Option<&Container> {
    pod.containers.iter().find(|container| container.name == "orchestrator").or(pod.containers.first())
}

fn config_map_name(pod: &PodSpec) -> Option<String> {
    let container = orchestrator(pod)?;
    let mount = container.volume_mounts.iter().flatten().find(|mount| mount.mount_path == MOUNTED);
    let volumes = || pod.volumes.iter().flatten();
    let volume = mount.and_then(|mount| volumes().find(|volume| volume.name == mount.name));
    let named = volume.and_then(|volume| Some(volume.config_map.as_ref()?.name.clone()));
    let usual = || {
        volumes()
            .filter_map(|volume| volume.config_map.as_ref())
            .map(|map| map.name.clone())
            .find(|name| name == CONFIG_MAP)
    };
    named.or_else(usual)
}

/// What the orchestrator's container has in its environment. A value from a Secret is there and not known.
fn environment(install: &Install) -> Environment {
    let mut variables: BTreeMap<String, String> =
        [("KUBERNETES_SERVICE_HOST".to_owned(), "kubernetes".to_owned())].into();
    let container = pod(&install.deployment).and_then(orchestrator);
    for variable in container.into_iter().flat_map(|container| container.env.iter().flatten()) {
        let from = variable.value_from.as_ref();
        let field = from.and_then(|from| from.field_ref.as_ref()).map(|field| field.field_path.as_str());
        let value = match (&variable.value, field) {
            (Some(value), _) => value.clone(),
            (None, Some("metadata.namespace")) => install.namespace.clone(),
            (None, _) if variable.name == "ORG_PAT" => "from-a-secret".to_owned(),
            (None, _) => continue,
        };
        variables.insert(variable.name.clone(), value);
    }
    Environment::from(variables)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn install(pod: &serde_json::Value) -> Install {
        let deployment = json!({"metadata": {"namespace": "ado"}, "spec": {"selector": {}, "template": {"spec": pod}}});
        Install {
            namespace: "ado".into(),
            agents_namespace: "ado".into(),
            deployment: serde_json::from_value(deployment).unwrap(),
        }
    }

    #[test]
    fn the_names_are_those_of_the_deployment() {
        let install = install(&json!({
            "serviceAccountName": "robot",
            "containers": [{"name": "orchestrator", "volumeMounts": [
                {"name": "c", "mountPath": "/etc/kubectl-ado"}, {"name": "t", "mountPath": "/run/secrets/kubectl-ado"}]}],
            "volumes": [
                {"name": "c", "configMap": {"name": "mine"}},
                {"name": "t", "secret": {"secretName": "pat", "items": [{"key": "value", "path": "token"}]}}]
        }));
        assert_eq!(config_map_name(pod(&install.deployment).unwrap()).as_deref(), Some("mine"));
        assert_eq!(token_secret(&install), SecretKey { name: "pat".into(), key: "value".into() });
        assert_eq!(account(&install).user(), "system:serviceaccount:ado:robot");
    }

    #[test]
    fn a_token_from_a_secret_counts_as_set_and_the_namespace_is_the_deployments() {
        let install = install(&json!({"containers": [{"name": "x", "env": [
            {"name": "ORG_PAT", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "JOB_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {"name": "ORG_URL", "value": "https://dev.azure.com/contoso"}]}]}));
        let environment = environment(&install);
        assert_eq!(environment.get("JOB_NAMESPACE"), Some("ado"));
        assert!(environment.get("ORG_PAT").is_some() && environment.get("ORG_URL").is_some());
        assert_eq!(token_secret(&install), SecretKey { name: "s".into(), key: "k".into() });
    }
}
