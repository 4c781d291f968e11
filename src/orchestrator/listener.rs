//! The one listener: `/healthz`, `/readyz`, `/metrics` and `/status`.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::CONTENT_TYPE,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use tokio::{net::TcpListener, sync::Semaphore};

use super::{Metrics, board::Board};

/// A loop that has not come round for this long is stuck: each of its calls ends within half a minute.
const STUCK_AFTER_SECONDS: u64 = 180;

/// Enough for probes and two scrapers; a stranger must not be able to take more of our memory.
const MOST_CONNECTIONS: usize = 32;

/// A client that does not finish its request in time is dropped.
const HEADER_DEADLINE: Duration = Duration::from_secs(10);

/// Binds the listener.
pub(super) async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Answers until it is dropped.
pub(super) async fn answer(listener: TcpListener, metrics: Arc<Metrics>, board: Arc<Board>) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file handles, most likely: trying again at once would spin.
                tracing::warn!(%error, "the listener cannot accept a connection");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let (metrics, board) = (Arc::clone(&metrics), Arc::clone(&board));
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let response = respond(&request, &metrics, &board, Timestamp::now());
                async move { Ok::<_, Infallible>(response) }
            });
            // A client that went away is its own business.
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_DEADLINE)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            drop(permit);
        });
    }
}

fn respond(request: &Request<Incoming>, metrics: &Metrics, board: &Board, now: Timestamp) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
    }
    match request.uri().path() {
        "/healthz" => match metrics.since_last_pass(now) {
            Some(seconds) if seconds > STUCK_AFTER_SECONDS => {
                text(StatusCode::SERVICE_UNAVAILABLE, &format!("the last pass ended {seconds} s ago\n"))
            }
            _ => text(StatusCode::OK, "ok\n"),
        },
        "/readyz" if metrics.has_polled() => text(StatusCode::OK, "ok\n"),
        "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "no agent pool has been polled with success yet\n"),
        "/metrics" => match metrics.text() {
            Ok(body) => {
                let mut response = text(StatusCode::OK, &body);
                let open_metrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(open_metrics));
                response
            }
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written\n"),
        },
        "/status" => match board.report(now).map(|report| serde_json::to_string(&report)) {
            Some(Ok(body)) => {
                let mut response = text(StatusCode::OK, &body);
                response
                    .headers_mut()
                    .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
                response
            }
            _ => text(StatusCode::SERVICE_UNAVAILABLE, "nothing is served yet\n"),
        },
        _ => text(StatusCode::NOT_FOUND, "try /healthz, /readyz, /metrics or /status\n"),
    }
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_owned())));
    *response.status_mut() = status;
    let plain = hyper::header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}
