//! The token endpoint of Entra: one form there, one token or one refusal back.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::{
    Client, Response,
    header::{ACCEPT, CONTENT_TYPE},
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{AccessToken, Cloud, aadsts, link::Refusal, scrub::scrubbed, token::end_of, transport::innermost};

/// From the question to the last byte. Entra takes a second or two.
const PATIENCE: Duration = Duration::from_secs(20);

/// The most bytes of an answer: a token with many claims is some 4 KiB.
const LONGEST_ANSWER: usize = 256 * 1024;

/// Says that the proof is a signed statement.
pub(super) const ASSERTION_TYPE: (&str, &str) =
    ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");

/// Whose token it is to be.
#[derive(Clone, Debug)]
pub(super) struct Application {
    pub(super) tenant: String,
    pub(super) client_id: String,
}

/// Where tokens are asked for.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) http: Client,
    pub(super) cloud: Cloud,
}

/// A token as the endpoint gives it.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    /// Seconds.
    expires_in: i64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Refused {
    error: String,
    error_description: String,
}

impl Endpoint {
    /// Asks by client credentials; `proof` is what shows that it is us.
    pub(super) async fn token(
        &self,
        link: &'static str,
        application: &Application,
        scope: &str,
        proof: &[(&str, &str)],
    ) -> Result<AccessToken, Refusal> {
        let url = self.cloud.token_url(&application.tenant);
        let secrets: Vec<_> =
            proof.iter().filter(|pair| **pair != ASSERTION_TYPE).map(|(_, value)| SecretString::from(*value)).collect();
        let form = form(application, scope, proof);
        let asked_at = Timestamp::now();
        let call = async {
            let request = self.http.post(&url).header(ACCEPT, "application/json");
            let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
            let mut response =
                request.body(form.expose_secret().to_owned()).send().await.map_err(|error| innermost(&error))?;
            let body = body(&mut response).await?;
            Ok::<_, String>((response.status().as_u16(), body))
        };
        let unreached = |what: String| {
            let what = format!("{} does not answer: {}", self.cloud.authority(), scrubbed(&what, &secrets));
            Refusal::failed(
                what,
                "check AZURE_AUTHORITY_HOST, AZ_ENVIRONMENT and, where a proxy stands between, HTTPS_PROXY and NO_PROXY",
            )
            .passing(true)
        };
        let (status, body) = match tokio::time::timeout(PATIENCE, call).await {
            Ok(answer) => answer.map_err(unreached)?,
            Err(_) => return Err(unreached(format!("nothing within {PATIENCE:?}"))),
        };
        if status == 200 {
            let granted: Granted =
                serde_json::from_slice(&body).map_err(|_| unreached("something that is no token".to_owned()))?;
            let expires_at = end_of(asked_at, granted.expires_in);
            return Ok(AccessToken { secret: granted.access_token.into(), expires_at, link });
        }
        let refused: Refused = serde_json::from_slice(&body).unwrap_or_default();
        let said = match (refused.error_description.as_str(), refused.error.as_str()) {
            ("", "") => format!("{} answered {status}", self.cloud.authority()),
            ("", error) => format!("{error} ({status})"),
            (description, _) => aadsts::readable(description).to_owned(),
        };
        let fix = aadsts::fix(&said).unwrap_or("check AZURE_TENANT_ID, AZURE_CLIENT_ID and what goes with them");
        Err(Refusal::failed(scrubbed(&said, &secrets), fix).passing(status == 429 || status >= 500))
    }
}

fn form(application: &Application, scope: &str, proof: &[(&str, &str)]) -> SecretString {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials")
        .append_pair("client_id", &application.client_id)
        .append_pair("scope", scope);
    for (name, value) in proof {
        form.append_pair(name, value);
    }
    form.finish().into()
}

/// What a scope of this form is the whole of: older endpoints know resources alone.
pub(super) fn resource(scope: &str) -> &str {
    scope.strip_suffix("/.default").unwrap_or(scope)
}

/// The body of an answer, within bounds.
pub(super) async fn body(response: &mut Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| innermost(&error))? {
        if body.len() + chunk.len() > LONGEST_ANSWER {
            return Err("an answer without end".to_owned());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
