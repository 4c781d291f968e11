//! Our own planner, fed with real snapshots. All that is remembered here spares work and decides nothing.

use std::time::Duration;

use jiff::Timestamp;

use super::{Kind, Kinds, Order, POOL, Scaler, Settings, View};
use crate::{
    core::{
        self, AgentChange, AgentId, AgentRef, AgentTemplate, Capabilities, INSTALLATION_CAPABILITY, Installation,
        JobRequest, Memory, Plan, Policy, PoolPolicy, PoolSnapshot, Purpose, RequestId, Run, Scale, Snapshot, Stage,
        StartRun, Timeouts,
    },
    sandbox::{self, Phase},
};

const INSTALLATION: &str = "simulation";

/// The templates never change.
const REVISION: &str = "1";

/// The configuration's defaults.
const IDLE_TIMEOUT: Duration = Duration::from_mins(10);

/// `core::plan` at each poll.
pub(super) struct Ours {
    policy: Policy,
    /// One for each template.
    kinds: Vec<Kind>,
    /// The agents of the last snapshot, because capabilities are costly to copy; in the order of their numbers.
    agents: Vec<core::Agent>,
    /// What [`View::replaced`] was then.
    replaced: usize,
    /// The version of what was seen when there was nothing to do, and until when that holds.
    idle: Option<((u64, u64), Option<Timestamp>)>,
    memory: Memory,
}

impl Ours {
    /// Goes by the defaults. Who knows that agents take long to start gives them more time.
    pub(super) fn new(kinds: &Kinds, settings: &Settings) -> Self {
        let several = kinds.merged.len() > 1;
        let templates = kinds.merged.iter().map(|kind| AgentTemplate {
            name: kind.name.clone(),
            name_prefix: core::DEFAULT_PREFIX.to_owned(),
            revision: REVISION.to_owned(),
            recipe_reason: None,
            registration_pending: None,
            recipe: crate::core::Recipe::default(),
            // One template accepts everything, as with the environment variables alone.
            capabilities: several.then(|| kind.capabilities.clone()),
            ignore_demands: Vec::new(),
            scale: Scale::default(),
            schedules: Vec::new(),
            timeouts: timeouts(settings),
        });
        let policy = Policy {
            installation: Installation::new(INSTALLATION),
            organization: "https://dev.azure.com/simulation".to_owned(),
            max_agents: settings.max_agents,
            timeouts: timeouts(settings),
            idle_timeout: IDLE_TIMEOUT,
            pools: vec![PoolPolicy {
                name: POOL.to_owned(),
                max_agents: None,
                templates: templates.collect(),
                paused: None,
                removed: false,
            }],
            identity: String::new(),
            retire: false,
        };
        Self {
            policy,
            kinds: kinds.merged.clone(),
            agents: Vec::new(),
            replaced: 0,
            idle: None,
            memory: Memory::default(),
        }
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
        let pool = PoolSnapshot { pool: POOL.to_owned(), runs, requests, agents: Some(agents.collect()) };
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

    /// The placeholders of the day before. They remember what the image offers, and that it works: an image that nobody
    /// has seen working is tried by a few agents first.
    fn legacy(&self, now: Timestamp) -> Vec<Order> {
        let mut pool = PoolSnapshot { pool: POOL.to_owned(), runs: Vec::new(), requests: Vec::new(), agents: None };
        for (number, kind) in (1..).zip(&self.kinds) {
            let (run, agent) = at_work(number, kind, now);
            pool.runs.push(run);
            pool.agents.get_or_insert_default().push(agent);
        }
        let yesterday =
            core::plan(&self.policy, &Snapshot { pools: vec![pool], ..Snapshot::default() }, &Memory::default(), now);
        orders(yesterday).into_iter().filter(|order| matches!(order, Order::Register(_))).collect()
    }

    fn poll(&mut self, view: &View<'_>, now: Timestamp) -> Vec<Order> {
        // The plan is a function of what is seen and of the time, and says when time alone changes it.
        if let Some((version, until)) = self.idle
            && version == view.version
            && until.is_none_or(|until| now < until)
        {
            return Vec::new();
        }
        let mut snapshot = self.observe(view);
        // There is one clock here, and it never jumps.
        snapshot.looked_at = Duration::try_from(now.duration_since(Timestamp::UNIX_EPOCH)).unwrap_or_default();
        let plan = core::plan(&self.policy, &snapshot, &self.memory, now);
        self.memory.remember(&self.policy, &snapshot, &plan);
        self.agents = snapshot.pools.pop().and_then(|pool| pool.agents).unwrap_or_default();
        self.idle = (plan.is_idle() && !plan.wants_another_look()).then_some((view.version, plan.wake_at));
        orders(plan)
    }

    fn forget(&mut self) {
        self.agents.clear();
        self.idle = None;
        self.memory = Memory::default();
    }
}

fn timeouts(settings: &Settings) -> Timeouts {
    Timeouts::of_start(Timeouts::START.max(settings.cold_start * 2))
}

/// A run of this kind, and its agent that is online.
fn at_work(number: u32, kind: &Kind, now: Timestamp) -> (Run, core::Agent) {
    let start = StartRun {
        name: format!("yesterday-{number}"),
        pool: POOL.to_owned(),
        template: kind.name.clone(),
        purpose: Purpose::Slot(number),
        attempt: 1,
        revision: REVISION.to_owned(),
        recipe: crate::core::Recipe::default(),
    };
    let agent = core::Agent {
        id: AgentId(i64::from(number)),
        name: start.name.clone(),
        enabled: true,
        online: true,
        assigned: None,
        capabilities: kind.capabilities.clone(),
        created_at: Some(now),
        status_changed_at: Some(now),
        last_finished_at: None,
    };
    (start.expected(now), agent)
}

/// All that a plan wants done.
fn orders(plan: Plan) -> Vec<Order> {
    let Plan { starts, equips: _, stops, agents, pools: _, found: _, wake_at: _ } = plan;
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
        url: None,
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
