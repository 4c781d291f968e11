//! The one table of routes.

use hyper::Method;

use super::{
    Shared, agents, authorization::Caller, call::Call, job_requests, locations, oauth, organization, plans, pools,
    reply::Reply, sessions,
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
        ("OPTIONS", []) => Ok(locations::list(None)),
        ("OPTIONS", [area]) => Ok(locations::list(Some(area))),
        ("GET", ["resourceareas"]) => Ok(organization::resource_areas()),
        ("GET", ["featureflags", name]) => Ok(organization::feature_flag(name)),
        // Nobody reads what agents tell of themselves.
        ("POST", ["customerintelligence", "events"]) => Ok(Reply::empty(204)),
        ("GET", ["connectiondata"]) => Ok(organization::connection_data(shared, call, caller)),
        ("POST", ["oauth2", "token", _]) => Ok(oauth::token(shared, call)),
        ("GET", ["distributedtask", "packages", "agent", rest @ ..]) => organization::packages(shared, call, rest),
        ("GET", ["distributedtask", "tasks", _, _]) => Ok(plans::task()),
        (_, ["distributedtask", "hubs", _, "plans", plan, rest @ ..]) => {
            Ok(plans::answer(shared, call, plan, rest)?.unwrap_or_else(|| unknown(call)))
        }
        ("GET", ["distributedtask", "resourceusage"]) => Ok(organization::resource_usage(shared, call)),

        ("GET", ["distributedtask", "pools"]) => pools::list(shared, call),
        ("POST", ["distributedtask", "pools"]) => pools::create(shared, call),
        ("GET", ["distributedtask", "pools", pool]) => pools::get(shared, pool),
        ("PATCH", ["distributedtask", "pools", pool]) => pools::update(shared, call, pool),
        ("DELETE", ["distributedtask", "pools", pool]) => pools::delete(shared, pool),
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

        ("PUT", ["distributedtask", "pools", pool, "agents", id, "updates"]) => agents::get(shared, call, pool, id),

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
