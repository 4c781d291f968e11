//! KEDA's `azure-pipelines` scaler with a `ScaledJob` (v2.20), by each of its strategies; one `ScaledJob` for each kind
//! of agent.
//!
//! The queue is what no agent has received (v2.19 counted what runs, too). Demands are compared as whole texts: a job
//! counts for each `ScaledJob` that names all of its demands, so that one without demands counts for every one. The
//! state is in the Jobs' labels, so a restart loses nothing. `maxReplicaCount`, 100 by default, is `--max-agents` here.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;

use super::{Kind, Kinds, Names, Order, Scaler, View};
use crate::{core::Progress, sandbox::Request};

/// How the queue becomes a number of Jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strategy {
    /// The queue minus the Jobs that have not ended, busy ones included.
    Default,
    /// The queue minus the Jobs whose pod is not Running yet; one whose pod runs and whose agent is not registered yet
    /// counts nowhere.
    Accurate,
    /// The queue, as long as there is room below the maximum.
    Eager,
}

/// One `ScaledJob` for each kind of agent.
pub(super) struct Keda {
    strategy: Strategy,
    max: i64,
    jobs: Vec<ScaledJob>,
    names: Names,
}

struct ScaledJob {
    template: String,
    demands: BTreeSet<String>,
}

impl Keda {
    pub(super) fn new(strategy: Strategy, kinds: &Kinds, max: Option<u32>) -> Self {
        let job = |kind: &Kind| ScaledJob {
            template: kind.name.clone(),
            demands: kind.demands.iter().filter(|demand| counts(demand)).cloned().collect(),
        };
        Self {
            strategy,
            max: max.map_or(i64::MAX / 2, i64::from),
            jobs: kinds.merged.iter().map(job).collect(),
            names: Names::default(),
        }
    }
}

impl Strategy {
    /// How many Jobs are made for a queue, given how many have not ended and how many of those have no running pod.
    fn starts(self, queue: i64, running: i64, pending: i64, max: i64) -> i64 {
        let scale = queue.min(max);
        let starts = match self {
            Self::Default => scale - running,
            Self::Accurate if scale + running - pending > max => max - running,
            Self::Accurate => scale - pending,
            Self::Eager => scale.min(max - running - pending),
        };
        starts.max(0)
    }
}

impl ScaledJob {
    fn counts(&self, request: &Request) -> bool {
        let mut demands = request.job.demands.iter().map(|demand| demand.trim()).filter(|demand| counts(demand));
        self.demands.is_empty() || demands.all(|demand| self.demands.contains(demand))
    }
}

/// Demands for a version of the agent are set aside on both sides.
fn counts(demand: &str) -> bool {
    !demand.starts_with("Agent.Version")
}

impl Scaler for Keda {
    fn name(&self) -> &'static str {
        match self.strategy {
            Strategy::Default => "keda-default",
            Strategy::Accurate => "keda-accurate",
            Strategy::Eager => "keda-eager",
        }
    }

    /// 30 s is KEDA's own; `accurate` has the 10 s that blue-agent's chart, which uses it, sets.
    fn interval(&self) -> Duration {
        match self.strategy {
            Strategy::Default | Strategy::Eager => Duration::from_secs(30),
            Strategy::Accurate => Duration::from_secs(10),
        }
    }

    fn poll(&mut self, view: &View<'_>, _now: Timestamp) -> Vec<Order> {
        let Self { strategy, max, jobs, names } = self;
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let mut orders = Vec::new();
        for job in jobs {
            let queue = count(view.queued().filter(|request| job.counts(request)).count());
            let running = count(view.live_runs_of(&job.template).count());
            let not_running = view.live_runs_of(&job.template).filter(|run| run.progress < Progress::Running);
            let starts = strategy.starts(queue, running, count(not_running.count()), *max);
            orders.extend(names.starts("scaledjob", &job.template, usize::try_from(starts).unwrap_or_default()));
        }
        orders
    }

    fn forget(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strategies_count_as_they_are_published() {
        for (strategy, queue, running, pending, max, starts) in [
            (Strategy::Default, 20, 0, 0, 100, 20),
            (Strategy::Default, 20, 20, 0, 100, 0),
            (Strategy::Default, 200, 30, 0, 100, 70),
            (Strategy::Accurate, 20, 20, 20, 100, 0),
            (Strategy::Accurate, 20, 20, 0, 100, 20),
            (Strategy::Accurate, 20, 90, 0, 100, 10),
            (Strategy::Eager, 20, 20, 0, 100, 20),
            (Strategy::Eager, 20, 50, 45, 100, 5),
        ] {
            assert_eq!(
                strategy.starts(queue, running, pending, max),
                starts,
                "{strategy:?} {queue} {running} {pending}"
            );
        }
    }
}
