//! What `check` and `auth` ask before an orchestrator does: who the token is, and whether it may register agents. Nothing
//! here changes anything.

use serde::Deserialize;
use serde_json::Value;

use super::{AzureDevOps, Error, PoolId, RestClient, answer::Failure, request::Request};
use crate::core::AgentId;

/// The bit of "Manage" in the permissions of an agent pool.
const MANAGE: u32 = 2;

/// An agent that no pool has: Azure DevOps counts from 1 and will not come this far.
const NOBODY: AgentId = AgentId(i32::MAX as i64);

/// Who a token belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// As Azure DevOps shows it. Written by users: escape before printing.
    pub name: String,
    /// The account, often an e-mail address.
    pub account: Option<String>,
}

/// Whether agents can be registered in a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manage {
    /// The token's scope and its owner's role allow it.
    Yes,
    /// The token's scope does not.
    NotInScope(String),
    /// The owner's role in the pool does not.
    NotAdministrator,
    /// It cannot be told without trying.
    Unknown(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConnectionData {
    #[serde(default)]
    authenticated_user: Value,
}

impl RestClient {
    /// Who the token belongs to. A token that is not accepted is [`Error::Unauthorized`], in whatever form it is said.
    ///
    /// # Errors
    ///
    /// As every question.
    pub async fn identity(&self) -> Result<Identity, Error> {
        let request = Request::connection_data();
        let page = self.caller.get_whole::<ConnectionData>(&request).await?;
        let user = page.content.authenticated_user;
        let text = |pointer: &str| user.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let anonymous = text("/descriptor").is_some_and(|descriptor| descriptor.starts_with("System:PublicAccess"));
        let name = text("/providerDisplayName").or_else(|| text("/customDisplayName"));
        match name.filter(|_| !anonymous) {
            Some(name) => Ok(Identity { name, account: text("/properties/Account/$value") }),
            None if self.caller.is_entra() => Err(Error::StrangeIdentity("the caller is anonymous".to_owned())),
            None => Err(Error::Unauthorized("the caller is anonymous".to_owned())),
        }
    }

    /// Whether agents can be registered in a pool: by asking for the role, and by removing an agent that does not exist,
    /// which is refused for the scope of the token before anybody looks for the agent.
    ///
    /// # Errors
    ///
    /// No answer came, or none that concerns the question.
    pub async fn may_manage(&self, pool: PoolId) -> Result<Manage, Error> {
        let role = Request::permissions(pool, MANAGE);
        let role = self.caller.get_whole::<Value>(&role).await;
        let role = match role.map(|page| page.content) {
            Ok(Value::Bool(false)) => return Ok(Manage::NotAdministrator),
            Ok(Value::Bool(true)) => None,
            Ok(other) => Some(format!("asked for its role, it answered {other}")),
            Err(Failure::Final(
                error @ (Error::Unauthorized(_) | Error::StrangeIdentity(_) | Error::Unreachable(_)),
            )) => return Err(error),
            Err(failure) => Some(Error::from(failure).to_string()),
        };
        match self.deregister(pool, NOBODY).await {
            Ok(()) => Ok(role.map_or(Manage::Yes, Manage::Unknown)),
            Err(Error::Forbidden(said) | Error::Unauthorized(said) | Error::StrangeIdentity(said)) => {
                Ok(Manage::NotInScope(said))
            }
            Err(error @ Error::Unreachable(_)) => Err(error),
            Err(other) => Ok(Manage::Unknown(other.to_string())),
        }
    }
}
