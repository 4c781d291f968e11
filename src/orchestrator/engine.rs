//! The loop itself.
//!
//! A round lists our runs once, polls every pool that is due side by side, and plans over those that have answered. A
//! pool that is slow or failing takes part in a later round and holds up nobody. Planning happens in one place, one round
//! after the other, so that limits over all pools hold. What is decided is begun at once and awaited by nobody: it comes
//! out while the loop goes on, and counts meanwhile as if it were there already.

mod came_out;
mod decide;
mod delays;
mod dispatch;
mod left_pools;
mod number;
mod polls;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, pin::pin, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use self::{
    came_out::Outcome as CallOutcome,
    left_pools::LeftPools,
    polls::{Arrived, PoolState},
};
use super::{
    Leadership, Metrics, Stop,
    board::Board,
    calls::{ALL_POOLS, Calls, Kind},
    expected::Expected,
    holds::Holds,
    journal::Journal,
    measured::Measured,
    pace::{BUSY, BackOff},
    parallel_jobs::KnownParallelJobs,
    recipes::{Recipes, Wishes},
};
use crate::{
    azure_devops::AzureDevOps,
    config::Polling,
    core::{Memory, Policy, Run},
    hosts::AgentHost,
};

/// How long a round waits for the answers to its polls; what comes later belongs to a later round.
const STRAGGLERS: Duration = Duration::from_secs(1);

/// How long what was seen is good enough to start agents on. After that the requests are asked for once more: they may have
/// been cancelled meanwhile, or served and tidied up by another one of us.
const SIGHT_HOLDS: Duration = Duration::from_secs(10);

/// The longest sleep without a sign of life, for whoever watches our health, and how often it is looked at what takes long.
const TICK: Duration = Duration::from_secs(5);

/// What people ask is known within this time, or nobody can say.
const UNTIL_ASKED: Duration = Duration::from_secs(10);

/// So often a single pass tries how agents can be registered, with pauses of 1, 2 and 4 seconds.
const MOST_TRIALS_OF_ONE_PASS: u32 = 4;

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
    azure_devops: Measured<'a, A>,
    host: Measured<'a, H>,
    policy: Policy,
    settings: Settings,
    metrics: Arc<Metrics>,
    leadership: Leadership,
    stop: Stop,
    board: Arc<Board>,
    /// What people ask is known, or nobody can say, so that we may act.
    asked: bool,
    /// There is only one pass: whatever it decides has to be begun by it.
    single_pass: bool,
    journal: Journal,
    holds: Holds,
    recipes: Recipes,
    parallel_jobs: KnownParallelJobs,
    pools: Vec<PoolState>,
    /// By pool, as it was last observed: the runs whose agents have a job.
    busy: BTreeMap<String, Vec<String>>,
    /// The number of the latest listing of our runs.
    listing: u64,
    /// That listing.
    runs: Arc<Vec<Run>>,
    calls: Calls<'a, CallOutcome>,
    expected: Expected,
    /// Polls that have been answered and not been decided on.
    arrived: Vec<Arrived>,
    host_back_off: BackOff,
    /// How it came out so far.
    outcome: Outcome,
    /// What earlier looks have shown.
    memory: Memory,
    /// Pools that the configuration does not have, and in which runs of this installation are left.
    left_pools: LeftPools,
    /// What the moments of looks are counted from.
    began: Instant,
}

impl<'a, A: AzureDevOps, H: AgentHost> Engine<'a, A, H> {
    /// A loop that has not begun.
    pub fn new(azure_devops: &'a A, host: &'a H, policy: Policy, settings: Settings, metrics: Arc<Metrics>) -> Self {
        let pools: Vec<_> = policy.pools.iter().map(|_| PoolState::new(settings.polling)).collect();
        Self {
            azure_devops: Measured::new(azure_devops, &metrics),
            host: Measured::new(host, &metrics),
            settings,
            leadership: Leadership::none(),
            stop: Stop::never(),
            board: Arc::default(),
            asked: false,
            single_pass: false,
            journal: Journal::default(),
            holds: Holds::default(),
            recipes: Recipes::default(),
            parallel_jobs: KnownParallelJobs::default(),
            calls: Calls::new(pools.len()),
            pools,
            policy,
            metrics,
            busy: BTreeMap::new(),
            listing: 0,
            runs: Arc::default(),
            expected: Expected::default(),
            arrived: Vec::new(),
            host_back_off: BackOff::default(),
            outcome: Outcome::default(),
            memory: Memory::default(),
            left_pools: LeftPools::default(),
            began: Instant::now(),
        }
    }

    /// Acts only while it may. Without this it always may.
    #[must_use]
    pub fn under(self, leadership: Leadership) -> Self {
        Self { leadership, ..self }
    }

    /// Gives agents the right to work as is wished for their templates. Without it, as the policy says.
    #[must_use]
    pub fn wishing(self, wishes: Wishes) -> Self {
        Self { recipes: Recipes::new(wishes), ..self }
    }

    /// Tells what it knows to a board, and does as people ask there.
    #[must_use]
    pub fn reporting_to(self, board: Arc<Board>) -> Self {
        Self { board, ..self }
    }

    /// Goes round until it is time to stop.
    pub async fn run(&mut self, stop: &Stop) {
        self.stop = stop.clone();
        tokio::select! {
            biased;
            () = stop.wanted() => {}
            // Boxed: what goes on in it is large, and would be a part of every future that waits for it.
            () = Box::pin(self.go_round_and_round()) => {}
        }
        let deadline = Instant::now() + LAST_ACTIONS;
        while self.calls.in_flight().any(|(call, _)| call.kind.is_awaited_at_the_end()) {
            let Ok(Some(out)) = tokio::time::timeout_at(deadline, self.calls.next()).await else { return };
            self.came_out(out);
        }
    }

    async fn go_round_and_round(&mut self) {
        loop {
            // Before that, even one who follows polls: being ready means that its configuration works.
            if !self.leadership.may_act() && self.metrics.has_polled() {
                self.follow().await;
            }
            if !self.asked && self.leadership.may_act() {
                // Where nobody can say what people ask, the pools are served all the same.
                let board = Arc::clone(&self.board);
                let _ = self.beside(timeout(UNTIL_ASKED, board.until_asked())).await;
                self.asked = true;
            }
            let began = Instant::now();
            let next = match Box::pin(self.observe(Some(STRAGGLERS))).await {
                Ok(arrived) if self.asked && self.leadership.may_act() => {
                    self.look_at_left_pools();
                    self.decide(arrived);
                    self.dispatch();
                    self.metrics.passed_in(began.elapsed());
                    self.next_due()
                }
                Ok(arrived) => {
                    self.ask_again(&arrived);
                    self.next_due()
                }
                Err(wait) => Instant::now() + wait,
            };
            Box::pin(self.until(next)).await;
        }
    }

    /// Waits until we may act, and forgets what was polled before: it is too old to act on by then. What was begun while we
    /// could act comes to its end.
    async fn follow(&mut self) {
        self.memory = Memory::default();
        self.metrics.following();
        self.board.follows();
        self.asked = false;
        for pool in &mut self.pools {
            pool.forget();
        }
        let leadership = self.leadership.clone();
        self.beside(leadership.until_may_act()).await;
        self.arrived.clear();
        self.busy.clear();
        for pool in &mut self.pools {
            pool.forget();
            pool.ask_again();
        }
    }

    /// One pass over all pools, waiting for the slowest.
    pub async fn run_once(&mut self, stop: &Stop) -> Outcome {
        self.stop = stop.clone();
        self.single_pass = true;
        tokio::select! {
            biased;
            () = last_call(stop) => return Outcome { failures: 1, started: 0 },
            () = Box::pin(self.pass_once(stop)) => {}
        }
        self.outcome
    }

    async fn pass_once(&mut self, stop: &Stop) {
        let observed = tokio::select! {
            biased;
            () = stop.wanted() => Err(Duration::ZERO),
            observed = Box::pin(self.observe(None)) => observed,
        };
        let Ok(arrived) = observed else {
            self.outcome = Outcome { failures: 1, started: 0 };
            return;
        };
        // Nobody comes back to what is not known now.
        for _ in 0..MOST_TRIALS_OF_ONE_PASS {
            if self.begin_trial(&arrived) {
                self.beside_while(|engine| engine.calls.in_flight().any(|(call, _)| call.kind == Kind::Trial)).await;
            }
            let Some(again) = self.recipes.next_at(Instant::now()) else { break };
            self.beside(sleep_until(again)).await;
        }
        let waits = |pool: &Arrived| !pool.snapshot.requests.is_empty();
        if self.recipes.is_waited_for() && arrived.iter().any(waits) {
            self.outcome.failures += 1;
        }
        if arrived.iter().any(|pool| !pool.snapshot.requests.is_empty()) && self.ask_for_parallel_jobs() {
            let until = Instant::now() + UNTIL_ASKED;
            self.beside_while(|engine| engine.calls.has(ALL_POOLS, Kind::ParallelJobs) && Instant::now() < until).await;
        }
        self.decide(arrived);
        self.dispatch();
        self.beside_while(Self::is_changing_something).await;
        self.tidy();
        self.beside_while(|engine| engine.calls.in_flight().any(|(call, _)| call.kind == Kind::Tidy)).await;
    }

    fn is_changing_something(&self) -> bool {
        self.calls.in_flight().any(|(call, _)| call.kind.is_awaited_at_the_end() || call.kind == Kind::MarkBusy)
    }

    /// Lets calls come out, and others begin, while some work takes.
    async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                Some(out) = self.calls.next() => self.came_out(out),
                () = sleep(TICK) => self.tick(),
            }
        }
    }

    /// The same while something holds.
    async fn beside_while(&mut self, holds: impl Fn(&Self) -> bool) {
        while holds(self) {
            tokio::select! {
                biased;
                Some(out) = self.calls.next() => self.came_out(out),
                () = sleep(BUSY) => self.tick(),
            }
        }
    }

    /// Time has passed.
    fn tick(&mut self) {
        self.metrics.passed();
        self.dispatch();
        self.tell_delays();
    }

    /// Waits for a moment, for a pool that was late, or for the host to change.
    async fn until(&mut self, mut moment: Instant) {
        let host = self.host.clone();
        let mut changed = pin!(host.changed());
        let mut wakeful = self.settings.polling == Polling::Adaptive;
        let board = Arc::clone(&self.board);
        while Instant::now() < moment {
            self.metrics.passed();
            // In this order, so that what happens at one moment always goes the same way.
            tokio::select! {
                biased;
                Some(out) = self.calls.next() => {
                    self.came_out(out);
                    if !self.arrived.is_empty() {
                        return;
                    }
                    moment = moment.min(self.next_due());
                }
                // What changed on the host may call for something; but a delay that somebody set is kept.
                () = &mut changed, if wakeful => {
                    wakeful = false;
                    let soon = Instant::now() + BUSY;
                    self.pools.iter_mut().for_each(|pool| pool.due = pool.due.min(soon));
                    moment = moment.min(soon);
                }
                // Who asks for something wants to see it done.
                () = board.asks_anew() => {
                    self.pools.iter_mut().for_each(|pool| pool.due = pool.due.min(Instant::now()));
                    return;
                }
                () = sleep_until(moment.min(Instant::now() + TICK)) => {
                    self.tick();
                }
            }
        }
    }
}

/// When what is in flight has had its time to end after the wish to stop.
async fn last_call(stop: &Stop) {
    stop.wanted().await;
    sleep(LAST_ACTIONS).await;
}
