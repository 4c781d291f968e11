//! The loop itself.
//!
//! A round lists our runs once, polls every pool that is due side by side, and plans over those that have answered. A
//! pool that is slow or failing takes part in a later round and holds up nobody. Planning and acting happen in one
//! place, one round after the other, so that limits over all pools hold.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use jiff::Timestamp;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::{
    Leadership, Metrics, Stop,
    act::{Acted, Holds, change_agents, start_runs, stop_runs},
    board::Board,
    journal::Journal,
    observe::{Polled, poll},
    pace::{BUSY, BackOff, Pace},
    trouble,
};
use crate::{
    azure_devops::{AzureDevOps, PoolId},
    config::Polling,
    core::{Plan, Policy, PoolSnapshot, Run, Snapshot, StopReason, plan},
    hosts::AgentHost,
};

/// How long a round waits for the answers to its polls; what comes later belongs to a later round.
const STRAGGLERS: Duration = Duration::from_secs(1);

/// How often the registrations of a quiet pool are looked at: placeholders that somebody deleted, agents left behind.
const LOOK_AT_AGENTS: Duration = Duration::from_secs(60);

/// The longest sleep without a sign of life, for whoever watches our health.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

/// The most that a call for patience by Azure DevOps stretches the pace.
const MOST_STRETCH: f64 = 60.0;

/// What people ask is known within this time, or nobody can say.
const UNTIL_ASKED: Duration = Duration::from_secs(10);

/// What is in flight when we are told to stop gets this long to end.
const LAST_ACTIONS: Duration = Duration::from_secs(10);

/// How the loop goes about its work.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How often Azure DevOps is asked.
    pub polling: Polling,
    /// Whether the organization's parallel jobs limit new agents.
    pub respect_parallel_jobs: bool,
    /// The clock.
    pub now: fn() -> Timestamp,
}

/// How a single pass came out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Polls, starts and other calls that failed.
    pub failures: u32,
    /// Agents that were started.
    pub started: u32,
}

/// The loop, between Azure DevOps on one side and a host on the other.
pub struct Engine<'a, A, H> {
    azure_devops: &'a A,
    host: &'a H,
    policy: Policy,
    settings: Settings,
    metrics: Arc<Metrics>,
    leadership: Leadership,
    board: Arc<Board>,
    /// What people ask is known, or nobody can say, so that we may act.
    asked: bool,
    journal: Journal,
    holds: Holds,
    pools: Vec<PoolState>,
    round: u64,
    in_flight: FuturesUnordered<Pin<Box<dyn Future<Output = Polled> + 'a>>>,
    /// Answers that came between two rounds.
    late: Vec<Polled>,
    host_back_off: BackOff,
}

/// What the loop remembers of a pool. None of it matters after a restart.
struct PoolState {
    id: Option<PoolId>,
    due: Instant,
    /// When its agents are looked at even if all is quiet.
    look_due: Instant,
    /// The round that sent the poll which has not been answered.
    in_flight: Option<u64>,
    pace: Pace,
    back_off: BackOff,
}

impl<'a, A: AzureDevOps, H: AgentHost> Engine<'a, A, H> {
    /// A loop that has not begun.
    pub fn new(azure_devops: &'a A, host: &'a H, policy: Policy, settings: Settings, metrics: Arc<Metrics>) -> Self {
        let pool = || PoolState {
            id: None,
            due: Instant::now(),
            look_due: Instant::now(),
            in_flight: None,
            pace: Pace::new(settings.polling),
            back_off: BackOff::default(),
        };
        let pools = policy.pools.iter().map(|_| pool()).collect();
        Self {
            azure_devops,
            host,
            policy,
            settings,
            metrics,
            leadership: Leadership::none(),
            board: Arc::default(),
            asked: false,
            journal: Journal::default(),
            holds: Holds::default(),
            pools,
            round: 0,
            in_flight: FuturesUnordered::new(),
            late: Vec::new(),
            host_back_off: BackOff::default(),
        }
    }

    /// Acts only while it may. Without this it always may.
    #[must_use]
    pub fn under(self, leadership: Leadership) -> Self {
        Self { leadership, ..self }
    }

    /// Tells what it knows to a board, and does as people ask there.
    #[must_use]
    pub fn reporting_to(self, board: Arc<Board>) -> Self {
        Self { board, ..self }
    }

    /// Goes round until it is time to stop.
    pub async fn run(&mut self, stop: &Stop) {
        while !stop.is_wanted() {
            // Before that, even one who follows polls: being ready means that its configuration works.
            if !self.leadership.may_act() && self.metrics.has_polled() {
                tokio::select! {
                    biased;
                    () = stop.wanted() => return,
                    () = self.follow() => {}
                }
            }
            if !self.asked && self.leadership.may_act() {
                tokio::select! {
                    biased;
                    () = stop.wanted() => return,
                    // Where nobody can say what people ask, the pools are served all the same.
                    _ = timeout(UNTIL_ASKED, self.board.until_asked()) => self.asked = true,
                }
            }
            let wait = tokio::select! {
                biased;
                () = stop.wanted() => return,
                observed = self.observe(STRAGGLERS) => match observed {
                    Ok(observed) if self.asked && self.leadership.may_act() => {
                        tokio::select! {
                            biased;
                            _ = self.decide_and_act(observed, stop) => {}
                            () = last_call(stop) => return,
                        }
                        self.next_due()
                    }
                    Ok(observed) => {
                        self.ask_again(&observed);
                        self.next_due()
                    }
                    Err(wait) => Instant::now() + wait,
                },
            };
            tokio::select! {
                biased;
                () = stop.wanted() => return,
                () = self.until(wait) => {}
            }
        }
    }

    /// Nothing came of what these pools answered, because we might not act then. By now we may, and their agents have to be
    /// looked at in this round and not in a minute.
    fn ask_again(&mut self, observed: &Observed) {
        for (index, _) in &observed.pools {
            let pool = &mut self.pools[*index];
            (pool.due, pool.look_due) = (Instant::now(), Instant::now());
        }
    }

    /// Waits until we may act, and forgets what was polled before: it is too old to act on by then.
    async fn follow(&mut self) {
        self.in_flight.clear();
        self.late.clear();
        self.metrics.following();
        self.board.follows();
        self.asked = false;
        while timeout(SIGN_OF_LIFE, self.leadership.until_may_act()).await.is_err() {
            self.metrics.passed((self.settings.now)());
        }
        for pool in &mut self.pools {
            pool.in_flight = None;
            (pool.due, pool.look_due) = (Instant::now(), Instant::now());
        }
    }

    /// One pass over all pools, waiting for the slowest.
    pub async fn run_once(&mut self, stop: &Stop) -> Outcome {
        tokio::select! {
            biased;
            () = stop.wanted() => Outcome { failures: 1, started: 0 },
            observed = self.observe(Duration::MAX) => match observed {
                Ok(observed) => tokio::select! {
                    biased;
                    outcome = self.decide_and_act(observed, stop) => outcome,
                    () = last_call(stop) => Outcome { failures: 1, started: 0 },
                },
                Err(_) => Outcome { failures: 1, started: 0 },
            },
        }
    }

    /// Lists our runs, polls the pools that are due, and gives what has answered: pools that failed are counted.
    async fn observe(&mut self, stragglers: Duration) -> Result<Observed, Duration> {
        let runs = match self.host.runs().await {
            Ok(runs) => Arc::new(runs),
            Err(error) => {
                self.journal.trouble("host", Some((error.to_string(), error.fix())));
                self.board.host(Some(trouble::of_host(&error)));
                self.metrics.passed((self.settings.now)());
                return Err(self.host_back_off.failed());
            }
        };
        self.host_back_off.succeeded();
        self.journal.trouble("host", None);
        self.board.host(None);
        self.journal.runs(&runs);
        self.send_polls(&runs);

        let mut observed = Observed { runs, pools: Vec::new(), failures: 0 };
        for polled in std::mem::take(&mut self.late) {
            self.arrived(polled, &mut observed);
        }
        let deadline = Instant::now().checked_add(stragglers);
        while self.pools.iter().any(|pool| pool.in_flight == Some(self.round)) {
            let next = match deadline {
                Some(deadline) => timeout_at(deadline, self.in_flight.next()).await,
                None => Ok(self.in_flight.next().await),
            };
            let Ok(Some(polled)) = next else { break };
            self.arrived(polled, &mut observed);
        }
        Ok(observed)
    }

    fn send_polls(&mut self, runs: &Arc<Vec<Run>>) {
        let now = Instant::now();
        self.round += 1;
        for (index, state) in self.pools.iter_mut().enumerate() {
            if state.in_flight.is_some() || now < state.due {
                continue;
            }
            state.in_flight = Some(self.round);
            let pool = self.policy.pools[index].name.clone();
            // Whoever gives up wants to see that nothing is left.
            let look = now >= state.look_due || self.policy.retire;
            self.in_flight.push(Box::pin(poll(self.azure_devops, index, pool, state.id, look, Arc::clone(runs))));
        }
    }

    fn arrived(&mut self, polled: Polled, observed: &mut Observed) {
        let Polled { index, id, result } = polled;
        let name = &self.policy.pools[index].name;
        let state = &mut self.pools[index];
        state.in_flight = None;
        state.id = id;
        match result {
            Ok(snapshot) => {
                state.back_off.succeeded();
                if snapshot.agents.is_some() {
                    state.look_due = Instant::now() + LOOK_AT_AGENTS;
                }
                self.journal.polled(name);
                self.metrics.polled(name, (self.settings.now)());
                self.metrics.observed(name, &snapshot.requests);
                observed.pools.push((index, snapshot));
            }
            Err(error) => {
                let wait = state.back_off.failed().max(error.retry_after().unwrap_or_default());
                state.due = Instant::now() + wait;
                self.journal.poll_failed(name, &error);
                self.board.poll_failed(name, trouble::of_poll(&error));
                self.metrics.poll_failed(name, error.reason());
                observed.failures += 1;
            }
        }
    }

    async fn decide_and_act(&mut self, observed: Observed, stop: &Stop) -> Outcome {
        let Observed { runs, pools: arrived, failures } = observed;
        let mut outcome = Outcome { failures, started: 0 };
        let (indices, pools): (Vec<usize>, Vec<PoolSnapshot>) = arrived.into_iter().unzip();
        let observed_pools: Vec<&str> = pools.iter().map(|pool| pool.pool.as_str()).collect();
        let elsewhere = runs.iter().filter(|run| run.is_live() && !observed_pools.contains(&run.pool.as_str()));
        let live_elsewhere = elsewhere.count().try_into().unwrap_or(u32::MAX);
        let mut snapshot = Snapshot { pools, live_elsewhere, ..Snapshot::default() };

        let now = (self.settings.now)();
        self.board.apply(&mut self.policy, now);
        let mut decided = plan(&self.policy, &snapshot, now);
        if self.settings.respect_parallel_jobs && !decided.starts.is_empty() {
            self.limit_by_parallel_jobs(&mut snapshot).await;
            decided = plan(&self.policy, &snapshot, now);
        }
        self.journal.planned(&decided);
        self.set_next_polls(&indices, &decided);
        for pool in &decided.pools {
            self.metrics.planned(pool, now);
        }
        self.board.nothing_to_register(&decided);
        self.board.planned(snapshot.pools, std::mem::take(&mut decided.pools), now);

        self.carry_out(decided, stop, &mut outcome).await;
        if !self.leadership.may_act() {
            return outcome;
        }
        if let Err(error) = self.host.tidy(&runs).await {
            self.journal.trouble("tidying up", Some((error.to_string(), error.fix())));
            outcome.failures += 1;
        } else {
            self.journal.trouble("tidying up", None);
        }
        self.metrics.passed((self.settings.now)());
        outcome
    }

    /// Asks how many parallel jobs are left. It is only worth a call when an agent is about to be started, and if no
    /// answer can be had, agents are started all the same.
    async fn limit_by_parallel_jobs(&mut self, snapshot: &mut Snapshot) {
        match self.azure_devops.parallel_jobs().await {
            Ok(parallel_jobs) => {
                snapshot.parallel_jobs = parallel_jobs;
                self.journal.trouble("parallel jobs", None);
            }
            Err(error) => self.journal.trouble("parallel jobs", Some((error.to_string(), error.fix()))),
        }
    }

    /// What is ended makes room for what is started; registrations come last, because nobody waits for them.
    async fn carry_out(&mut self, decided: Plan, stop: &Stop, outcome: &mut Outcome) {
        let Self { azure_devops, host, holds, journal, leadership, metrics, policy, pools, board, .. } = self;
        let now = self.settings.now;
        let Plan { starts, stops, agents, .. } = decided;
        let go_on = || leadership.may_act() && !stop.is_wanted();
        stop_runs(*host, stops, go_on, |run, result| {
            journal.stopped(run, &result);
            if let StopReason::NeverCame(trouble) = &run.reason {
                board.never_came(&run.pool, trouble.as_deref(), now());
            }
            match result {
                Ok(()) => metrics.stopped(&run.pool, run.reason.word()),
                Err(_) => outcome.failures += 1,
            }
        })
        .await;
        start_runs(*host, starts, holds, go_on, |acted: &Acted| {
            journal.acted(acted);
            let refusal = acted.result.as_ref().err().and_then(|error| trouble::of_start(error, &acted.start.name));
            board.started(&acted.start.pool, &acted.start.template, refusal);
            match &acted.result {
                Ok(_) => {
                    metrics.started(&acted.start.pool);
                    outcome.started += 1;
                }
                Err(refusal) => {
                    metrics.start_failed(&acted.start.pool, refusal.reason());
                    outcome.failures += 1;
                }
            }
        })
        .await;
        let numbered = agents.into_iter().filter_map(|action| {
            let index = policy.pools.iter().position(|pool| pool.name == action.pool)?;
            Some((pools[index].id?, action))
        });
        change_agents(*azure_devops, numbered.collect(), go_on, |action, result| {
            journal.changed(action, &result);
            board.registered(&action.pool, result.err().as_ref().and_then(trouble::of_registration));
        })
        .await;
    }

    fn set_next_polls(&mut self, indices: &[usize], decided: &Plan) {
        for &index in indices {
            let name = &self.policy.pools[index].name;
            let counts = decided.pools.iter().find(|pool| pool.pool == *name).map(|pool| pool.counts);
            let acts = decided.starts.iter().any(|start| start.pool == *name)
                || decided.stops.iter().any(|stop| stop.pool == *name);
            let busy = acts || counts.is_some_and(|counts| counts.waiting + counts.starting > 0);
            let stretch = self.azure_devops.stretch().clamp(1.0, MOST_STRETCH);
            let state = &mut self.pools[index];
            state.due = Instant::now() + state.pace.after(busy).mul_f64(stretch);
        }
    }

    /// When the next round is worth while.
    fn next_due(&self) -> Instant {
        let polls = self.pools.iter().filter(|pool| pool.in_flight.is_none()).map(|pool| pool.due);
        polls.chain(self.holds.next_after(Instant::now())).min().unwrap_or_else(|| Instant::now() + STRAGGLERS)
    }

    /// Waits for a moment, for a pool that was late, or for the host to change.
    async fn until(&mut self, mut moment: Instant) {
        let host = self.host;
        let mut wakeful = self.settings.polling == Polling::Adaptive;
        while Instant::now() < moment {
            self.metrics.passed((self.settings.now)());
            // In this order, so that what happens at one moment always goes the same way.
            tokio::select! {
                biased;
                Some(polled) = self.in_flight.next() => {
                    self.late.push(polled);
                    return;
                }
                // What changed on the host may call for something; but a delay that somebody set is kept.
                () = host.changed(), if wakeful => {
                    wakeful = false;
                    let soon = Instant::now() + BUSY;
                    self.pools.iter_mut().for_each(|pool| pool.due = pool.due.min(soon));
                    moment = moment.min(soon);
                }
                // Who asks for something wants to see it done.
                () = self.board.asks_anew() => {
                    self.pools.iter_mut().for_each(|pool| pool.due = pool.due.min(Instant::now()));
                    return;
                }
                () = sleep_until(moment.min(Instant::now() + SIGN_OF_LIFE)) => {}
            }
        }
    }
}

/// When what is in flight has had its time to end after the wish to stop.
async fn last_call(stop: &Stop) {
    stop.wanted().await;
    sleep(LAST_ACTIONS).await;
}

/// What a round has to decide on.
struct Observed {
    runs: Arc<Vec<Run>>,
    pools: Vec<(usize, PoolSnapshot)>,
    failures: u32,
}
