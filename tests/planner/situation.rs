//! Builders for situations: policies, requests, runs, agents.

use std::time::Duration;

use jiff::Timestamp;
use kubectl_ado::core::{
    Agent, AgentChange, AgentId, AgentRef, AgentTemplate, Demand, Installation, JobRequest, Memory, Plan, Policy,
    PoolPolicy, PoolSnapshot, Progress, Purpose, RequestId, Run, RunPhase, Scale, Snapshot, Stage, Timeouts, Verdict,
    plan,
};

pub(crate) const NOW: i64 = 1_800_000_000;

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOW + seconds).unwrap()
}

pub(crate) fn template(name: &str, capabilities: Option<&[(&str, &str)]>) -> AgentTemplate {
    AgentTemplate {
        name: name.into(),
        name_prefix: "agent-job".into(),
        revision: "r1".into(),
        recipe_reason: None,
        registration_pending: None,
        recipe: kubectl_ado::core::Recipe::default(),
        capabilities: capabilities.map(|pairs| pairs.iter().copied().collect()),
        ignore_demands: Vec::new(),
        scale: Scale::default(),
        schedules: Vec::new(),
        timeouts: Timeouts::default(),
    }
}

pub(crate) fn pool_policy(name: &str, templates: Vec<AgentTemplate>) -> PoolPolicy {
    PoolPolicy { name: name.into(), max_agents: None, templates, paused: None, removed: false }
}

pub(crate) fn policy(pools: Vec<PoolPolicy>) -> Policy {
    Policy {
        installation: Installation::new("test"),
        organization: "https://dev.azure.com/contoso".into(),
        max_agents: None,
        timeouts: Timeouts::default(),
        idle_timeout: Duration::from_secs(600),
        pools,
        identity: "me".into(),
        retire: false,
    }
}

/// One pool `A` with one template that accepts everything.
pub(crate) fn simple() -> Policy {
    policy(vec![pool_policy("A", vec![template("default", None)])])
}

pub(crate) fn request(id: i64, demands: &[&str]) -> JobRequest {
    JobRequest {
        id: RequestId(id),
        queued_at: Some(at(-60 + id)),
        received_at: None,
        stage: Stage::Waiting,
        demands: demands.iter().map(|text| Demand::parse(text)).collect(),
        plan_type: Some("Build".into()),
        parallelism_tag: Some("Private".into()),
        pipeline: None,
        pipeline_run: None,
        url: None,
        priority: 0,
    }
}

pub(crate) fn running(id: i64, agent: &Agent) -> JobRequest {
    let agent = AgentRef { id: agent.id, name: agent.name.clone() };
    JobRequest { stage: Stage::Running(Some(agent)), ..request(id, &[]) }
}

pub(crate) fn run(name: &str, purpose: Purpose, phase: RunPhase) -> Run {
    Run {
        name: name.into(),
        pool: "A".into(),
        template: "default".into(),
        purpose,
        attempt: 1,
        created_at: at(-10),
        phase,
        revision: "r1".into(),
        progress: Progress::Running,
        progress_since: None,
        runs_since: Some(at(-60)),
        trouble: None,
        agent_ended_at: None,
        recipe: kubectl_ado::core::Recipe::default(),
        held: None,
        was_busy: false,
        lease: None,
    }
}

pub(crate) fn starting(name: &str, request: i64) -> Run {
    run(name, Purpose::Request(RequestId(request)), RunPhase::Live)
}

pub(crate) fn agent(id: i64, name: &str) -> Agent {
    Agent {
        id: AgentId(id),
        name: name.into(),
        enabled: true,
        online: true,
        assigned: None,
        created_at: Some(at(-60)),
        status_changed_at: Some(at(-30)),
        last_finished_at: None,
        capabilities: [("Agent.OS", "Linux"), ("docker", "/usr/bin/docker")].into_iter().collect(),
    }
}

/// A pool that has been used before: somebody's agent is registered and offline.
pub(crate) fn snapshot(requests: Vec<JobRequest>, runs: Vec<Run>, mut agents: Vec<Agent>) -> Snapshot {
    agents.push(Agent { online: false, ..agent(1000, "old-box") });
    let pools = vec![PoolSnapshot { pool: "A".into(), runs, requests, agents: Some(agents) }];
    Snapshot { pools, ..Snapshot::default() }
}

/// What is decided when a second look, two seconds after the first one, shows the same.
pub(crate) fn decide(policy: &Policy, snapshot: &Snapshot) -> Plan {
    decide_in(&mut Memory::default(), policy, snapshot)
}

/// The same by one who remembers earlier looks.
pub(crate) fn decide_in(memory: &mut Memory, policy: &Policy, snapshot: &Snapshot) -> Plan {
    let moment = snapshot.looked_at;
    look(memory, policy, snapshot, moment);
    look(memory, policy, snapshot, moment + Duration::from_secs(2))
}

/// One look at that moment.
pub(crate) fn look(memory: &mut Memory, policy: &Policy, snapshot: &Snapshot, moment: Duration) -> Plan {
    let snapshot = Snapshot { looked_at: moment, ..snapshot.clone() };
    let decided = plan(policy, &snapshot, memory, at(0));
    memory.remember(policy, &snapshot, &decided);
    decided
}

pub(crate) fn verdict(plan: &Plan, id: i64) -> &Verdict {
    let verdicts = plan.pools.iter().flat_map(|pool| &pool.verdicts);
    &verdicts.into_iter().find(|(of, _)| *of == RequestId(id)).expect("a verdict").1
}

pub(crate) fn started_for(plan: &Plan) -> Vec<i64> {
    plan.starts
        .iter()
        .filter_map(|start| match start.purpose {
            Purpose::Request(id) => Some(id.0),
            Purpose::Slot(_) => None,
        })
        .collect()
}

/// The world right after the plan's actions took effect, before anything else happened.
pub(crate) fn after(mut observed: Snapshot, plan: &Plan) -> Snapshot {
    let pool = &mut observed.pools[0];
    pool.runs.retain(|run| !plan.stops.iter().any(|stop| stop.name == run.name));
    pool.runs.extend(plan.starts.iter().map(|start| start.expected(at(0))));
    let agents = pool.agents.get_or_insert_default();
    for action in &plan.agents {
        match &action.change {
            AgentChange::Disable(agent, _) => {
                agents.iter_mut().filter(|other| other.id == agent.id).for_each(|agent| agent.enabled = false);
            }
            AgentChange::Deregister(agent, _) => agents.retain(|other| other.id != agent.id),
            AgentChange::Register(placeholder) => agents.push(Agent {
                enabled: false,
                online: false,
                capabilities: placeholder.capabilities.clone(),
                ..agent(2000 + agents.len() as i64, &placeholder.name)
            }),
            AgentChange::Update(id, placeholder) => {
                for agent in agents.iter_mut().filter(|agent| agent.id == *id) {
                    agent.capabilities = placeholder.capabilities.clone();
                    agent.enabled = false;
                }
            }
        }
    }
    observed
}
