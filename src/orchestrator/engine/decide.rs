//! Deciding: a plan over the pools that have answered, with what is in flight counted as if it were there.

use jiff::Timestamp;
use tokio::time::{Instant, timeout};

use super::{Engine, came_out, polls::Arrived};
use crate::{
    azure_devops::AzureDevOps,
    clock::ServerClock,
    core::{
        Clocks, HostKind, Plan, PoolPlan, PoolSnapshot, Remains, Snapshot, Verdict, clock_skew, is_same_name, plan,
    },
    hosts::AgentHost,
    orchestrator::{
        calls::{ALL_POOLS, Call, Kind},
        recipes::TRIAL_TIMEOUT,
    },
};

impl<A: AzureDevOps, H: AgentHost> Engine<'_, A, H> {
    /// Tells where this machine's clock, Azure DevOps' and the host's differ.
    fn compare_clocks(&self) {
        let host = match self.board.host_kind() {
            HostKind::Kubernetes => Some("the API server"),
            HostKind::ContainerInstances => Some("Azure Resource Manager"),
            HostKind::Local => None,
        };
        let host = host.and_then(|name| Some((name, self.host.clock().ahead()?)));
        self.board.clocks(clock_skew("the orchestrator's machine", self.azure_devops.clock().ahead(), host));
    }

    /// What the clocks show that stamp runs and agents, where an answer has told.
    fn clocks(&self) -> Clocks {
        let known = |clock: ServerClock| clock.ahead().map(|_| clock.now());
        Clocks { host: known(self.host.clock()), azure_devops: known(self.azure_devops.clock()) }
    }

    /// Decides about the pools that have answered. What was decided about them before and has not begun is forgotten.
    pub(super) fn decide(&mut self, mut arrived: Vec<Arrived>) {
        let now = (self.settings.now)();
        self.compare_clocks();
        self.board.apply(&mut self.policy, now);
        self.begin_trial(&arrived);
        for Arrived { index, snapshot, listing, .. } in &mut arrived {
            self.expected.merge(&self.policy.pools[*index].name, &mut snapshot.runs, *listing);
        }
        let of_before: u32 = arrived.iter_mut().map(|pool| self.without_runs_of_before(pool)).sum();
        let live_elsewhere = self.live_elsewhere(&arrived) + of_before;
        let elected = self.leadership.is_elected();
        let (marks, pools): (Vec<_>, Vec<PoolSnapshot>) = arrived
            .into_iter()
            .map(|Arrived { index, snapshot, listing, seen_at }| ((index, listing, seen_at), snapshot))
            .unzip();
        let parallel_jobs = if self.settings.respect_parallel_jobs {
            self.parallel_jobs.usable(Instant::now())
        } else {
            Default::default()
        };
        let looked_at = self.began.elapsed();
        let clocks = self.clocks();
        let snapshot = Snapshot { pools, live_elsewhere, elected, parallel_jobs, looked_at, clocks };
        let mut decided = plan(&self.policy, &snapshot, &self.memory, now);
        self.memory.remember(&self.policy, &snapshot, &decided);
        if !decided.starts.is_empty() {
            self.ask_for_parallel_jobs();
        }
        self.journal.planned(&decided);
        let indices: Vec<usize> = marks.iter().map(|(index, ..)| *index).collect();
        self.set_next_polls(&indices, &decided, looked_at);
        for pool in &decided.pools {
            self.metrics.planned(pool, now);
            self.busy.insert(pool.pool.clone(), pool.busy.clone());
        }
        let plans = std::mem::take(&mut decided.pools);
        self.note_covered(&indices, &plans);
        for ((index, listing, seen_at), observed) in marks.into_iter().zip(&snapshot.pools) {
            self.take_on(index, (listing, seen_at), observed, &mut decided);
        }
        let left: Vec<usize> = self.left_in_removed_pools(&indices, &snapshot.pools);
        self.board.planned(snapshot.pools, plans, now);
        left.into_iter().for_each(|index| self.wound_up(index));
        self.mark_busy();
        self.tidy();
        self.holds.forget(Instant::now());
        self.tell_delays();
        self.metrics.passed();
    }

    /// Takes out the runs that were started when the pool of this name was another one, and that this one does not show: they
    /// finish where they are. How many of them are live.
    fn without_runs_of_before(&self, pool: &mut Arrived) -> u32 {
        let before = &self.pools[pool.index].of_before;
        let PoolSnapshot { runs, agents, .. } = &mut pool.snapshot;
        if before.is_empty() {
            return 0;
        }
        let shown: std::collections::HashSet<String> =
            agents.iter().flatten().map(|agent| agent.name.to_lowercase()).collect();
        let (ours, others): (Vec<_>, Vec<_>) = std::mem::take(runs)
            .into_iter()
            .partition(|run| !before.contains(&run.name) || shown.contains(&run.name.to_lowercase()));
        *runs = ours;
        others.iter().filter(|run| run.is_live()).count().try_into().unwrap_or(u32::MAX)
    }

    /// Live runs of the pools that are not decided about now, those included that are about to be there.
    fn live_elsewhere(&self, arrived: &[Arrived]) -> u32 {
        let is_decided = |pool: &str| arrived.iter().any(|arrived| is_same_name(&arrived.snapshot.pool, pool));
        let live = self.runs.iter().filter(|run| run.is_live() && !is_decided(&run.pool)).count();
        let expected = self.expected.missing(&self.runs, self.listing).filter(|run| !is_decided(&run.pool)).count();
        let to_do = self.pools.iter().zip(&self.policy.pools).filter(|(_, pool)| !is_decided(&pool.name));
        let to_do: usize = to_do.map(|(state, _)| state.to_do.starts.len()).sum();
        (live + expected + to_do).try_into().unwrap_or(u32::MAX)
    }

    /// Removed pools in which nothing of ours is left.
    fn left_in_removed_pools(&self, indices: &[usize], observed: &[PoolSnapshot]) -> Vec<usize> {
        let pools = indices.iter().zip(observed).filter(|(index, _)| self.policy.pools[**index].removed);
        let is_done = |snapshot: &PoolSnapshot| {
            let agents = snapshot.agents.as_deref()?;
            Some(Remains::of(&self.policy.installation, &snapshot.runs, agents).is_nothing())
        };
        pools.filter(|(_, snapshot)| is_done(snapshot) == Some(true)).map(|(index, _)| *index).collect()
    }

    /// Since when an agent is said to be free or starting for each waiting request.
    fn note_covered(&mut self, indices: &[usize], plans: &[PoolPlan]) {
        let now = Instant::now();
        for (index, plan) in indices.iter().zip(plans) {
            let before = std::mem::take(&mut self.pools[*index].covered);
            let covered = plan.verdicts.iter().filter(|(_, verdict)| *verdict == Verdict::Covered);
            let covered = covered.map(|(id, _)| (*id, before.get(id).copied().unwrap_or(now)));
            self.pools[*index].covered = covered.collect();
        }
    }

    /// Queues what a plan says for one pool.
    fn take_on(
        &mut self,
        index: usize,
        (listing, seen_at): (u64, Instant),
        observed: &PoolSnapshot,
        decided: &mut Plan,
    ) {
        let name = observed.pool.as_str();
        let starts = extract(&mut decided.starts, |start| start.pool == name);
        let equips = extract(&mut decided.equips, |equip| is_same_name(&equip.pool, name));
        let stops = extract(&mut decided.stops, |stop| is_same_name(&stop.pool, name));
        let agents = extract(&mut decided.agents, |action| action.pool == name);
        let stops = stops.into_iter().filter(|stop| self.may_stop(index, stop)).collect();
        let equips = equips.into_iter().filter_map(|equip| {
            let run = observed.runs.iter().find(|run| run.name == equip.name)?;
            Some((equip, run.clone()))
        });
        let equips = equips.collect();
        if agents.is_empty() && observed.agents.is_some() {
            self.board.nothing_to_register(name);
        }
        let now = Instant::now();
        let to_do = &mut self.pools[index].to_do;
        to_do.decided(listing, seen_at, now, (starts, equips, stops));
        // Where nobody looked at the agents, nothing is known of registrations.
        if observed.agents.is_some() {
            to_do.change(agents);
        }
    }

    /// Tries whether the organization supports just-in-time agents, if that is due; and writes into the policy what is known.
    /// Whether a trial has begun.
    pub(super) fn begin_trial(&mut self, arrived: &[Arrived]) -> bool {
        for pool in arrived {
            self.recipes.remember(&self.policy, &pool.snapshot);
        }
        if self.recipes.settle(&mut self.policy) {
            self.board.registers(&self.policy);
        }
        if self.calls.in_flight().any(|(call, _)| call.kind == Kind::Trial) {
            return false;
        }
        let observed = arrived.iter().filter_map(|pool| Some((pool.index, self.pools[pool.index].id?, &pool.snapshot)));
        let observed: Vec<_> = observed.collect();
        let Some(trial) = self.recipes.due(&self.policy, &observed, Instant::now()) else { return false };
        let (azure_devops, object) = (self.azure_devops.clone(), trial.placeholder.name.clone());
        self.calls.begin(Call { pool: trial.index, kind: Kind::Trial, object }, async move {
            let proof = azure_devops.prove(trial.pool, trial.agent, &trial.placeholder);
            came_out::Outcome::Tried(timeout(TRIAL_TIMEOUT, proof).await.ok())
        });
        true
    }

    /// Asks how many parallel jobs are left, if what is known is old. Whether a call has begun.
    pub(super) fn ask_for_parallel_jobs(&mut self) -> bool {
        let now = Instant::now();
        if !self.settings.respect_parallel_jobs || !self.parallel_jobs.should_ask(now) {
            return false;
        }
        self.parallel_jobs.asks(now);
        let azure_devops = self.azure_devops.clone();
        let call = Call { pool: ALL_POOLS, kind: Kind::ParallelJobs, object: String::new() };
        self.calls.begin(call, async move { came_out::Outcome::ParallelJobs(azure_devops.parallel_jobs().await) });
        true
    }

    /// The moment by our clock.
    pub(super) fn now(&self) -> Timestamp {
        (self.settings.now)()
    }
}

/// Takes those out of a list that are meant.
fn extract<T>(list: &mut Vec<T>, is_meant: impl Fn(&T) -> bool) -> Vec<T> {
    let (meant, others) = std::mem::take(list).into_iter().partition(is_meant);
    *list = others;
    meant
}
