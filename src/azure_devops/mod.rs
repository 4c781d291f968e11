//! Azure DevOps as this project needs it: pools, agents, unfinished job requests, parallel jobs.
//!
//! [`AzureDevOps`] is the port that the orchestrator is written against; [`RestClient`] speaks the real REST API,
//! part of which is undocumented.

use std::{collections::BTreeMap, time::Duration};

use crate::core::{Agent, JobRequest, ParallelJobs};

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

/// Why Azure DevOps did not give what was asked. Never holds a token.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The token is missing, wrong or expired: 401, or the sign-in page that comes as 203, 302 or HTML.
    #[error("Azure DevOps rejected the token ({0})")]
    Unauthorized(String),
    /// The token is good and lacks a right.
    #[error("Azure DevOps refused: {0}")]
    Forbidden(String),
    /// No pool of that name, or none that this token may see.
    #[error("agent pool \"{0}\" does not exist, or the token may not see it")]
    NoSuchPool(String),
    /// A pool that agents of ours cannot serve.
    #[error("agent pool \"{pool}\" cannot be served: {reason}")]
    UnfitPool {
        /// Its name.
        pool: String,
        /// Why not.
        reason: &'static str,
    },
    /// Something else that does not exist.
    #[error("not found: {0}")]
    NotFound(String),
    /// Too many calls; nothing may be sent until the time has passed.
    #[error("Azure DevOps throttles this identity for {0:?}")]
    Throttled(Duration),
    /// It answered with a failure of its own.
    #[error("Azure DevOps failed with {status}: {message}")]
    Unavailable {
        /// The HTTP status.
        status: u16,
        /// What it said, shortened.
        message: String,
    },
    /// No answer came: DNS, TCP, TLS, proxy or deadline.
    #[error("no answer from Azure DevOps: {0}")]
    Unreachable(String),
    /// An answer came that makes no sense (cut off, not JSON).
    #[error("Azure DevOps answered with something unreadable: {0}")]
    Unreadable(String),
    /// The token file cannot be read.
    #[error("{0}")]
    Token(String),
}

impl Error {
    /// fix
    pub fn fix(&self) -> Option<String> {
        None
    }
    /// reason
    pub fn reason(&self) -> &'static str {
        "x"
    }
    /// retry
    pub fn retry_after(&self) -> Option<Duration> {
        None
    }
}
