//! The sandbox's agent: small, and a client of the REST API like any other. It registers, opens a session, takes a job
//! request, runs its steps and reports the result, with the arguments, variables and files of the real agent, so that
//! what starts and stops real agents can be tried on it. `config.sh` and `run.sh` of the sandbox's package end here,
//! by way of the hidden command `sandbox-agent`.
//!
//! It lives on the real one's three files alone: it signs in with a key of its own, and reads messages that are encrypted
//! for it. Who has written the files, `config.sh` or somebody in its place, is nothing to it.

use std::{collections::BTreeMap, path::PathBuf, pin::Pin};

mod answer;
mod arguments;
mod capabilities;
mod cipher;
mod client;
mod configure;
mod console;
mod files;
mod job;
mod key;
mod listener;
mod reports;
mod sign_in;
#[cfg(test)]
mod tests;
mod worker;

use answer::ClientError;
use arguments::Command;

/// What an agent finds where it is started.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Its root: where `config.sh` is, and its settings are kept.
    pub root: PathBuf,
    /// The environment.
    pub environment: BTreeMap<String, String>,
}

/// Why an agent gives up.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The arguments make no sense.
    #[error("{0}")]
    Usage(String),
    /// It cannot do what it should in the state it is in.
    #[error("{0}")]
    State(String),
    /// Its files cannot be read or written, or a process not be started.
    #[error("{0}: {1}")]
    Io(String, std::io::Error),
    /// Azure DevOps refuses, or is out of reach.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// There was no first connection; it may be there at the next try.
    #[error("{0}")]
    NoConnection(ServiceError),
}

impl AgentError {
    /// The real agent's exit code: 1 is an error, 2 one that may pass.
    fn code(&self) -> u8 {
        match self {
            Self::NoConnection(_) => 2,
            Self::Usage(_) | Self::State(_) | Self::Io(..) | Self::Service(_) => 1,
        }
    }
}

/// What Azure DevOps said, or that it said nothing.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ServiceError(String);

impl From<ClientError> for AgentError {
    fn from(error: ClientError) -> Self {
        Self::Service(ServiceError(error.to_string()))
    }
}

/// Resolves when the agent should stop.
pub(crate) type Stop = Pin<Box<dyn Future<Output = ()> + Send>>;

/// `sandbox-agent configure|run|remove …`, without the program's name: in the current folder, until SIGTERM or SIGINT.
/// Gives the real agent's exit code: 0 is well, also if the job failed, and if the registration was deleted while it
/// waited; 1 is an error; 2 is that there was no first connection.
pub async fn main(arguments: Vec<String>) -> u8 {
    let root = match std::env::current_dir() {
        Ok(root) => root,
        Err(error) => {
            console::error(&format!("the current folder is gone: {error}"));
            return 1;
        }
    };
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    match run(arguments, &Surroundings { root, environment }, console::stop_signal()).await {
        Ok(()) => 0,
        Err(error) => {
            console::error(&error.to_string());
            error.code()
        }
    }
}

/// The same in these surroundings, until `stop` resolves.
///
/// # Errors
///
/// See [`AgentError`].
pub async fn run(
    arguments: Vec<String>,
    surroundings: &Surroundings,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), AgentError> {
    match arguments::parse(arguments, &surroundings.environment)? {
        Command::Configure(configuration) => configure::configure(&configuration, surroundings).await,
        Command::Remove { token } => configure::remove(&token, surroundings).await,
        Command::Run { once } => listener::listen(once, surroundings, Box::pin(stop)).await,
    }
}
