//! What the tests of this room serve.

use std::time::Duration;

use crate::core::{AgentTemplate, Installation, Policy, PoolPolicy, Recipe, Scale};

/// Pools with one agent template each, without limits.
pub(super) fn policy(pools: &[&str]) -> Policy {
    let template = AgentTemplate {
        name: "default".into(),
        name_prefix: "a".into(),
        revision: "r".into(),
        recipe_reason: None,
        recipe: Recipe::default(),
        capabilities: None,
        ignore_demands: Vec::new(),
        scale: Scale::default(),
        schedules: Vec::new(),
    };
    let pool = |name: &&str| PoolPolicy {
        name: (*name).to_owned(),
        max_agents: None,
        templates: vec![template.clone()],
        paused: None,
    };
    Policy {
        installation: Installation::new("test"),
        organization: "https://dev.azure.com/o".into(),
        max_agents: None,
        start_timeout: Duration::from_secs(300),
        idle_timeout: Duration::from_secs(300),
        pools: pools.iter().map(pool).collect(),
        identity: String::new(),
        retire: false,
    }
}
