//! Faults between kube's client and an API server, be it the fake one or the real one.
//!
//! What was sent arrives, whether its sender waits for the answer, has given it up or is dead: a create may take effect
//! long after the process that made it is gone.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, BodyStream, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response,
    body::{Bytes, Frame},
    header::{DATE, HeaderName, HeaderValue},
};
use kube::{Client, client::Body};
use kubectl_ado::clock::ServerClock;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};
use tower::BoxError;

use crate::{
    cluster::{LATE, Problem, STALE, resource},
    storm::Storm,
    weather::NEVER,
};

type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// It takes effect; the answer is 504.
    AnswerLost,
    /// 504, and no effect.
    GivenUp,
    TooMany,
    /// Somebody else changed the object just now.
    Conflict,
    /// A proxy sends it twice and passes on the second answer.
    Twice,
    BrokenBefore,
    BrokenAfter,
    SlowBefore(Duration),
    SlowAfter(Duration),
    Quota,
    Stale(Duration),
    Late(Duration),
    /// A watch breaks off: at the end of a line, within one, or with an error.
    Cut(Duration, Break),
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Break {
    Clean,
    WithinALine,
    Reset,
}

/// A client whose calls go wrong now and then, and whose answers set a clock.
pub(crate) fn client(upstream: Client, storm: Storm, namespace: &str, clock: ServerClock) -> Client {
    Client::new(Faulty { upstream, storm, clock }, namespace)
}

#[derive(Clone)]
struct Faulty {
    upstream: Client,
    storm: Storm,
    clock: ServerClock,
}

impl tower::Service<Request<Body>> for Faulty {
    type Response = Answer;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let fault = self.choose(&request);
        let call = format!("{} {}", request.method(), request.uri().path());
        let (Self { upstream, storm, clock }, sent) = (self.clone(), Instant::now());
        Box::pin(async move {
            storm.log.note(format!("{call}: {fault:?}"));
            let answer = carry_out(upstream, request, fault, &storm).await;
            let outcome = answer.as_ref().map_or_else(ToString::to_string, |answer| answer.status().to_string());
            storm.log.note(format!("{call}: answered {outcome}"));
            if let Ok(answer) = &answer {
                clock.note(answer.headers().get(DATE).and_then(|date| date.to_str().ok()), sent);
            }
            answer
        })
    }
}

impl Faulty {
    fn choose(&self, request: &Request<Body>) -> Fault {
        let Storm { dice, tempo, .. } = &self.storm;
        if !self.storm.strikes() {
            return Fault::None;
        }
        let slow = dice.time(tempo.slow.clone());
        let mut possible = vec![
            Fault::GivenUp,
            Fault::TooMany,
            Fault::BrokenBefore,
            Fault::BrokenAfter,
            Fault::SlowBefore(slow),
            Fault::SlowAfter(slow),
        ];
        let uri = request.uri();
        let target = resource::target(uri.path());
        let is_list = target.as_ref().is_some_and(|target| target.name.is_none());
        if *request.method() != Method::GET {
            possible.extend([Fault::AnswerLost, Fault::Twice]);
            match target {
                Some(target) if is_list && target.resource == resource::JOBS => possible.push(Fault::Quota),
                Some(_) if !is_list => possible.push(Fault::Conflict),
                _ => {}
            }
        } else if resource::Query::of(uri).is_set("watch") {
            let after = dice.time(tempo.cut.clone());
            possible.extend([Break::Clean, Break::WithinALine, Break::Reset].map(|way| Fault::Cut(after, way)));
            possible.extend([Fault::Gone, Fault::Late(dice.time(tempo.stale.clone()))]);
        } else if is_list {
            possible.push(Fault::Stale(dice.time(tempo.stale.clone())));
        }
        dice.pick(&possible)
    }
}

async fn carry_out(upstream: Client, request: Request<Body>, fault: Fault, storm: &Storm) -> Result<Answer, BoxError> {
    let target = resource::target(request.uri().path());
    let plural = target.as_ref().map_or("", |target| target.resource.plural);
    let slow = storm.weather.api_delay(request.method(), plural);
    let (there, back) = (storm.latency() + slow, storm.latency());
    if slow >= NEVER {
        storm.weather.refused(&format!("{} {}", request.method(), request.uri().path()));
        futures::future::pending::<()>().await;
    }
    let refused = |problem: fn(&resource::Resource, &str) -> Problem| {
        let (resource, name) = match target {
            Some(target) => (target.resource, target.name.unwrap_or_default()),
            None => (resource::JOBS, String::new()),
        };
        refusal(&problem(resource, &name))
    };
    let before = if let Fault::SlowBefore(time) = fault { there + time } else { there };
    let nothing_is_sent = [Fault::GivenUp, Fault::TooMany, Fault::Conflict, Fault::BrokenBefore, Fault::Quota];
    if nothing_is_sent.contains(&fault) {
        sleep(there + back).await;
        return match fault {
            Fault::GivenUp => Ok(refusal(&Problem::timeout())),
            Fault::TooMany => Ok(refusal(&Problem::too_many_requests())),
            Fault::Conflict => Ok(refused(Problem::modified)),
            Fault::Quota => Ok(refused(Problem::quota)),
            _ => Err(broken()),
        };
    }
    let (asker, _waits) = oneshot::channel();
    let sent = send(upstream, request, fault, before, storm.clone(), asker);
    let answer = tokio::spawn(sent).await?;
    sleep(if let Fault::SlowAfter(time) = fault { back + time } else { back }).await;
    match fault {
        Fault::AnswerLost => Ok(refusal(&Problem::timeout())),
        Fault::BrokenAfter => Err(broken()),
        Fault::Gone => Ok(gone()),
        Fault::Cut(after, way) => answer.map(|answer| answer.map(|body| cut(body, after, way))),
        _ => answer,
    }
}

/// Sends a request by itself, so that it arrives whatever becomes of its sender.
async fn send(
    upstream: Client,
    request: Request<Body>,
    fault: Fault,
    before: Duration,
    storm: Storm,
    asker: oneshot::Sender<()>,
) -> Result<Answer, BoxError> {
    let (mut parts, body) = request.into_parts();
    let body = body.collect_bytes().await?;
    let is_slow = matches!(fault, Fault::SlowBefore(_)) && parts.method == Method::POST;
    let name = || -> Result<String, BoxError> {
        let object: serde_json::Value = serde_json::from_slice(&body)?;
        Ok(object["metadata"]["name"].as_str().unwrap_or_default().to_owned())
    };
    if is_slow {
        storm.slow_creates.lock().unwrap().insert(name()?);
    }
    sleep(before).await;
    if is_slow && asker.is_closed() {
        storm.late_creates.lock().unwrap().insert(name()?);
    }
    for (header, time) in [(STALE, fault_time(fault, STALE)), (LATE, fault_time(fault, LATE))] {
        if let Some(time) = time {
            let value = HeaderValue::from_str(&time.as_millis().to_string())?;
            parts.headers.insert(HeaderName::from_static(header), value);
        }
    }
    let request = || Request::from_parts(parts.clone(), Body::from(body.clone()));
    if fault == Fault::Twice {
        upstream.send(request()).await?;
    }
    let answer = upstream.send(request()).await?;
    if answer.status().is_success() && is_claim(&parts.method, &body) {
        let name = resource::target(parts.uri.path()).and_then(|target| target.name).unwrap_or_default();
        storm.claimed.lock().unwrap().insert(name);
    }
    Ok(answer.map(|body| body.map_err(Into::into).boxed_unsync()))
}

/// Whether a call puts another mark on a held Job.
fn is_claim(method: &Method, body: &[u8]) -> bool {
    let operations: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let replaces = |operation: &serde_json::Value| {
        operation["op"] == "replace" && operation["path"] == "/metadata/annotations/kubectl-ado~1held"
    };
    *method == Method::PATCH && operations.as_array().is_some_and(|operations| operations.iter().any(replaces))
}

fn fault_time(fault: Fault, header: &str) -> Option<Duration> {
    match fault {
        Fault::Stale(time) if header == STALE => Some(time),
        Fault::Late(time) if header == LATE => Some(time),
        _ => None,
    }
}

fn refusal(problem: &Problem) -> Answer {
    crate::cluster::refusal(problem).map(|body| body.map_err(|never| match never {}).boxed_unsync())
}

fn broken() -> BoxError {
    Box::new(std::io::Error::new(std::io::ErrorKind::ConnectionReset, "connection reset by peer"))
}

/// What a watch answers whose version is too old.
fn gone() -> Answer {
    let problem = Problem::expired("too old resource version: 1 (100)");
    let line = format!("{{\"type\":\"ERROR\",\"object\":{}}}\n", problem.status());
    Response::new(Full::new(Bytes::from(line)).map_err(|never| match never {}).boxed_unsync())
}

fn cut(body: UnsyncBoxBody<Bytes, BoxError>, after: Duration, way: Break) -> UnsyncBoxBody<Bytes, BoxError> {
    let last = match way {
        Break::Clean => None,
        Break::WithinALine => Some(Ok(Frame::data(Bytes::from_static(b"{\"type\":\"ADDED\",\"obj")))),
        Break::Reset => Some(Err(broken())),
    };
    let frames = BodyStream::new(body).take_until(Box::pin(sleep(after)));
    StreamBody::new(frames.chain(stream::iter(last))).boxed_unsync()
}
