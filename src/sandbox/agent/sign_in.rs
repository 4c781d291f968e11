//! How the agent signs in: it proves itself with its key, and gets a token that holds for a while. Nothing else is kept
//! on its disk, and nothing that would let anybody be more than this agent.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use reqwest::{StatusCode, Url, header::CONTENT_TYPE};
use ring::rand::{SecureRandom as _, SystemRandom};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{sync::Mutex, time::Instant};

use super::{answer::ClientError, files::OAuth, key::AgentKey};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How long an assertion holds.
const ASSERTION_SECONDS: i64 = 300;

/// How long the token endpoint may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A token is renewed so long before it expires, or when a fifth of its time is left if that is less.
const MARGIN: Duration = Duration::from_secs(300);

/// How often the agent asks before it believes that it is not registered any more.
const ATTEMPTS: u32 = 2;

/// One agent's way to its tokens.
#[derive(Debug)]
pub(super) struct SignIn {
    http: reqwest::Client,
    credentials: OAuth,
    endpoint: Url,
    key: Box<AgentKey>,
    token: Mutex<Option<Token>>,
}

#[derive(Debug)]
struct Token {
    value: SecretString,
    renew_at: Instant,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default)]
    expires_in: u64,
}

#[derive(Deserialize)]
struct Refused {
    error: String,
    #[serde(default)]
    error_description: String,
}

impl SignIn {
    pub(super) fn new(http: reqwest::Client, credentials: OAuth, key: Box<AgentKey>) -> Result<Self, ClientError> {
        let endpoint = credentials.endpoint();
        let endpoint: Url = endpoint
            .parse()
            .map_err(|error| ClientError::Failed(format!("the URL \"{endpoint}\" cannot be used: {error}")))?;
        Ok(Self { http, credentials, endpoint, key, token: Mutex::default() })
    }

    pub(super) fn key(&self) -> &AgentKey {
        &self.key
    }

    /// A token that holds. Whoever asks while one is being fetched waits for that one.
    pub(super) async fn token(&self) -> Result<SecretString, ClientError> {
        let mut token = self.token.lock().await;
        if let Some(token) = token.as_ref().filter(|token| token.renew_at > Instant::now()) {
            return Ok(token.value.clone());
        }
        let fresh = self.fetch().await?;
        let value = fresh.value.clone();
        *token = Some(fresh);
        Ok(value)
    }

    /// The server does not accept this token any more.
    pub(super) async fn forget(&self, rejected: &SecretString) {
        let mut token = self.token.lock().await;
        if token.as_ref().is_some_and(|token| token.value.expose_secret() == rejected.expose_secret()) {
            *token = None;
        }
    }

    async fn fetch(&self) -> Result<Token, ClientError> {
        let mut attempt = 1;
        loop {
            match self.exchange(&self.assertion(Timestamp::now())?).await {
                Err(error) if error.is_unregistered() && attempt < ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    async fn exchange(&self, assertion: &str) -> Result<Token, ClientError> {
        let request = self.http.post(self.endpoint.clone()).timeout(TIMEOUT).header("accept", "application/json");
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form(assertion));
        let unreached = |error: reqwest::Error| ClientError::Failed(format!("the token endpoint: {error}"));
        let asked = Instant::now();
        let response = request.send().await.map_err(unreached)?;
        let status = response.status();
        let body = response.bytes().await.map_err(unreached)?;
        if status.is_success()
            && let Ok(Granted { access_token, expires_in }) = serde_json::from_slice(&body)
        {
            let lifetime = Duration::from_secs(expires_in);
            let renew_at = asked + lifetime - MARGIN.min(lifetime / 5);
            return Ok(Token { value: access_token.into(), renew_at });
        }
        match serde_json::from_slice(&body) {
            // The real client reads no refusal at any other status.
            Ok(Refused { error, error_description }) if status == StatusCode::BAD_REQUEST => {
                Err(ClientError::SignIn { error, description: error_description })
            }
            _ => Err(ClientError::Failed(format!("the token endpoint answered {status} with nothing that helps"))),
        }
    }

    /// What the agent proves itself with: a JSON Web Token that is good once.
    fn assertion(&self, now: Timestamp) -> Result<String, ClientError> {
        let mut id = [0; 16];
        SystemRandom::new()
            .fill(&mut id)
            .map_err(|_| ClientError::Failed("the system has no random numbers".to_owned()))?;
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let second = now.as_second();
        let claims = json!({
            "sub": self.credentials.client_id,
            "iss": self.credentials.client_id,
            "aud": self.credentials.authorization_url,
            "jti": BASE64_URL_SAFE_NO_PAD.encode(id),
            "nbf": second,
            "exp": second + ASSERTION_SECONDS,
        });
        let signed = format!("{}.{}", part(&json!({ "alg": "RS256", "typ": "JWT" })), part(&claims));
        let signature = self.key.sign(&signed).map_err(|error| ClientError::Failed(error.to_string()))?;
        Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }
}

fn form(assertion: &str) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    form.append_pair("client_assertion_type", ASSERTION_TYPE);
    form.append_pair("client_assertion", assertion);
    form.finish()
}
