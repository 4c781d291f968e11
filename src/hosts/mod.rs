//! Where agents run. [`AgentHost`] is the port that the orchestrator is written against; a [`Host`] is one of the
//! places we know.

pub mod container_instances;
mod host;
mod json;
pub mod kubernetes;
pub mod local;
mod variables;

pub use host::{Host, Reached};

use std::collections::{BTreeMap, BTreeSet};

use secrecy::SecretString;

use crate::{
    clock::ServerClock,
    core::{EquipRun, LeaseView, Run, StartRun, StopRun},
};

/// The files that an agent has in its root, by their names.
pub type AgentFiles = BTreeMap<&'static str, SecretString>;

/// What the orchestrator asks of a host. Every call has a deadline of its own.
pub trait AgentHost {
    /// All runs of this installation, ended ones included for as long as the host keeps them. What was just started
    /// is among them and what was just stopped is not, even where the host itself shows it late. A view that may be
    /// out of date is an error.
    async fn runs(&self) -> Result<Vec<Run>, HostError>;

    /// Waits until [`AgentHost::runs`] may answer something else than it last did. May be dropped at any time. A host
    /// that does not know waits for ever.
    async fn changed(&self) {
        std::future::pending::<()>().await;
    }

    /// Starts an agent. Repeating it is harmless: the name decides, and what is there already is success. A just-in-time
    /// one is made and held: it waits for its files, and only who has [created](Started::Created) it goes on with it.
    async fn start(&self, run: &StartRun) -> Result<Started, HostError>;

    /// Makes a held run ours to make ready, if it still is as it was seen. Of several who try, one succeeds.
    async fn claim(&self, run: &EquipRun) -> Result<(), HostError>;

    /// Gives a run that we hold the files of its agent, by their names, and lets it go on. [`HostError::Unavailable`] if
    /// somebody else has claimed it meanwhile.
    async fn equip(&self, name: &str, files: &AgentFiles) -> Result<(), HostError>;

    /// Makes known which runs have a job, so that whoever may end them lets them finish. Repeating it is harmless, and a
    /// host that knows nobody of the kind does nothing.
    async fn mark_busy(&self, _names: &BTreeSet<String>) -> Result<(), HostError> {
        Ok(())
    }

    /// Ends a run that was seen. Repeating it is harmless: what is gone already is success, and so is another run that
    /// has taken its name, which is left alone.
    async fn stop(&self, run: &StopRun) -> Result<(), HostError>;

    /// The clock that the stamps of runs are made by. Our own where that is this machine's, and until an answer was seen.
    fn clock(&self) -> ServerClock;

    /// The Lease of that name, which a [run](Run::lease) was started under. A host whose runs name none has none.
    async fn lease(&self, name: &str) -> Result<Option<LeaseView>, HostError>;

    /// Puts away what ended runs left behind and what no run needs any more. `runs` is what [`AgentHost::runs`] last
    /// said. Called after each pass; cheap when there is nothing to do.
    async fn tidy(&self, runs: &[Run]) -> Result<(), HostError>;
}

/// How a start came out well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// It is new.
    Created,
    /// A run of ours with that name was there already.
    AlreadyThere,
}

/// Why a host did not do what was asked. Never holds a token.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum HostError {
    /// The host refused: the account lacks a right, a quota is full, the object is invalid.
    #[error("{message}")]
    Refused {
        /// One word for metrics: `forbidden`, `quota`, `invalid`, …
        reason: &'static str,
        /// What was refused and why, in the host's own words.
        message: String,
        /// The line that mends it.
        fix: Option<String>,
    },
    /// There is no room now. It comes whenever some agent ends, and the host can tell so without asking anybody.
    #[error("{message}")]
    Full {
        /// What is full, in the host's own words.
        message: String,
        /// The line that makes more room.
        fix: String,
    },
    /// Something of that name exists and is not ours.
    #[error("\"{name}\" exists and belongs to {owner}")]
    Collision {
        /// The name.
        name: String,
        /// Whose it is, as far as it can be told.
        owner: String,
    },
    /// The host did not answer, or not in time.
    #[error("{0}")]
    Unavailable(String),
    /// The agent's credential cannot be had.
    #[error("{0}")]
    Credential(String),
}

impl HostError {
    /// One word for metrics and logs.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Refused { reason, .. } => reason,
            Self::Full { .. } => "quota",
            Self::Collision { .. } => "collision",
            Self::Unavailable(_) => "unavailable",
            Self::Credential(_) => "credential",
        }
    }

    /// The line that mends it, where there is one.
    #[must_use]
    pub fn fix(&self) -> Option<String> {
        match self {
            Self::Refused { fix, .. } => fix.clone(),
            Self::Full { fix, .. } => Some(fix.clone()),
            Self::Collision { .. } | Self::Unavailable(_) | Self::Credential(_) => None,
        }
    }
}
