//! What the tests of this room serve.

use std::time::Duration;

use crate::core::{
    AgentTemplate, Installation, JobRequest, Policy, PoolPolicy, Recipe, RequestId, Scale, Stage, Timeouts,
};

/// Pools with one agent template each, without limits.
pub(super) fn policy(pools: &[&str]) -> Policy {
    let template = AgentTemplate {
        name: "default".into(),
        name_prefix: "a".into(),
        revision: "r".into(),
        recipe_reason: None,
        registration_pending: None,
        recipe: Recipe::default(),
        capabilities: None,
        ignore_demands: Vec::new(),
        scale: Scale::default(),
        schedules: Vec::new(),
        timeouts: Timeouts::default(),
    };
    let pool = |name: &&str| PoolPolicy {
        name: (*name).to_owned(),
        max_agents: None,
        templates: vec![template.clone()],
        paused: None,
        removed: false,
    };
    Policy {
        installation: Installation::new("test"),
        organization: "https://dev.azure.com/o".into(),
        max_agents: None,
        timeouts: Timeouts::default(),
        idle_timeout: Duration::from_secs(300),
        pools: pools.iter().map(pool).collect(),
        identity: String::new(),
        retire: false,
    }
}

/// A job request that any agent may serve.
pub(super) fn waiting(id: RequestId) -> JobRequest {
    JobRequest {
        id,
        queued_at: None,
        received_at: None,
        stage: Stage::Waiting,
        demands: Vec::new(),
        plan_type: None,
        parallelism_tag: None,
        pipeline: None,
        pipeline_run: None,
        url: None,
        priority: 0,
    }
}
