//! The agent's REST client: the few calls it makes, tried again when the service does not answer properly.

use std::{sync::Arc, time::Duration};

use backon::{ExponentialBuilder, Retryable as _};
use reqwest::{Method, RequestBuilder, StatusCode, Url, header::WWW_AUTHENTICATE, redirect::Policy};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::{
    answer::{ClientError, read},
    files::Credentials,
    key::AgentKey,
    sign_in::SignIn,
};

/// What the agent's own libraries ask for; every server since 2020 has it.
const ACCEPT: &str = "application/json;api-version=6.0-preview.1";

/// How long a call may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long a call may take that waits for a message; the service holds it for 50 seconds.
const POLL_TIMEOUT: Duration = Duration::from_secs(100);

/// What a call is signed with.
#[derive(Clone, Debug)]
enum Credential {
    /// A token that somebody has given to us.
    Token(SecretString),
    /// The token of a job.
    Job(SecretString),
    /// Tokens that the agent gets by its key.
    Own(Arc<SignIn>),
}

#[derive(Clone, Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    organization: Url,
    credential: Credential,
}

/// One call.
struct Call<'a> {
    method: Method,
    path: &'a str,
    query: &'a [(&'a str, &'a str)],
    body: Option<&'a Value>,
    timeout: Duration,
}

impl Client {
    /// By a token that somebody has given to us.
    pub(super) fn with_token(url: &str, token: SecretString) -> Result<Self, ClientError> {
        let (organization, http) = connect(url)?;
        Ok(Self { http, organization, credential: Credential::Token(token) })
    }

    /// By what is in the agent's root.
    pub(super) fn new(url: &str, credentials: Credentials) -> Result<Self, ClientError> {
        let (organization, http) = connect(url)?;
        let credential = match credentials {
            Credentials::Token(token) => Credential::Token(token),
            Credentials::Key(sign_in, key) => Credential::Own(Arc::new(SignIn::new(http.clone(), sign_in, key)?)),
        };
        Ok(Self { http, organization, credential })
    }

    /// By the token of a job, for its worker.
    pub(super) fn for_job(&self, token: SecretString) -> Self {
        Self { credential: Credential::Job(token), ..self.clone() }
    }

    /// Asks what the server wants to be signed in with, as the real agent does before all else: only a refusal that says so
    /// makes it sign in.
    pub(super) async fn greet(&self) -> Result<(), ClientError> {
        let call = || async {
            let mut url = self.organization.clone();
            url.set_path(&format!("{}/_apis/connectionData", self.organization.path().trim_end_matches('/')));
            let request = self.http.get(url).timeout(TIMEOUT).header("accept", ACCEPT);
            let request = request.header("x-tfs-fedauthredirect", "Suppress");
            let failed = |error: reqwest::Error| ClientError::Failed(format!("no answer from the server: {error}"));
            let response = request.send().await.map_err(failed)?;
            let ways = response.headers().get_all(WWW_AUTHENTICATE).iter();
            let ways: Vec<String> = ways.filter_map(|way| Some(way.to_str().ok()?.to_lowercase())).collect();
            let ours = match &self.credential {
                Credential::Own(_) | Credential::Job(_) => "bearer",
                Credential::Token(_) => "basic",
            };
            match response.status() {
                status if status.is_success() => Ok(()),
                StatusCode::UNAUTHORIZED if ways.iter().any(|way| way.starts_with(ours)) => Ok(()),
                StatusCode::UNAUTHORIZED => {
                    let message = format!("the server does not say that one may sign in by {ours}");
                    Err(ClientError::Refused { type_key: "VssUnauthorizedException".to_owned(), message })
                }
                status => Err(ClientError::Failed(format!("the server answered {status} with nothing that helps"))),
            }
        };
        call.retry(back_off()).when(ClientError::may_pass).await
    }

    /// The agent's own key, if it has one.
    pub(super) fn key(&self) -> Option<&AgentKey> {
        match &self.credential {
            Credential::Own(sign_in) => Some(sign_in.key()),
            Credential::Token(_) | Credential::Job(_) => None,
        }
    }

    /// Calls `{organization}/_apis/{path}`, again if need be. No content is `Value::Null`.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        let call = || self.once(Call { method: method.clone(), path, query, body, timeout: TIMEOUT });
        call.retry(back_off()).when(ClientError::may_pass).await
    }

    /// The same, but only once.
    pub(super) async fn try_call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        self.once(Call { method, path, query: &[], body, timeout: TIMEOUT }).await
    }

    /// The same, but only once, and patiently.
    pub(super) async fn poll(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, ClientError> {
        self.once(Call { method: Method::GET, path, query, body: None, timeout: POLL_TIMEOUT }).await
    }

    async fn once(&self, call: Call<'_>) -> Result<Value, ClientError> {
        let sign_in = match &self.credential {
            Credential::Token(token) => {
                return self.send(&call, |request| request.basic_auth("VstsAgent", Some(token.expose_secret()))).await;
            }
            Credential::Job(token) => {
                return self.send(&call, |request| request.bearer_auth(token.expose_secret())).await;
            }
            Credential::Own(sign_in) => sign_in,
        };
        let token = sign_in.token().await?;
        let sent = self.send(&call, |request| request.bearer_auth(token.expose_secret())).await;
        // It may have ended before its time.
        if !matches!(sent, Err(ClientError::Unauthorized(_))) {
            return sent;
        }
        sign_in.forget(&token).await;
        let token = sign_in.token().await?;
        self.send(&call, |request| request.bearer_auth(token.expose_secret())).await
    }

    async fn send(
        &self,
        call: &Call<'_>,
        sign: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<Value, ClientError> {
        let mut url = self.organization.clone();
        // What is below a project names it first.
        let path = if call.path.contains("_apis/") { call.path.to_owned() } else { format!("_apis/{}", call.path) };
        url.set_path(&format!("{}/{path}", self.organization.path().trim_end_matches('/')));
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(call.query);
        }
        let mut request = sign(self.http.request(call.method.clone(), url))
            .timeout(call.timeout)
            .header("accept", ACCEPT)
            .header("x-tfs-fedauthredirect", "Suppress");
        if let Some(body) = call.body {
            request = request.json(body);
        }
        let failed = |error: reqwest::Error| ClientError::Failed(format!("no answer from the server: {error}"));
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let body = response.bytes().await.map_err(failed)?;
        read(status, &body)
    }
}

fn back_off() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(10))
        .with_max_times(6)
        .with_jitter()
}

/// The organization's URL, and a client for it.
fn connect(url: &str) -> Result<(Url, reqwest::Client), ClientError> {
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
    Ok((organization, http))
}
