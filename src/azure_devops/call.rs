//! One call: waits while Azure DevOps is to be left alone, asks, tries a question again that may go well the next time,
//! and ends at its deadline in any case.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use reqwest::{
    Client, Response, StatusCode, Url,
    header::{ACCEPT, AUTHORIZATION, DATE, HeaderMap},
};
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::{
    Error,
    allowance::Allowance,
    answer::{Answer, Failure},
    credential::{Credential, Scheme},
    intake::{Ignored, Intake, Unusable, Whole},
    request::Request,
    text::readable,
    throttle::Throttle,
    transport::{causes, innermost},
    versions::{Endpoint, Versions, accept},
};
use crate::{azure::OrganizationToken, clock::ServerClock, config::TokenSource};

/// The most bytes of an answer that is only there for its message.
const LONGEST_REFUSAL: usize = 64 * 1024;

/// Header with which Azure DevOps says that there is more.
const CONTINUATION: &str = "x-ms-continuationtoken";

/// How patient a call is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    /// From the question to the last byte of the last page, all tries and waits included.
    pub(super) call: Duration,
    /// Until a connection stands, TLS included.
    pub(super) connect: Duration,
    /// Before the second try; doubled before the third, plus jitter.
    pub(super) first_retry: Duration,
    /// How often a question is asked again.
    pub(super) retries: usize,
}

impl Timing {
    /// Azure DevOps delays the calls of a busy identity by up to 30 s, and a poll that takes longer than that is
    /// better replaced by the next one. A connection that does not stand after 10 s will not.
    pub(super) const DEFAULT: Self = Self {
        call: Duration::from_secs(30),
        connect: Duration::from_secs(10),
        first_retry: Duration::from_millis(250),
        retries: 2,
    };
}

/// Asks one organization. Whoever holds it shares its throttling.
#[derive(Debug)]
pub(super) struct Caller {
    http: Client,
    base: Url,
    token: OrganizationToken,
    scheme: Scheme,
    timing: Timing,
    throttle: Throttle,
    allowance: Allowance,
    versions: Versions,
    clock: ServerClock,
}

/// What is sent, and until when its answer may take.
struct Question<'a> {
    request: &'a Request,
    url: Url,
    deadline: Instant,
}

/// One page of an answer.
#[derive(Debug)]
pub(super) struct Page<T> {
    pub(super) content: T,
    /// The token of the next one.
    pub(super) next: Option<String>,
}

impl Caller {
    pub(super) fn new(http: Client, base: Url, token: OrganizationToken, timing: Timing) -> Self {
        let (throttle, allowance, versions) = Default::default();
        let scheme = if token.is_entra() { Scheme::Bearer } else { Scheme::Basic };
        Self { http, base, token, scheme, timing, throttle, allowance, versions, clock: ServerClock::default() }
    }

    /// Another caller of the same organization, by a token of its own.
    pub(super) fn by_bearer(&self, token: SecretString) -> Self {
        let other = Self::new(self.http.clone(), self.base.clone(), TokenSource::Value(token).into(), self.timing);
        Self { scheme: Scheme::Bearer, clock: self.clock.clone(), ..other }
    }

    pub(super) fn is_entra(&self) -> bool {
        self.token.is_entra()
    }

    pub(super) fn http(&self) -> &Client {
        &self.http
    }

    /// Azure DevOps' clock.
    pub(super) fn clock(&self) -> &ServerClock {
        &self.clock
    }

    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    /// By how much to stretch the time between two polls.
    pub(super) fn stretch(&self) -> f64 {
        self.allowance.stretch()
    }

    /// When a call that begins now has to be over.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.timing.call
    }

    /// One page of an answer, which each try takes in anew.
    pub(super) async fn get<I: Intake>(
        &self,
        request: &Request,
        continuation: Option<&str>,
        deadline: Instant,
        intake: impl Fn() -> I,
    ) -> Result<Page<I::Content>, Failure> {
        let question = Question { request, url: request.url(&self.base, continuation), deadline };
        let ask = async |accept: &str| self.persist(&question, accept, &intake).await;
        self.in_a_version(request.endpoint, ask).await
    }

    /// An answer that is small enough to be read as a whole.
    pub(super) async fn get_whole<T: DeserializeOwned>(&self, request: &Request) -> Result<Page<T>, Failure> {
        self.get(request, None, self.deadline(), Whole::default).await
    }

    /// Has something changed. It is asked for once: one that failed on its way may have been done, which only looking
    /// again tells.
    pub(super) async fn change(&self, request: &Request) -> Result<(), Failure> {
        self.change_reading(request, Ignored::default).await
    }

    /// The same, with what is told of the change.
    pub(super) async fn submit<T: DeserializeOwned>(&self, request: &Request) -> Result<T, Failure> {
        self.change_reading(request, Whole::default).await
    }

    async fn change_reading<I: Intake>(
        &self,
        request: &Request,
        intake: impl Fn() -> I,
    ) -> Result<I::Content, Failure> {
        let question = Question { request, url: request.url(&self.base, None), deadline: self.deadline() };
        let once = async |accept: &str| {
            let change = self.attempt(&question, accept, intake());
            timeout_at(question.deadline, change).await.unwrap_or_else(|_| Err(self.late(&question.url)))
        };
        self.in_a_version(request.endpoint, once).await.map(|page| page.content)
    }

    /// Asks in the `api-version` that worked last, or else in the next one. A version that is refused is refused before
    /// anything is done.
    async fn in_a_version<T>(
        &self,
        endpoint: Endpoint,
        ask: impl AsyncFn(&str) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut step = self.versions.step(endpoint);
        let mut accepted = accept(endpoint, step).unwrap_or_default();
        loop {
            match ask(&accepted).await {
                Err(Failure::Version(error)) => {
                    step += 1;
                    accepted = accept(endpoint, step).ok_or(Failure::Final(error))?;
                }
                other => {
                    if other.is_ok() {
                        self.versions.keep(endpoint, step);
                    }
                    return other;
                }
            }
        }
    }

    async fn persist<I: Intake>(
        &self,
        question: &Question<'_>,
        accept: &str,
        intake: &impl Fn() -> I,
    ) -> Result<Page<I::Content>, Failure> {
        let backoff = ExponentialBuilder::new()
            .with_min_delay(self.timing.first_retry)
            .with_max_times(self.timing.retries)
            .with_jitter();
        let tries = (|| self.attempt(question, accept, intake()))
            .retry(backoff)
            .when(Failure::is_transient)
            .notify(|failure, pause| tracing::debug!(?failure, ?pause, "Azure DevOps is asked again"));
        timeout_at(question.deadline, tries).await.unwrap_or_else(|_| Err(self.late(&question.url)))
    }

    async fn attempt<I: Intake>(
        &self,
        Question { request, url, deadline }: &Question<'_>,
        accept: &str,
        intake: I,
    ) -> Result<Page<I::Content>, Failure> {
        self.throttle.pass(*deadline).await.map_err(Failure::Final)?;
        let token = self.token.current().await.map_err(|error| Failure::Final(error.into()))?;
        let credential = Credential::of(&token);
        let authorization = credential.header(self.scheme).map_err(Failure::Final)?;
        let call = self.http.request(request.method.clone(), url.clone());
        let mut call = call.header(ACCEPT, accept).header(AUTHORIZATION, authorization);
        if let Some(body) = &request.body {
            call = call.json(body);
        }
        let sent = Instant::now();
        let mut response = call.send().await.map_err(|error| self.unreached(url, &error))?;

        let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
        self.clock.note(date, sent);
        let status = response.status();
        self.allowance.note(response.headers());
        let pause = self.throttle.note(status, response.headers());
        if status == StatusCode::TOO_MANY_REQUESTS {
            return Err(Failure::Final(Error::Throttled(pause.unwrap_or_default())));
        }
        match self.read(&mut response, url, &credential, intake).await {
            Ok(content) => Ok(Page { content, next: continuation(response.headers()) }),
            Err(Failure::Final(Error::Unauthorized(said))) if self.token.is_entra() => {
                let error = Error::StrangeIdentity(said);
                // It may have been revoked before its end: with a new one, a question may go well.
                Err(if self.token.forget(&token) { Failure::Transient(error) } else { Failure::Final(error) })
            }
            Err(failure) => Err(failure),
        }
    }

    /// What a good answer says, or why it is none.
    async fn read<I: Intake>(
        &self,
        response: &mut Response,
        url: &Url,
        credential: &Credential,
        mut intake: I,
    ) -> Result<I::Content, Failure> {
        let status = response.status();
        if !status.is_success() {
            let body = refusal(response).await;
            let answer = Answer { status, headers: response.headers(), body: &body, path: url.path(), credential };
            return answer.check().and(Err(Failure::Final(Error::Unreadable(format!("status {status}")))));
        }
        let mut taken = Ok(());
        while taken.is_ok() {
            match response.chunk().await {
                Ok(Some(chunk)) => taken = intake.take(&chunk),
                Ok(None) => break,
                Err(error) => {
                    let cause = innermost(&error);
                    return Err(Failure::Transient(Error::Unreadable(format!("{} broke off: {cause}", host(url)))));
                }
            }
        }
        // A page is told from JSON by its beginning, whatever came after it.
        let answer = Answer { status, headers: response.headers(), body: intake.kept(), path: url.path(), credential };
        answer.check()?;
        let unusable = |why: Unusable| match why {
            // Only the beginning came, which is what a proxy in trouble sends.
            Unusable::Incomplete(why) => Failure::Transient(Error::Unreadable(readable(&credential.scrub(&why)))),
            Unusable::Unreadable(why) => Failure::Final(Error::Unreadable(readable(&credential.scrub(&why)))),
        };
        taken.and_then(|()| intake.content()).map_err(unusable)
    }

    fn late(&self, url: &Url) -> Failure {
        let within = self.timing.call;
        Failure::Final(Error::Unreachable(format!("{} did not answer within {within:?}", host(url))))
    }

    /// No answer came. What went wrong with TLS will go wrong again; the network may be back at once.
    fn unreached(&self, url: &Url, error: &reqwest::Error) -> Failure {
        if error.is_timeout() {
            let within = self.timing.connect;
            return Failure::Final(Error::Unreachable(format!("no connection to {} within {within:?}", host(url))));
        }
        let problem = Error::Unreachable(format!("{}: {}", host(url), innermost(error)));
        if error.is_builder() || causes(error).any(<dyn std::error::Error>::is::<rustls::Error>) {
            Failure::Final(problem)
        } else {
            Failure::Transient(problem)
        }
    }
}

/// The beginning of a refusal, or whatever can be had of it.
async fn refusal(response: &mut Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        if body.len() + chunk.len() > LONGEST_REFUSAL {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    body
}

fn continuation(headers: &HeaderMap) -> Option<String> {
    let token = headers.get(CONTINUATION)?.to_str().ok()?.trim();
    (!token.is_empty()).then(|| token.to_owned())
}

fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default()
}
