//! Why Azure DevOps did not answer a question or make a change, and what would mend it.

use std::time::Duration;

use crate::{azure::TokenError, core::Code};

/// Why Azure DevOps did not give what was asked. Never holds a token.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The token is missing, wrong or expired: 401, or the sign-in page that comes as 203, 302 or HTML.
    #[error("Azure DevOps rejected the token ({0})")]
    Unauthorized(String),
    /// The identity is none of the organization's: 401, although Entra gave out the token a moment ago.
    #[error("Azure DevOps does not know this identity of Entra ({0})")]
    StrangeIdentity(String),
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
    /// The agent is not registered (any more).
    #[error("the agent is gone: {0}")]
    Gone(String),
    /// The agent has a job request, so that its registration cannot be removed now. Azure DevOps holds on to the request
    /// of an agent that died for some ten minutes.
    #[error("the agent has a job request: {0}")]
    Busy(String),
    /// An agent of that name is registered already: somebody else's, or our own whose registration was answered and the
    /// answer lost.
    #[error("the agent's name is taken: {0}")]
    Taken(String),
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
    /// No token of Entra could be had.
    #[error("{message}")]
    Entra {
        /// What each link of the chain said, in one line.
        message: String,
        /// What mends it.
        fix: String,
    },
}

impl From<TokenError> for Error {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::File(message) => Self::Token(message),
            TokenError::Entra { message, fix } => Self::Entra { message, fix },
        }
    }
}

impl Error {
    /// What it is among all findings.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Unauthorized(_) | Self::StrangeIdentity(_) | Self::Token(_) | Self::Entra { .. } => {
                Code::TokenRejected
            }
            Self::Forbidden(_) => Code::TokenLacksRights,
            Self::NoSuchPool(_) => Code::PoolNotFound,
            Self::UnfitPool { .. } => Code::PoolIsHosted,
            Self::NotFound(_) => Code::OrganizationNotFound,
            Self::Throttled(_) => Code::Throttled,
            Self::Unreachable(_) => Code::Unreachable,
            Self::Gone(_) | Self::Busy(_) | Self::Taken(_) | Self::Unavailable { .. } | Self::Unreadable(_) => {
                Code::ServiceFailing
            }
        }
    }

    /// One line that says how to mend it, where a person can.
    #[must_use]
    pub fn fix(&self) -> Option<String> {
        let line = match self {
            Self::Unauthorized(_) => {
                "make a personal access token with the scope \"Agent Pools (read, manage)\" in this organization, and set \
                 ORG_PAT or the content of ORG_PAT_FILE to it"
            }
            Self::StrangeIdentity(_) => {
                "add the identity to the organization (Organization settings > Users > Add users, access level Basic); the \
                 organization has to be connected to the identity's tenant (Organization settings > Microsoft Entra)"
            }
            Self::Forbidden(_) => {
                "a personal access token needs the scope \"Agent Pools (read, manage)\"; its owner, or the identity of \
                 Entra, needs the role Administrator of the pool (Organization settings > Agent pools > Security)"
            }
            Self::NoSuchPool(_) => {
                "compare AGENT_POOLS with Organization settings > Agent pools; whoever owns the token needs at least the \
                 role Reader of the pool"
            }
            Self::UnfitPool { .. } => {
                "make a self-hosted pool (Organization settings > Agent pools > Add pool > Self-hosted) and name it in \
                 AGENT_POOLS"
            }
            Self::NotFound(_) => {
                "check ORG_URL: https://dev.azure.com/ORGANIZATION, or https://SERVER/tfs/COLLECTION for Azure DevOps \
                 Server"
            }
            Self::Busy(_) => "it is tried again by itself until the job request has ended",
            Self::Throttled(_) => "it goes on by itself; a longer POLLING_DELAY asks less often",
            Self::Unreachable(cause) if cause.contains("certificate") => {
                "put the certificates of the authorities that signed the server's (PEM) into a file, and set ADO_CA_FILE \
                 to it"
            }
            Self::Unreachable(_) => "check ORG_URL, and HTTPS_PROXY and NO_PROXY where a proxy stands in between",
            Self::Token(_) => "set ORG_PAT_FILE to a file that this user may read and that holds the token",
            Self::Entra { fix, .. } => fix,
            Self::Gone(_) | Self::Taken(_) | Self::Unavailable { .. } | Self::Unreadable(_) => return None,
        };
        Some(line.to_owned())
    }

    /// One word for a metric's label.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unauthorized(_) | Self::StrangeIdentity(_) => "unauthorized",
            Self::Forbidden(_) => "forbidden",
            Self::NoSuchPool(_) => "no_such_pool",
            Self::UnfitPool { .. } => "unfit_pool",
            Self::NotFound(_) => "not_found",
            Self::Gone(_) => "gone",
            Self::Busy(_) => "busy",
            Self::Taken(_) => "taken",
            Self::Throttled(_) => "throttled",
            Self::Unavailable { .. } => "unavailable",
            Self::Unreachable(_) => "unreachable",
            Self::Unreadable(_) => "unreadable",
            Self::Token(_) | Self::Entra { .. } => "token",
        }
    }

    /// How long to leave Azure DevOps alone, where it said so. The client holds to it by itself.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled(pause) => Some(*pause),
            _ => None,
        }
    }
}
