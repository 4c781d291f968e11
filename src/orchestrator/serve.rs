//! From a configuration to a running loop: reaching the host, finding out who we are, opening the listener.

use std::{fmt, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::sleep;
use tracing::{error, info, warn};

use super::{Candidate, Engine, Leadership, Metrics, Outcome, Settings, Stop, identity, listener};
use crate::{
    azure_devops::RestClient,
    cluster::NamedLease,
    config::Config,
    core::{Installation, LeaseTiming, lease_name},
    hosts::{AgentHost, Host, HostError, Reached},
};

/// The wait between two tries to reach a host that does not answer.
const HOST_RETRY: Duration = Duration::from_secs(5);

/// Why the orchestrator could not begin. Once it has begun, nothing ends it but the wish to stop.
#[derive(Debug)]
pub struct ServeError {
    /// What went wrong.
    pub message: String,
    /// The line that mends it.
    pub fix: Option<String>,
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ServeError {}

impl From<HostError> for ServeError {
    fn from(error: HostError) -> Self {
        Self { message: error.to_string(), fix: error.fix() }
    }
}

/// Serves the pools of a configuration until it is time to stop, or once where the configuration says so.
///
/// # Errors
///
/// The listener's address is taken, there is no cluster, the account lacks a right that nothing works without, or a
/// file (CA bundle, token) cannot be read.
pub async fn serve(config: Config, stop: Stop) -> Result<Outcome, ServeError> {
    for warning in &config.warnings {
        warn!("{warning}");
    }
    let metrics = Arc::new(Metrics::default());
    let answering = open_listener(&config, &metrics).await?;
    let azure_devops =
        RestClient::new(&config.organization.url, config.organization.token.clone(), config.ca_file.as_deref())
            .map_err(|error| ServeError { message: error.to_string(), fix: Some(error.fix().to_owned()) })?;

    let reached = tokio::select! {
        biased;
        () = stop.wanted() => return Ok(Outcome::default()),
        reached = reach_host(&config) => reached?,
    };
    let Reached { host, installation, warnings, problems } = reached;
    for warning in warnings {
        warn!("{warning}");
    }
    for (problem, fix) in problems {
        error!(fix = fix.as_deref(), "{problem}");
    }
    info!(
        organization = config.organization.url,
        pools = config.pools.iter().map(|pool| pool.name.as_str()).collect::<Vec<_>>().join(", "),
        host = host.kind(),
        installation = installation.id(),
        short = installation.short(),
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );

    let settings =
        Settings { polling: config.polling, respect_parallel_jobs: config.respect_parallel_jobs, now: Timestamp::now };
    let (candidate, leadership) = stand_for_election(&config, &host, &installation, &metrics);
    let mut engine =
        Engine::new(&azure_devops, &host, config.policy(installation), settings, metrics).under(leadership);
    let outcome = if config.run_once {
        let outcome = engine.run_once(&stop).await;
        wait_for_local_agents(&host, &stop).await;
        outcome
    } else {
        match candidate {
            None => engine.run(&stop).await,
            Some(candidate) => candidate.keep_during(engine.run(&stop)).await,
        }
        Outcome::default()
    };
    if let Some(answering) = answering {
        answering.abort();
    }
    info!("stopped");
    Ok(outcome)
}

/// Agents of a cluster may have several orchestrators; those of this machine have us alone, and a single pass is over
/// before an election would be.
fn stand_for_election(
    config: &Config,
    host: &Host,
    installation: &Installation,
    metrics: &Arc<Metrics>,
) -> (Option<Candidate<NamedLease>>, Leadership) {
    let kubernetes = match host {
        Host::Kubernetes(kubernetes) if !config.run_once => kubernetes,
        _ => {
            metrics.leads(true);
            return (None, Leadership::none());
        }
    };
    let pools: Vec<_> = config.pools.iter().map(|pool| pool.name.as_str()).collect();
    let name = lease_name(installation, &config.organization.url, &pools);
    info!(lease = name, "taking part in the leader election");
    let lease = NamedLease::new(kubernetes.client().clone(), kubernetes.namespace(), name);
    let (candidate, leadership) = Candidate::new(lease, identity(), LeaseTiming::STANDARD, Arc::clone(metrics));
    (Some(candidate), leadership)
}

/// A single pass is over before a scraper could come, so it opens no listener.
async fn open_listener(
    config: &Config,
    metrics: &Arc<Metrics>,
) -> Result<Option<tokio::task::JoinHandle<()>>, ServeError> {
    if config.run_once {
        return Ok(None);
    }
    let listener = listener::bind(config.listen).await.map_err(|error| ServeError {
        message: format!("cannot listen on {}: {error}", config.listen),
        fix: Some("set LISTEN_ADDRESS to a free address, for example 127.0.0.1:0".into()),
    })?;
    if let Ok(address) = listener.local_addr() {
        info!(%address, "listening for /healthz, /readyz and /metrics");
    }
    Ok(Some(tokio::spawn(listener::answer(listener, Arc::clone(metrics)))))
}

/// Tries until the host answers: a cluster that is being upgraded is no reason to give up.
async fn reach_host(config: &Config) -> Result<Reached, ServeError> {
    let mut last_told = String::new();
    loop {
        match Host::reach(config).await {
            Ok(reached) => return Ok(reached),
            Err(HostError::Unavailable(message)) if !config.run_once => {
                if message != last_told {
                    warn!("the host does not answer and is tried again: {message}");
                    last_told = message;
                }
                sleep(HOST_RETRY).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Local agents are our children in spirit: a single pass stays until they are done.
async fn wait_for_local_agents(host: &Host, stop: &Stop) {
    let Host::Local(local) = host else { return };
    let ended = tokio::select! {
        biased;
        () = stop.wanted() => return,
        ended = local.wait_until_all_ended(None) => ended,
    };
    let tidied = async {
        ended?;
        local.tidy(&local.runs().await?).await
    };
    if let Err(error) = tidied.await {
        warn!("the agents could not be seen to their end: {error}");
    }
}
