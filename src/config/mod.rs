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

use crate::core::{HostKind, Installation, Policy, PoolPolicy, Retention, Timeouts};

mod agent_spec;
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
mod host_config;
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
mod timeouts;
mod token;
mod value;
mod way;
mod yaml;

pub use agent_spec::{AgentSpec, Os, Registration};
pub use authentication::{Authentication, Organization};
pub use azure_names::is_guid;
pub use edit::{Edited, edit};
pub use effective::{Setting, tree};
pub use entra::{CredentialKind, Credentials, EntraConfig};
pub use environment::Environment;
pub use error::{ConfigError, ConfigErrors};
pub use file::document;
pub use group_template::GroupTemplate;
pub use host_config::{
    AciConfig, AzureEnvironment, HostConfig, KubernetesConfig, LocalConfig, Registry, RegistrySecret, SecretKey,
};
pub use job_template::{JobTemplate, agent_container};
pub use loopback::is_loopback;
pub use reader::IN_QUOTES;
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
    /// How long the steps of an agent's start may take, where its template does not say.
    pub timeouts: Timeouts,
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

    /// Whether the environment alone has agents run elsewhere than in a cluster.
    ///
    /// # Errors
    ///
    /// `HOST_TYPE` names no host. What else is wrong is no matter yet: it may be there for somebody else.
    pub fn is_elsewhere(environment: &Environment) -> Result<bool, ConfigErrors> {
        let problems = Problems::hiding_secrets_of(environment);
        environment.read("HOST_TYPE", &problems, host::host_kind);
        let settings = Settings::of_environment(environment, &Problems::hiding_secrets_of(environment));
        let kind = host::kind(&settings, environment, Path::is_file);
        problems.settle(Some(kind != HostKind::Kubernetes)).map(|(is_elsewhere, _)| is_elsewhere)
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
    /// it names are taken from `files`, by their paths as seen from `path`. One that would lie beside it and is not there is an
    /// error; one that lies elsewhere is not looked at.
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
        let problems = Problems::hiding_secrets_of(environment).with_files(files, MOUNTED);
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
            timeouts: self.timeouts,
            idle_timeout: self.idle_timeout,
            pools: self.pools.clone(),
            identity: String::new(),
            retire: false,
        }
    }
}
