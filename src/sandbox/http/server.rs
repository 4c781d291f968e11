//! The way of each call through faults, authorization, versions and routes.

use std::sync::Arc;

use http_body_util::Full;
use hyper::{Response, body::Bytes};
use jiff::fmt::rfc2822::DateTimePrinter;
use tokio::net::TcpListener;

use super::{
    Shared,
    authorization::{self, Caller},
    call::Call,
    confinement,
    connections::{self, Asked, Dropped},
    reply::Reply,
    routes, troubles, versions,
};
use crate::sandbox::faults::FaultKind;

/// Serves until it is dropped, which closes all connections.
pub(in crate::sandbox) async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    let clock = Arc::clone(&shared);
    let answer = move |asked| {
        let shared = Arc::clone(&shared);
        async move { answer(&shared, asked).await }
    };
    connections::serve(listener, async move { clock.keep_time().await }, answer).await;
}

/// Each answer says what the organization's clock shows.
async fn answer(shared: &Shared, asked: Asked) -> Result<Response<Full<Bytes>>, Dropped> {
    let reply = reply(shared, asked).await?;
    let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&shared.now());
    Ok(match date {
        Ok(date) => reply.with("date", &date),
        Err(_) => reply,
    }
    .into_response())
}

async fn reply(shared: &Shared, Asked { line, call }: Asked) -> Result<Reply, Dropped> {
    shared.count_call(call.route(&shared.settings.organization));
    let (latency, fault) = shared.faults().strike(&line);
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    if let Some(kind) = fault {
        if kind == FaultKind::Dropped {
            return Err(Dropped);
        }
        if let Some(reply) = troubles::instead(kind, &call, shared) {
            return Ok(reply);
        }
    }
    let reply = handle(shared, &call).await;
    if call.is_list() && reply.status == 200 {
        shared.past_lists().remember(&line, &reply.body);
    }
    match fault {
        Some(FaultKind::LostReply) => Err(Dropped),
        Some(kind) => {
            if let FaultKind::LateReply(time) = kind {
                tokio::time::sleep(time).await;
            }
            Ok(troubles::afterwards(kind, reply, &line, shared))
        }
        None => Ok(reply),
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
    if let Caller::Job(request) = &caller
        && let Some(reply) = confinement::refuse_job(shared, *request, call, &segments)
    {
        return reply;
    }
    routes::route(shared, call, &caller, &segments).await.unwrap_or_else(Reply::from)
}
