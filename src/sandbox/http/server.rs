//! The server: connections, and the way of each call through faults, authorization, versions and routes.

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

use super::{
    Shared,
    authorization::{self, Caller},
    call::Call,
    confinement,
    reply::Reply,
    routes, troubles, versions,
};
use crate::sandbox::faults::FaultKind;

/// Bodies are small: an agent's capabilities are the largest.
const MAX_BODY: usize = 4 << 20;

/// The connection is closed instead of an answer.
#[derive(Debug, thiserror::Error)]
#[error("connection dropped on purpose")]
struct Dropped;

/// Serves until it is dropped, which closes all connections.
pub(in crate::sandbox) async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    connections.spawn({
        let shared = Arc::clone(&shared);
        async move { shared.keep_time().await }
    });
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(Arc::clone(&shared), stream));
                }
                // Out of file descriptors, for one; that passes.
                Err(error) => {
                    tracing::warn!(%error, "the sandbox cannot accept a connection");
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

async fn answer(shared: &Shared, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Dropped> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await;
    let call = Call::new(&head, body.map(http_body_util::Collected::to_bytes).unwrap_or_default());
    shared.count_call(call.route(&shared.settings.organization));
    let (latency, fault) = shared.faults().strike(&format!("{} {}", head.method, head.uri));
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    if let Some(kind) = fault {
        if kind == FaultKind::Dropped {
            return Err(Dropped);
        }
        if let Some(reply) = troubles::instead(kind, &call, shared) {
            return Ok(reply.into_response());
        }
    }
    let reply = handle(shared, &call).await;
    match fault {
        Some(FaultKind::LostReply) => Err(Dropped),
        Some(kind) => Ok(troubles::afterwards(kind, reply).into_response()),
        None => Ok(reply.into_response()),
    }
}

async fn handle(shared: &Shared, call: &Call) -> Reply {
    if let Some(file) = routes::download(shared, call) {
        return file;
    }
    let Some(segments) = call.api_path(&shared.settings.organization) else {
        return Reply::error(404, "HostingException", "The resource cannot be found: no such organization here.");
    };
    let caller = match authorization::admit(shared, call, &segments) {
        Ok(caller) => caller,
        Err(reply) => return *reply,
    };
    if let Some(reply) = versions::refuse(shared.settings.latest_api_version, call, &segments) {
        return reply;
    }
    if let Caller::Agent(agent) = &caller
        && let Some(reply) = confinement::refuse(shared, agent, call, &segments)
    {
        return reply;
    }
    routes::route(shared, call, &caller, &segments).await.unwrap_or_else(Reply::from)
}
