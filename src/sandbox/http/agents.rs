//! `pools/{id}/agents`: list, register, replace, change, remove.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::{
    Shared,
    call::{Call, number},
    encryption::PublicKeyJson,
    oauth,
    reply::Reply,
    wire::{self, Include},
};
use crate::{
    core::Demand,
    sandbox::state::{AgentChange, AgentSpec, KeySpec, Refusal},
};

/// A TaskAgent as clients send it. Unknown fields are none of our business.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    name: Option<String>,
    version: Option<String>,
    os_description: Option<String>,
    enabled: Option<bool>,
    system_capabilities: Option<BTreeMap<String, String>>,
    user_capabilities: Option<BTreeMap<String, String>>,
    authorization: Option<AuthorizationBody>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuthorizationBody {
    public_key: Option<PublicKeyJson>,
}

fn include(call: &Call) -> Include {
    Include {
        capabilities: call.flag("includeCapabilities"),
        assigned: call.flag("includeAssignedRequest"),
        last_completed: call.flag("includeLastCompletedRequest"),
    }
}

fn everything() -> Include {
    Include { capabilities: true, assigned: true, last_completed: false }
}

pub(super) fn list(shared: &Shared, call: &Call, pool: &str) -> Result<Reply, Refusal> {
    let pool = number(pool, "poolId")?;
    let base = base(shared, call);
    let name = call.query("agentName").filter(|name| !name.is_empty()).map(str::to_lowercase);
    let demands = call.query("demands").unwrap_or_default();
    let demands: Vec<Demand> = demands.split(',').filter(|text| !text.trim().is_empty()).map(Demand::parse).collect();
    shared.see(|state| {
        let agents = state
            .pool(pool)?
            .agents()
            .filter(|agent| name.as_ref().is_none_or(|name| agent.name.to_lowercase() == *name))
            .filter(|agent| agent.satisfies(&demands));
        Ok(Reply::list(agents.map(|agent| wire::agent(agent, include(call), state, &base)).collect()))
    })
}

pub(super) fn get(shared: &Shared, call: &Call, pool: &str, id: &str) -> Result<Reply, Refusal> {
    reply(shared, call, number(pool, "poolId")?, number(id, "agentId")?, include(call))
}

pub(super) fn create(shared: &Shared, call: &Call, pool: &str) -> Result<Reply, Refusal> {
    let pool = number(pool, "poolId")?;
    let mut spec = spec(call.json()?, None, &authorization_url(shared, call))?;
    spec.enabled |= !shared.settings.registers_disabled_agents;
    let id = shared.with(|state, now| state.register(pool, spec, now))?;
    reply(shared, call, pool, id, everything())
}

/// A full replacement; but user capabilities that the body does not speak of are the owner's, and stay.
pub(super) fn replace(shared: &Shared, call: &Call, pool: &str, id: &str) -> Result<Reply, Refusal> {
    let (pool, id) = (number(pool, "poolId")?, number(id, "agentId")?);
    let body: Body = call.json()?;
    let authorization_url = authorization_url(shared, call);
    shared.with(|state, now| {
        let kept = state.agent(pool, id)?;
        let body = Body { name: body.name.or_else(|| Some(kept.name.clone())), ..body };
        let spec = spec(body, Some(kept.user_capabilities.clone()), &authorization_url)?;
        state.replace(pool, id, spec, now)
    })?;
    reply(shared, call, pool, id, everything())
}

pub(super) fn change(shared: &Shared, call: &Call, pool: &str, id: &str) -> Result<Reply, Refusal> {
    let (pool, id) = (number(pool, "poolId")?, number(id, "agentId")?);
    let body: Body = call.json()?;
    let change = AgentChange {
        enabled: body.enabled,
        version: body.version,
        os_description: body.os_description,
        system_capabilities: body.system_capabilities,
        user_capabilities: body.user_capabilities,
    };
    shared.with(|state, now| state.change_agent(pool, id, change, now))?;
    reply(shared, call, pool, id, everything())
}

pub(super) fn set_user_capabilities(shared: &Shared, call: &Call, pool: &str, id: &str) -> Result<Reply, Refusal> {
    let (pool, id) = (number(pool, "poolId")?, number(id, "agentId")?);
    let change = AgentChange { user_capabilities: Some(call.json()?), ..AgentChange::default() };
    shared.with(|state, now| state.change_agent(pool, id, change, now))?;
    reply(shared, call, pool, id, everything())
}

pub(super) fn delete(shared: &Shared, pool: &str, id: &str) -> Result<Reply, Refusal> {
    let (pool, id) = (number(pool, "poolId")?, number(id, "agentId")?);
    shared.with(|state, now| state.remove_agent(pool, id, now))?;
    Ok(Reply::empty(204))
}

fn spec(
    body: Body,
    user_capabilities: Option<BTreeMap<String, String>>,
    authorization_url: &str,
) -> Result<AgentSpec, Refusal> {
    let public_key = body.authorization.and_then(|authorization| authorization.public_key);
    let public_key = public_key.map(|key| key.read()).transpose()?;
    Ok(AgentSpec {
        name: body.name.unwrap_or_default(),
        version: body.version.unwrap_or_default(),
        os_description: body.os_description.unwrap_or_default(),
        enabled: body.enabled.unwrap_or(true),
        system_capabilities: body.system_capabilities.unwrap_or_default(),
        user_capabilities: body.user_capabilities.or(user_capabilities).unwrap_or_default(),
        key: public_key.map(|public_key| KeySpec { public_key, authorization_url: authorization_url.to_owned() }),
    })
}

fn reply(shared: &Shared, call: &Call, pool: i64, id: i64, include: Include) -> Result<Reply, Refusal> {
    let base = base(shared, call);
    shared.see(|state| {
        let registered = state.agent(pool, id)?;
        let mut agent = wire::agent(registered, include, state, &base);
        if let Some(authorization) = &registered.authorization {
            agent["authorization"] = wire::authorization(authorization);
        }
        let href = format!("{base}/_apis/distributedtask/pools/{pool}/agents/{id}");
        if let Some(url) = &shared.settings.server_url {
            agent["properties"] = json!({ "ServerUrl": { "$type": "System.String", "$value": url } });
        }
        agent["_links"] = json!({ "self": { "href": href } });
        Ok(Reply::json(&agent))
    })
}

/// Where the agents that this client registers get their tokens; also the audience of their assertions.
fn authorization_url(shared: &Shared, call: &Call) -> String {
    format!("{}/_apis/{}/{}", base(shared, call), oauth::PATH.join("/"), wire::HOST_ID)
}

/// The organization's URL as this client knows it.
pub(super) fn base(shared: &Shared, call: &Call) -> String {
    format!("{}/{}", call.origin(), shared.settings.organization)
}
