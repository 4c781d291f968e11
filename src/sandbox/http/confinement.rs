//! What an agent's own token is good for: the calls that this agent makes to do its work, and no others. How far the
//! real service confines it is not known; this is the least that an agent needs, so that one that works here asks for
//! no more.

use serde_json::Value;

use super::{Shared, call::Call, grants::AgentCaller, reply::Reply, wire};
use crate::sandbox::state::State;

/// The same for the worker of a job request: it reports on its own plan, and reads the tasks that it runs.
pub(super) fn refuse_job(shared: &Shared, request: i64, call: &Call, segments: &[String]) -> Option<Reply> {
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let plan = shared.see(|state| state.find_request(request).map(wire::plan_id));
    let is_allowed = match &segments[..] {
        ["distributedtask", "hubs", _, "plans", id, ..] => plan.as_deref() == Some(*id),
        ["distributedtask", "tasks", ..] => true,
        _ => is_for_everybody(call, &segments),
    };
    (!is_allowed).then(|| Reply::access_denied("Sandbox Build Service", ""))
}

/// `None` lets the call pass; else it is the refusal.
pub(super) fn refuse(shared: &Shared, agent: &AgentCaller, call: &Call, segments: &[String]) -> Option<Reply> {
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    if is_for_everybody(call, &segments) {
        return None;
    }
    shared.see(|state| {
        if is_its_own(state, agent, call, &segments) {
            return None;
        }
        let name = state.agent(agent.pool, agent.agent).map_or("The agent", |agent| &agent.name);
        let pool = state.pool(agent.pool).map_or("", |pool| &pool.name);
        Some(Reply::access_denied(name, pool))
    })
}

fn is_for_everybody(call: &Call, segments: &[&str]) -> bool {
    matches!(
        (call.method.as_str(), segments),
        ("OPTIONS", [] | [_])
            | (
                "GET",
                ["connectiondata"]
                    | ["resourceareas"]
                    | ["featureflags", _]
                    | ["distributedtask", "packages", "agent", ..]
            )
            | ("POST", ["customerintelligence", "events"])
    )
}

fn is_its_own(state: &State, agent: &AgentCaller, call: &Call, segments: &[&str]) -> bool {
    let ["distributedtask", "pools", pool, rest @ ..] = segments else { return false };
    let is = |text: &str, number: i64| text.parse() == Ok(number);
    if !is(pool, agent.pool) {
        return false;
    }
    match (call.method.as_str(), rest) {
        ("GET", ["agents", id]) | ("PUT", ["agents", id, "updates"]) => is(id, agent.agent),
        ("POST", ["sessions"]) => {
            let body: Value = call.json().unwrap_or_default();
            body["agent"]["id"] == agent.agent
        }
        ("DELETE", ["sessions", id]) => is_its_session(state, agent, id),
        ("GET", ["messages"]) | ("DELETE", ["messages", _]) => {
            is_its_session(state, agent, call.query("sessionId").unwrap_or_default())
        }
        // To the top of the queue is for those who manage it.
        ("PATCH", ["jobrequests", _]) if call.query("updateOptions").is_some() => false,
        ("PATCH" | "DELETE", ["jobrequests", id]) => id.parse().is_ok_and(|id| is_its_request(state, agent, id)),
        _ => false,
    }
}

/// One that has expired is nobody's, and what is said of it then is no secret: the agent has to hear it.
fn is_its_session(state: &State, agent: &AgentCaller, session: &str) -> bool {
    state.session_of(session).is_none_or(|of| of == (agent.pool, agent.agent))
}

/// Also one that it has had until it ended: the agent has to hear that it has lost it.
fn is_its_request(state: &State, agent: &AgentCaller, request: i64) -> bool {
    let request = state.request(agent.pool, request).ok();
    request.and_then(|request| request.agent.as_ref()).is_some_and(|of| of.id == agent.agent)
}
