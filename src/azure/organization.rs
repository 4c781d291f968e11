//! What Azure DevOps is signed in to with.

use std::time::Duration;

use secrecy::SecretString;

use super::{Credential, SetupError};
use crate::config::{Authentication, Config, TokenSource};

/// The scope of tokens for Azure DevOps Services.
pub const AZURE_DEVOPS: &str = "499b84ac-1321-427f-aa17-267ca6975798/.default";

/// How long an agent may need its token: it signs in within minutes of its start, and a node may take some.
const FOR_AN_AGENT: Duration = Duration::from_mins(20);

/// The token of the organization, wherever it comes from. Read it anew for each use: it may have been renewed.
#[derive(Clone, Debug)]
pub enum OrganizationToken {
    /// A personal access token.
    Pat(TokenSource),
    /// A token of Entra.
    Entra(Credential),
}

/// Why there is no token. Never holds one.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum TokenError {
    /// The token file cannot be read or holds none; the message names it.
    #[error("{0}")]
    File(String),
    /// No token of Entra could be had: in one line, what each link of the chain said.
    #[error("{message}")]
    Entra {
        /// In one line.
        message: String,
        /// What mends it.
        fix: String,
    },
}

impl From<TokenSource> for OrganizationToken {
    fn from(source: TokenSource) -> Self {
        Self::Pat(source)
    }
}

impl OrganizationToken {
    /// As a configuration has it.
    ///
    /// # Errors
    ///
    /// As [`Credential::of`].
    pub fn of(config: &Config) -> Result<Self, SetupError> {
        match &config.organization.authentication {
            Authentication::Pat(source) => Ok(Self::Pat(source.clone())),
            Authentication::Entra => Credential::of(config).map(Self::Entra),
        }
    }

    /// The token as it is now.
    ///
    /// # Errors
    ///
    /// The token file cannot be read, or no token of Entra could be had.
    pub async fn current(&self) -> Result<SecretString, TokenError> {
        self.lasting(Duration::ZERO).await
    }

    /// The token for an agent, which will sign in with it in some minutes.
    ///
    /// # Errors
    ///
    /// As [`OrganizationToken::current`], in one line.
    pub async fn for_an_agent(&self) -> Result<SecretString, String> {
        self.lasting(FOR_AN_AGENT).await.map_err(|error| error.to_string())
    }

    async fn lasting(&self, at_least: Duration) -> Result<SecretString, TokenError> {
        match self {
            Self::Pat(source) => source.current().map_err(TokenError::File),
            Self::Entra(credential) => match credential.lasting(AZURE_DEVOPS, at_least).await {
                Ok(token) => Ok(token.secret),
                Err(error) => Err(TokenError::Entra { message: error.one_line(), fix: error.fix().to_owned() }),
            },
        }
    }

    /// The chain that gives it, where there is one.
    #[must_use]
    pub fn credential(&self) -> Option<&Credential> {
        match self {
            Self::Pat(_) => None,
            Self::Entra(credential) => Some(credential),
        }
    }

    /// Whether it is one of Entra, which goes as `Bearer`.
    #[must_use]
    pub fn is_entra(&self) -> bool {
        matches!(self, Self::Entra(_))
    }

    /// Forgets a token that was refused. Whether it is worth another try: a token that is brought stays what it is.
    #[must_use]
    pub fn forget(&self, refused: &SecretString) -> bool {
        match self {
            Self::Pat(_) => false,
            Self::Entra(credential) => credential.forget(AZURE_DEVOPS, refused),
        }
    }
}
