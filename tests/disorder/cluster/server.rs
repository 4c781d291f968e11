//! From a request to its answer: who is asked for, what is to be done, how the answer looks.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response,
    body::Bytes,
    header::{ACCEPT, CONTENT_TYPE, DATE, HeaderName, RETRY_AFTER},
    http::request::Parts,
};
use kube::client::Body;
use serde_json::{Value, json};

use super::{
    Cluster, LATE, STALE,
    problem::Problem,
    read::{self, Form, Watched},
    resource::{Query, Target, target},
    store::Key,
    watch, write,
};
use crate::clock;

/// The body of an answer: at once, or line by line for a watch.
pub(crate) type Answer = UnsyncBoxBody<Bytes, Infallible>;

/// The service under kube's client.
#[derive(Clone)]
pub(super) struct Server(pub(super) Cluster);

impl tower::Service<Request<Body>> for Server {
    type Response = Response<Answer>;
    type Error = kube::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let cluster = self.0.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await?;
            Ok(answer(&cluster, &parts, &body).unwrap_or_else(|problem| refusal(&problem)))
        })
    }
}

fn answer(cluster: &Cluster, parts: &Parts, body: &[u8]) -> Result<Response<Answer>, Problem> {
    let path = parts.uri.path();
    if path == "/version" {
        let version = json!({"major": "1", "minor": "36", "gitVersion": "v1.36.0", "platform": "linux/amd64"});
        return Ok(text(200, version.to_string()));
    }
    let target = target(path).ok_or_else(Problem::no_such_path)?;
    let query = Query::of(&parts.uri);
    let header = |name: HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let accept = header(ACCEPT);
    let form = Form::of(accept);
    let millis =
        |name: &'static str| Duration::from_millis(header(HeaderName::from_static(name)).parse().unwrap_or_default());
    let is_watch = query.is_set("watch");
    match (&parts.method, target.name.clone()) {
        (&Method::GET, _) if is_watch => {
            let watched = Watched::of(&target, &query, form);
            Ok(watch::answer(cluster, watched, &query, millis(LATE)))
        }
        // A list has a form of its own.
        (&Method::GET, None) if form == Form::MetadataOnly && !accept.contains("=PartialObjectMetadataList") => {
            Err(Problem::not_acceptable())
        }
        (&Method::GET, None) => {
            cluster.see(|store| read::list(store, &target, &query, form, millis(STALE))).map(|list| text(200, list))
        }
        (&Method::GET, Some(name)) => {
            let found = cluster.get(&Key::new(target.resource, &target.namespace, &name));
            let found = found.ok_or_else(|| Problem::not_found(target.resource, &name))?;
            Ok(text(200, form.of_object(target.resource, &found)))
        }
        (method, name) => change(cluster, method, &target, name.as_deref(), (header(CONTENT_TYPE), body), form),
    }
}

fn change(
    cluster: &Cluster,
    method: &Method,
    target: &Target,
    name: Option<&str>,
    (kind, body): (&str, &[u8]),
    form: Form,
) -> Result<Response<Answer>, Problem> {
    let Target { resource, namespace, .. } = target;
    let body: Value = match body {
        [] => Value::Null,
        body => serde_json::from_slice(body).map_err(|error| Problem::bad_request(error.to_string()))?,
    };
    let whole = |code, object: &super::Object| text(code, form.of_object(resource, object));
    cluster.see(|store| match (method, name) {
        (&Method::POST, None) => write::create(store, resource, namespace, body).map(|object| whole(201, &object)),
        (&Method::PUT, Some(name)) => {
            write::replace(store, resource, namespace, name, body).map(|(code, object)| whole(code, &object))
        }
        (&Method::PATCH, Some(name)) if kind.starts_with("application/merge-patch+json") => {
            write::merge(store, resource, namespace, name, &body).map(|object| whole(200, &object))
        }
        (&Method::PATCH, Some(name)) if kind.starts_with("application/json-patch+json") => {
            write::patch(store, resource, namespace, name, &body).map(|object| whole(200, &object))
        }
        (&Method::DELETE, Some(name)) => {
            write::delete(store, resource, namespace, name, &body).map(|answer| text(200, answer.to_string()))
        }
        _ => Err(Problem {
            code: 405,
            reason: "MethodNotAllowed",
            message: format!("the fake knows no {method} ({kind}) of {}", resource.plural),
            details: None,
        }),
    })
}

/// An answer that is complete.
pub(super) fn text(code: u16, text: String) -> Response<Answer> {
    let date = clock::dated(clock::of_api_server());
    let answer = Response::builder().status(code).header(CONTENT_TYPE, "application/json").header(DATE, date);
    answer.body(Full::new(Bytes::from(text)).boxed_unsync()).unwrap()
}

/// An answer that is no success.
pub(crate) fn refusal(problem: &Problem) -> Response<Answer> {
    let mut answer = text(problem.code, problem.status().to_string());
    if problem.code == 429 {
        answer.headers_mut().insert(RETRY_AFTER, hyper::header::HeaderValue::from_static("1"));
    }
    answer
}
