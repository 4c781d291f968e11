//! The client against servers on loopback that answer by a script.

mod agents;
mod answers;
mod changes;
mod lists;
mod network;
mod patience;
mod token;
mod unreadable;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    response::Response,
};
use futures::{StreamExt, stream};
use secrecy::SecretString;
use tokio::{net::TcpListener, time::Instant};

use super::{RestClient, call::Timing};
use crate::config::TokenSource;

/// The token of all tests; it must never come up in an error.
pub(super) const TOKEN: &str = "s3cr3tpersonalaccesstoken";

/// Quick enough for a test, slow enough for a busy machine.
pub(super) const QUICK: Timing = Timing {
    call: Duration::from_secs(5),
    connect: Duration::from_secs(2),
    first_retry: Duration::from_millis(5),
    retries: 2,
};

#[derive(Clone)]
pub(super) struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
    end: End,
}

#[derive(Clone, Copy)]
enum End {
    Whole,
    Cut,
    Never,
}

pub(super) fn reply(status: u16, body: &str) -> Reply {
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    Reply { status: StatusCode::from_u16(status).unwrap(), headers, body: body.to_owned(), end: End::Whole }
}

pub(super) fn html(status: u16) -> Reply {
    reply(status, "<!DOCTYPE html><html><head><title>Azure DevOps | Sign In</title></head></html>")
        .header("content-type", "text/html; charset=utf-8")
}

pub(super) fn problem(status: u16, type_key: &str, message: &str) -> Reply {
    let body = serde_json::json!({"$id": "1", "innerException": null, "message": message, "typeKey": type_key});
    reply(status, &body.to_string())
}

/// An empty list.
pub(super) fn nothing() -> Reply {
    reply(200, r#"{"count":0,"value":[]}"#)
}

impl Reply {
    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(HeaderName::from_static(name), value.parse().unwrap());
        self
    }

    /// The connection ends in the middle of the body.
    pub(super) fn cut(self) -> Self {
        Self { end: End::Cut, ..self }
    }

    /// Nothing comes at all.
    pub(super) fn never(self) -> Self {
        Self { end: End::Never, ..self }
    }

    async fn send(self) -> Response {
        let body = match self.end {
            End::Never => std::future::pending().await,
            End::Whole => Body::from(self.body),
            End::Cut => {
                let end = async {
                    // So that the beginning is on its way.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Err(std::io::Error::other("cut off"))
                };
                Body::from_stream(stream::iter([Ok(self.body)]).chain(stream::once(end)))
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

pub(super) struct Seen {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) body: Vec<u8>,
    pub(super) headers: HeaderMap,
    pub(super) at: Instant,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub(super) struct Server {
    /// Of the organization.
    pub(super) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Answers with the replies one by one; the last one again and again.
    pub(super) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), replies)
    }

    pub(super) fn on(listener: TcpListener, replies: impl IntoIterator<Item = Reply>) -> Self {
        let url = format!("http://{}/contoso", listener.local_addr().unwrap());
        let (router, seen) = script(replies);
        tokio::spawn(async { axum::serve(listener, router).await });
        Self { url, seen }
    }

    pub(super) fn client(&self) -> RestClient {
        self.client_with(QUICK)
    }

    pub(super) fn client_with(&self, timing: Timing) -> RestClient {
        let token = TokenSource::Value(SecretString::from(TOKEN));
        RestClient::with_timing(&self.url, token, None, timing).unwrap()
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

pub(super) fn script(replies: impl IntoIterator<Item = Reply>) -> (Router, Arc<Mutex<Vec<Seen>>>) {
    let replies = Arc::new(Mutex::new(VecDeque::from_iter(replies)));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&seen);
    let router = Router::new().fallback(move |request: Request| {
        let (record, replies) = (Arc::clone(&record), Arc::clone(&replies));
        async move {
            let at = Instant::now();
            let (parts, body) = request.into_parts();
            let body = to_bytes(body, usize::MAX).await.unwrap().into();
            record.lock().unwrap().push(Seen {
                method: parts.method,
                uri: parts.uri,
                body,
                headers: parts.headers,
                at,
            });
            let reply = {
                let mut replies = replies.lock().unwrap();
                if replies.len() > 1 { replies.pop_front() } else { replies.front().cloned() }
            };
            reply.expect("a script has a reply").send().await
        }
    });
    (router, seen)
}
