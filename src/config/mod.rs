//! What the environment and `ado.yaml` say, as one validated [`Config`].
//!
//! Reading and validating are one step: whatever leaves this room can be relied on. All that is missing, malformed or
//! contradictory is reported at once, one line each, before any call goes out.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::core::{Installation, Policy, PoolPolicy, Recipe, Retention, short_hash};

mod assemble;
mod authentication;
mod azure_names;
mod container_instances;
mod edit;
mod effective;
mod entra;
mod environment;
mod error;
mod file;
mod group_template;
mod host;
mod job_fields;
mod job_structure;
mod job_template;
mod kubernetes_names;
mod lines;
mod loopback;
mod near_miss;
mod organization;
mod origin;
mod policies;
mod pools;
mod reader;
mod schedules;
mod setting_path;
mod settings;
mod token;
mod value;
mod way;
mod yaml;

pub use edit::{Edited, edit};
pub use effective::{Setting, tree};
pub use entra::{CredentialKind, Credentials, EntraConfig};
pub use environment::Environment;
pub use error::{ConfigError, ConfigErrors};
pub use file::document;
pub use group_template::{GroupTemplate, agent_container};
pub use job_template::JobTemplate;
pub use loopback::is_loopback;
pub use setting_path::SettingPath;
pub use token::{TokenSource, token};
pub use way::Way;

use error::Problems;
use settings::Settings;

/// Where the Deployment has the folder with `ado.yaml`.
const MOUNTED: &str = "/etc/kubectl-ado";

/// Everything the orchestrator needs to know, validated.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which organization, and how to sign in.
    pub organization: Organization,
    /// What tokens of Entra are had with, where any are needed.
    pub entra: EntraConfig,
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
    /// How long an idle agent that nothing asks for any more is kept.
    pub idle_timeout: Duration,
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
    /// The file that the status is written to, for hosts that are no cluster.
    pub status_file: Option<PathBuf>,
    /// A bundle of certificate authorities (PEM) to trust in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// The same, where it was named for this purpose and is not just what this machine trusts: agents need it too.
    pub private_ca_file: Option<PathBuf>,
    /// What is odd but no error: one line each, to be logged.
    pub warnings: Vec<String>,
}

/// The organization or collection that is served.
#[derive(Clone, Debug)]
pub struct Organization {
    /// Its URL as it was given, without a trailing slash: `https://dev.azure.com/contoso`,
    /// `https://tfs.example/tfs/DefaultCollection`.
    pub url: String,
    /// How to sign in.
    pub authentication: Authentication,
}

/// How to sign in to Azure DevOps.
#[derive(Clone, Debug)]
pub enum Authentication {
    /// By a personal access token, which comes from here.
    Pat(TokenSource),
    /// By a token of Entra, which is had as [`Config::entra`] says.
    Entra,
}

impl Authentication {
    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pat(_) => "pat",
            Self::Entra => "entra",
        }
    }
}

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
    fn fingerprint(&self) -> String {
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

/// How the agents of one template are made.
#[derive(Clone, Debug)]
pub struct AgentSpec {
    /// The image to use, over that of a Job template. `None`: the Job template's own or, where it names none, ours.
    pub image: Option<String>,
    /// The operating system of image and node.
    pub os: Os,
    /// The Job template.
    pub job_template: Option<JobTemplate>,
    /// The template of its container groups.
    pub container_group: Option<GroupTemplate>,
    /// A fingerprint of what the host's settings add.
    pub host_settings: String,
    /// How its agents are to get the right to work.
    pub registration: Registration,
}

/// Our own agent image, of any tag.
const OUR_IMAGE: &str = "ghcr.io/kubectl-ado/agent";

impl AgentSpec {
    /// Whether its agents start as our own image lets them: nobody named another one, or other commands for ours.
    #[must_use]
    pub fn starts_as_ours(&self) -> bool {
        let is_ours = |image: &str| {
            image.strip_prefix(OUR_IMAGE).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '@']))
        };
        let image = self.image.as_deref().or_else(|| self.image_of_template());
        let job = self.job_template.as_ref().is_some_and(JobTemplate::has_own_command);
        let group = self.container_group.as_ref().is_some_and(GroupTemplate::has_own_command);
        image.is_none_or(is_ours) && !job && !group
    }

    fn image_of_template(&self) -> Option<&str> {
        let job = self.job_template.as_ref().and_then(JobTemplate::image);
        job.or_else(|| self.container_group.as_ref()?.image())
    }

    /// Why agents of this kind in a pod or a container group are no just-in-time ones unless that is asked for by name.
    #[must_use]
    pub fn obstacle(&self) -> Option<&'static str> {
        match self.os {
            Os::Windows => Some("an agent on Windows keeps its key in another form"),
            Os::Linux if !self.starts_as_ours() => {
                Some("its image or command is not ours; registration: just-in-time asks for it all the same")
            }
            Os::Linux => None,
        }
    }

    /// A fingerprint of all that the template's agents are made from, this program's version included.
    #[must_use]
    pub fn revision(&self) -> String {
        let Self { image, os, job_template, container_group, host_settings, registration: _ } = self;
        let job = job_template.as_ref().map(|template| template.job.to_string()).unwrap_or_default();
        let os = match os {
            Os::Linux => "linux",
            Os::Windows => "windows",
        };
        let image = image.as_deref().unwrap_or_default();
        let mut parts = vec!["revision", env!("CARGO_PKG_VERSION"), image, os, &job];
        let group = container_group.as_ref().map(|template| template.body.to_string());
        parts.extend(group.as_deref());
        if !host_settings.is_empty() {
            parts.push(host_settings);
        }
        short_hash(&parts, 10)
    }
}

/// An operating system that agents run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Os {
    /// Linux.
    Linux,
    /// Windows.
    Windows,
}

/// How the agents of a template are to get the right to work for their pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Registration {
    /// What is safest of that which the image, the host and the organization carry.
    #[default]
    Auto,
    /// This, and nothing else in its place.
    Only(Recipe),
}

impl Registration {
    /// What is asked for by name.
    #[must_use]
    pub fn recipe(self) -> Option<Recipe> {
        match self {
            Self::Auto => None,
            Self::Only(recipe) => Some(recipe),
        }
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.recipe().map_or("auto", Recipe::name)
    }
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
    /// Reads and validates what the environment and, where there is one, the file (or `ado.yaml` in the folder) say.
    /// The file wins, and the environment fills what it leaves out.
    ///
    /// `MINIMUM_AGENT_COUNT`, `MINIMUM_IDLE_AGENT_COUNT` and `MAXIMUM_AGENT_COUNT` are for each pool, not for all
    /// together; in a pool with several agent templates the first two count for the one that accepts every request.
    ///
    /// # Errors
    ///
    /// All that is missing, malformed or contradictory.
    pub fn load(environment: &Environment, file: Option<&Path>) -> Result<Self, ConfigErrors> {
        let problems = Problems::hiding_secrets_of(environment);
        let of_environment = Settings::of_environment(environment, &problems);
        let of_file = match file {
            Some(path) => file::settings(path, &problems),
            None => Some(Settings::default()),
        };
        // What an unreadable file would have said is unknown, so what is missing without it is no news.
        let config = of_file.and_then(|of_file| {
            let settings = of_file.filled_by(of_environment, &problems);
            assemble::config(settings, environment, &problems)
        });
        let (config, warnings) = problems.settle(config)?;
        Ok(Self { warnings, ..config })
    }

    /// The files that it is made of besides the configuration file itself.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let jobs = self.agents.values().filter_map(|agent| Some(agent.job_template.as_ref()?.path.clone()));
        let groups = self.agents.values().filter_map(|agent| Some(agent.container_group.as_ref()?.path.clone()));
        let mut files: Vec<PathBuf> = jobs.chain(groups).chain(self.ca_file.clone()).collect();
        files.sort();
        files.dedup();
        files
    }

    /// What `serve` makes of a file on another machine, where it lies in `/etc/kubectl-ado`: with the same checks, but for
    /// files that only that machine has. `name` is for messages; `folder` holds what lies beside the file.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn of_text(
        environment: &Environment,
        text: &str,
        name: &Path,
        folder: &Path,
    ) -> Result<(Self, Vec<Setting>), ConfigErrors> {
        let problems = Problems::hiding_secrets_of(environment).elsewhere(MOUNTED, folder);
        let of_environment = Settings::of_environment(environment, &problems);
        let both = file::settings_of_text(text, name, folder, &problems).and_then(|of_file| {
            let settings = of_file.filled_by(of_environment, &problems);
            let effective = effective::settings(&settings, environment);
            Some((assemble::config(settings, environment, &problems)?, effective))
        });
        let ((config, effective), warnings) = problems.settle(both)?;
        Ok((Self { warnings, ..config }, effective))
    }

    /// Reads and validates the text of a file that will be read elsewhere, such as in the orchestrator's pod. The files that
    /// it names are taken from `files`, by their paths as seen from `path`; those that are not there are not looked at.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn of_files(
        environment: &Environment,
        path: &Path,
        text: &str,
        files: BTreeMap<PathBuf, String>,
    ) -> Result<Self, ConfigErrors> {
        let problems = Problems::hiding_secrets_of(environment).with_files(files);
        let of_environment = Settings::of_environment(environment, &problems);
        let config =
            file::settings_of_text(text, path, path.parent().unwrap_or(Path::new("")), &problems).and_then(|of_file| {
                let settings = of_file.filled_by(of_environment, &problems);
                assemble::config(settings, environment, &problems)
            });
        let (config, warnings) = problems.settle(config)?;
        Ok(Self { warnings, ..config })
    }

    /// The policy for the planner, once it is known who we are.
    #[must_use]
    pub fn policy(&self, installation: Installation) -> Policy {
        Policy {
            installation,
            organization: self.organization.url.clone(),
            max_agents: self.max_agents,
            start_timeout: self.start_timeout,
            idle_timeout: self.idle_timeout,
            pools: self.pools.clone(),
            identity: String::new(),
            retire: false,
        }
    }
}
