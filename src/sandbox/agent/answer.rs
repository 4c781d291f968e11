//! What the server answers, and what its refusals mean to the agent.

use reqwest::StatusCode;
use serde_json::Value;

/// There is no good answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// Azure DevOps understood, and does not do it.
    #[error("{message} ({type_key})")]
    Refused { type_key: String, message: String },
    /// The agent's own key does not get it a token.
    #[error("cannot sign in: {description} ({error})")]
    SignIn { error: String, description: String },
    /// The token is not good.
    #[error("the server did not accept the token ({0})")]
    Unauthorized(StatusCode),
    /// There was no answer, or none that makes sense.
    #[error("{0}")]
    Failed(String),
}

impl ClientError {
    pub(super) fn is(&self, key: &str) -> bool {
        matches!(self, Self::Refused { type_key, .. } if type_key == key)
    }

    /// Whether the request that the call was about is not ours any more.
    pub(super) fn is_lost_job(&self) -> bool {
        self.is("TaskAgentJobTokenExpiredException") || self.is("TaskAgentJobNotFoundException")
    }

    /// Whether the agent's clock and the server's differ too much, which somebody may put right.
    pub(super) fn is_clock_skew(&self) -> bool {
        matches!(self, Self::SignIn { description, .. } if description.contains("Current server time is"))
    }

    /// Whether the server does not know the agent's key (any more).
    pub(super) fn is_unregistered(&self) -> bool {
        matches!(self, Self::SignIn { error, .. } if error == "invalid_client") && !self.is_clock_skew()
    }

    /// Whether the registration is gone.
    pub(super) fn is_revoked(&self) -> bool {
        self.is("TaskAgentAccessTokenExpiredException")
    }

    pub(super) fn may_pass(&self) -> bool {
        !matches!(self, Self::Refused { .. } | Self::SignIn { .. })
    }
}

/// The JSON of a good answer; no content is `Value::Null`.
pub(super) fn read(status: StatusCode, body: &[u8]) -> Result<Value, ClientError> {
    let json: Option<Value> =
        if body.is_empty() && status.is_success() { Some(Value::Null) } else { serde_json::from_slice(body).ok() };
    let text = |json: &Value, key: &str| json.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    // What a deletion has revoked is not to be had again; another token that is not good may be old.
    let is_revoked = json.as_ref().is_some_and(|json| text(json, "typeKey") == "TaskAgentAccessTokenExpiredException");
    if status == StatusCode::NON_AUTHORITATIVE_INFORMATION
        || (status == StatusCode::UNAUTHORIZED && !is_revoked)
        || status.is_redirection()
    {
        return Err(ClientError::Unauthorized(status));
    }
    match json {
        Some(json) if status.is_success() => Ok(json),
        Some(json) if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
            Err(ClientError::Refused { type_key: text(&json, "typeKey"), message: text(&json, "message") })
        }
        Some(_) | None => Err(ClientError::Failed(format!("the server answered {status} with nothing that helps"))),
    }
}
