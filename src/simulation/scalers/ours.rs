//! Our own planner, fed with real snapshots. It has no memory but a cache of agents' capabilities.

use std::time::Duration;

use jiff::Timestamp;

use super::{Kinds, Order, POOL, Scaler, Settings, View};
use crate::{
    core::{
        self, AgentChange, AgentId, AgentRef, AgentTemplate, Capabilities, INSTALLATION_CAPABILITY, Installation,
        JobRequest, Plan, Policy, PoolPolicy, PoolSnapshot, Purpose, RequestId, Scale, Snapshot, Stage, StartRun,
    },
    sandbox::{self, Phase},
};

const INSTALLATION: &str = "simulation";

/// The configuration's defaults.
const START_TIMEOUT: Duration = Duration::from_mins(5);
const IDLE_TIMEOUT: Duration = Duration::from_mins(10);

/// `core::plan` at each poll.
pub(super) struct Ours {
    policy: Policy,
    /// The agents of the last snapshot, because capabilities are costly to copy; in the order of their numbers.
    agents: Vec<core::Agent>,
    /// What [`View::replaced`] was then.
    replaced: usize,
    /// The placeholder agents of a pool that has been used before: its images were seen working.
    placeholders: Vec<core::Agent>,
}

impl Ours {
    /// Goes by the defaults. Who knows that agents take long to start gives them more time.
    pub(super) fn new(kinds: &Kinds, settings: &Settings) -> Self {
        let several = kinds.merged.len() > 1;
        let templates = kinds.merged.iter().map(|kind| AgentTemplate {
            name: kind.name.clone(),
            name_prefix: core::DEFAULT_PREFIX.to_owned(),
            revision: "1".to_owned(),
            // One template accepts everything, as with the environment variables alone.
            capabilities: several.then(|| kind.capabilities.clone()),
            ignore_demands: Vec::new(),
            scale: Scale::default(),
            schedules: Vec::new(),
        });
        let policy = Policy {
            installation: Installation::new(INSTALLATION),
            organization: "https://dev.azure.com/simulation".to_owned(),
            max_agents: settings.max_agents,
            start_timeout: START_TIMEOUT.max(settings.cold_start * 2),
            idle_timeout: IDLE_TIMEOUT,
            pools: vec![PoolPolicy { name: POOL.to_owned(), max_agents: None, templates: templates.collect() }],
        };
        let placeholders = placeholders(&policy, kinds);
        Self { policy, agents: Vec::new(), replaced: 0, placeholders }
    }

    fn observe(&mut self, view: &View<'_>) -> Snapshot {
        let runs = view.runs().cloned().collect();
        let requests = view.requests().map(job_request).collect();
        if std::mem::replace(&mut self.replaced, view.replaced) != view.replaced {
            self.agents.clear();
        }
        let mut known = std::mem::take(&mut self.agents).into_iter().peekable();
        let agents = view.agents().map(|agent| {
            let id = AgentId(agent.id);
            while known.next_if(|known| known.id < id).is_some() {}
            let cached = known.next_if(|known| known.id == id);
            core_agent(agent, view, cached.map(|cached| (cached.name, cached.capabilities)))
        });
        let agents = agents.chain(self.placeholders.iter().cloned()).collect();
        let pool = PoolSnapshot { pool: POOL.to_owned(), runs, requests, agents: Some(agents) };
        Snapshot { pools: vec![pool], ..Snapshot::default() }
    }
}

impl Scaler for Ours {
    fn name(&self) -> &'static str {
        "ours"
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn marks(&self) -> Capabilities {
        [(INSTALLATION_CAPABILITY, INSTALLATION)].into_iter().collect()
    }

    fn poll(&mut self, view: &View<'_>, now: Timestamp) -> Vec<Order> {
        let mut snapshot = self.observe(view);
        let plan = core::plan(&self.policy, &snapshot, now);
        self.agents = snapshot.pools.pop().and_then(|pool| pool.agents).unwrap_or_default();
        self.agents.truncate(self.agents.len() - self.placeholders.len());
        orders(plan)
    }

    fn forget(&mut self) {
        self.agents.clear();
    }
}

/// The placeholders that the planner leaves behind when it has seen an agent of each template at work.
fn placeholders(policy: &Policy, kinds: &Kinds) -> Vec<core::Agent> {
    let before = Timestamp::UNIX_EPOCH;
    let agent = |id: usize, name: &str, capabilities: Capabilities| core::Agent {
        id: AgentId(i64::MAX - i64::try_from(id).unwrap_or_default()),
        name: name.to_owned(),
        enabled: false,
        online: false,
        assigned: None,
        capabilities,
        created_at: Some(before),
        status_changed_at: Some(before),
        last_finished_at: None,
    };
    let templates = policy.pools.iter().flat_map(|pool| &pool.templates);
    let (runs, seen) = templates
        .zip(&kinds.merged)
        .enumerate()
        .map(|(index, (template, kind))| {
            let start = StartRun {
                name: format!("earlier-{index}"),
                pool: POOL.to_owned(),
                template: template.name.clone(),
                purpose: Purpose::Slot(0),
                attempt: 1,
                revision: template.revision.clone(),
            };
            let online = core::Agent { online: true, ..agent(index, &start.name, kind.capabilities.clone()) };
            (start.expected(before), online)
        })
        .unzip();
    let pool = PoolSnapshot { pool: POOL.to_owned(), runs, requests: Vec::new(), agents: Some(seen) };
    let earlier = core::plan(policy, &Snapshot { pools: vec![pool], ..Snapshot::default() }, before);
    let registered = earlier.agents.into_iter().filter_map(|action| match action.change {
        AgentChange::Register(placeholder) => Some(placeholder),
        _ => None,
    });
    registered.enumerate().map(|(index, left)| agent(index, &left.name, left.capabilities)).collect()
}

/// All that a plan wants done.
fn orders(plan: Plan) -> Vec<Order> {
    let Plan { starts, stops, agents, .. } = plan;
    let starts = starts.into_iter().map(Order::Start);
    let stops = stops.into_iter().map(|stop| Order::Stop(stop.name));
    let agents = agents.into_iter().map(|action| match action.change {
        AgentChange::Disable(agent, _) => Order::Disable(agent.id),
        AgentChange::Deregister(agent, _) => Order::Deregister(agent.id),
        AgentChange::Register(placeholder) => Order::Register(placeholder),
        AgentChange::Update(agent, placeholder) => Order::Update(agent, placeholder),
    });
    agents.chain(stops).chain(starts).collect()
}

fn job_request(request: &sandbox::Request) -> JobRequest {
    let agent = request.agent.as_ref().map(|agent| AgentRef { id: AgentId(agent.id), name: agent.name.clone() });
    JobRequest {
        id: RequestId(request.id),
        queued_at: Some(request.queued_at),
        received_at: request.received_at,
        stage: match (request.phase(), agent) {
            (Phase::Finished, _) => Stage::Finished,
            (Phase::Received, agent) => Stage::Running(agent),
            (Phase::Assigned, Some(agent)) => Stage::Assigned(agent),
            (Phase::Assigned | Phase::Queued, _) => Stage::Waiting,
        },
        demands: request.demands().to_vec(),
        plan_type: Some(request.job.plan_type.clone()),
        parallelism_tag: Some(request.job.parallelism_tag.clone()),
        pipeline: None,
        pipeline_run: None,
        priority: request.job.priority,
    }
}

fn core_agent(agent: &sandbox::Agent, view: &View<'_>, known: Option<(String, Capabilities)>) -> core::Agent {
    let (name, capabilities) = known.unwrap_or_else(|| {
        let offer = agent.system_capabilities.iter().chain(&agent.user_capabilities);
        (agent.name.clone(), offer.map(|(name, value)| (name, value.as_str())).collect())
    });
    let last = agent.last_completed.and_then(|request| view.state.find_request(request));
    core::Agent {
        id: AgentId(agent.id),
        name,
        enabled: agent.enabled,
        online: agent.online,
        assigned: agent.assigned.map(RequestId),
        capabilities,
        created_at: Some(agent.created_at),
        status_changed_at: Some(agent.status_changed_at),
        last_finished_at: last.and_then(|request| request.finished_at),
    }
}
