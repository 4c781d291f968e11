//! Secrets and ConfigMaps, read as the kubelet reads them for a container.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};

/// Keys and what they hold.
pub(crate) type Entries = BTreeMap<String, Vec<u8>>;

/// The Secrets and ConfigMaps of one namespace.
pub(crate) struct Sources {
    secrets: Api<Secret>,
    config_maps: Api<ConfigMap>,
}

impl Sources {
    pub(crate) fn new(client: &Client, namespace: &str) -> Self {
        Self {
            secrets: Api::namespaced(client.clone(), namespace),
            config_maps: Api::namespaced(client.clone(), namespace),
        }
    }

    /// Nothing when the Secret may be missing and is.
    pub(crate) async fn secret(&self, name: &str, optional: Option<bool>) -> Result<Entries> {
        match self.secrets.get_opt(name).await? {
            Some(secret) => Ok(secret.data.into_iter().flatten().map(|(key, value)| (key, value.0)).collect()),
            None if optional == Some(true) => Ok(Entries::new()),
            None => bail!("secret \"{name}\" not found"),
        }
    }

    /// Nothing when the ConfigMap may be missing and is.
    pub(crate) async fn config_map(&self, name: &str, optional: Option<bool>) -> Result<Entries> {
        match self.config_maps.get_opt(name).await? {
            Some(map) => {
                let text = map.data.into_iter().flatten().map(|(key, value)| (key, value.into_bytes()));
                let binary = map.binary_data.into_iter().flatten().map(|(key, value)| (key, value.0));
                Ok(text.chain(binary).collect())
            }
            None if optional == Some(true) => Ok(Entries::new()),
            None => bail!("configmap \"{name}\" not found"),
        }
    }
}
