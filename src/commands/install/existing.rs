//! What is installed already: its configuration, and the values that no file holds.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Value, json};

use super::{
    super::{
        Exit, Failure,
        cluster_flags::{Chosen, Found},
    },
    Options, Purpose, say,
};
use crate::{
    cluster::{
        CLIENT_ID, CONFIG_FILE, CONFIG_FOLDER, CONFIG_MAP, Cluster, INVENTORY, Install, NAME, ObjectRef, RESOURCES,
        TOKEN_KEY, TOKEN_SECRET, image_tag,
    },
    config::document,
};

/// An install as it is; the default is none.
#[derive(Debug, Default)]
pub(super) struct Existing {
    /// Where it is, or goes.
    pub(super) namespace: String,
    /// `-n` or `ADO_NAMESPACE` named that namespace.
    pub(super) is_asked: bool,
    /// Its Deployment.
    pub(super) install: Option<Install>,
    /// `ado.yaml` and what stands beside it.
    pub(super) files: BTreeMap<String, String>,
    /// The identity of Entra that its account is.
    pub(super) entra_client_id: Option<String>,
    /// What was applied the last time.
    pub(super) inventory: Vec<ObjectRef>,
}

impl Existing {
    pub(super) fn is_there(&self) -> bool {
        self.install.is_some() || !self.files.is_empty()
    }

    fn deployment(&self) -> Option<Value> {
        serde_json::to_value(&self.install.as_ref()?.deployment).ok()
    }

    fn pod(&self) -> Option<Value> {
        Some(self.deployment()?["spec"]["template"]["spec"].clone())
    }

    fn container(&self) -> Option<Value> {
        let containers = self.pod()?["containers"].clone();
        let containers = containers.as_array()?;
        containers.iter().find(|it| it["name"] == "orchestrator").or(containers.first()).cloned()
    }

    /// Its image, if that is not ours: ours goes with the version.
    pub(super) fn image(&self) -> Option<String> {
        let image = self.container()?["image"].as_str()?.to_owned();
        let ours = image.starts_with("ghcr.io/kubectl-ado/kubectl-ado:");
        (!ours).then_some(image)
    }

    /// The version that it runs, by its label, else by its image's tag.
    pub(super) fn version(&self) -> Option<String> {
        let deployment = self.deployment()?;
        let label = deployment["metadata"]["labels"]["app.kubernetes.io/version"].as_str().map(str::to_owned);
        label.or_else(|| image_tag(self.container()?["image"].as_str()?).map(str::to_owned))
    }

    fn document(&self) -> Option<Value> {
        match self.files.get(CONFIG_FILE) {
            Some(text) => document(CONFIG_FILE.as_ref(), text).ok(),
            None => Some(self.of_environment()),
        }
    }

    /// The organization that it serves.
    pub(super) fn organization(&self) -> Option<String> {
        Some(self.document()?["organization"]["url"].as_str()?.trim_end_matches('/').to_owned())
    }

    /// The id that its configuration gives it.
    pub(super) fn installation_id(&self) -> Option<String> {
        Some(self.document()?["installationId"].as_str()?.to_owned())
    }

    /// The resources that flags asked for.
    pub(super) fn resources(&self) -> Option<Value> {
        let deployment = self.deployment()?;
        serde_json::from_str(deployment["metadata"]["annotations"][RESOURCES].as_str()?).ok()
    }

    pub(super) fn replicas(&self) -> Option<i32> {
        self.install.as_ref()?.deployment.spec.as_ref()?.replicas
    }

    /// The Secret and the key that the token is read from.
    pub(super) fn secret(&self) -> Option<(String, String)> {
        let volumes = self.pod()?["volumes"].clone();
        let volume = volumes.as_array()?.iter().find(|volume| volume["name"] == "token")?.clone();
        let name = volume["secret"]["secretName"].as_str()?.to_owned();
        let key = volume["secret"]["items"][0]["key"].as_str().unwrap_or(TOKEN_KEY).to_owned();
        Some((name, key))
    }

    /// Whether the orchestrator's container has something mounted at this path, or runs an image that is not ours.
    pub(super) fn mounts(&self, path: &Path) -> bool {
        let container = self.container().unwrap_or_default();
        let mounts = container["volumeMounts"].as_array().cloned().unwrap_or_default();
        let covers = |mount: &Value| {
            let at = mount["mountPath"].as_str();
            at.is_some_and(|at| at != CONFIG_FOLDER && path.starts_with(at))
        };
        mounts.iter().any(covers) || self.image().is_some()
    }

    /// Whether the token lies in a Secret of ours.
    pub(super) fn has_our_secret(&self) -> bool {
        self.secret().is_some_and(|(name, _)| name == TOKEN_SECRET)
    }

    /// Whether the token's Secret is one that we have made, as the inventory says.
    pub(super) fn owns_token(&self) -> bool {
        self.inventory.iter().any(|object| object.kind == "Secret" && object.name == TOKEN_SECRET)
    }

    /// What an older Deployment has in its environment and a file says today.
    pub(super) fn of_environment(&self) -> Value {
        let mut document = json!({});
        let container = self.container().unwrap_or_default();
        let variables = container["env"].as_array().cloned().unwrap_or_default();
        let value = |name: &str| {
            let variable = variables.iter().find(|variable| variable["name"] == name)?;
            variable["value"].as_str().map(str::to_owned)
        };
        if let Some(url) = value("ORG_URL") {
            document["organization"] = json!({ "url": url });
        }
        if let Some(pools) = value("AGENT_POOLS") {
            let pools = pools.split(',').map(str::trim).filter(|pool| !pool.is_empty());
            document["pools"] = pools.map(|pool| json!({ "name": pool })).collect();
        }
        document
    }
}

/// Finds the install that the flags lead to, and says where it looks.
pub(super) async fn look(options: &Options, cluster: &Cluster, purpose: Purpose) -> Result<Existing, Failure> {
    let Found { namespace, chosen, install } = match purpose {
        Purpose::Install => options.cluster.find_place(cluster).await?,
        Purpose::Upgrade => options.cluster.find(cluster).await?,
    };
    match chosen {
        Chosen::Asked => {}
        Chosen::Found => say(format!("namespace {namespace}: kubectl-ado is installed there")),
        Chosen::Default => say(format!("namespace {namespace}: the default; -n names another")),
    }
    let map = ObjectRef {
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        namespace: namespace.clone(),
        name: CONFIG_MAP.into(),
    };
    let map = cluster.get(&map).await?.unwrap_or_default();
    let files: BTreeMap<String, String> = serde_json::from_value(map["data"].clone()).unwrap_or_default();
    let inventory = map["metadata"]["annotations"][INVENTORY].as_str().unwrap_or("[]");
    let inventory: Vec<String> = serde_json::from_str(inventory).unwrap_or_default();
    let inventory = inventory.iter().filter_map(|path| path.parse().ok()).collect();
    let account = ObjectRef {
        api_version: "v1".into(),
        kind: "ServiceAccount".into(),
        namespace: namespace.clone(),
        name: NAME.into(),
    };
    let account = cluster.get(&account).await?.unwrap_or_default();
    let entra_client_id = account["metadata"]["annotations"][CLIENT_ID].as_str().map(str::to_owned);
    let is_asked = chosen == Chosen::Asked;
    let existing = Existing { namespace, is_asked, install, files, entra_client_id, inventory };
    if purpose == Purpose::Upgrade && !existing.is_there() {
        let message = format!("kubectl-ado is not installed in namespace \"{}\" (ADO501)", existing.namespace);
        return Err(Failure::new(
            Exit::Failed,
            message,
            Some("kubectl ado install, or name its namespace with -n".into()),
        ));
    }
    if !existing.files.is_empty() && !existing.files.contains_key(CONFIG_FILE) {
        say(format!("the ConfigMap {CONFIG_MAP} has no {CONFIG_FILE}: it is made anew"));
    }
    Ok(existing)
}
