//! Which pools are asked when, and what their answers are to a round.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use super::{Engine, STRAGGLERS, TICK, came_out, dispatch::ToDo};
use crate::{
    azure_devops::{AzureDevOps, PoolId},
    config::Polling,
    core::{Moment, Plan, PoolSnapshot, Recipe, RequestId, Run, is_same_name},
    hosts::AgentHost,
    orchestrator::{
        calls::{Call, Kind},
        observe::{Polled, poll},
        pace::{BackOff, Pace},
        trouble,
    },
};

/// How often the registrations of a quiet pool are looked at: placeholders that somebody deleted, agents left behind.
const LOOK_AT_AGENTS: Duration = Duration::from_secs(60);

/// The most that a call for patience by Azure DevOps stretches the pace.
const MOST_STRETCH: f64 = 60.0;

/// What the loop remembers of a pool. None of it matters after a restart.
pub(super) struct PoolState {
    pub(super) id: Option<PoolId>,
    /// When the number was last seen to be that of the pool's name.
    pub(super) id_seen: Instant,
    /// When it is asked for by the name again.
    pub(super) id_due: Instant,
    /// Runs that were started under another number. Where the pool's agents do not show them, they are none of its runs.
    pub(super) of_before: HashSet<String>,
    pub(super) due: Instant,
    /// When its agents are looked at even if all is quiet.
    pub(super) look_due: Instant,
    /// The listing of our runs that the poll was sent with which has not been answered.
    pub(super) in_flight: Option<u64>,
    pub(super) pace: Pace,
    pub(super) back_off: BackOff,
    /// Ended runs that were seen to have no registration any more.
    cleared: HashSet<String>,
    /// What was decided and has not begun.
    pub(super) to_do: ToDo,
    /// Since when an agent is said to be free or starting for each of these requests.
    pub(super) covered: HashMap<RequestId, Instant>,
    /// Since when some decided start has not begun.
    pub(super) starts_wait: Option<Instant>,
    /// Nothing of ours is left in a pool that was removed.
    pub(super) done: bool,
}

impl PoolState {
    pub(super) fn new(polling: Polling) -> Self {
        let now = Instant::now();
        Self {
            id: None,
            id_seen: now,
            id_due: now,
            of_before: HashSet::new(),
            due: now,
            look_due: now,
            in_flight: None,
            pace: Pace::new(polling),
            back_off: BackOff::default(),
            cleared: HashSet::new(),
            to_do: ToDo::default(),
            covered: HashMap::new(),
            starts_wait: None,
            done: false,
        }
    }

    /// Whether an agent may still be registered whose run has ended, and which cannot take that back itself. A key that
    /// nobody needs any more should open nothing, so that is worth a look at once.
    fn has_to_clear(&mut self, pool: &str, runs: &[Run]) -> bool {
        let ended =
            || runs.iter().filter(|run| is_same_name(&run.pool, pool) && !run.is_live() && run.recipe != Recipe::Token);
        if !self.cleared.is_empty() {
            let known: HashSet<&str> = ended().map(|run| run.name.as_str()).collect();
            self.cleared.retain(|name| known.contains(name.as_str()));
        }
        ended().any(|run| !self.cleared.contains(&run.name))
    }

    /// What a look at the agents has shown.
    fn looked(&mut self, snapshot: &PoolSnapshot) {
        let Some(agents) = &snapshot.agents else { return };
        self.look_due = Instant::now() + LOOK_AT_AGENTS;
        let registered: HashSet<&str> = agents.iter().map(|agent| agent.name.as_str()).collect();
        let ended = snapshot.runs.iter().filter(|run| !run.is_live() && run.recipe != Recipe::Token);
        let gone = ended.filter(|run| !registered.contains(run.name.as_str()));
        self.cleared.extend(gone.map(|run| run.name.clone()));
    }

    /// Due at once, its agents included.
    pub(super) fn ask_again(&mut self) {
        (self.due, self.look_due) = (Instant::now(), Instant::now());
    }

    /// Nothing comes of what was asked or decided.
    pub(super) fn forget(&mut self) {
        (self.in_flight, self.to_do, self.starts_wait) = (None, ToDo::default(), None);
        self.covered.clear();
    }
}

/// A pool that a round decides on.
pub(super) struct Arrived {
    /// The pool's place in the policy.
    pub(super) index: usize,
    pub(super) snapshot: PoolSnapshot,
    /// The listing that its runs are from.
    pub(super) listing: u64,
    /// When its job requests were seen.
    pub(super) seen_at: Instant,
}

impl<A: AzureDevOps, H: AgentHost> Engine<'_, A, H> {
    /// Lists our runs, polls the pools that are due, and gives what has answered: pools that failed are counted.
    pub(super) async fn observe(&mut self, stragglers: Option<Duration>) -> Result<Vec<Arrived>, Duration> {
        self.listing += 1;
        let host = self.host.clone();
        match self.beside(Box::pin(crate::hosts::AgentHost::runs(&host))).await {
            Ok(runs) => self.runs = Arc::new(runs),
            Err(error) => {
                self.journal.trouble("host", Some((error.to_string(), error.fix())));
                self.board.host(Some(trouble::of_host(&error, self.board.host_kind())));
                self.metrics.passed();
                return Err(self.host_back_off.failed());
            }
        }
        self.host_back_off.succeeded();
        self.journal.trouble("host", None);
        self.board.host(None);
        self.journal.runs(&self.runs);
        let oldest = self.pools.iter().filter_map(|pool| pool.in_flight).chain([self.listing]);
        let oldest = oldest.chain(self.arrived.iter().map(|pool| pool.listing)).min().unwrap_or(self.listing);
        self.expected.forget(oldest);
        self.send_polls();

        let deadline = stragglers.map(|time| Instant::now() + time);
        while self.pools.iter().any(|pool| pool.in_flight == Some(self.listing)) {
            tokio::select! {
                biased;
                Some(out) = self.calls.next() => self.came_out(out),
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => break,
                () = tokio::time::sleep(TICK) => self.metrics.passed(),
            }
        }
        Ok(std::mem::take(&mut self.arrived))
    }

    fn send_polls(&mut self) {
        let now = Instant::now();
        let trial_due = self.recipes.is_due(now);
        for (index, state) in self.pools.iter_mut().enumerate() {
            if state.in_flight.is_some() || state.done || now < state.due {
                continue;
            }
            state.in_flight = Some(self.listing);
            let kind = &self.policy.pools[index];
            // Whoever gives up wants to see that nothing is left.
            let look = now >= state.look_due
                || self.policy.retire
                || kind.removed
                || trial_due
                || state.has_to_clear(&kind.name, &self.runs);
            let (azure_devops, pool, id) = (self.azure_devops.clone(), kind.name.clone(), state.id);
            let (runs, listing) = (Arc::clone(&self.runs), self.listing);
            let call = Call { pool: index, kind: Kind::Poll, object: listing.to_string() };
            self.calls.begin(call, async move {
                came_out::Outcome::Polled(listing, poll(&azure_devops, pool, id, look, runs).await)
            });
        }
    }

    /// A poll was answered.
    pub(super) fn polled(&mut self, index: usize, listing: u64, polled: Polled) {
        let Polled { id, result, seen_at } = polled;
        let kind = &self.policy.pools[index];
        let (name, state) = (&kind.name, &mut self.pools[index]);
        if state.in_flight != Some(listing) {
            // Nobody waits for it any more.
            return;
        }
        state.in_flight = None;
        if state.id.is_none() && id.is_some() {
            state.id_seen = Instant::now();
            state.id_due = state.id_seen + super::number::ASK_AGAIN;
        }
        state.id = id;
        match result {
            Ok(snapshot) => {
                state.back_off.succeeded();
                state.looked(&snapshot);
                self.journal.polled(name);
                let now = (self.settings.now)();
                self.metrics.polled(name, now);
                if snapshot.agents.is_some() {
                    self.metrics.looked_at_agents(name, now);
                }
                self.metrics.observed(name, &snapshot.requests);
                self.arrived.push(Arrived { index, snapshot, listing, seen_at });
            }
            Err(error) => {
                let wait = state.back_off.failed().max(error.retry_after().unwrap_or_default());
                state.due = Instant::now() + wait;
                // What nobody sees any more is nobody's to give up.
                let is_gone = matches!(
                    error,
                    crate::azure_devops::Error::NoSuchPool(_) | crate::azure_devops::Error::Forbidden(_)
                );
                if kind.removed
                    && is_gone
                    && !self.runs.iter().any(|run| is_same_name(&run.pool, name) && run.is_live())
                {
                    self.wound_up(index);
                    return;
                }
                self.journal.poll_failed(name, &error);
                self.board.poll_failed(name, trouble::of_poll(&error, self.board.host_kind()));
                self.metrics.poll_failed(name, error.reason());
                self.outcome.failures += 1;
            }
        }
    }

    /// Nothing of ours is left in a pool that the configuration does not have any more.
    pub(super) fn wound_up(&mut self, index: usize) {
        let pool = &self.policy.pools[index].name;
        tracing::info!(pool, "nothing is left in the agent pool that was removed from the configuration");
        self.forget_pool(index);
    }

    /// A pool is not looked at any more.
    pub(super) fn forget_pool(&mut self, index: usize) {
        let name = &self.policy.pools[index].name;
        self.pools[index].forget();
        self.pools[index].done = true;
        self.busy.remove(name);
        self.board.forgets(name);
        self.metrics.forget(name);
    }

    /// Nothing came of what these pools answered, because we might not act then. By now we may, and their agents have to be
    /// looked at in this round and not in a minute.
    pub(super) fn ask_again(&mut self, arrived: &[Arrived]) {
        for Arrived { index, .. } in arrived {
            self.pools[*index].ask_again();
        }
    }

    pub(super) fn set_next_polls(&mut self, indices: &[usize], decided: &Plan, looked_at: Moment) {
        for &index in indices {
            let name = &self.policy.pools[index].name;
            let counts = decided.pools.iter().find(|pool| pool.pool == *name).map(|pool| pool.counts);
            let awaits_another_look = self.memory.awaits_another_look(decided, name, looked_at);
            let acts = decided.starts.iter().any(|start| start.pool == *name)
                || decided.stops.iter().any(|stop| stop.pool == *name)
                || awaits_another_look;
            let busy = acts || counts.is_some_and(|counts| counts.waiting + counts.starting > 0);
            let stretch = self.azure_devops.stretch().clamp(1.0, MOST_STRETCH);
            let state = &mut self.pools[index];
            if awaits_another_look {
                state.look_due = Instant::now();
            }
            state.due = Instant::now() + state.pace.after(busy).mul_f64(stretch);
        }
    }

    /// When the next round is worth while.
    pub(super) fn next_due(&self) -> Instant {
        let now = Instant::now();
        let polls = self.pools.iter().filter(|pool| pool.in_flight.is_none() && !pool.done).map(|pool| pool.due);
        let later = self.holds.next_after(now).into_iter();
        let later = later.chain(self.parallel_jobs.starts_wait_until(now)).chain(self.recipes.next_at(now));
        polls.chain(later).min().unwrap_or(now + STRAGGLERS)
    }
}
