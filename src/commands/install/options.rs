//! What can be asked of `install` and `upgrade`.

use std::{path::PathBuf, time::Duration};

use super::super::cluster_flags::ClusterFlags;
use crate::config::is_guid;

/// Which of the two commands it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Purpose {
    Install,
    Upgrade,
}

/// Whether the cluster is changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(in super::super) enum DryRun {
    /// Do it
    #[default]
    None,
    /// Only show it
    Client,
    /// Have the cluster check it, and keep nothing
    Server,
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(in super::super) enum Output {
    /// The objects, for `kubectl apply -f -`
    Yaml,
    /// The objects, as a list
    Json,
    /// Their names
    Name,
}

/// The flags of `install` and `upgrade`.
#[derive(Debug, clap::Args)]
pub(in super::super) struct Options {
    /// The organization: https://dev.azure.com/NAME, or a server's collection
    #[arg(long, value_name = "URL")]
    pub(super) org: Option<String>,
    /// The agent pools to serve; may be repeated
    #[arg(long = "pool", value_name = "NAME", value_delimiter = ',')]
    pub(super) pools: Vec<String>,
    /// A file with the token (`-`: standard input) [else $ADO_PAT, $AZURE_DEVOPS_EXT_PAT, or a hidden prompt]
    #[arg(long, value_name = "FILE", conflicts_with = "existing_secret")]
    pub(super) pat_file: Option<PathBuf>,
    /// A Secret of the namespace that holds the token, and its key [default key: token]
    #[arg(long, value_name = "NAME[:KEY]")]
    pub(super) existing_secret: Option<String>,
    /// No token: sign in with Entra, by workload identity, as the identity of this client id
    #[arg(long, value_name = "ID", conflicts_with_all = ["pat_file", "existing_secret"], value_parser = client_id)]
    pub(super) entra_client_id: Option<String>,
    /// A configuration to install; flags change it
    #[arg(short = 'f', long = "filename", value_name = "ADO.YAML")]
    pub(super) file: Option<PathBuf>,
    /// The agents' image [default: ghcr.io/kubectl-ado/agent]
    #[arg(long, value_name = "IMAGE")]
    pub(super) job_image: Option<String>,
    /// A Job template for the agents
    #[arg(long, value_name = "FILE")]
    pub(super) template: Option<PathBuf>,
    /// The most agents over all pools
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) max_agents: Option<u32>,
    /// Agents kept alive in each pool
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub(super) min_agents: Option<u32>,
    /// Idle agents kept ready in each pool
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub(super) idle_agents: Option<u32>,
    /// The orchestrator's image [default: ghcr.io/kubectl-ado/kubectl-ado of this version]
    #[arg(long, value_name = "IMAGE")]
    pub(super) image: Option<String>,
    /// How many orchestrators; with 2, one stands by [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=3))]
    pub(super) replicas: Option<i32>,
    /// The most that the orchestrator may use, as in `kubectl set resources`: cpu=500m,memory=64Mi
    #[arg(long, value_name = "NAME=AMOUNT", value_delimiter = ',', value_parser = amount)]
    pub(super) limits: Vec<(String, String)>,
    /// What the orchestrator asks for: cpu=10m,memory=32Mi
    #[arg(long, value_name = "NAME=AMOUNT", value_delimiter = ',', value_parser = amount)]
    pub(super) requests: Vec<(String, String)>,
    /// Install this version over a newer one
    #[arg(long)]
    pub(super) allow_downgrade: bool,
    /// Where agents run [default: the orchestrator's namespace]
    #[arg(long, value_name = "NAME")]
    pub(super) agents_namespace: Option<String>,
    /// Create namespaces that are not there
    #[arg(long, value_name = "BOOL", default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          action = clap::ArgAction::Set)]
    pub(super) create_namespace: bool,
    /// Wait until the orchestrator has polled its pools
    #[arg(long, value_name = "BOOL", default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          action = clap::ArgAction::Set)]
    pub(super) wait: bool,
    /// How long to wait
    #[arg(long, value_name = "TIME", default_value = "3m", value_parser = duration)]
    pub(super) timeout: Duration,
    /// Show what would be done; with `client`, nothing is contacted
    #[arg(long, value_enum, value_name = "MODE", default_value_t)]
    pub(super) dry_run: DryRun,
    /// Print the objects; a token is never among them
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub(super) output: Option<Output>,
    /// Do not ask
    #[arg(short, long)]
    pub(super) yes: bool,
    /// Take over fields that somebody else has changed
    #[arg(long)]
    pub(super) force_conflicts: bool,
    /// Leave out what `check --pre` checks: the way to Azure DevOps, the token, the pools, your rights, an agent's pod
    #[arg(long)]
    pub(super) skip_checks: bool,
    #[command(flatten)]
    pub(super) cluster: ClusterFlags,
}

/// A GUID: it becomes an annotation.
fn client_id(text: &str) -> Result<String, String> {
    if is_guid(text) {
        return Ok(text.to_lowercase());
    }
    Err("it has to be a client id, such as 01234567-89ab-cdef-0123-456789abcdef".to_owned())
}

/// An amount of a resource. Whether it is one, the API server says before anything is changed.
fn amount(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, amount)) if !name.is_empty() && !amount.is_empty() => Ok((name.to_owned(), amount.to_owned())),
        _ => Err("write it as cpu=500m".to_owned()),
    }
}

/// A time with its unit: 90s, 5m.
pub(in super::super) fn duration(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration = text.parse().map_err(|_| "write it as 90s or 5m".to_owned())?;
    Duration::try_from(span).map_err(|_| "it cannot be negative".to_owned())
}
