//! Why the organization does not do what it is asked, in Azure DevOps' own words. Clients go by the type key.

/// A call that is refused.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {
    /// No such pool, or none that may be seen.
    #[error("No agent pool found with identifier {0}.")]
    PoolNotFound(i64),
    /// A pool of this name exists.
    #[error("Agent pool {0} already exists.")]
    PoolExists(String),
    /// No such agent.
    #[error("No agent found with identifier {0}.")]
    AgentNotFound(i64),
    /// An agent of this name is registered.
    #[error("Pool {pool} already contains an agent with name {agent}.")]
    AgentExists {
        /// The pool's number.
        pool: i64,
        /// The agent's name.
        agent: String,
    },
    /// The agent has a job request and cannot be removed.
    #[error("Agent \"{agent}\" is running a job for pool \"{pool}\".")]
    JobStillRunning {
        /// The agent's name.
        agent: String,
        /// The pool's name.
        pool: String,
    },
    /// The agent has a session already.
    #[error("The agent {0} already has an active session.")]
    SessionConflict(String),
    /// No such session (any more).
    #[error("The session {0} has expired.")]
    SessionExpired(String),
    /// No such job request in this pool.
    #[error("No job request found with identifier {0}.")]
    JobNotFound(i64),
    /// The job request is held by nobody (any more).
    #[error("The lock of job request {0} has expired.")]
    JobTokenExpired(i64),
    /// The call makes no sense.
    #[error("{0}")]
    Invalid(String),
}

impl Refusal {
    /// The name by which clients tell it.
    #[must_use]
    pub fn type_key(&self) -> &'static str {
        match self {
            Self::PoolNotFound(_) => "TaskAgentPoolNotFoundException",
            Self::PoolExists(_) => "TaskAgentPoolExistsException",
            Self::AgentNotFound(_) => "TaskAgentNotFoundException",
            Self::AgentExists { .. } => "TaskAgentExistsException",
            Self::JobStillRunning { .. } => "TaskAgentJobStillRunningException",
            Self::SessionConflict(_) => "TaskAgentSessionConflictException",
            Self::SessionExpired(_) => "TaskAgentSessionExpiredException",
            Self::JobNotFound(_) => "TaskAgentJobNotFoundException",
            Self::JobTokenExpired(_) => "TaskAgentJobTokenExpiredException",
            Self::Invalid(_) => "VssPropertyValidationException",
        }
    }

    /// The HTTP status that goes with it. For some the real one is not known; no client should go by it.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::PoolNotFound(_) | Self::AgentNotFound(_) | Self::JobNotFound(_) => 404,
            Self::PoolExists(_) | Self::AgentExists { .. } | Self::JobStillRunning { .. } => 409,
            Self::SessionConflict(_) => 409,
            Self::SessionExpired(_) | Self::JobTokenExpired(_) | Self::Invalid(_) => 400,
        }
    }
}
