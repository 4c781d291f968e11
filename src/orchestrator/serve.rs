//! From a configuration to a running loop, and from there to the next configuration: opening the listener, standing for
//! election, keeping the status.

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use tracing::{info, warn};

use super::{
    ConfigSource, Engine, Metrics, Outcome, Stop,
    board::Board,
    listener,
    reload::Reload,
    secretary::Secretary,
    session::{Seat, Session},
    stop_pair,
};
use crate::{
    config::Config,
    core::{Policy, PoolPolicy},
    hosts::{AgentHost, Host, HostError},
};

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

/// Serves the pools of a configuration until it is time to stop, or once where the configuration says so. Where the
/// configuration comes from a file, what changes there is served from then on.
///
/// # Errors
///
/// The listener's address is taken, there is no cluster, the account lacks a right that nothing works without, or a
/// file (CA bundle, token) cannot be read.
pub async fn serve(config: Config, source: Option<ConfigSource>, stop: Stop) -> Result<Outcome, ServeError> {
    let (metrics, board) = (Arc::new(Metrics::default()), Arc::new(Board::default()));
    let answering = open_listener(&config, &metrics, &board).await?;
    let (me, started_at) = (super::identity(), Timestamp::now());
    let mut reload = source
        .filter(|_| !config.run_once)
        .map(|source| Reload::new(source, &config, &me, Arc::clone(&board), Arc::clone(&metrics)));
    let mut session = tokio::select! {
        biased;
        () = stop.wanted() => return Ok(Outcome::default()),
        session = Session::begin(config, &me) => session?,
    };
    let mut seat: Option<Seat> = None;
    let mut removed: Vec<PoolPolicy> = Vec::new();
    let outcome = loop {
        session.announce();
        seat = Seat::take(seat, &session, &me, &metrics).await;
        let facts = session.facts(&me, started_at);
        let policy = session.config.policy(session.installation.clone());
        let pools = policy.pools.iter().cloned().chain(std::mem::take(&mut removed)).collect();
        let policy = Policy { identity: me.clone(), pools, ..policy };
        board.serves(&policy, facts);
        let pools = policy.pools.clone();
        let serving = serve_session(&session, policy, seat.as_mut(), reload.as_mut(), &board, &metrics, &stop);
        let served = Box::pin(serving).await;
        match served {
            Served::Changed(next) => {
                info!("the configuration has changed");
                if session.is_at_the_place_of(&next) {
                    let left = pools.into_iter().filter(|pool| board.shows(&pool.name)).map(PoolPolicy::without_agents);
                    removed = left.filter(|pool| next.config.pools.iter().all(|kept| kept.name != pool.name)).collect();
                }
                session = *next;
            }
            Served::Ended(outcome) => break outcome,
        }
    };
    if let Some(seat) = seat {
        seat.candidate.release().await;
    }
    if let Some(answering) = answering {
        answering.abort();
    }
    info!("stopped");
    Ok(outcome)
}

/// How serving a configuration ended.
enum Served {
    /// By the wish to stop, or after a single pass.
    Ended(Outcome),
    /// By another configuration.
    Changed(Box<Session>),
}

async fn serve_session(
    session: &Session,
    policy: Policy,
    seat: Option<&mut Seat>,
    reload: Option<&mut Reload>,
    board: &Arc<Board>,
    metrics: &Arc<Metrics>,
    stop: &Stop,
) -> Served {
    let leadership = seat.as_ref().map_or_else(|| session.without_election(), |seat| seat.leadership.clone());
    let mut engine = Engine::new(&session.azure_devops, &session.host, policy, session.settings(), Arc::clone(metrics))
        .under(leadership.clone())
        .wishing(session.wishes())
        .reporting_to(Arc::clone(board));
    if session.config.run_once {
        let outcome = engine.run_once(stop).await;
        wait_for_local_agents(&session.host, stop).await;
        return Served::Ended(outcome);
    }
    let (stopper, this_stop) = stop_pair();
    let in_cluster = session.status_store().map(|store| Secretary::new(store, Arc::clone(board), leadership.clone()));
    let in_file = session.status_file().map(|store| Secretary::new(store, Arc::clone(board), leadership));
    let run = async {
        let run = Box::pin(engine.run(&this_stop));
        match (in_cluster, in_file) {
            (Some(secretary), _) => secretary.keep_during(run).await,
            (None, Some(secretary)) => secretary.keep_during(run).await,
            (None, None) => run.await,
        }
    };
    let until = async {
        let next = tokio::select! {
            biased;
            () = stop.wanted() => None,
            next = next_session(reload, &session.config) => Some(next),
        };
        stopper.stop();
        next
    };
    let work = async { tokio::join!(run, until).1 };
    match Seat::hold_while(seat, work).await {
        Some(next) => Served::Changed(Box::new(next)),
        None => Served::Ended(Outcome::default()),
    }
}

/// Where the configuration is not read from files there is never another one.
async fn next_session(reload: Option<&mut Reload>, served: &Config) -> Session {
    match reload {
        Some(reload) => reload.next(served).await,
        None => std::future::pending().await,
    }
}

/// A single pass is over before a scraper could come, so it opens no listener.
async fn open_listener(
    config: &Config,
    metrics: &Arc<Metrics>,
    board: &Arc<Board>,
) -> Result<Option<tokio::task::JoinHandle<()>>, ServeError> {
    if config.run_once {
        return Ok(None);
    }
    let listener = listener::bind(config.listen).await.map_err(|error| ServeError {
        message: format!("cannot listen on {}: {error}", config.listen),
        fix: Some("set LISTEN_ADDRESS to a free address, for example 127.0.0.1:0".into()),
    })?;
    if let Ok(address) = listener.local_addr() {
        info!(%address, "listening for /healthz, /readyz, /metrics and /status");
    }
    Ok(Some(tokio::spawn(listener::answer(listener, Arc::clone(metrics), Arc::clone(board)))))
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
