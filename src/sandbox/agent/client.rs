//! The agent's REST client: the few calls it makes, tried again when the service does not answer properly.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use reqwest::{Method, StatusCode, Url, redirect::Policy};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

/// What the agent's own libraries ask for; every server since 2020 has it.
const ACCEPT: &str = "application/json;api-version=6.0-preview.1";

/// How long a call may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long a call may take that waits for a message; the service holds it for 50 seconds.
const POLL_TIMEOUT: Duration = Duration::from_secs(100);

#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// Azure DevOps understood, and does not do it.
    #[error("{message} ({type_key})")]
    Refused { type_key: String, message: String },
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

    fn may_pass(&self) -> bool {
        !matches!(self, Self::Refused { .. })
    }
}

#[derive(Clone, Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    organization: Url,
    token: SecretString,
}

impl Client {
    pub(super) fn new(url: &str, token: SecretString) -> Result<Self, ClientError> {
        let organization: Url = url
            .trim_end_matches('/')
            .parse()
            .map_err(|error| ClientError::Failed(format!("the URL \"{url}\" cannot be used: {error}")))?;
        // Somebody else may have chosen a provider for the process already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder()
            .redirect(Policy::none())
            .user_agent(concat!("kubectl-ado-sandbox-agent/", env!("CARGO_PKG_VERSION")));
        if matches!(organization.host_str(), Some("127.0.0.1" | "localhost" | "[::1]")) {
            http = http.no_proxy();
        }
        let http = http.build().map_err(|error| ClientError::Failed(error.to_string()))?;
        Ok(Self { http, organization, token })
    }

    /// Calls `{organization}/_apis/{path}`, again if need be. No content is `Value::Null`.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        let back_off = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(10))
            .with_max_times(6)
            .with_jitter();
        let call = || self.once(method.clone(), path, query, body, TIMEOUT);
        call.retry(back_off).when(ClientError::may_pass).await
    }

    /// The same, but only once, and patiently.
    pub(super) async fn poll(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, ClientError> {
        self.once(Method::GET, path, query, None, POLL_TIMEOUT).await
    }

    async fn once(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
        timeout: Duration,
    ) -> Result<Value, ClientError> {
        let mut url = self.organization.clone();
        url.set_path(&format!("{}/_apis/{path}", self.organization.path().trim_end_matches('/')));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self
            .http
            .request(method, url)
            .timeout(timeout)
            .basic_auth("VstsAgent", Some(self.token.expose_secret()))
            .header("accept", ACCEPT)
            .header("x-tfs-fedauthredirect", "Suppress");
        if let Some(body) = body {
            request = request.json(body);
        }
        let failed = |error: reqwest::Error| ClientError::Failed(format!("no answer from the server: {error}"));
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let body = response.bytes().await.map_err(failed)?;
        read(status, &body)
    }
}

fn read(status: StatusCode, body: &[u8]) -> Result<Value, ClientError> {
    if status == StatusCode::NON_AUTHORITATIVE_INFORMATION
        || status == StatusCode::UNAUTHORIZED
        || status.is_redirection()
    {
        return Err(ClientError::Unauthorized(status));
    }
    let json: Option<Value> =
        if body.is_empty() && status.is_success() { Some(Value::Null) } else { serde_json::from_slice(body).ok() };
    let text = |json: &Value, key: &str| json.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    match json {
        Some(json) if status.is_success() => Ok(json),
        Some(json) if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
            Err(ClientError::Refused { type_key: text(&json, "typeKey"), message: text(&json, "message") })
        }
        Some(_) | None => Err(ClientError::Failed(format!("the server answered {status} with nothing that helps"))),
    }
}
