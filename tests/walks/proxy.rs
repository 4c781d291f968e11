//! A proxy before the API server that fails calls by seed: refusals, answers that are lost, connections that break before or
//! after a call took effect. It passes on everything else unchanged.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Frame, Incoming},
    header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use kube::{Client, client::Body};
use serde_json::json;
use tokio::{net::TcpListener, task::JoinHandle};
use tower::BoxError;

type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

/// Longer than the plugin waits for one call.
const NO_ANSWER: Duration = Duration::from_secs(12);

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Forbidden,
    Conflict,
    Invalid,
    TooMany,
    Internal,
    /// 504 without an effect.
    Timeout,
    /// It takes effect, and the answer is 504.
    AnswerLost,
    /// It takes effect, and the answer is 500.
    FailedAfter,
    CutBefore,
    CutAfter,
    /// The connection breaks within the answer.
    CutWithin,
    /// No answer at all.
    Silence,
}

const FAULTS: [Fault; 11] = [
    Fault::Forbidden,
    Fault::Conflict,
    Fault::Invalid,
    Fault::TooMany,
    Fault::Internal,
    Fault::Timeout,
    Fault::AnswerLost,
    Fault::FailedAfter,
    Fault::CutBefore,
    Fault::CutAfter,
    Fault::CutWithin,
];

struct Weather {
    dice: fastrand::Rng,
    /// How likely a call fails.
    chance: f64,
    /// The way to the API server is cut.
    is_cut: bool,
    struck: Vec<String>,
}

#[derive(Clone)]
struct Shared {
    upstream: Client,
    weather: Arc<Mutex<Weather>>,
}

pub(crate) struct Proxy {
    shared: Shared,
    kubeconfig: PathBuf,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(upstream: Client, folder: &Path, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": url}}], "users": [{"name": "c", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}]});
        let kubeconfig = folder.join("through-the-proxy");
        std::fs::write(&kubeconfig, config.to_string()).unwrap();
        let dice = fastrand::Rng::with_seed(seed);
        let weather = Arc::new(Mutex::new(Weather { dice, chance: 0.0, is_cut: false, struck: Vec::new() }));
        let shared = Shared { upstream, weather };
        let task = tokio::spawn(accept(listener, shared.clone()));
        Self { shared, kubeconfig, task }
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig.clone()
    }

    /// From now on, so many of all calls fail.
    pub(crate) fn fail(&self, chance: f64) {
        self.shared.weather.lock().unwrap().chance = chance;
    }

    /// From now on no call arrives, or all do again.
    pub(crate) fn cut(&self, is_cut: bool) {
        self.shared.weather.lock().unwrap().is_cut = is_cut;
    }

    /// What failed since the last time.
    pub(crate) fn struck(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.weather.lock().unwrap().struck)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Shared) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let shared = shared.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(shared.clone(), request));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(shared: Shared, request: Request<Incoming>) -> Result<Answer, BoxError> {
    let fault = shared.choose(&request);
    let (mut parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    parts.headers.remove(HOST);
    parts.headers.remove(CONNECTION);
    let path = parts.uri.path().to_owned();
    match fault {
        Some(Fault::CutBefore) => return Err("the connection breaks".into()),
        Some(Fault::Silence) => {
            tokio::time::sleep(NO_ANSWER).await;
            return Err("there was no answer".into());
        }
        Some(Fault::Forbidden) => return Ok(refusal(403, "Forbidden", &forbidden(&parts.method, &path))),
        Some(Fault::Conflict) => {
            let message = "Operation cannot be fulfilled: the object has been modified; please apply your changes to \
                           the latest version and try again";
            return Ok(refusal(409, "Conflict", message));
        }
        Some(Fault::Invalid) => return Ok(refusal(422, "Invalid", "a webhook says that this is invalid")),
        Some(Fault::TooMany) => return Ok(refusal(429, "TooManyRequests", "too many requests")),
        Some(Fault::Internal) => return Ok(refusal(500, "InternalError", "etcdserver: leader changed")),
        Some(Fault::Timeout) => return Ok(refusal(504, "Timeout", "request did not complete within the time")),
        _ => {}
    }
    // What was sent arrives, whether its sender waits or not.
    let upstream = shared.upstream.clone();
    let sent = tokio::spawn(async move { upstream.send(Request::from_parts(parts, Body::from(body))).await });
    let answer = match sent.await? {
        Ok(answer) => answer.map(|body| body.map_err(Into::into).boxed_unsync()),
        Err(error) => {
            shared.weather.lock().unwrap().struck.push(format!("the API server itself: {error:?} of {path}"));
            return Err(error.into());
        }
    };
    match fault {
        Some(Fault::AnswerLost) => Ok(refusal(504, "Timeout", "request did not complete within the time")),
        Some(Fault::FailedAfter) => Ok(refusal(500, "InternalError", "etcdserver: request timed out")),
        Some(Fault::CutAfter) => Err("the connection breaks".into()),
        Some(Fault::CutWithin) => {
            let frames = [Ok(Frame::data(Bytes::from_static(b"{\"kind\":"))), Err("the connection breaks".into())];
            Ok(answer.map(|_| StreamBody::new(futures::stream::iter(frames)).boxed_unsync()))
        }
        _ => Ok(answer),
    }
}

impl Shared {
    fn choose(&self, request: &Request<Incoming>) -> Option<Fault> {
        let mut weather = self.weather.lock().unwrap();
        if weather.is_cut {
            return Some(Fault::CutBefore);
        }
        let chance = weather.chance;
        if weather.dice.f64() >= chance {
            return None;
        }
        // A call without an answer takes ten seconds of the test.
        let fault = match weather.dice.f64() < 0.01 {
            true => Fault::Silence,
            false => FAULTS[weather.dice.usize(..FAULTS.len())],
        };
        weather.struck.push(format!("{fault:?} of {} {}", request.method(), request.uri()));
        Some(fault)
    }
}

/// As RBAC says it.
fn forbidden(method: &Method, path: &str) -> String {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, rest) = match parts.as_slice() {
        ["api", _, rest @ ..] => ("", rest),
        ["apis", group, _, rest @ ..] => (*group, rest),
        rest => ("", rest),
    };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some(namespace), rest),
        rest => (None, rest),
    };
    let (resource, name) = (rest.first().unwrap_or(&"x"), rest.get(1));
    let verb = match (method.as_str(), name) {
        ("GET", None) => "list",
        ("GET", Some(_)) => "get",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        _ => "delete",
    };
    let scope = namespace.map_or_else(|| "at the cluster scope".to_owned(), |it| format!("in the namespace \"{it}\""));
    let name = name.map(|name| format!(" \"{name}\"")).unwrap_or_default();
    format!(
        "{resource}{name} is forbidden: User \"walker\" cannot {verb} resource \"{resource}\" in API group \"{group}\" {scope}"
    )
}

fn refusal(code: u16, reason: &str, message: &str) -> Answer {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
        "reason": reason, "code": code});
    let body = Full::new(Bytes::from(status.to_string())).map_err(|never| match never {}).boxed_unsync();
    let mut answer = Response::new(body);
    *answer.status_mut() = StatusCode::from_u16(code).unwrap();
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if code == 429 {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}
