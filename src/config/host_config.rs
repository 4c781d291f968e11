//! Where agents run, with all that the place needs to be told.

use std::{path::PathBuf, time::Duration};

/// Where agents run.
#[derive(Clone, Debug)]
pub enum HostConfig {
    /// Kubernetes Jobs.
    Kubernetes(KubernetesConfig),
    /// Azure container groups.
    ContainerInstances(AciConfig),
    /// Processes on this machine.
    Local(LocalConfig),
}

impl HostConfig {
    /// Whether agents are Jobs of a cluster.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        matches!(self, Self::Kubernetes(_))
    }
}

/// Settings of the Kubernetes host.
#[derive(Clone, Debug)]
pub struct KubernetesConfig {
    /// Where Jobs are made.
    pub namespace: String,
    /// Create the namespace if it is not there.
    pub initialize_namespace: bool,
    /// An existing Secret with the agents' token.
    pub token_secret: Option<SecretKey>,
    /// A socket of the node to mount into the agent.
    pub docker_socket: Option<PathBuf>,
}

/// A key of a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretKey {
    /// The Secret's name.
    pub name: String,
    /// The key in it; `token` where none was given.
    pub key: String,
}

/// Settings of the host `aci`.
#[derive(Clone, Debug, PartialEq)]
pub struct AciConfig {
    /// The subscription, a GUID in lower case.
    pub subscription_id: String,
    /// An existing resource group.
    pub resource_group: String,
    /// The tenant, a GUID in lower case.
    pub tenant_id: String,
    /// The region's name: `westeurope`.
    pub region: String,
    /// The cloud.
    pub environment: AzureEnvironment,
    /// CPU cores of the agent's container, where its template does not say.
    pub cpu: f64,
    /// Memory of the agent's container in GB, where its template does not say.
    pub memory_gb: f64,
    /// The id of a subnet to put the groups into.
    pub subnet_id: Option<String>,
    /// The id of a user-assigned managed identity that the groups have.
    pub identity: Option<String>,
    /// The registry that images are pulled from, where it wants to know who asks.
    pub registry: Option<Registry>,
    /// Where Azure Resource Manager answers, where that is not the cloud's own address.
    pub resource_manager_url: Option<String>,
    /// After this time a group is deleted, whatever it does.
    pub max_lifetime: Duration,
}

/// A private registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    /// Its host name.
    pub server: String,
    /// How to sign in.
    pub secret: RegistrySecret,
}

/// How to sign in to a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistrySecret {
    /// As a user-assigned managed identity, by its id.
    Identity(String),
    /// With a password.
    Password {
        /// The user's name.
        username: String,
        /// The file that holds the password. Read anew for each group.
        file: PathBuf,
    },
}

impl AciConfig {
    /// A fingerprint of what all groups have from here.
    pub(super) fn fingerprint(&self) -> String {
        let Self { region, cpu, memory_gb, subnet_id, identity, registry, .. } = self;
        format!("{region} {cpu} {memory_gb} {subnet_id:?} {identity:?} {registry:?}")
    }
}

/// One of Azure's clouds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AzureEnvironment {
    /// The one for all.
    #[default]
    Public,
    /// Operated by 21Vianet in China.
    China,
    /// For the government of the United States.
    UsGovernment,
}

/// Settings of the local host.
#[derive(Clone, Debug)]
pub struct LocalConfig {
    /// The folder that holds the agents' folders and their logs.
    pub folder: PathBuf,
}
