//! The identity that a machine, an app or a container group has of Azure: something beside it gives out its tokens.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::{
    Client, RequestBuilder, Url,
    header::{HeaderMap, RETRY_AFTER},
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;

use super::{
    AccessToken,
    endpoint::{body, resource},
    link::Refusal,
    scrub::scrubbed,
    token::end_of,
    transport::{innermost, neighbour_client},
};
use crate::config::{CredentialKind, EntraConfig};

/// The instance metadata service of every virtual machine.
const METADATA: &str = "http://169.254.169.254";

/// Elsewhere nothing is at that address, and nobody says so: how long a connection may take.
const CONNECT: Duration = Duration::from_secs(1);

/// From the question to the last byte. The service may have to ask Entra first.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it is asked: it answers 404, 410, 429 and 5xx while it starts, is updated or is busy.
const TRIES: u32 = 4;

/// Before the second try; doubled before each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(800);

/// The longest pause that is waited for because the service says so.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Where tokens are given out.
#[derive(Clone, Debug)]
enum Source {
    /// App Service and what is like it.
    Endpoint { url: Url, header: SecretString },
    /// Virtual machines, their scale sets, the nodes of AKS.
    Metadata { url: Url },
}

/// The machine's own identity: the one of this client id, else the one that it has.
#[derive(Clone, Debug)]
pub(super) struct ManagedIdentity {
    source: Source,
    client_id: Option<String>,
    /// Never through a proxy: it is asked beside us, and answers for whoever asks.
    http: Result<Client, String>,
    first_pause: Duration,
}

/// Numbers come as texts too.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default)]
    expires_on: Value,
    #[serde(default)]
    expires_in: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Refused {
    error: Value,
    error_description: String,
    message: String,
}

impl ManagedIdentity {
    pub(super) const NAME: &'static str = CredentialKind::ManagedIdentity.name();

    pub(super) fn new(config: &EntraConfig) -> Result<Self, String> {
        let source = match (&config.identity_endpoint, &config.identity_header) {
            (Some(url), Some(header)) => Source::Endpoint { url: url.clone(), header: header.clone() },
            (Some(_), None) => {
                return Err(
                    "IDENTITY_ENDPOINT is set without IDENTITY_HEADER, as Azure Arc has it; that is not supported"
                        .to_owned(),
                );
            }
            (None, _) => {
                let host = config.metadata_host.as_ref().map_or(METADATA, Url::as_str).trim_end_matches('/');
                let url =
                    Url::parse(&format!("{host}/metadata/identity/oauth2/token")).map_err(|error| error.to_string())?;
                Source::Metadata { url }
            }
        };
        let (client_id, http) = (config.client_id.clone(), neighbour_client(CONNECT));
        Ok(Self { source, client_id, http, first_pause: FIRST_PAUSE })
    }

    /// The same, which waits so long before its second try.
    #[cfg(test)]
    pub(super) fn pausing(self, first_pause: Duration) -> Self {
        Self { first_pause, ..self }
    }

    pub(super) async fn token(&self, scope: &str) -> Result<AccessToken, Refusal> {
        let http = self.http.as_ref().map_err(|what| Refusal::Absent(what.clone()))?;
        let request = self.request(http, resource(scope));
        let mut pause = self.first_pause;
        for last in (0..TRIES).rev() {
            let again = request.try_clone().filter(|_| last > 0);
            let Some(now) = again.or_else(|| request.try_clone()) else { break };
            let (status, headers, body) = match tokio::time::timeout(PATIENCE, answer(now)).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(what)) => return Err(self.unanswered(&what)),
                Err(_) => return Err(self.unanswered(&format!("nothing within {PATIENCE:?}"))),
            };
            if status == 200 {
                return self.granted(&body);
            }
            if !may_pass(status) || last == 0 {
                return Err(self.refused(status, &body));
            }
            tokio::time::sleep(asked_pause(&headers).map_or(pause, |asked| asked.max(pause))).await;
            pause *= 2;
        }
        Err(self.unanswered("nothing"))
    }

    fn request(&self, http: &Client, resource: &str) -> RequestBuilder {
        let (url, version) = match &self.source {
            Source::Endpoint { url, .. } => (url, "2019-08-01"),
            Source::Metadata { url } => (url, "2018-02-01"),
        };
        let mut url = url.clone();
        url.query_pairs_mut().append_pair("api-version", version).append_pair("resource", resource);
        if let Some(client_id) = &self.client_id {
            url.query_pairs_mut().append_pair("client_id", client_id);
        }
        match &self.source {
            Source::Endpoint { header, .. } => http.get(url).header("X-IDENTITY-HEADER", header.expose_secret()),
            Source::Metadata { .. } => http.get(url).header("Metadata", "true"),
        }
    }

    fn granted(&self, body: &[u8]) -> Result<AccessToken, Refusal> {
        let now = Timestamp::now();
        let granted: Option<Granted> = serde_json::from_slice(body).ok();
        let end = granted.as_ref().and_then(|granted| {
            let until = seconds(&granted.expires_on).and_then(|at| Timestamp::from_second(at).ok());
            until.or_else(|| Some(end_of(now, seconds(&granted.expires_in)?)))
        });
        match (granted, end) {
            (Some(granted), Some(expires_at)) => {
                Ok(AccessToken { secret: granted.access_token.into(), expires_at, link: Self::NAME })
            }
            _ => Err(self.unanswered("something that is no token")),
        }
    }

    /// Where nothing answers there is no such identity, unless the place says that there is.
    fn unanswered(&self, what: &str) -> Refusal {
        let what = scrubbed(what, self.secrets());
        match &self.source {
            Source::Endpoint { url, .. } => Refusal::failed(
                format!("IDENTITY_ENDPOINT ({}) does not answer: {what}", url.origin().ascii_serialization()),
                "it belongs to the place where this runs: restart it there",
            )
            .passing(true),
            Source::Metadata { url } => {
                let host = url.host_str().unwrap_or_default();
                Refusal::Absent(format!("this is no machine of Azure's: no answer from {host} ({what})"))
            }
        }
    }

    fn refused(&self, status: u16, body: &[u8]) -> Refusal {
        let refused: Refused = serde_json::from_slice(body).unwrap_or_default();
        let said =
            [refused.error_description.as_str(), refused.message.as_str(), refused.error.as_str().unwrap_or_default()];
        let said = said.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
        let said = scrubbed(super::aadsts::readable(said), self.secrets());
        let what = match &self.client_id {
            Some(client_id) => format!("no token for the identity {client_id} ({status}: {said})"),
            None => format!("no token ({status}: {said})"),
        };
        let fix = match &self.client_id {
            Some(_) => "assign the user-assigned identity AZURE_CLIENT_ID to the place where this runs",
            None => {
                "give the place where this runs a system-assigned identity, or set AZURE_CLIENT_ID to a user-assigned one's"
            }
        };
        // 400: no such identity here; 403: some networks answer for everybody.
        match (&self.source, status) {
            (Source::Metadata { .. }, 400 | 403) => Refusal::Absent(what),
            _ => Refusal::failed(what, fix).passing(may_pass(status)),
        }
    }

    fn secrets(&self) -> Option<&SecretString> {
        match &self.source {
            Source::Endpoint { header, .. } => Some(header),
            Source::Metadata { .. } => None,
        }
    }
}

/// Whether it starts, is updated or is busy.
fn may_pass(status: u16) -> bool {
    matches!(status, 404 | 410 | 429 | 500..)
}

async fn answer(request: RequestBuilder) -> Result<(u16, HeaderMap, Vec<u8>), String> {
    let mut response = request.send().await.map_err(|error| innermost(&error))?;
    let body = body(&mut response).await?;
    Ok((response.status().as_u16(), response.headers().clone(), body))
}

fn asked_pause(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_PAUSE))
}

fn seconds(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}
