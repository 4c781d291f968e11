//! Which pools are asked when, and what their answers are to a round.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures::StreamExt;
use tokio::time::{Instant, timeout_at};

use super::{Engine, STRAGGLERS};
use crate::{
    azure_devops::{AzureDevOps, PoolId},
    config::Polling,
    core::{Plan, PoolSnapshot, Recipe, Run},
    hosts::AgentHost,
    orchestrator::{
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
    pub(super) due: Instant,
    /// When its agents are looked at even if all is quiet.
    pub(super) look_due: Instant,
    /// The round that sent the poll which has not been answered.
    pub(super) in_flight: Option<u64>,
    pub(super) pace: Pace,
    pub(super) back_off: BackOff,
    /// Ended runs that were seen to have no registration any more.
    cleared: HashSet<String>,
}

impl PoolState {
    pub(super) fn new(polling: Polling) -> Self {
        Self {
            id: None,
            due: Instant::now(),
            look_due: Instant::now(),
            in_flight: None,
            pace: Pace::new(polling),
            back_off: BackOff::default(),
            cleared: HashSet::new(),
        }
    }

    /// Whether an agent may still be registered whose run has ended, and which cannot take that back itself. A key that
    /// nobody needs any more should open nothing, so that is worth a look at once.
    fn has_to_clear(&mut self, pool: &str, runs: &[Run]) -> bool {
        let ended = || runs.iter().filter(|run| run.pool == pool && !run.is_live() && run.recipe != Recipe::Token);
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
}

/// What a round has to decide on.
pub(super) struct Observed {
    pub(super) runs: Arc<Vec<Run>>,
    pub(super) pools: Vec<(usize, PoolSnapshot)>,
    pub(super) failures: u32,
}

impl<'a, A: AzureDevOps, H: AgentHost> Engine<'a, A, H> {
    /// Lists our runs, polls the pools that are due, and gives what has answered: pools that failed are counted.
    pub(super) async fn observe(&mut self, stragglers: Duration) -> Result<Observed, Duration> {
        let runs = match self.host.runs().await {
            Ok(runs) => Arc::new(runs),
            Err(error) => {
                self.journal.trouble("host", Some((error.to_string(), error.fix())));
                self.board.host(Some(trouble::of_host(&error, self.board.host_kind())));
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
            let look = now >= state.look_due || self.policy.retire || state.has_to_clear(&pool, runs);
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
                state.looked(&snapshot);
                self.journal.polled(name);
                self.metrics.polled(name, (self.settings.now)());
                self.metrics.observed(name, &snapshot.requests);
                observed.pools.push((index, snapshot));
            }
            Err(error) => {
                let wait = state.back_off.failed().max(error.retry_after().unwrap_or_default());
                state.due = Instant::now() + wait;
                self.journal.poll_failed(name, &error);
                self.board.poll_failed(name, trouble::of_poll(&error, self.board.host_kind()));
                self.metrics.poll_failed(name, error.reason());
                observed.failures += 1;
            }
        }
    }

    /// Nothing came of what these pools answered, because we might not act then. By now we may, and their agents have to be
    /// looked at in this round and not in a minute.
    pub(super) fn ask_again(&mut self, observed: &Observed) {
        for (index, _) in &observed.pools {
            self.pools[*index].ask_again();
        }
    }

    pub(super) fn set_next_polls(&mut self, indices: &[usize], decided: &Plan) {
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
    pub(super) fn next_due(&self) -> Instant {
        let polls = self.pools.iter().filter(|pool| pool.in_flight.is_none()).map(|pool| pool.due);
        polls.chain(self.holds.next_after(Instant::now())).min().unwrap_or_else(|| Instant::now() + STRAGGLERS)
    }
}
