//! The server: connections, and the way of each call through faults to where it belongs.

use std::sync::Arc;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{arm, identity, oauth, reply::Reply};
use crate::sandbox::{
    azure::{AzureFaultKind, shared::Shared},
    http::Call,
};

/// Resource Manager takes no more either.
const MAX_BODY: usize = 4 << 20;

/// The connection is closed instead of an answer.
#[derive(Debug, thiserror::Error)]
#[error("connection dropped on purpose")]
struct Dropped;

/// Serves until it is dropped, which closes all connections.
pub(in crate::sandbox::azure) async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    connections.spawn(Arc::clone(&shared).keep_time());
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(Arc::clone(&shared), stream));
                }
                // Out of file descriptors, for one; that passes.
                Err(error) => {
                    tracing::warn!(%error, "the stand-in for Azure cannot accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(shared: Arc<Shared>, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { answer(&shared, request).await }
    });
    // What ends a connection is its client's or a fault's doing.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Dropped> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await;
    let call = Call::new(&head, body.map(http_body_util::Collected::to_bytes).unwrap_or_default());
    let (latency, fault) = shared.faults().strike(&format!("{} {}", head.method, head.uri));
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    if fault == Some(AzureFaultKind::Dropped) {
        return Err(Dropped);
    }
    let reply = handle(shared, &call, fault);
    shared.count_answer(reply.status());
    if fault == Some(AzureFaultKind::LostReply) { Err(Dropped) } else { Ok(reply.into_response()) }
}

fn handle(shared: &Arc<Shared>, call: &Call, fault: Option<AzureFaultKind>) -> Reply {
    let segments: Vec<&str> = call.path.split('/').filter(|segment| !segment.is_empty()).collect();
    match segments[..] {
        [tenant, "oauth2", "v2.0", "token"] => oauth::token(shared, call, tenant, fault),
        ["metadata", "identity", "oauth2", "token"] => identity::metadata(shared, call, fault),
        ["msi", "token"] => identity::endpoint(shared, call, fault),
        _ => arm::route(shared, call, &segments, fault).unwrap_or_else(Reply::from),
    }
}
