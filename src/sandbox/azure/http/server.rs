//! The way of each call through faults to where it belongs.

use std::sync::Arc;

use http_body_util::Full;
use hyper::{Response, body::Bytes};
use tokio::net::TcpListener;

use super::{arm, identity, oauth, reply::Reply};
use crate::sandbox::{
    azure::{AzureFaultKind, shared::Shared},
    http::{Asked, Call, Dropped, serve_connections},
};

/// Serves until it is dropped, which closes all connections.
pub(in crate::sandbox::azure) async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    let clock = Arc::clone(&shared).keep_time();
    let answer = move |asked| {
        let shared = Arc::clone(&shared);
        async move { answer(&shared, asked).await }
    };
    serve_connections(listener, clock, answer).await;
}

async fn answer(shared: &Arc<Shared>, Asked { line, call }: Asked) -> Result<Response<Full<Bytes>>, Dropped> {
    let (latency, fault) = shared.faults().strike(&line);
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    if fault == Some(AzureFaultKind::Dropped) {
        shared.count_call(format!("{} dropped", call.method));
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
