//! One of the places where agents run, chosen by the configuration.

use std::collections::BTreeSet;

use super::{
    AgentFiles, AgentHost, HostError, Started, container_instances::ContainerInstancesHost, kubernetes,
    kubernetes::KubernetesHost, local, local::LocalHost,
};
use crate::{
    azure::OrganizationToken,
    clock::ServerClock,
    cluster::{Access, connect_by},
    config::{Config, HostConfig, KubernetesConfig, LocalConfig},
    core::{EquipRun, HostKind, Installation, LeaseView, Run, StartRun, StopRun},
};

/// A place where agents run.
pub enum Host {
    /// Kubernetes Jobs.
    Kubernetes(Box<KubernetesHost>),
    /// Azure container groups.
    ContainerInstances(Box<ContainerInstancesHost>),
    /// Processes on this machine.
    Local(LocalHost),
}

/// A host that answered and is ready for agents.
pub struct Reached {
    /// The host.
    pub host: Host,
    /// Who we are there.
    pub installation: Installation,
    /// What the owners of Job templates should know, one line each.
    pub warnings: Vec<String>,
    /// What goes with a Job template and could not be set up, each with the line that mends it. Agents that need it
    /// will not start; everything else works.
    pub problems: Vec<(String, Option<String>)>,
}

impl Host {
    /// Reaches the host of a configuration and prepares it. `identity` is this process's, for the runs that it makes
    /// ready; `token` is what its agents sign in with.
    ///
    /// # Errors
    ///
    /// There is no such host, it does not answer ([`HostError::Unavailable`], worth another try), or the account lacks
    /// a right that nothing works without.
    pub async fn reach(config: &Config, identity: &str, token: OrganizationToken) -> Result<Reached, HostError> {
        match &config.host {
            HostConfig::Kubernetes(settings) => Self::reach_kubernetes(config, settings, identity, token).await,
            HostConfig::Local(settings) => Self::open_local(config, settings, identity, token),
            HostConfig::ContainerInstances(aci) => {
                let host = ContainerInstancesHost::reach(config, aci, identity, token).await?;
                Ok(Reached {
                    installation: ContainerInstancesHost::installation(aci, config.installation_id.as_deref()),
                    warnings: host.warnings().to_vec(),
                    problems: Vec::new(),
                    host: Self::ContainerInstances(Box::new(host)),
                })
            }
        }
    }

    async fn reach_kubernetes(
        config: &Config,
        settings: &KubernetesConfig,
        identity: &str,
        token: OrganizationToken,
    ) -> Result<Reached, HostError> {
        let clock = ServerClock::default();
        let client = connect_by(&Access::default(), &clock)
            .await
            .map_err(|error| kubernetes::refused(error, &settings.namespace))?;
        let installation = kubernetes::prepare(&client, settings, config.installation_id.as_deref()).await?;
        let host =
            KubernetesHost::new(client, config, settings, installation.clone(), token)?.known_as(identity).by(clock);
        let problems = host.apply_documents().await;
        Ok(Reached {
            warnings: host.warnings().to_vec(),
            problems: problems.into_iter().map(|problem| (problem.message, problem.fix)).collect(),
            host: Self::Kubernetes(Box::new(host)),
            installation,
        })
    }

    fn open_local(
        config: &Config,
        settings: &LocalConfig,
        identity: &str,
        token: OrganizationToken,
    ) -> Result<Reached, HostError> {
        let installation = LocalHost::installation(&settings.folder, config.installation_id.as_deref())?;
        let host = LocalHost::open(settings, &config.organization.url, token, installation.clone(), config.retention)?;
        let host = host.known_as(identity).trusting(config.private_ca_file.clone());
        Ok(Reached { host: Self::Local(host), installation, warnings: Vec::new(), problems: Vec::new() })
    }

    /// Ends all runs of this installation, those that work too, for when it is given up by force. What a cluster has is ended
    /// by whoever uninstalls.
    ///
    /// # Errors
    ///
    /// Something cannot be ended.
    pub async fn end_all(&self) -> Result<(), HostError> {
        match self {
            Self::Kubernetes(_) => Ok(()),
            Self::Local(host) => host.stop_all(local::STOP_GRACE).await,
            Self::ContainerInstances(host) => host.clear(true).await,
        }
    }

    /// Removes what ended runs left, those of these pools alone where some are named. The host is of no use any more after that.
    ///
    /// # Errors
    ///
    /// Something cannot be removed.
    pub async fn clear(&self, pools: Option<Vec<String>>) -> Result<(), HostError> {
        match self {
            Self::Kubernetes(_) => Ok(()),
            Self::Local(host) => host.clear(pools).await,
            Self::ContainerInstances(host) => host.clear(false).await,
        }
    }

    /// What kind of host it is.
    #[must_use]
    pub fn kind(&self) -> HostKind {
        match self {
            Self::Kubernetes(_) => HostKind::Kubernetes,
            Self::Local(_) => HostKind::Local,
            Self::ContainerInstances(_) => HostKind::ContainerInstances,
        }
    }
}

impl AgentHost for Host {
    async fn runs(&self) -> Result<Vec<Run>, HostError> {
        match self {
            Self::Kubernetes(host) => host.runs().await,
            Self::ContainerInstances(host) => host.runs().await,
            Self::Local(host) => host.runs().await,
        }
    }

    async fn start(&self, run: &StartRun) -> Result<Started, HostError> {
        match self {
            Self::Kubernetes(host) => host.start(run).await,
            Self::ContainerInstances(host) => host.start(run).await,
            Self::Local(host) => host.start(run).await,
        }
    }

    async fn claim(&self, run: &EquipRun) -> Result<(), HostError> {
        match self {
            Self::Kubernetes(host) => host.claim(run).await,
            Self::ContainerInstances(host) => host.claim(run).await,
            Self::Local(host) => host.claim(run).await,
        }
    }

    async fn equip(&self, name: &str, files: &AgentFiles) -> Result<(), HostError> {
        match self {
            Self::Kubernetes(host) => host.equip(name, files).await,
            Self::ContainerInstances(host) => host.equip(name, files).await,
            Self::Local(host) => host.equip(name, files).await,
        }
    }

    async fn stop(&self, run: &StopRun) -> Result<(), HostError> {
        match self {
            Self::Kubernetes(host) => host.stop(run).await,
            Self::ContainerInstances(host) => host.stop(run).await,
            Self::Local(host) => AgentHost::stop(host, run).await,
        }
    }

    async fn changed(&self) {
        match self {
            Self::Kubernetes(host) => host.changed().await,
            Self::ContainerInstances(host) => host.changed().await,
            Self::Local(host) => host.changed().await,
        }
    }

    async fn mark_busy(&self, names: &BTreeSet<String>) -> Result<(), HostError> {
        match self {
            Self::Kubernetes(host) => host.mark_busy(names).await,
            Self::ContainerInstances(host) => host.mark_busy(names).await,
            Self::Local(host) => host.mark_busy(names).await,
        }
    }

    async fn lease(&self, name: &str) -> Result<Option<LeaseView>, HostError> {
        match self {
            Self::Kubernetes(host) => host.lease(name).await,
            Self::ContainerInstances(host) => host.lease(name).await,
            Self::Local(host) => host.lease(name).await,
        }
    }

    fn clock(&self) -> ServerClock {
        match self {
            Self::Kubernetes(host) => host.clock(),
            Self::ContainerInstances(host) => host.clock(),
            Self::Local(host) => host.clock(),
        }
    }

    async fn tidy(&self, runs: &[Run]) -> Result<(), HostError> {
        match self {
            Self::Kubernetes(host) => host.tidy(runs).await,
            Self::ContainerInstances(host) => host.tidy(runs).await,
            Self::Local(host) => host.tidy(runs).await,
        }
    }
}
