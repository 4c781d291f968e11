//! Azure DevOps as this project needs it: pools, agents and their registrations, unfinished job requests, parallel jobs.
//!
//! [`AzureDevOps`] is the port that the orchestrator is written against; [`RestClient`] speaks the real REST API,
//! part of which is undocumented.

use std::collections::BTreeMap;

use crate::clock::ServerClock;
use crate::core::{Agent, AgentId, JobRequest, ParallelJobs, Placeholder};

mod allowance;
mod answer;
mod call;
mod capabilities;
mod credential;
mod error;
mod intake;
pub mod just_in_time;
mod list;
mod memory;
mod probe;
mod reach;
mod registration;
mod request;
mod rest;
mod text;
mod throttle;
mod transport;
mod versions;
mod wire;

#[cfg(test)]
mod tests;

pub use error::Error;
pub use just_in_time::{AgentFiles, Network, NewAgent, Proof, ProofStep};
pub use probe::{Identity, Manage};
pub use reach::{Reached, Step, Way, reach};
pub use rest::RestClient;

/// Azure DevOps' number for an agent pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolId(pub i64);

/// What the orchestrator asks of Azure DevOps. Every call has a deadline of its own.
///
/// Changes are sent once and not repeated here. Whether one whose answer was lost was made is seen by looking again, and
/// to ask for it once more does no harm: an agent that is disabled, gone or updated stays as it is, and a name that is
/// registered is [`Error::Taken`]. All of them need the token's right to manage agent pools and its owner's role
/// Administrator of the pool, else they are [`Error::Forbidden`].
pub trait AzureDevOps {
    /// The pool of this exact name. One that cannot be served (hosted, deployment, elastic) is an error with its
    /// reason.
    async fn pool(&self, name: &str) -> Result<PoolId, Error>;

    /// All job requests of the pool that have not ended.
    async fn job_requests(&self, pool: PoolId) -> Result<Vec<JobRequest>, Error>;

    /// All agents registered in the pool, with their capabilities and the request each one works on.
    async fn agents(&self, pool: PoolId) -> Result<Vec<Agent>, Error>;

    /// The organization's parallel jobs for self-hosted agents by tag. Empty where the server knows no such limits.
    async fn parallel_jobs(&self) -> Result<BTreeMap<String, ParallelJobs>, Error>;

    /// Keeps an agent from being given further job requests. One that it has goes on. An agent that is gone is as good as
    /// disabled.
    async fn disable(&self, pool: PoolId, agent: AgentId) -> Result<(), Error>;

    /// Removes an agent's registration. [`Error::Busy`] while it has a job request. An agent that is gone is a success.
    async fn deregister(&self, pool: PoolId, agent: AgentId) -> Result<(), Error>;

    /// Registers a placeholder, disabled, with exactly these capabilities. [`Error::Taken`] if an agent of that name is
    /// there, be it this very placeholder.
    async fn register(&self, pool: PoolId, placeholder: &Placeholder) -> Result<(), Error>;

    /// Makes an agent this placeholder: its name and what it offers are replaced, and it is disabled, whatever it was
    /// before. What the pool's administrators added to its capabilities (user capabilities) stays. [`Error::Gone`] if
    /// there is no such agent.
    async fn update(&self, pool: PoolId, agent: AgentId, placeholder: &Placeholder) -> Result<(), Error>;

    /// Registers an agent with a key that is made for it, and gives the files by which it is this one agent, by their
    /// names. One of that name that was registered by the same installation and is not online gets the new key;
    /// [`Error::Taken`] if the name is anybody else's.
    async fn enroll(&self, pool: PoolId, agent: &NewAgent) -> Result<AgentFiles, Error>;

    /// Tries on a placeholder what an enrolled agent does: it gets a key, signs in with it, opens a session and closes it.
    /// `agent` is its number if it is registered already.
    async fn prove(&self, pool: PoolId, agent: Option<AgentId>, placeholder: &Placeholder) -> Proof;

    /// By how much to stretch the time between two polls, from 1 (not at all) to 8: the less remains of the identity's
    /// allowance of calls, the more.
    fn stretch(&self) -> f64 {
        1.0
    }

    /// The clock that Azure DevOps' stamps are made by. Our own until an answer was seen.
    fn clock(&self) -> ServerClock;
}
