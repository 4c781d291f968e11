//! Changes of an agent's registration, as they are sent.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    PoolId,
    just_in_time::{AgentKey, NewAgent},
    request::Request,
    versions::Endpoint,
};
use crate::core::{AgentId, Placeholder};

/// The version of an agent that never runs, unless its capabilities name one. It is higher than any to come, so that
/// the pool does not show it as outdated and a demand for a late version (tasks add them) does not fail a job for it.
const NEWEST: &str = "99.999.9";

/// The capability that tells an agent's version.
const VERSION: &str = "Agent.Version";

impl Request {
    pub(super) fn disable(pool: PoolId, agent: AgentId) -> Self {
        registered(pool, agent).sending(Method::PATCH, Some(json!({ "id": agent.0, "enabled": false })))
    }

    pub(super) fn deregister(pool: PoolId, agent: AgentId) -> Self {
        registered(pool, agent).sending(Method::DELETE, None)
    }

    pub(super) fn register(pool: PoolId, placeholder: &Placeholder) -> Self {
        let agents = Self::new(Endpoint::Agents, format!("pools/{}/agents", pool.0));
        agents.sending(Method::POST, Some(placeholder_json(placeholder)))
    }

    /// A full replacement; of all fields, only user capabilities stay when they are not sent.
    pub(super) fn update(pool: PoolId, agent: AgentId, placeholder: &Placeholder) -> Self {
        let mut body = placeholder_json(placeholder);
        body["id"] = agent.0.into();
        registered(pool, agent).sending(Method::PUT, Some(body))
    }
}

impl Request {
    /// A placeholder with a key, so that it can sign in.
    pub(super) fn register_with_key(
        pool: PoolId,
        agent: Option<AgentId>,
        placeholder: &Placeholder,
        key: &AgentKey,
    ) -> Self {
        sent(pool, agent, placeholder_json(placeholder), key)
    }

    /// An agent that will be ours to run.
    pub(super) fn enroll(pool: PoolId, new: &NewAgent, key: &AgentKey) -> Self {
        let capabilities: serde_json::Map<_, _> =
            new.capabilities.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        let body = json!({
            "name": new.name,
            "enabled": true,
            "maxParallelism": 1,
            "provisioningState": "Provisioned",
            "version": new.capabilities.get(VERSION).unwrap_or(NEWEST),
            "osDescription": "kubectl-ado",
            "systemCapabilities": capabilities,
        });
        sent(pool, None, body, key)
    }
}

fn sent(pool: PoolId, agent: Option<AgentId>, mut body: Value, key: &AgentKey) -> Request {
    body["authorization"] = json!({ "publicKey": { "exponent": key.exponent(), "modulus": key.modulus() } });
    match agent {
        Some(agent) => {
            body["id"] = agent.0.into();
            registered(pool, agent).sending(Method::PUT, Some(body))
        }
        None => {
            let agents = Request::new(Endpoint::Agents, format!("pools/{}/agents", pool.0));
            agents.sending(Method::POST, Some(body))
        }
    }
}

fn registered(pool: PoolId, agent: AgentId) -> Request {
    Request::new(Endpoint::Agents, format!("pools/{}/agents/{}", pool.0, agent.0))
}

/// What the agent's own configuration sends, without a key: nobody can ever sign in as this agent. The capabilities are
/// sent as they are and nothing is added, so that what is read of it later is what was meant.
fn placeholder_json(placeholder: &Placeholder) -> Value {
    let capabilities: serde_json::Map<_, _> =
        placeholder.capabilities.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    json!({
        "name": placeholder.name,
        "enabled": false,
        "maxParallelism": 1,
        "provisioningState": "Provisioned",
        "version": placeholder.capabilities.get(VERSION).unwrap_or(NEWEST),
        "osDescription": format!("none: it never runs, and stands for the agent template \"{}\"", placeholder.template),
        "systemCapabilities": capabilities,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placeholder(capabilities: &[(&str, &str)]) -> Placeholder {
        Placeholder {
            name: "placeholder-1".to_owned(),
            template: "gpu".to_owned(),
            capabilities: capabilities.iter().copied().collect(),
        }
    }

    #[test]
    fn a_placeholder_claims_the_version_of_its_capabilities_or_the_newest() {
        for (capabilities, version) in [(&[("gpu", "1")][..], NEWEST), (&[("agent.version", "4.260.0")], "4.260.0")] {
            assert_eq!(placeholder_json(&placeholder(capabilities))["version"], version);
        }
    }

    #[test]
    fn capabilities_are_sent_as_they_were_written() {
        let capabilities = [("Agent.OS", "Linux"), ("empty", ""), ("Größe", "\"groß\" \u{1b}")];
        let json = placeholder_json(&placeholder(&capabilities));
        let sent = json["systemCapabilities"].as_object().unwrap();
        assert_eq!(sent.len(), 3);
        for (name, value) in capabilities {
            assert_eq!(sent[name], value);
        }
    }
}
