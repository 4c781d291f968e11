//! Pools that left the configuration while no orchestrator ran. The runs that are left in them say so, and whether another
//! orchestrator of this installation serves them is seen by its Lease. Where nobody does, they are wound up as pools that are
//! removed under a running orchestrator.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;
use tracing::{info, warn};

use super::{Engine, came_out::Outcome, polls::PoolState};
use crate::{
    azure_devops::AzureDevOps,
    core::{LeaseView, LeaseWatch, PoolPolicy, Run, is_same_name},
    hosts::{AgentHost, HostError},
    orchestrator::calls::{ALL_POOLS, Call, Kind},
};

/// How often the Leases are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// What is known of them.
#[derive(Debug, Default)]
pub(super) struct LeftPools {
    watch: LeaseWatch,
    due: Option<Instant>,
    /// Pools that are wound up because of what the Leases showed, by their places.
    taken: BTreeSet<usize>,
}

impl<A: AzureDevOps, H: AgentHost> Engine<'_, A, H> {
    /// Looks at the Leases that runs of pools which we do not serve were started under, if that is due.
    pub(super) fn look_at_left_pools(&mut self) {
        self.give_back_pools();
        let now = Instant::now();
        if self.left_pools.due.is_some_and(|due| now < due) || self.calls.has(ALL_POOLS, Kind::Leases) {
            return;
        }
        let is_served = |run: &Run| {
            let pools =
                self.policy.pools.iter().enumerate().filter(|(index, _)| !self.left_pools.taken.contains(index));
            pools.into_iter().any(|(_, pool)| is_same_name(&pool.name, &run.pool))
        };
        let runs = self.runs.iter().filter(|run| run.is_live() && !is_served(run));
        let leases: BTreeSet<String> = runs.filter_map(|run| Some(run.lease.as_ref()?.to_string())).collect();
        self.left_pools.due = Some(now + LOOK_EVERY);
        self.left_pools.watch.keep(|name| leases.contains(name));
        if leases.is_empty() {
            return;
        }
        let host = self.host.clone();
        let call = Call { pool: ALL_POOLS, kind: Kind::Leases, object: String::new() };
        self.calls.begin(call, async move {
            let mut seen = Vec::new();
            for name in leases {
                let lease = host.lease(&name).await;
                seen.push((name, lease));
            }
            Outcome::SawLeases(seen)
        });
    }

    /// The Leases were looked at.
    pub(super) fn saw_leases(&mut self, seen: Vec<(String, Result<Option<LeaseView>, HostError>)>) {
        let now = self.began.elapsed();
        let mut trouble = None;
        for (name, lease) in seen {
            match lease {
                Ok(lease) => self.left_pools.watch.saw(&name, lease.as_ref(), now),
                Err(error) => trouble = Some((error.to_string(), error.fix())),
            }
        }
        self.journal.trouble("the Leases of other orchestrators", trouble);
        let mut left: BTreeMap<String, bool> = BTreeMap::new();
        for run in self.runs.iter().filter(|run| run.is_live()) {
            if !self.policy.pools.iter().any(|pool| is_same_name(&pool.name, &run.pool)) {
                *left.entry(run.pool.clone()).or_insert(true) &= self.is_given_up(run);
            }
        }
        for (pool, _) in left.into_iter().filter(|(_, is_left)| *is_left) {
            warn!(pool, "no orchestrator serves this agent pool any more: what is left of ours in it is taken back");
            let kind = PoolPolicy::left_over(&pool, self.policy.timeouts);
            self.board.winds_up(&kind);
            self.left_pools.taken.insert(self.pools.len());
            self.policy.pools.push(kind);
            self.pools.push(PoolState::new(self.settings.polling));
        }
    }

    /// Whether the run was started by an orchestrator that is no more.
    fn is_given_up(&self, run: &Run) -> bool {
        run.lease.as_ref().is_some_and(|lease| self.left_pools.watch.is_given_up(lease))
    }

    /// Leaves pools alone that another orchestrator has begun to serve.
    fn give_back_pools(&mut self) {
        let taken = self.left_pools.taken.iter().copied().filter(|index| !self.pools[*index].done);
        let served: Vec<usize> = taken
            .filter(|index| {
                let name = &self.policy.pools[*index].name;
                let mut runs = self.runs.iter().filter(|run| run.is_live() && is_same_name(&run.pool, name));
                runs.any(|run| !self.is_given_up(run))
            })
            .collect();
        for index in served {
            info!(pool = self.policy.pools[index].name, "another orchestrator serves this agent pool");
            self.forget_pool(index);
        }
    }
}
