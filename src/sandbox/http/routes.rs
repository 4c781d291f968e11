//! The one table of routes.

use hyper::Method;

use super::{
    Shared, agents, authorization::Caller, call::Call, job_requests, oauth, organization, pools, reply::Reply, sessions,
};
use crate::sandbox::state::Refusal;

/// The agent package itself. It lies outside the organization and needs no token, as on Microsoft's download host.
pub(super) fn download(shared: &Shared, call: &Call) -> Option<Reply> {
    (call.method == Method::GET && shared.package.is_at(&call.path)).then(|| Reply::file(shared.package.bytes()))
}

/// Answers a call. `segments` is the path after `_apis`.
pub(super) async fn route(
    shared: &Shared,
    call: &Call,
    caller: &Caller,
    segments: &[String],
) -> Result<Reply, Refusal> {
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match (call.method.as_str(), &segments[..]) {
        ("OPTIONS", []) => Ok(organization::locations()),
        ("GET", ["connectiondata"]) => Ok(organization::connection_data(shared, call, caller)),
        ("POST", ["oauth2", "token", _]) => Ok(oauth::token(shared, call)),
        ("GET", ["distributedtask", "packages", "agent", rest @ ..]) => organization::packages(shared, call, rest),
        ("GET", ["distributedtask", "resourceusage"]) => Ok(organization::resource_usage(shared, call)),

        ("GET", ["distributedtask", "pools"]) => pools::list(shared, call),
        ("GET", ["distributedtask", "pools", pool]) => pools::get(shared, pool),
        ("GET", ["distributedtask", "pools", pool, "permissions", _]) => pools::permission(shared, pool),

        ("GET", ["distributedtask", "pools", pool, "agents"]) => agents::list(shared, call, pool),
        ("POST", ["distributedtask", "pools", pool, "agents"]) => agents::create(shared, call, pool),
        ("GET", ["distributedtask", "pools", pool, "agents", id]) => agents::get(shared, call, pool, id),
        ("PUT", ["distributedtask", "pools", pool, "agents", id]) => agents::replace(shared, call, pool, id),
        ("PATCH", ["distributedtask", "pools", pool, "agents", id]) => agents::change(shared, call, pool, id),
        ("DELETE", ["distributedtask", "pools", pool, "agents", id]) => agents::delete(shared, pool, id),
        ("PUT", ["distributedtask", "pools", pool, "agents", id, "usercapabilities"]) => {
            agents::set_user_capabilities(shared, call, pool, id)
        }

        ("GET", ["distributedtask", "pools", pool, "jobrequests"]) => job_requests::list(shared, call, pool),
        ("POST", ["distributedtask", "pools", pool, "jobrequests"]) => job_requests::queue(shared, call, pool),
        ("GET", ["distributedtask", "pools", pool, "jobrequests", id]) => job_requests::get(shared, call, pool, id),
        ("PATCH", ["distributedtask", "pools", pool, "jobrequests", id]) => {
            job_requests::update(shared, call, pool, id)
        }
        ("DELETE", ["distributedtask", "pools", pool, "jobrequests", id]) => {
            job_requests::delete(shared, call, pool, id)
        }

        ("POST", ["distributedtask", "pools", pool, "sessions"]) => sessions::open(shared, call, pool),
        ("DELETE", ["distributedtask", "pools", pool, "sessions", id]) => sessions::close(shared, pool, id),
        ("GET", ["distributedtask", "pools", pool, "messages"]) => {
            sessions::next_message(shared, call, caller, pool).await
        }
        ("DELETE", ["distributedtask", "pools", pool, "messages", id]) => {
            sessions::delete_message(shared, call, pool, id)
        }
        _ => Ok(unknown(call)),
    }
}

fn unknown(call: &Call) -> Reply {
    let message =
        format!("The controller for path '{}' was not found or does not implement {}.", call.path, call.method);
    Reply::error(404, "VssResourceNotFoundException", &message)
}
