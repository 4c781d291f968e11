//! What the environment and `ado.yaml` say, as one validated [`Config`].
//!
//! Reading and validating are one step: whatever leaves this room can be relied on. All that is missing, malformed or
//! contradictory is reported at once, one line each, before any call goes out.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use serde_json::Value;

use crate::core::{Installation, Policy, PoolPolicy, Retention};

mod token;

pub use token::TokenSource;

/// Everything the orchestrator needs to know, validated.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which organization, and how to sign in.
    pub organization: Organization,
    /// Where agents run.
    pub host: HostConfig,
    /// Pools, templates and limits; [`Config::policy`] adds who we are.
    pub pools: Vec<PoolPolicy>,
    /// The most live agents over all pools.
    pub max_agents: Option<u32>,
    /// Whether the organization's parallel jobs limit new agents.
    pub respect_parallel_jobs: bool,
    /// How long an agent may take until it is online.
    pub start_timeout: Duration,
    /// How long ended runs are kept.
    pub retention: Retention,
    /// How the agents of each template are made, by (pool, template).
    pub agents: BTreeMap<(String, String), AgentSpec>,
    /// Who we are, where it is set and not derived.
    pub installation_id: Option<String>,
    /// How often Azure DevOps is asked.
    pub polling: Polling,
    /// One pass, then exit.
    pub run_once: bool,
    /// Where health and metrics are served.
    pub listen: SocketAddr,
    /// A bundle of certificate authorities (PEM) to trust in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// What is odd but no error: one line each, to be logged.
    pub warnings: Vec<String>,
}

/// The organization or collection that is served.
#[derive(Clone, Debug)]
pub struct Organization {
    /// Its URL as it was given, without a trailing slash: `https://dev.azure.com/contoso`,
    /// `https://tfs.example/tfs/DefaultCollection`.
    pub url: String,
    /// Where the token comes from.
    pub token: TokenSource,
}

/// Where agents run.
#[derive(Clone, Debug)]
pub enum HostConfig {
    /// Kubernetes Jobs.
    Kubernetes(KubernetesConfig),
    /// Processes on this machine.
    Local(LocalConfig),
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

/// Settings of the local host.
#[derive(Clone, Debug)]
pub struct LocalConfig {
    /// The folder that holds the agents' folders and their logs.
    pub folder: PathBuf,
}

/// How the agents of one template are made.
#[derive(Clone, Debug)]
pub struct AgentSpec {
    /// The image, where it is not the Job template's.
    pub image: Option<String>,
    /// The operating system of image and node.
    pub os: Os,
    /// The Job template.
    pub job_template: Option<JobTemplate>,
}

/// An operating system that agents run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Os {
    /// Linux.
    Linux,
    /// Windows.
    Windows,
}

/// A file with exactly one Job and whatever goes with it. The documents stay as they are: typed structs would drop
/// fields that they do not know.
#[derive(Clone, Debug)]
pub struct JobTemplate {
    /// Where it was read.
    pub path: PathBuf,
    /// The Job.
    pub job: Value,
    /// The other documents (PersistentVolume, ConfigMap …), applied once at start.
    pub others: Vec<Value>,
}

/// How often Azure DevOps is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polling {
    /// Each second while anything waits or starts, growing to five when all is quiet.
    Adaptive,
    /// Always after this time.
    Every(Duration),
}

impl Config {
    /// The policy for the planner, once it is known who we are.
    #[must_use]
    pub fn policy(&self, installation: Installation) -> Policy {
        Policy {
            installation,
            organization: self.organization.url.clone(),
            max_agents: self.max_agents,
            start_timeout: self.start_timeout,
            pools: self.pools.clone(),
        }
    }
}
