//! One link of the chain, and what it may say instead of giving a token.

use super::{
    AccessToken, certificate::Certificate, client_secret::ClientSecret, managed_identity::ManagedIdentity,
    tools::DeveloperTool, workload_identity::WorkloadIdentity,
};

/// Why a link gave no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is not set up here: the next one is tried.
    Absent(String),
    /// It is, and did not work. The next one would be somebody else.
    Failed {
        /// In one line.
        what: String,
        /// What mends it.
        fix: String,
        /// Whether it may work a moment later.
        may_pass: bool,
    },
}

impl Refusal {
    pub(super) fn failed(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::Failed { what: what.into(), fix: fix.into(), may_pass: false }
    }

    /// The same of what may work a moment later: nobody answered, or whoever did has troubles of its own.
    pub(super) fn passing(self, passes: bool) -> Self {
        match self {
            Self::Failed { what, fix, .. } => Self::Failed { what, fix, may_pass: passes },
            absent @ Self::Absent(_) => absent,
        }
    }

    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Failed { may_pass: true, .. })
    }

    /// What it says, and the fix where it has one.
    pub(super) fn into_words(self) -> (String, Option<String>) {
        match self {
            Self::Absent(what) => (what, None),
            Self::Failed { what, fix, .. } => (what, Some(fix)),
        }
    }
}

/// A link that is set up, as far as can be told without asking anybody.
#[derive(Clone, Debug)]
pub(super) enum Link {
    ClientSecret(ClientSecret),
    Certificate(Certificate),
    WorkloadIdentity(WorkloadIdentity),
    ManagedIdentity(ManagedIdentity),
    Tool(DeveloperTool),
    /// One that is not, and why.
    Absent(&'static str, String),
}

impl Link {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::ClientSecret(_) => ClientSecret::NAME,
            Self::Certificate(_) => Certificate::NAME,
            Self::WorkloadIdentity(_) => WorkloadIdentity::NAME,
            Self::ManagedIdentity(_) => ManagedIdentity::NAME,
            Self::Tool(tool) => tool.name(),
            Self::Absent(name, _) => name,
        }
    }

    pub(super) async fn token(&self, scope: &str) -> Result<AccessToken, Refusal> {
        match self {
            Self::ClientSecret(link) => link.token(scope).await,
            Self::Certificate(link) => link.token(scope).await,
            Self::WorkloadIdentity(link) => link.token(scope).await,
            Self::ManagedIdentity(link) => link.token(scope).await,
            Self::Tool(link) => link.token(scope).await,
            Self::Absent(_, why) => Err(Refusal::Absent(why.clone())),
        }
    }
}
