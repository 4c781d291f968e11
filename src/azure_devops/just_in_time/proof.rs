//! Whether an organization carries just-in-time agents, tried on an agent that never runs: it gets a key, signs in with
//! it, opens a session and closes it. That is all that a real one needs, and no job request can come to it, because it is
//! disabled.

use std::fmt;

use reqwest::{Url, header::CONTENT_TYPE};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::{
    AgentKey, assertion,
    enroll::{Credentials, EnrolledJson},
    token_endpoint,
};
use crate::{
    azure_devops::{Error, PoolId, RestClient, request::Request, text::readable, transport::innermost},
    core::{AgentId, Placeholder},
};

/// What the OAuth standard calls such an assertion.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The most bytes of an answer of the token address. A token has some kilobytes.
const LONGEST_ANSWER: usize = 64 * 1024;

/// One step of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofStep {
    /// The agent is registered with a key.
    Register,
    /// The agent's own assertion is exchanged for a token.
    SignIn,
    /// The agent opens a session.
    OpenSession,
    /// And closes it.
    CloseSession,
}

impl ProofStep {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [Self::Register, Self::SignIn, Self::OpenSession, Self::CloseSession];
}

impl fmt::Display for ProofStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Register => "register an agent with a key",
            Self::SignIn => "exchange its assertion for a token",
            Self::OpenSession => "open its session",
            Self::CloseSession => "close its session",
        })
    }
}

/// How it came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The number of the agent it was tried on, once that is known.
    pub agent: Option<AgentId>,
    /// The step that failed; `None` where all went well.
    pub failed: Option<(ProofStep, Error)>,
}

#[derive(Deserialize)]
struct TokenJson {
    access_token: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SessionJson {
    session_id: String,
}

/// The `error` and `error_description` of OAuth.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    error: String,
    error_description: String,
}

impl RestClient {
    pub(in crate::azure_devops) async fn prove_with(
        &self,
        pool: PoolId,
        agent: Option<AgentId>,
        placeholder: &Placeholder,
    ) -> Proof {
        let mut proof = Proof { agent, failed: None };
        proof.failed = self.steps(pool, placeholder, &mut proof.agent).await.err();
        proof
    }

    async fn steps(
        &self,
        pool: PoolId,
        placeholder: &Placeholder,
        agent: &mut Option<AgentId>,
    ) -> Result<(), (ProofStep, Error)> {
        let at = |step| move |error: Error| (step, error);
        let key = self.new_key().await.map_err(at(ProofStep::Register))?;
        let register = Request::register_with_key(pool, *agent, placeholder, &key);
        let enrolled: EnrolledJson =
            self.caller.submit(&register).await.map_err(|failure| (ProofStep::Register, failure.into()))?;
        let id = AgentId(enrolled.id);
        *agent = Some(id);
        let credentials = enrolled.credentials().map_err(at(ProofStep::Register))?;
        let token = self.sign_in(&key, &credentials).await.map_err(at(ProofStep::SignIn))?;

        let caller = self.caller.by_bearer(token);
        let capabilities: serde_json::Map<_, _> =
            placeholder.capabilities.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        // The session replaces the capabilities: they are those that are there.
        let body = json!({
            "ownerName": "kubectl-ado",
            "agent": { "id": id.0, "name": placeholder.name, "version": "99.999.9", "osDescription": "kubectl-ado" },
            "systemCapabilities": capabilities,
        });
        let session: SessionJson = caller
            .submit(&Request::open_session(pool, body))
            .await
            .map_err(|failure| (ProofStep::OpenSession, failure.into()))?;
        let close = Request::close_session(pool, &session.session_id);
        caller.change(&close).await.map_err(|failure| (ProofStep::CloseSession, failure.into()))
    }

    /// What the agent itself does with its key.
    async fn sign_in(&self, key: &AgentKey, credentials: &Credentials) -> Result<SecretString, Error> {
        let Credentials { client_id, authorization_url } = credentials;
        let assertion = assertion(key, client_id, authorization_url, self.caller.clock().now())
            .map_err(|error| Error::Unreadable(error.to_string()))?;
        let endpoint = token_endpoint(self.caller.base().as_str(), authorization_url);
        let url: Url = endpoint
            .parse()
            .map_err(|error| Error::Unreadable(format!("an agent's token address ({error}: {endpoint})")))?;
        let form = form(&[
            ("grant_type", "client_credentials"),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", assertion.expose_secret()),
        ]);
        let deadline: Instant = self.caller.deadline();
        let host = url.host_str().unwrap_or_default().to_owned();
        let late = || Error::Unreachable(format!("{host} did not answer in time"));
        let sent = self
            .caller
            .http()
            .post(url)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.expose_secret().to_owned())
            .send();
        let unreached = |error: reqwest::Error| Error::Unreachable(format!("{host}: {}", innermost(&error)));
        let mut response = timeout_at(deadline, sent).await.map_err(|_| late())?.map_err(unreached)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = timeout_at(deadline, response.chunk()).await.map_err(|_| late())?.map_err(unreached)? {
            if body.len() + chunk.len() > LONGEST_ANSWER {
                return Err(Error::Unreadable("an answer of the token address that is too long".to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            let token: TokenJson = serde_json::from_slice(&body)
                .map_err(|_| Error::Unreadable("an answer of the token address without a token".to_owned()))?;
            return Ok(token.access_token.into());
        }
        let refusal: Refusal = serde_json::from_slice(&body).unwrap_or_default();
        let said = readable(&format!("{status} {} {}", refusal.error, refusal.error_description));
        let said = said.replace(assertion.expose_secret(), "[the assertion]");
        Err(if status.is_server_error() {
            Error::Unavailable { status: status.as_u16(), message: said }
        } else {
            Error::Unauthorized(said)
        })
    }
}

/// Pairs as a form.
fn form(pairs: &[(&str, &str)]) -> SecretString {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(pairs);
    form.finish().into()
}
