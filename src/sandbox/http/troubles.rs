//! What a call that is struck by a fault is answered.

use std::time::Duration;

use hyper::header::{CONTENT_TYPE, HeaderMap};

use super::{Shared, authorization, call::Call, lists, oauth, reply::Reply};
use crate::sandbox::{faults::FaultKind, state::Refusal};

/// The answer instead of doing anything; `None` if the call is to be done.
pub(super) fn instead(kind: FaultKind, call: &Call, shared: &Shared) -> Option<Reply> {
    Some(match kind {
        FaultKind::SignInPage => Reply::html(203, "Azure DevOps Services | Sign In"),
        FaultKind::Redirect => {
            Reply::html(302, "Object moved").with("location", &format!("{}/_signin?realm=sandbox", call.origin()))
        }
        FaultKind::Unauthorized => authorization::unauthorized(call),
        FaultKind::Forbidden | FaultKind::ReadOnly => Reply::access_denied("Sandbox", "sandbox"),
        // Pools that are not visible are not among those of a name; what they hold is as if there were nothing.
        FaultKind::OutOfSight if call.is_list() => Reply::list(Vec::new()),
        FaultKind::OutOfSight => Refusal::PoolNotFound(0).into(),
        FaultKind::NotFound => Refusal::PoolNotFound(0).into(),
        FaultKind::Conflict if call.path.to_lowercase().ends_with("/sessions") => session_conflict(),
        FaultKind::SessionConflict => session_conflict(),
        FaultKind::InvalidClient => oauth::invalid_client("The client is not known."),
        FaultKind::Conflict => Refusal::AgentExists { pool: 0, agent: "sandbox".to_owned() }.into(),
        FaultKind::Throttled(wait) => throttled(wait, shared),
        FaultKind::ServerError => Reply::error(500, "VssServiceException", "An unexpected error occurred."),
        FaultKind::Latency(_)
        | FaultKind::RetryAfter(_)
        | FaultKind::CutOff
        | FaultKind::Dropped
        | FaultKind::LostReply
        | FaultKind::LateReply(_)
        | FaultKind::EmptyList
        | FaultKind::HalfList
        | FaultKind::ShortList(_)
        | FaultKind::DoubledList
        | FaultKind::MisshapenList(_)
        | FaultKind::StaleList(_) => return None,
    })
}

fn session_conflict() -> Reply {
    Refusal::SessionConflict("sandbox".to_owned()).into()
}

/// What becomes of the answer to `call`, `METHOD /path?query`, once it is done.
pub(super) fn afterwards(kind: FaultKind, mut reply: Reply, call: &str, shared: &Shared) -> Reply {
    match kind {
        FaultKind::StaleList(age) => match shared.past_lists().as_of(call, age) {
            Some(body) if reply.status == 200 => Reply { body, ..reply },
            _ => reply,
        },
        FaultKind::RetryAfter(wait) => reply.with("retry-after", &seconds(wait).to_string()),
        FaultKind::CutOff => {
            let half = reply.body.len() / 2;
            reply.body = if half == 0 { "{\"coun".into() } else { reply.body.slice(..half) };
            if half == 0 {
                let json: HeaderMap = Reply::json(&serde_json::Value::Null).headers;
                reply.headers.extend(json.get(CONTENT_TYPE).map(|value| (Some(CONTENT_TYPE), value.clone())));
            }
            reply
        }
        kind => lists::edit(kind, reply),
    }
}

fn throttled(wait: Duration, shared: &Shared) -> Reply {
    let reset = shared.now().as_second().saturating_add_unsigned(seconds(wait));
    let message = "TF400733: The request has been canceled: Request was blocked due to exceeding usage of resource \
                   'Concurrency' in namespace 'User'. For more information on why your request was blocked, see the \
                   topic 'Rate limits'.";
    Reply::error(429, "RequestBlockedException", message)
        .with("retry-after", &seconds(wait).to_string())
        .with("x-ratelimit-resource", "AzureDevOps/Sandbox")
        .with("x-ratelimit-delay", &format!("{:.3}", wait.as_secs_f64()))
        .with("x-ratelimit-limit", "200")
        .with("x-ratelimit-remaining", "0")
        .with("x-ratelimit-reset", &reset.to_string())
}

/// `Retry-After` counts whole seconds.
fn seconds(wait: Duration) -> u64 {
    wait.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
}
