//! Just-in-time agents: the orchestrator registers the agent, and the agent gets a few small files that let it act as that
//! one agent until it is removed. No token of the organization is where pipeline jobs run.

use std::collections::BTreeMap;

use secrecy::SecretString;

use crate::core::Capabilities;

mod assertion;
mod enroll;
mod files;
mod key;
mod network;
mod packages;
mod proof;
mod stock;

#[cfg(test)]
mod tests;

pub use assertion::{SigningError, assertion};
pub use files::{RegisteredAgent, files, token_endpoint};
pub use key::{AgentKey, KeyError};
pub use network::Network;
pub(in crate::azure_devops) use packages::Packages;
pub use proof::{Proof, ProofStep};
pub(in crate::azure_devops) use stock::KeyStock;

/// The files of an agent, by the names that they have in its root.
pub type AgentFiles = BTreeMap<&'static str, SecretString>;

/// An agent to be registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAgent {
    /// Its name in the pool.
    pub name: String,
    /// The pool's name.
    pub pool: String,
    /// Who registers it: the id of the installation.
    pub installation: String,
    /// What it is said to offer until it says so itself, our own marks included.
    pub capabilities: Capabilities,
}
