//! The loop itself.
//!
//! A round lists our runs once, polls every pool that is due side by side, and plans over those that have answered. A
//! pool that is slow or failing takes part in a later round and holds up nobody. Planning and acting happen in one
//! place, one round after the other, so that limits over all pools hold.

mod carry_out;
mod polls;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, pin::Pin, sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use jiff::Timestamp;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use self::polls::{Observed, PoolState};
use super::{
    Leadership, Metrics, Stop,
    act::Holds,
    board::Board,
    journal::Journal,
    observe::Polled,
    pace::{BUSY, BackOff},
    recipes::{Recipes, Wishes},
};
use crate::{
    azure_devops::AzureDevOps,
    config::Polling,
    core::{AgentChange, Policy, PoolSnapshot, Snapshot, plan},
    hosts::AgentHost,
};

/// How long a round waits for the answers to its polls; what comes later belongs to a later round.
const STRAGGLERS: Duration = Duration::from_secs(1);

/// How long what was seen is good enough to start agents on. What has not been begun by then is decided anew: job requests
/// may have been cancelled meanwhile, or served and tidied up by another one of us.
const SIGHT_HOLDS: Duration = Duration::from_secs(10);

/// The longest sleep without a sign of life, for whoever watches our health.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

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
    recipes: Recipes,
    pools: Vec<PoolState>,
    /// By pool, as it was last observed: the runs whose agents have a job.
    busy: BTreeMap<String, Vec<String>>,
    round: u64,
    in_flight: FuturesUnordered<Pin<Box<dyn Future<Output = Polled> + 'a>>>,
    /// Answers that came between two rounds.
    late: Vec<Polled>,
    host_back_off: BackOff,
}

impl<'a, A: AzureDevOps, H: AgentHost> Engine<'a, A, H> {
    /// A loop that has not begun.
    pub fn new(azure_devops: &'a A, host: &'a H, policy: Policy, settings: Settings, metrics: Arc<Metrics>) -> Self {
        let pools = policy.pools.iter().map(|_| PoolState::new(settings.polling)).collect();
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
            recipes: Recipes::default(),
            pools,
            busy: BTreeMap::new(),
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
                            _ = self.decide_and_act(observed, SIGHT_HOLDS, stop) => {}
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

    /// Waits until we may act, and forgets what was polled before: it is too old to act on by then.
    async fn follow(&mut self) {
        self.in_flight.clear();
        self.late.clear();
        self.busy.clear();
        self.metrics.following();
        self.board.follows();
        self.asked = false;
        while timeout(SIGN_OF_LIFE, self.leadership.until_may_act()).await.is_err() {
            self.metrics.passed((self.settings.now)());
        }
        for pool in &mut self.pools {
            pool.in_flight = None;
            pool.ask_again();
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
                    // Nobody comes back to what is not begun now.
                    outcome = self.decide_and_act(observed, Duration::MAX, stop) => outcome,
                    () = last_call(stop) => Outcome { failures: 1, started: 0 },
                },
                Err(_) => Outcome { failures: 1, started: 0 },
            },
        }
    }

    /// No agent is started any more once the sight is older than it `holds`.
    async fn decide_and_act(&mut self, observed: Observed, holds: Duration, stop: &Stop) -> Outcome {
        let old_from = Instant::now().checked_add(holds);
        let Observed { runs, pools: arrived, failures } = observed;
        let mut outcome = Outcome { failures, started: 0 };
        let (indices, pools): (Vec<usize>, Vec<PoolSnapshot>) = arrived.into_iter().unzip();
        let observed_pools: Vec<&str> = pools.iter().map(|pool| pool.pool.as_str()).collect();
        let elsewhere = runs.iter().filter(|run| run.is_live() && !observed_pools.contains(&run.pool.as_str()));
        let live_elsewhere = elsewhere.count().try_into().unwrap_or(u32::MAX);
        let elected = self.leadership.is_elected();
        let mut snapshot = Snapshot { pools, live_elsewhere, elected, ..Snapshot::default() };

        let now = (self.settings.now)();
        self.board.apply(&mut self.policy, now);
        let observed = indices.iter().zip(&snapshot.pools);
        let observed: Vec<_> = observed.filter_map(|(&index, pool)| Some((self.pools[index].id?, pool))).collect();
        if self.recipes.settle(self.azure_devops, &mut self.policy, &observed).await {
            self.board.registers(&self.policy);
        }
        let mut decided = plan(&self.policy, &snapshot, now);
        if self.settings.respect_parallel_jobs && !decided.starts.is_empty() {
            self.limit_by_parallel_jobs(&mut snapshot).await;
            decided = plan(&self.policy, &snapshot, now);
        }
        if let Some(name) = self.recipes.take_registered() {
            let is_there = |change: &AgentChange| matches!(change, AgentChange::Register(it) if it.name == name);
            decided.agents.retain(|action| !is_there(&action.change));
        }
        self.journal.planned(&decided);
        self.set_next_polls(&indices, &decided);
        for pool in &decided.pools {
            self.metrics.planned(pool, now);
        }
        self.board.nothing_to_register(&decided);
        for pool in &decided.pools {
            self.busy.insert(pool.pool.clone(), pool.busy.clone());
        }
        let busy = self.busy.values().flatten().cloned().collect();
        self.board.planned(snapshot.pools, std::mem::take(&mut decided.pools), now);

        // Side by side: neither has to wait for the other, and what is started is decided on a view that grows old.
        let host = self.host;
        let may_act = self.leadership.may_act();
        let marking = async { if may_act { host.mark_busy(&busy).await } else { Ok(()) } };
        let (marked, ()) = tokio::join!(marking, self.carry_out(decided, old_from, stop, &mut outcome));
        self.journal.trouble("marking busy agents", marked.err().map(|error| (error.to_string(), error.fix())));
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
