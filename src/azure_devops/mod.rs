//! Azure DevOps as this project needs it: pools, agents, unfinished job requests, parallel jobs.
//!
//! [`AzureDevOps`] is the port that the orchestrator is written against; [`RestClient`] speaks the real REST API,
//! part of which is undocumented.

use std::collections::BTreeMap;

use crate::core::{Agent, JobRequest, ParallelJobs};

mod answer;
mod authorities;
mod call;
mod credential;
mod error;
mod list;
mod memory;
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
pub use rest::RestClient;
pub use transport::SetupError;

/// Azure DevOps' number for an agent pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolId(pub i64);

/// What the orchestrator asks of Azure DevOps. Every call has a deadline of its own.
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
}
