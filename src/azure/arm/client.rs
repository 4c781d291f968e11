//! The client: one request after the other, each with a token, a deadline and an eye on the allowances.

use std::{path::Path, time::Duration};

use reqwest::{
    Client, Method, StatusCode, Url,
    header::{DATE, HeaderMap},
};
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::{ArmError, Sort, lanes::Lanes};
use crate::{
    azure::{Credential, SetupError, http_client, innermost},
    clock::ServerClock,
};

/// Until a connection stands, TLS included.
const CONNECT: Duration = Duration::from_secs(10);

/// Until an answer is there, to its last byte.
const DEADLINE: Duration = Duration::from_secs(30);

/// The same where something is made: Azure looks at images and quotas before it answers.
const WRITE_DEADLINE: Duration = Duration::from_secs(60);

/// Until a token is there.
const TOKEN_DEADLINE: Duration = Duration::from_secs(30);

/// The most bytes of one answer: a page of a hundred container groups is less than one MiB.
const LONGEST_ANSWER: usize = 8 * 1024 * 1024;

/// More pages than a subscription has groups.
const MOST_PAGES: usize = 100;

/// Headers that name a long-running operation. `Location` comes last: of a deletion it is another address.
const OPERATION: [&str; 2] = ["azure-asyncoperation", "location"];

/// Talks to one Resource Manager as one identity.
#[derive(Debug)]
pub struct ArmClient {
    http: Client,
    base: Url,
    scope: String,
    credential: Credential,
    lanes: Lanes,
    version: &'static str,
    clock: ServerClock,
}

/// What Azure answered.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status, a success.
    pub status: u16,
    /// The body; `null` where there is none.
    pub body: Value,
    /// Where it tells how an operation goes on.
    pub operation: Option<Url>,
}

impl ArmClient {
    /// A client for the Resource Manager at this address. `version` goes with each call as `api-version`.
    ///
    /// # Errors
    ///
    /// As [`http_client`].
    pub fn new(
        base: Url,
        scope: String,
        credential: Credential,
        ca_file: Option<&Path>,
        version: &'static str,
    ) -> Result<Self, SetupError> {
        let http = http_client(&base, ca_file, CONNECT, &HeaderMap::new())?;
        Ok(Self { http, base, scope, credential, lanes: Lanes::default(), version, clock: ServerClock::default() })
    }

    /// Azure's clock. Our own until an answer was seen.
    #[must_use]
    pub fn clock(&self) -> &ServerClock {
        &self.clock
    }

    /// How many calls of this kind are left, as far as Azure has said.
    #[must_use]
    pub fn left(&self, sort: Sort) -> Option<u64> {
        self.lanes.left(sort)
    }

    /// Reads what is at a path such as `/subscriptions/…`, which may have a query.
    ///
    /// # Errors
    ///
    /// See [`ArmError`].
    pub async fn get(&self, path: &str) -> Result<Value, ArmError> {
        Ok(self.send(Sort::Read, Method::GET, self.url(path)?, None).await?.body)
    }

    /// Reads all pages of a list.
    ///
    /// # Errors
    ///
    /// See [`ArmError`]. A page that cannot be had makes the whole list an error.
    pub async fn list(&self, path: &str) -> Result<Vec<Value>, ArmError> {
        let mut items = Vec::new();
        let mut next = Some(self.url(path)?);
        for _ in 0..MOST_PAGES {
            let Some(url) = next.take() else { return Ok(items) };
            let mut body = self.send(Sort::Read, Method::GET, url, None).await?.body;
            match body.get_mut("value").map(Value::take) {
                Some(Value::Array(page)) => items.extend(page),
                _ => return Err(ArmError::Unreachable("Azure answered a list that is none".to_owned())),
            }
            if let Some(link) = body.get("nextLink").and_then(Value::as_str).filter(|link| !link.is_empty()) {
                next = Some(self.own(link).ok_or_else(|| {
                    ArmError::Unreachable("Azure's list goes on at an address that is not its own".to_owned())
                })?);
            }
        }
        match next {
            None => Ok(items),
            Some(_) => Err(ArmError::Unreachable(format!("Azure's list has more than {MOST_PAGES} pages"))),
        }
    }

    /// Puts a resource. What Azure goes on doing after its answer is not waited for.
    ///
    /// # Errors
    ///
    /// See [`ArmError`]; unless it [is certain](ArmError::is_certain), the resource may be there.
    pub async fn put(&self, path: &str, body: &Value) -> Result<Answer, ArmError> {
        self.send(Sort::Write, Method::PUT, self.url(path)?, Some(body)).await
    }

    /// Deletes a resource; one that is not there is success.
    ///
    /// # Errors
    ///
    /// See [`ArmError`].
    pub async fn delete(&self, path: &str) -> Result<(), ArmError> {
        match self.send(Sort::Delete, Method::DELETE, self.url(path)?, None).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// How an operation stands.
    ///
    /// # Errors
    ///
    /// See [`ArmError`].
    pub async fn operation(&self, url: &Url) -> Result<Value, ArmError> {
        Ok(self.send(Sort::Read, Method::GET, url.clone(), None).await?.body)
    }

    fn url(&self, path: &str) -> Result<Url, ArmError> {
        let text = format!("{}{path}", self.base.as_str().trim_end_matches('/'));
        let mut url: Url =
            text.parse().map_err(|error| ArmError::Unreachable(format!("{path} is no path of a URL: {error}")))?;
        // Another service's path brings the version that it is published in.
        if !url.query_pairs().any(|(name, _)| name == "api-version") {
            url.query_pairs_mut().append_pair("api-version", self.version);
        }
        Ok(url)
    }

    /// An address that Azure gave, if our token may go there.
    fn own(&self, link: &str) -> Option<Url> {
        let url: Url = link.parse().ok()?;
        (url.origin() == self.base.origin()).then_some(url)
    }

    async fn send(&self, sort: Sort, method: Method, url: Url, body: Option<&Value>) -> Result<Answer, ArmError> {
        let mut tried_anew = false;
        loop {
            self.lanes.pass(sort).await?;
            let token = match timeout(TOKEN_DEADLINE, self.credential.token(&self.scope)).await {
                Ok(token) => token.map_err(|error| ArmError::Credential {
                    message: error.one_line(),
                    fix: error.fix().to_owned(),
                    may_pass: error.may_pass(),
                })?,
                Err(_) => {
                    let message = format!("no token for Azure within {} s", TOKEN_DEADLINE.as_secs());
                    let fix = "check that the machine reaches Azure's sign-in address".to_owned();
                    return Err(ArmError::Credential { message, fix, may_pass: true });
                }
            };
            let mut request = self.http.request(method.clone(), url.clone()).bearer_auth(token.secret.expose_secret());
            if let Some(body) = body {
                request = request.json(body);
            }
            let deadline = if sort == Sort::Write { WRITE_DEADLINE } else { DEADLINE };
            let sent = Instant::now();
            let exchange = async {
                let mut response = request.send().await?;
                self.clock.note(response.headers().get(DATE).and_then(|date| date.to_str().ok()), sent);
                let (status, headers) = (response.status(), response.headers().clone());
                let mut bytes = Vec::new();
                while let Some(chunk) = response.chunk().await? {
                    if bytes.len() + chunk.len() > LONGEST_ANSWER {
                        return Ok((status, headers, None));
                    }
                    bytes.extend_from_slice(&chunk);
                }
                Ok::<_, reqwest::Error>((status, headers, Some(bytes)))
            };
            let (status, headers, bytes) = match timeout(deadline, exchange).await {
                Ok(Ok((status, headers, Some(bytes)))) => (status, headers, bytes),
                Ok(Ok((.., None))) => {
                    let message = format!("Azure Resource Manager answered more than {} MiB", LONGEST_ANSWER >> 20);
                    return Err(ArmError::Unreachable(message));
                }
                // The URL in reqwest's own words would only make the line longer.
                Ok(Err(error)) => {
                    let message = format!("Azure Resource Manager does not answer: {}", innermost(&error));
                    return Err(ArmError::Unreachable(message));
                }
                Err(_) => {
                    let message = format!("Azure Resource Manager did not answer within {} s", deadline.as_secs());
                    return Err(ArmError::Unreachable(message));
                }
            };
            self.lanes.note(sort, status, &headers)?;
            // It may have been revoked, or the clocks differ.
            if status == StatusCode::UNAUTHORIZED && !tried_anew && self.credential.forget(&self.scope, &token.secret) {
                tried_anew = true;
                continue;
            }
            if !status.is_success() {
                return Err(ArmError::of_answer(status.as_u16(), &bytes));
            }
            let body = if bytes.is_empty() { Value::Null } else { self.body(&bytes)? };
            let operation = OPERATION.iter().find_map(|name| self.own(headers.get(*name)?.to_str().ok()?));
            return Ok(Answer { status: status.as_u16(), body, operation });
        }
    }

    fn body(&self, bytes: &[u8]) -> Result<Value, ArmError> {
        let host = self.base.host_str().unwrap_or_default();
        serde_json::from_slice(bytes)
            .map_err(|_| ArmError::Unreachable(format!("{host} answered something that is no JSON")))
    }
}
