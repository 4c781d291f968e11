//! Pools, agents and job requests as JSON. Dates are ISO 8601 in UTC with seven fraction digits, enums are in camel
//! case, what is not set is left out.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::encryption::PublicKeyJson;
use crate::sandbox::state::{Agent, AgentRef, Authorization, Pool, PoolKind, Request, State};

pub(super) const HOST_ID: &str = "5a4d0000-0000-4000-8000-000000000001";
const SERVICE_OWNER: &str = "00025394-6065-48ca-87d9-7f5672854ef7";
pub(super) const PROJECT_ID: &str = "5a4d0000-0000-4000-8000-000000000002";

/// The version of all plans. From 8 on the worker says that its job has ended; before, the agent does.
pub(super) const PLAN_VERSION: u32 = 12;

pub(super) fn date(moment: Timestamp) -> Value {
    format!("{moment:.7}").into()
}

/// An id that is made from a number; `kind` keeps those of different kinds apart.
pub(super) fn guid(kind: u16, number: i64) -> String {
    format!("5a4d0000-{kind:04x}-4000-8000-{number:012x}")
}

pub(super) fn plan_id(request: &Request) -> String {
    guid(1, request.id)
}

pub(super) fn job_id(request: &Request) -> String {
    guid(2, request.id)
}

fn set(object: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        object.insert(name.to_owned(), value);
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

pub(super) fn pool(pool: &Pool) -> Value {
    let (options, pool_type) = match pool.kind {
        PoolKind::Ordinary | PoolKind::Hosted => ("none", "automation"),
        PoolKind::Deployment => ("none", "deployment"),
        PoolKind::Elastic => ("elasticPool, singleUseAgents", "automation"),
    };
    let somebody = json!({ "displayName": "Sandbox", "id": guid(9, 1) });
    json!({
        "createdOn": date(pool.created_at),
        "autoProvision": false,
        "autoUpdate": true,
        "autoSize": true,
        "targetSize": null,
        "agentCloudId": if pool.kind == PoolKind::Hosted { json!(1) } else { Value::Null },
        "createdBy": somebody,
        "owner": somebody,
        "id": pool.id,
        "scope": HOST_ID,
        "name": pool.name,
        "isHosted": pool.kind == PoolKind::Hosted,
        "poolType": pool_type,
        "size": pool.size(),
        "isLegacy": false,
        "options": options,
    })
}

/// What else of an agent is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Include {
    pub(super) capabilities: bool,
    pub(super) assigned: bool,
    pub(super) last_completed: bool,
}

pub(super) fn agent(agent: &Agent, include: Include, state: &State, base: &str) -> Value {
    let mut json = Map::new();
    if include.capabilities {
        set(&mut json, "systemCapabilities", Some(json!(agent.system_capabilities)));
        set(&mut json, "userCapabilities", Some(json!(agent.user_capabilities)));
    }
    let of = |id: Option<i64>| id.and_then(|id| state.find_request(id)).map(|found| request(found, base));
    if include.assigned {
        set(&mut json, "assignedRequest", of(agent.assigned));
    }
    if include.last_completed {
        set(&mut json, "lastCompletedRequest", of(agent.last_completed));
    }
    json.extend(object(json!({
        "_links": {},
        "maxParallelism": 1,
        "createdOn": date(agent.created_at),
        "statusChangedOn": date(agent.status_changed_at),
        "id": agent.id,
        "name": agent.name,
        "version": agent.version,
        "osDescription": agent.os_description,
        "enabled": agent.enabled,
        "status": status(agent.online),
        "provisioningState": "Provisioned",
        "accessPoint": "CodexAccessMapping",
    })));
    Value::Object(json)
}

pub(super) fn authorization(of: &Authorization) -> Value {
    json!({
        "authorizationUrl": of.authorization_url,
        "clientId": of.client_id,
        "publicKey": PublicKeyJson::write(&of.public_key),
    })
}

fn status(online: bool) -> &'static str {
    if online { "online" } else { "offline" }
}

/// An agent as requests refer to it. Of one that is gone, what was known when it got the request.
fn reference(agent: &AgentRef, registered: Option<&Agent>) -> Value {
    json!({
        "_links": {},
        "id": agent.id,
        "name": agent.name,
        "version": agent.version,
        "osDescription": agent.os_description,
        "enabled": registered.is_none_or(|agent| agent.enabled),
        "status": status(registered.is_some_and(|agent| agent.online)),
        "provisioningState": "Provisioned",
    })
}

/// A job request without what depends on other things than itself.
pub(super) fn request(request: &Request, base: &str) -> Value {
    let plan = plan_id(request);
    let href = |path: String| json!({ "web": { "href": format!("{base}/sandbox/{path}") } });
    let mut json = object(json!({ "requestId": request.id, "queueTime": date(request.queued_at) }));
    set(&mut json, "assignTime", request.assigned_at.map(date));
    set(&mut json, "receiveTime", request.received_at.map(date));
    let lock = request.locked_until.filter(|_| request.finished_at.is_none());
    set(&mut json, "lockedUntil", lock.map(date));
    set(&mut json, "finishTime", request.finished_at.map(date));
    set(&mut json, "result", request.result.map(|result| result.name().into()));
    json.extend(object(json!({
        "serviceOwner": SERVICE_OWNER,
        "hostId": HOST_ID,
        "scopeId": PROJECT_ID,
        "planType": request.job.plan_type,
        "planId": plan,
        "jobId": job_id(request),
        "jobName": request.job.name,
        "demands": request.job.demands,
    })));
    set(&mut json, "reservedAgent", request.agent.as_ref().map(|agent| reference(agent, None)));
    json.extend(object(json!({
        "definition": {
            "_links": href(format!("_build/definition?definitionId={}", request.definition)),
            "id": request.definition,
            "name": request.job.pipeline,
        },
        "owner": {
            "_links": href(format!("_build/results?buildId={}", request.id)),
            "id": request.id,
            "name": format!("{}.{}", request.queued_at.strftime("%Y%m%d"), request.id),
        },
        "data": { "ParallelismTag": request.job.parallelism_tag, "IsScheduledKey": "False" },
        "poolId": request.pool,
        "queueId": request.pool + 100,
        "agentDelays": [],
        "orchestrationId": format!("{plan}.{}.__default", request.job.name.to_lowercase()),
        "matchesAllAgentsInPool": false,
        "priority": request.job.priority,
    })));
    Value::Object(json)
}

/// How a job request is written in a list.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shape {
    pub(super) matched_agents: bool,
    pub(super) omit_where_all_match: bool,
    pub(super) status: bool,
}

/// A job request with its agents as they are now.
pub(super) fn full_request(of: &Request, shape: Shape, state: &State, base: &str) -> Value {
    let mut json = object(request(of, base));
    if let Some(agent) = &of.agent {
        let registered = state.agent(of.pool, agent.id).ok();
        set(&mut json, "reservedAgent", Some(reference(agent, registered)));
    }
    let unfinished = of.finished_at.is_none();
    if shape.matched_agents && unfinished {
        let matched: Vec<Value> =
            state.matched_agents(of).map(|agent| reference(&as_reference(agent), Some(agent))).collect();
        let all = state.pool(of.pool).is_ok_and(|pool| pool.size() == matched.len());
        set(&mut json, "matchesAllAgentsInPool", Some(all.into()));
        if !(all && shape.omit_where_all_match) {
            set(&mut json, "matchedAgents", Some(matched.into()));
        }
    }
    if shape.status {
        set(&mut json, "statusMessage", status_message(of, state).map(Value::from));
    }
    Value::Object(json)
}

fn as_reference(agent: &Agent) -> AgentRef {
    AgentRef {
        id: agent.id,
        name: agent.name.clone(),
        version: agent.version.clone(),
        os_description: agent.os_description.clone(),
    }
}

fn status_message(request: &Request, state: &State) -> Option<String> {
    if let Some(problem) = &request.problem {
        return Some(problem.clone());
    }
    if request.assigned_at.is_some() || request.finished_at.is_some() {
        return None;
    }
    let tag = &request.job.parallelism_tag;
    let usage = state.usage(tag);
    if usage.total.is_some_and(|total| usage.running.len() >= total as usize) {
        return Some(format!(
            "This agent request is not running because you have reached the maximum number of requests that can run \
             for parallelism type 'Self-Hosted {tag}'."
        ));
    }
    let eligible = state.matched_agents(request).any(|agent| agent.enabled && agent.online);
    (!eligible).then(|| "All eligible agents are disabled or offline".to_owned())
}
