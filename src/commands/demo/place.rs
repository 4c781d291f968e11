//! Where the demo's agents run: as processes of the local host, or in container groups of a stand-in for Azure.

use std::{path::Path, time::Duration};

use anyhow::Context as _;

use super::{POOLS, summary::Groups};
use crate::{
    azure::OrganizationToken,
    commands::{Exit, Failure, serve::refused},
    config::{Config, Environment, HostConfig},
    hosts::{AgentHost, HostError, local::LocalHost},
    sandbox::{
        Sandbox, State,
        azure::{AzureRules, AzureSandbox, AzureSettings},
    },
};

/// What is still running when the demo ends is given this long to end by itself.
const GRACE: Duration = Duration::from_secs(3);

/// Where agents run, by its name.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub(super) enum HostName {
    /// Processes on this machine
    #[default]
    Local,
    /// Container groups of a stand-in for Azure, which are processes on this machine too
    Aci,
}

/// Where agents run.
pub(super) enum Place {
    Local(Box<LocalHost>),
    Azure(AzureSandbox),
}

impl Place {
    /// Makes it ready, with the orchestrator's configuration for it.
    pub(super) fn open(
        name: HostName,
        sandbox: &Sandbox,
        folder: &Path,
        max_agents: u16,
    ) -> Result<(Self, Config), Failure> {
        match name {
            HostName::Local => {
                let agents = folder.join("agents").display().to_string();
                let variables = [("HOST_TYPE", "local".to_owned()), ("AGENT_FOLDER", agents)];
                let config = configuration(sandbox, folder, max_agents, variables)?;
                Ok((Self::Local(Box::new(open_host(&config)?)), config))
            }
            HostName::Aci => {
                let azure = AzureSandbox::start(azure_settings()).context("cannot start the stand-in for Azure")?;
                let more = [
                    ("AZURE_CLIENT_SECRET", azure.secret()),
                    // Nobody else's identity, whatever else this machine could sign in with.
                    ("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential"),
                    // A region's 100 cores are enough for the most agents.
                    ("AZ_CPU", "1"),
                    ("AZ_MEMORY_GB", "2"),
                ];
                let more = more.map(|(name, value)| (name, value.to_owned()));
                let config = configuration(sandbox, folder, max_agents, azure.variables().into_iter().chain(more))?;
                Ok((Self::Azure(azure), config))
            }
        }
    }

    /// Waits until nothing runs any more and no group is left, at most so long. If it cannot be told, the count of what is
    /// left will say so.
    pub(super) async fn wait_until_all_ended(&self, within: Duration) {
        match self {
            Self::Local(host) => drop(host.wait_until_all_ended(Some(within)).await),
            Self::Azure(azure) => drop(azure.until(within, |groups| groups.count() == 0).await),
        }
    }

    /// Ends what still runs and says how much that was.
    pub(super) async fn clear_away(&self, sandbox: &Sandbox) -> Result<usize, Failure> {
        let online = sandbox.see(State::online_agents);
        let live = match self {
            Self::Local(host) => {
                let problem = |error: HostError| Failure::new(Exit::Failed, error.to_string(), error.fix());
                let live = host.runs().await.map_err(problem)?.iter().filter(|run| run.is_live()).count();
                host.stop_all(GRACE).await.map_err(problem)?;
                host.clear(None).await.map_err(problem)?;
                live
            }
            // The processes end with the stand-in.
            Self::Azure(azure) => azure.running(),
        };
        Ok(live.max(online))
    }

    /// What became of container groups, where there are some.
    pub(super) fn groups(&self) -> Option<Groups> {
        match self {
            Self::Local(_) => None,
            Self::Azure(azure) => Some(Groups::of(&azure.history())),
        }
    }
}

/// As in Azure, but a morning may have more jobs than Azure lets one create groups in five minutes.
fn azure_settings() -> AzureSettings {
    let rules = AzureRules { writes_within: Vec::new(), ..AzureRules::default() };
    AzureSettings { rules, ..AzureSettings::default() }
}

/// The configuration goes the same way as anybody's: a file, and the environment for what it leaves out.
fn configuration(
    sandbox: &Sandbox,
    folder: &Path,
    max_agents: u16,
    variables: impl IntoIterator<Item = (&'static str, String)>,
) -> Result<Config, Failure> {
    let file = folder.join("ado.yaml");
    std::fs::write(&file, format!("limits: {{maxAgents: {max_agents}}}\n"))
        .with_context(|| format!("cannot write {}", file.display()))?;
    let of_all = [
        ("ORG_URL", sandbox.url()),
        ("ORG_PAT", sandbox.token().to_owned()),
        ("AGENT_POOLS", POOLS.join(",")),
        ("LISTEN_ADDRESS", "127.0.0.1:0".to_owned()),
    ];
    Config::load(&of_all.into_iter().chain(variables).collect::<Environment>(), Some(&file)).map_err(refused)
}

/// The same host that the orchestrator opens, for clearing away after it.
fn open_host(config: &Config) -> Result<LocalHost, Failure> {
    let HostConfig::Local(settings) = &config.host else {
        return Err(anyhow::anyhow!("the demo's own configuration names another host").into());
    };
    let refused = |message: String, fix: &str| Failure::new(Exit::Failed, message, Some(fix.to_owned()));
    let token = OrganizationToken::of(config).map_err(|error| refused(error.to_string(), error.fix()))?;
    LocalHost::installation(&settings.folder, None)
        .and_then(|installation| {
            LocalHost::open(settings, &config.organization.url, token, installation, config.retention)
        })
        .map_err(|error| Failure::new(Exit::Failed, error.to_string(), error.fix()))
}
