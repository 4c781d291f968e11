//! The simulated world: Azure DevOps' state machine, the virtual host, and the agents between them.
//!
//! A run's agent registers and comes online after the cold start, takes the first job request that Azure DevOps gives
//! it in the same moment, works on it as long as the workload says, and goes, deregistered. A run that fails dies at
//! some moment before that.

mod agents;

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use jiff::Timestamp;

use super::{
    Job, Settings, Workload,
    events::{Event, Events, Serial},
    figures::{Figures, Tally},
    host::Host,
    kinds::Kinds,
    scalers::{Order, POOL, View},
};
use crate::{
    core::{Capabilities, Placeholder, Progress, RunPhase, StartRun},
    sandbox::{AgentSpec, JobResult, JobSpec, Phase, Refusal, Rules, State, state},
};

/// When the simulation begins. Only differences of times are ever shown.
pub(super) const BEGINNING: Timestamp = Timestamp::constant(1_767_600_000, 0);

/// Virtual agents never fail to renew, so leases need not lapse.
const LEASE: Duration = Duration::from_hours(10 * 366 * 24);

/// One policy's world.
pub(super) struct World<'a> {
    jobs: &'a [Job],
    settings: &'a Settings,
    kinds: &'a Kinds,
    /// What agents say of themselves besides their kind's capabilities.
    marks: Capabilities,
    state: State,
    pool: i64,
    host: Host,
    events: Events,
    random: fastrand::Rng,
    tally: Tally,
    /// The workload's number of each job request.
    job_of: HashMap<i64, usize>,
    /// The job request of each job that has been queued.
    request_of: HashMap<usize, i64>,
    /// Runs whose agents are online without a job request.
    idle: BTreeSet<Serial>,
    busy: usize,
    /// Jobs that were not queued yet.
    to_come: usize,
    /// When a job last came, was received or ended.
    progress_at: Timestamp,
    /// Jobs that have come, and were neither received nor cancelled.
    waiting: usize,
    /// How often an agent that was registered got other capabilities.
    replaced: usize,
    /// The state's version when idle agents last asked for messages.
    asked_at: u64,
}

impl<'a> World<'a> {
    /// A pool that has been used before: an offline agent of each kind is registered.
    pub(super) fn new(
        workload: &'a Workload,
        settings: &'a Settings,
        kinds: &'a Kinds,
        marks: Capabilities,
    ) -> Result<Self, Refusal> {
        let mut state = State::new(Rules { first_lease: LEASE, lease: LEASE, ..Rules::default() });
        let pool = state.add_pool(POOL.into(), BEGINNING)?;
        for kind in kinds.all() {
            let spec = spec(&format!("offline-{}", kind.name), &kind.capabilities).disabled();
            state.register(pool, spec, BEGINNING)?;
        }
        let mut world = Self {
            jobs: workload.jobs(),
            settings,
            kinds,
            marks,
            state,
            pool,
            host: Host::default(),
            events: Events::default(),
            random: fastrand::Rng::with_seed(settings.seed),
            tally: Tally::default(),
            job_of: HashMap::new(),
            request_of: HashMap::new(),
            idle: BTreeSet::new(),
            busy: 0,
            to_come: workload.jobs().len(),
            progress_at: BEGINNING,
            waiting: 0,
            replaced: 0,
            asked_at: 0,
        };
        world.schedule_workload();
        Ok(world)
    }

    /// Which jobs are cancelled depends on the seed alone, so that it is the same for every policy.
    fn schedule_workload(&mut self) {
        let mut random = fastrand::Rng::with_seed(self.settings.seed.wrapping_add(1));
        for (number, job) in self.jobs.iter().enumerate() {
            let at = BEGINNING + job.at;
            self.events.add(at, Event::Arrives(number));
            let (draw, fraction) = (random.f64(), random.f64());
            if draw < self.settings.cancel_rate {
                let after = self.settings.cold_start.mul_f64(2.0 * fraction);
                self.events.add(at + after, Event::Cancelled(number));
            }
        }
        for restart in &self.settings.restarts {
            self.events.add(BEGINNING + *restart, Event::Restart);
        }
        self.events.add(BEGINNING, Event::Poll);
    }

    pub(super) fn schedule(&mut self, moment: Timestamp, event: Event) {
        self.events.add(moment, event);
    }

    pub(super) fn next_event(&mut self, deadline: Option<Timestamp>) -> Option<(Timestamp, Event)> {
        self.events.next_until(deadline)
    }

    pub(super) fn view(&mut self, now: Timestamp) -> View<'_> {
        self.host.expire(now);
        let version = (self.state.version(), self.host.version());
        View { state: &self.state, pool: self.pool, runs: self.host.runs(), version, replaced: self.replaced }
    }

    /// Whether all jobs have come and ended.
    pub(super) fn is_done(&self) -> bool {
        self.to_come == 0 && self.state.unfinished().next().is_none()
    }

    /// Since when nothing happens to jobs although all have come and some wait.
    pub(super) fn stalled_since(&self) -> Option<Timestamp> {
        (self.to_come == 0 && self.busy == 0 && !self.is_done()).then_some(self.progress_at)
    }

    /// Lets an event of the world happen.
    pub(super) fn happen(&mut self, event: Event, now: Timestamp) {
        match event {
            Event::Placed(serial) => self.progressed(serial, Progress::Placed, now),
            Event::PodRuns(serial) => self.progressed(serial, Progress::Running, now),
            Event::Dies(serial) => {
                if self.host.live(serial).is_some() {
                    self.tally.failed += 1;
                    let reason = "BackoffLimitExceeded: Job has reached the specified backoff limit".to_owned();
                    self.end(serial, Some(RunPhase::Failed(now, reason)), now);
                }
            }
            Event::Online(serial) => self.comes_online(serial, now),
            Event::JobDone(serial) => self.job_ends(serial, JobResult::Succeeded, now),
            Event::Arrives(number) => self.arrives(number, now),
            Event::Cancelled(number) => self.cancelled(number, now),
            Event::Restart | Event::Poll => {}
        }
        self.ask_for_messages(now);
    }

    /// Does what a scaler wants done. What cannot be done (any more) is not, as with a call that answers 404 or 409.
    pub(super) fn carry_out(&mut self, order: Order, now: Timestamp) {
        match order {
            Order::Start(start) => self.start(&start, now),
            Order::Stop(name) => {
                if let Some(serial) = self.host.named(&name) {
                    self.job_ends(serial, JobResult::Abandoned, now);
                    self.end(serial, None, now);
                }
            }
            Order::Disable(agent) => {
                let change = state::AgentChange { enabled: Some(false), ..state::AgentChange::default() };
                let _ = self.state.change_agent(self.pool, agent.0, change, now);
            }
            Order::Deregister(agent) => {
                let _ = self.state.remove_agent(self.pool, agent.0, now);
            }
            Order::Register(Placeholder { name, capabilities, .. }) => {
                let _ = self.state.register(self.pool, spec(&name, &capabilities).disabled(), now);
            }
            Order::Update(agent, Placeholder { name, capabilities, .. }) => {
                let system_capabilities = Some(spec(&name, &capabilities).system_capabilities);
                let change = state::AgentChange { system_capabilities, ..state::AgentChange::default() };
                let _ = self.state.change_agent(self.pool, agent.0, change, now);
                self.replaced += 1;
            }
        }
        self.ask_for_messages(now);
    }

    /// Ends the simulation.
    pub(super) fn figures(mut self, policy: &'static str, end: Timestamp) -> Figures {
        for serial in std::mem::take(&mut self.idle) {
            self.idled(serial, end);
        }
        self.tally.figures(policy, &self.state, end)
    }

    fn start(&mut self, start: &StartRun, now: Timestamp) {
        let Some(serial) = self.host.create(start, now) else { return };
        self.tally.started += 1;
        self.tally.live += 1;
        self.tally.peak = self.tally.peak.max(self.tally.live);
        let Settings { cold_start, pod_start, failure_rate, .. } = *self.settings;
        let (draw, fraction) = (self.random.f64(), self.random.f64());
        self.events.add(now + pod_start / 2, Event::Placed(serial));
        self.events.add(now + pod_start, Event::PodRuns(serial));
        if draw < failure_rate {
            self.events.add(now + cold_start.mul_f64(fraction), Event::Dies(serial));
        } else {
            self.events.add(now + cold_start, Event::Online(serial));
        }
    }

    fn progressed(&mut self, serial: Serial, progress: Progress, now: Timestamp) {
        if let Some(tracked) = self.host.live_mut(serial) {
            tracked.run.progress = progress;
            tracked.run.runs_since = (progress == Progress::Running).then_some(now);
        }
    }

    fn arrives(&mut self, number: usize, now: Timestamp) {
        self.to_come -= 1;
        self.progress_at = now;
        let mut spec = JobSpec::new("simulation", format!("job {}", number + 1));
        spec.demands.clone_from(&self.jobs[number].demands);
        if let Ok(request) = self.state.queue(self.pool, spec, now) {
            self.job_of.insert(request, number);
            self.request_of.insert(number, request);
            let ended = self.state.find_request(request).is_none_or(|request| request.phase() == Phase::Finished);
            self.waiting += usize::from(!ended);
        }
    }

    fn cancelled(&mut self, number: usize, now: Timestamp) {
        let Some(&request) = self.request_of.get(&number) else { return };
        let waited = self.state.find_request(request).is_some_and(|request| request.phase() < Phase::Received);
        let _ = self.state.cancel(request, now);
        self.waiting -= usize::from(waited);
        let agent = self.state.find_request(request).and_then(|request| request.agent.as_ref());
        let holder = agent.and_then(|agent| self.host.named(&agent.name));
        if let Some(serial) = holder {
            self.job_ends(serial, JobResult::Canceled, now);
        }
    }

    /// Ends a run, or deletes it if there is no phase for it to end in; its agent, if it is online, deregisters.
    fn end(&mut self, serial: Serial, phase: Option<RunPhase>, now: Timestamp) {
        if let Some(tracked) = self.host.live(serial) {
            self.tally.live -= 1;
            let online = tracked.agent.as_ref().map(|agent| (agent.id, agent.session.clone()));
            if self.idle.remove(&serial) {
                self.idled(serial, now);
            }
            if let Some((id, session)) = online {
                let _ = self.state.close_session(self.pool, &session, now);
                let _ = self.state.remove_agent(self.pool, id, now);
            }
        }
        match phase {
            Some(phase) => self.host.end(serial, phase),
            None => self.host.delete(serial),
        }
    }
}

/// A Linux agent of this name that offers these capabilities.
fn spec(name: &str, offer: &Capabilities) -> AgentSpec {
    offer.iter().fold(AgentSpec::named(name), |spec, (capability, value)| {
        // Names of capabilities are the same in any case, keys of a map are not.
        let known = spec.system_capabilities.keys().find(|known| known.eq_ignore_ascii_case(capability)).cloned();
        spec.with(known.unwrap_or_else(|| capability.to_owned()), value)
    })
}
