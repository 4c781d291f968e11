//! Whole histories: a small world in which actions take effect late, views are old or fail, agents are lost, the
//! orchestrator restarts and the clock jumps. Whatever happens, nothing forbidden is done, and when the disturbance is
//! over everything that can be served is served.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use jiff::Timestamp;
use kubectl_ado::core::{
    Agent, AgentChange, AgentRef, Capabilities, Clocks, Expectations, JobRequest, Memory, Plan, Policy, PoolSnapshot,
    Progress, Purpose, RequestId, Run, RunPhase, Scale, Snapshot, Stage, StartRun, Verdict, plan,
};
use proptest::prelude::*;

use crate::situation::{agent, at, policy, pool_policy, request, template};

/// A view of the host that is older than this, in seconds, is refused by the host itself, which is a list that fails: a
/// start of which nobody knows whether it worked is expected for so long.
const OLDEST_VIEW: i64 = 2;

/// What may come next.
#[derive(Clone, Debug)]
enum Step {
    /// Time passes, in seconds, and pods and agents come along.
    Time(i64),
    /// A job request is queued.
    Arrives(Wish),
    /// The request of that place is cancelled.
    Cancelled(usize),
    /// The agent of that place is lost: its node is gone.
    Lost(usize),
    /// The busy agent of that place has done its job.
    Done(usize),
    /// The orchestrator looks and acts; it may see the host as it was some looks ago, and the answer to each of its starts
    /// may be lost.
    Look { age: usize, answers_are_lost: bool },
    /// The same view is planned for again, as when a poll's answer comes twice.
    Again,
    /// The list of runs or the poll fails.
    Fails,
    /// The orchestrator's process restarts.
    Restart,
    /// Its clock jumps, and is wrong by so many seconds from then on.
    Jump(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Nothing,
    Docker,
    Gpu,
    /// No template has it.
    Kvm,
}

impl Wish {
    fn demands(self) -> &'static [&'static str] {
        match self {
            Self::Nothing => &[],
            Self::Docker => &["docker"],
            Self::Gpu => &["docker", "gpu -equals 1"],
            Self::Kvm => &["kvm"],
        }
    }

    fn is_servable(self) -> bool {
        self != Self::Kvm
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    let wish = prop::sample::select(vec![Wish::Nothing, Wish::Docker, Wish::Gpu, Wish::Kvm]);
    prop_oneof![
        4 => prop::sample::select(vec![1i64, 5, 20, 90, 400, 1000]).prop_map(Step::Time),
        5 => wish.prop_map(Step::Arrives),
        1 => (0usize..8).prop_map(Step::Cancelled),
        1 => (0usize..8).prop_map(Step::Lost),
        2 => (0usize..8).prop_map(Step::Done),
        6 => (0usize..3, prop::bool::weighted(0.2))
            .prop_map(|(age, answers_are_lost)| Step::Look { age, answers_are_lost }),
        1 => Just(Step::Again),
        1 => Just(Step::Fails),
        1 => Just(Step::Restart),
        1 => prop::sample::select(vec![-7200i64, -120, -5, 5, 120, 7200]).prop_map(Step::Jump),
    ]
}

/// Limits leave room for one more than the agents that are always kept: otherwise those keep others from being served.
fn any_policy() -> impl Strategy<Value = Policy> {
    (prop::option::of(4u32..6), prop::option::of(4u32..6), 0u32..3, 0u32..2, prop::option::of(1u32..3)).prop_map(
        |(over_all, pool, min, idle, max)| {
            let mut gpu = template("gpu", Some(&[("gpu", "1"), ("docker", "1")]));
            gpu.scale = Scale { min: 0, idle, max };
            let mut plain = template("plain", Some(&[("docker", "1")]));
            plain.scale = Scale { min, idle: 0, max: None };
            let mut policy = policy(vec![pool_policy("A", vec![gpu, plain])]);
            policy.max_agents = over_all;
            policy.pools[0].max_agents = pool;
            policy
        },
    )
}

/// What really is.
struct World {
    policy: Policy,
    clock: i64,
    /// By how much the orchestrator's clock is wrong.
    jump: i64,
    requests: Vec<(JobRequest, Wish)>,
    runs: Vec<Run>,
    agents: Vec<Agent>,
    next_agent: i64,
    /// The runs as they were at the last looks, and when that was; the newest last.
    past: Vec<(i64, Vec<Run>)>,
    /// How often each run was created, by request and attempt.
    created: BTreeMap<(RequestId, u32), u32>,
    /// What the orchestrator's process remembers.
    expectations: Expectations,
    memory: Memory,
    last_view: Option<Snapshot>,
}

type Checked = Result<(), TestCaseError>;

impl World {
    fn new(policy: Policy) -> Self {
        Self {
            policy,
            clock: 0,
            jump: 0,
            requests: Vec::new(),
            runs: Vec::new(),
            agents: Vec::new(),
            next_agent: 1,
            past: Vec::new(),
            created: BTreeMap::new(),
            expectations: Expectations::default(),
            memory: Memory::default(),
            last_view: None,
        }
    }

    /// By a clock that never jumps.
    fn moment(&self) -> Duration {
        Duration::from_secs(self.clock.unsigned_abs())
    }

    fn now(&self) -> Timestamp {
        at(self.clock)
    }

    fn happen(&mut self, step: &Step) -> Checked {
        match *step {
            Step::Time(seconds) => self.pass(seconds),
            Step::Arrives(wish) => self.arrives(wish),
            Step::Cancelled(place) => self.cancelled(place),
            Step::Lost(place) => self.lost(place),
            Step::Done(place) => self.done(place),
            Step::Look { age, answers_are_lost } => return self.look(age, answers_are_lost).map(drop),
            Step::Again => return self.again(),
            Step::Fails => self.fails(),
            Step::Restart => {
                self.expectations = Expectations::default();
                self.memory = Memory::default();
                // A new process lists before it decides.
                self.past.clear();
            }
            Step::Jump(seconds) => {
                self.jump = seconds;
                self.past.clear();
            }
        }
        Ok(())
    }

    fn arrives(&mut self, wish: Wish) {
        let id = self.requests.len() as i64 + 1;
        let queued_at = Some(self.now());
        self.requests.push((JobRequest { queued_at, ..request(id, wish.demands()) }, wish));
        self.assign();
    }

    fn cancelled(&mut self, place: usize) {
        let waits = |(request, _): &&mut (JobRequest, Wish)| request.stage == Stage::Waiting;
        if let Some((request, _)) = self.requests.iter_mut().filter(waits).nth(place) {
            request.stage = Stage::Finished;
        }
    }

    fn lost(&mut self, place: usize) {
        let Some(name) = self.runs.iter().filter(|run| run.is_live()).nth(place).map(|run| run.name.clone()) else {
            return;
        };
        self.end(&name, RunPhase::Failed(self.now(), "its node is gone".into()));
        let now = self.now();
        if let Some(agent) = self.agents.iter_mut().find(|agent| agent.name == name) {
            (agent.online, agent.status_changed_at) = (false, Some(now));
            if let Some(request) = agent.assigned.take() {
                // Azure DevOps gives up a job whose agent is silent.
                self.finish(request);
            }
        }
    }

    fn done(&mut self, place: usize) {
        let busy = self.agents.iter().filter(|agent| agent.online).filter_map(|agent| Some((agent.assigned?, agent)));
        let Some((request, name)) = busy.map(|(request, agent)| (request, agent.name.clone())).nth(place) else {
            return;
        };
        self.finish(request);
        self.agents.retain(|agent| agent.name != name);
        self.end(&name, RunPhase::Succeeded(self.now()));
    }

    fn finish(&mut self, id: RequestId) {
        if let Some((request, _)) = self.requests.iter_mut().find(|(request, _)| request.id == id) {
            request.stage = Stage::Finished;
        }
    }

    fn end(&mut self, name: &str, phase: RunPhase) {
        if let Some(run) = self.runs.iter_mut().find(|run| run.name == name) {
            run.phase = phase;
        }
    }

    /// Pods find their place within 2 s, agents are online within 10 s.
    fn pass(&mut self, seconds: i64) {
        self.clock += seconds;
        let now = self.now();
        for run in self.runs.iter_mut().filter(|run| run.is_live()) {
            let age = now.duration_since(run.created_at).as_secs();
            if age >= 2 && run.progress == Progress::Pending {
                run.progress = Progress::Placed;
            }
            if age < 10 || self.agents.iter().any(|agent| agent.name == run.name) {
                continue;
            }
            run.progress = Progress::Running;
            let kind = self.policy.pools[0].templates.iter().find(|kind| kind.name == run.template);
            let capabilities: Capabilities = kind.and_then(|kind| kind.capabilities.clone()).unwrap_or_default();
            let times = (Some(now), Some(now));
            let new = agent(self.next_agent, &run.name);
            self.next_agent += 1;
            self.agents.push(Agent { capabilities, created_at: times.0, status_changed_at: times.1, ..new });
        }
        self.assign();
    }

    /// Azure DevOps gives each waiting request, the oldest first, the first idle agent that satisfies it.
    fn assign(&mut self) {
        for (request, _) in self.requests.iter_mut().filter(|(request, _)| request.stage == Stage::Waiting) {
            let fits = |agent: &&mut Agent| {
                agent.online
                    && agent.enabled
                    && agent.assigned.is_none()
                    && request.demands.iter().all(|demand| agent.capabilities.satisfy(demand))
            };
            if let Some(agent) = self.agents.iter_mut().find(fits) {
                agent.assigned = Some(request.id);
                request.stage = Stage::Running(Some(AgentRef { id: agent.id, name: agent.name.clone() }));
            }
        }
    }

    /// What the orchestrator sees: the host as it was `age` looks ago, what it expects, and the pool as it is now.
    fn observe(&mut self, age: usize) -> Option<Snapshot> {
        self.past.push((self.clock, self.runs.clone()));
        let (seen_at, seen) = self.past[self.past.len().saturating_sub(1 + age)].clone();
        if self.clock - seen_at > OLDEST_VIEW {
            return None;
        }
        // A view never goes back behind what was seen before.
        self.past.drain(..self.past.len().saturating_sub(1 + age));
        let now = at(self.clock + self.jump);
        let runs = self.expectations.merge(seen, now);
        let open = self.requests.iter().map(|(request, _)| request).filter(|request| request.stage != Stage::Finished);
        let pool = PoolSnapshot {
            pool: "A".into(),
            runs,
            requests: open.cloned().collect(),
            agents: Some(self.agents.clone()),
        };
        let clocks = Clocks { host: Some(at(self.clock)), azure_devops: Some(at(self.clock)) };
        Some(Snapshot { pools: vec![pool], looked_at: self.moment(), clocks, ..Snapshot::default() })
    }

    /// Gives the plan that was carried out.
    fn look(&mut self, age: usize, answers_are_lost: bool) -> Result<Plan, TestCaseError> {
        let Some(view) = self.observe(age) else {
            self.fails();
            return Ok(Plan::default());
        };
        let decided = plan(&self.policy, &view, &self.memory, at(self.clock + self.jump));
        self.memory.remember(&self.policy, &view, &decided);
        self.check(&view, &decided)?;
        self.act(&decided, answers_are_lost)?;
        self.last_view = Some(view);
        Ok(decided)
    }

    /// The same view again gives the same plan, and carrying that out once more changes nothing for the worse.
    fn again(&mut self) -> Checked {
        let Some(view) = self.last_view.clone() else { return Ok(()) };
        let now = at(self.clock + self.jump);
        let decided = plan(&self.policy, &view, &self.memory, now);
        prop_assert_eq!(&decided, &plan(&self.policy, &view, &self.memory, now));
        Ok(())
    }

    /// No view, no plan: a pool that could not be observed is not in the snapshot, and nothing is done in it.
    fn fails(&mut self) {
        let live_elsewhere = self.runs.iter().filter(|run| run.is_live()).count() as u32;
        let nothing = Snapshot { live_elsewhere, ..Snapshot::default() };
        let decided = plan(&self.policy, &nothing, &self.memory, at(self.clock + self.jump));
        assert!(decided.is_idle() && decided.pools.is_empty(), "{decided:?}");
    }

    fn check(&self, view: &Snapshot, decided: &Plan) -> Checked {
        let waiting: HashSet<RequestId> =
            view.pools[0].requests.iter().filter(|open| open.stage == Stage::Waiting).map(|open| open.id).collect();
        let judged: HashSet<RequestId> = decided.pools[0].verdicts.iter().map(|(id, _)| *id).collect();
        prop_assert_eq!(waiting, judged, "every waiting request has a verdict");
        for (id, verdict) in &decided.pools[0].verdicts {
            let wish = self.requests.iter().find(|(request, _)| request.id == *id).unwrap().1;
            prop_assert_eq!(matches!(verdict, Verdict::NoTemplate { .. }), !wish.is_servable(), "{:?}", verdict);
        }
        for stop in &decided.stops {
            let busy = self.agents.iter().any(|agent| agent.name == stop.name && agent.assigned.is_some());
            prop_assert!(!busy, "a busy agent is stopped: {stop:?}");
        }
        Ok(())
    }

    fn act(&mut self, decided: &Plan, answers_are_lost: bool) -> Checked {
        let now = at(self.clock + self.jump);
        for stop in &decided.stops {
            if let Some(run) = self.runs.iter().find(|run| run.name == stop.name) {
                self.expectations.stopped(&run.name, run.created_at, now);
            }
            self.runs.retain(|run| run.name != stop.name);
            // What was its agent is silent from now on.
            for agent in self.agents.iter_mut().filter(|agent| agent.name == stop.name) {
                (agent.online, agent.status_changed_at) = (false, Some(at(self.clock)));
            }
        }
        for start in &decided.starts {
            self.start(start, answers_are_lost)?;
        }
        for action in &decided.agents {
            self.change(&action.change);
        }
        let live = self.runs.iter().filter(|run| run.is_live()).count();
        for limit in [self.policy.max_agents, self.policy.pools[0].max_agents].into_iter().flatten() {
            prop_assert!(live <= limit as usize, "{live} live agents and at most {limit}");
        }
        for kind in &self.policy.pools[0].templates {
            let live = self.runs.iter().filter(|run| run.is_live() && run.template == kind.name).count();
            prop_assert!(kind.scale.max.is_none_or(|max| live <= max as usize), "{live} live agents of {}", kind.name);
        }
        Ok(())
    }

    /// As with a Job: a name that is taken makes no second one.
    fn start(&mut self, start: &StartRun, answer_is_lost: bool) -> Checked {
        let now = at(self.clock + self.jump);
        self.expectations.starting(start, now);
        let there = self.runs.iter().find(|run| run.name == start.name).map(|run| run.created_at);
        let created_at = there.unwrap_or(at(self.clock));
        if there.is_none() {
            self.runs.push(start.expected(created_at));
            if let Purpose::Request(id) = start.purpose {
                let times = self.created.entry((id, start.attempt)).or_default();
                *times += 1;
                prop_assert_eq!(*times, 1, "two runs for one attempt: {:?}", start);
            }
        }
        if answer_is_lost {
            self.expectations.in_doubt(&start.name, now);
        } else {
            self.expectations.started(&start.name, created_at, None);
        }
        Ok(())
    }

    fn change(&mut self, change: &AgentChange) {
        match change {
            AgentChange::Disable(gone, _) => {
                self.agents.iter_mut().filter(|agent| agent.id == gone.id).for_each(|agent| agent.enabled = false);
            }
            AgentChange::Deregister(gone, _) => self.agents.retain(|agent| agent.id != gone.id),
            AgentChange::Register(placeholder) => {
                let new = agent(self.next_agent, &placeholder.name);
                self.next_agent += 1;
                let capabilities = placeholder.capabilities.clone();
                self.agents.push(Agent { enabled: false, online: false, capabilities, ..new });
            }
            AgentChange::Update(id, placeholder) => {
                for agent in self.agents.iter_mut().filter(|agent| agent.id == *id) {
                    agent.capabilities = placeholder.capabilities.clone();
                }
            }
        }
    }

    fn unserved(&self) -> Vec<RequestId> {
        let waits = |(request, wish): &&(JobRequest, Wish)| request.stage == Stage::Waiting && wish.is_servable();
        self.requests.iter().filter(waits).map(|(request, _)| request.id).collect()
    }

    /// Without disturbance: fresh views, every job ends soon.
    fn calm_down(&mut self) -> Checked {
        for _ in 0..120 {
            self.look(0, false)?;
            // Once its actions took effect there is nothing left to do.
            self.pass(15);
            (0..8).for_each(|_| self.done(0));
            if self.unserved().is_empty() {
                return self.rests();
            }
        }
        prop_assert!(false, "never served: {:?}", self.unserved());
        Ok(())
    }

    /// When all is served, the world comes to rest: what is needless goes, and then nothing is done any more.
    fn rests(&mut self) -> Checked {
        for _ in 0..12 {
            let decided = self.look(0, false)?;
            if decided.is_idle() {
                return Ok(());
            }
            self.pass(700);
        }
        prop_assert!(false, "it does not come to rest: {:?}", self.look(0, false)?);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2_000, ..ProptestConfig::with_cases(10_000) })]

    #[test]
    fn whatever_happens_nothing_forbidden_is_done_and_all_is_served_in_the_end(
        policy in any_policy(),
        steps in prop::collection::vec(any_step(), 10..25),
    ) {
        let mut world = World::new(policy);
        for step in &steps {
            world.happen(step)?;
        }
        world.calm_down()?;
    }

    #[test]
    fn a_plan_whose_actions_took_effect_is_followed_by_no_starts(
        policy in any_policy(),
        steps in prop::collection::vec(any_step(), 10..25),
    ) {
        let mut world = World::new(policy);
        // The ages of runs, which some rules go by, are told by two clocks; here they agree.
        for step in steps.iter().filter(|step| !matches!(step, Step::Jump(_))) {
            world.happen(step)?;
            if matches!(step, Step::Look { .. }) {
                // What is stopped makes room below a limit for what was missing there, so its end is waited for.
                let mut settled = world.look(0, false)?;
                for _ in 0..8 {
                    if settled.stops.is_empty() && !settled.wants_another_look() {
                        break;
                    }
                    world.pass(1);
                    settled = world.look(0, false)?;
                }
                prop_assert!(settled.stops.is_empty(), "stops without end: {:?}", settled);
                let more = world.look(0, false)?;
                prop_assert!(more.starts.is_empty(), "{:?} after {:?}", more, settled);
            }
        }
    }
}

#[test]
fn the_room_that_a_stop_makes_below_the_limit_is_used_for_what_was_missing() {
    let mut gpu = template("gpu", Some(&[("gpu", "1"), ("docker", "1")]));
    gpu.scale = Scale { min: 0, idle: 1, max: None };
    let mut plain = template("plain", Some(&[("docker", "1")]));
    plain.scale = Scale { min: 1, idle: 0, max: None };
    let mut policy = policy(vec![pool_policy("A", vec![gpu, plain])]);
    policy.pools[0].max_agents = Some(4);
    let mut world = World::new(policy);
    let look = |world: &mut World| world.look(0, false).unwrap();
    let kept = look(&mut world);
    assert_eq!(kept.starts.len(), 2, "one of each kind is kept: {kept:?}");
    (0..3).for_each(|_| world.arrives(Wish::Nothing));
    // The plain one is lost, and others take its room while it backs off.
    world.lost(0);
    assert_eq!(look(&mut world).starts.len(), 3);
    world.cancelled(0);
    world.pass(20);
    world.pass(1000);

    let disabled = look(&mut world);
    world.pass(1);
    assert!(look(&mut world).is_idle(), "one look that finds it disabled is not enough");
    world.pass(1);
    let stopped = look(&mut world);
    let filled = look(&mut world);
    let settled = look(&mut world);

    assert!(disabled.starts.is_empty() && stopped.starts.is_empty(), "there is no room: {disabled:?} {stopped:?}");
    assert_eq!(stopped.stops.len(), 1, "an idle one too many is taken back: {stopped:?}");
    assert_eq!(filled.starts.iter().map(|start| &*start.template).collect::<Vec<_>>(), ["plain"]);
    assert!(settled.is_idle(), "{settled:?}");
}
