//! What is counted while a policy is at work, and what that comes to.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::sandbox::{JobResult, Phase, State};

/// What one policy made of a workload, as `-o json` prints it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// The policy's name.
    pub policy: &'static str,
    /// Pipeline jobs that were queued.
    pub jobs: usize,
    /// Agents that were started, those that died on the way included.
    pub agents_started: usize,
    /// Agents that never received a job request, though nothing kept them from it.
    pub surplus: usize,
    /// How long agents were online without a job, all together, in seconds, until the end of the simulation.
    pub idle_agent_seconds: f64,
    /// The most agents at once, those that were still starting included.
    pub peak_agents: usize,
    /// From queued to received by an agent. A job that still waits at the end counts with what it has waited until
    /// then; `None` if no job counts.
    pub wait_seconds: Option<Waits>,
    /// Agents that died before they were online, as the failure rate wants it. Left out of JSON if there are none.
    #[serde(skip_serializing_if = "is_none")]
    pub failed_starts: usize,
    /// Jobs that were cancelled. Left out of JSON if there are none.
    #[serde(skip_serializing_if = "is_none")]
    pub cancelled: usize,
    /// Jobs that no agent ever received and nobody cancelled. Left out of JSON if there are none.
    #[serde(skip_serializing_if = "is_none")]
    pub unserved: usize,
}

/// Waiting times in seconds, by the nearest rank: the least one that so many of all do not exceed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Waits {
    /// Half of the jobs waited no longer.
    pub p50: f64,
    /// 95 of 100 jobs waited no longer.
    pub p95: f64,
    /// The longest wait.
    pub max: f64,
}

// serde passes references.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_none(count: &usize) -> bool {
    *count == 0
}

/// What is counted on the way.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) started: usize,
    pub(super) failed: usize,
    pub(super) received: usize,
    pub(super) idle: Duration,
    pub(super) live: usize,
    pub(super) peak: usize,
}

impl Tally {
    pub(super) fn figures(&self, policy: &'static str, state: &State, end: Timestamp) -> Figures {
        let mut waits = Vec::new();
        let mut cancelled = 0;
        let mut unserved = 0;
        for request in state.requests() {
            cancelled += usize::from(request.result == Some(JobResult::Canceled));
            let received_at = match (request.received_at, request.phase()) {
                (Some(moment), _) => moment,
                (None, Phase::Finished) => {
                    unserved += usize::from(request.result != Some(JobResult::Canceled));
                    continue;
                }
                (None, _) => {
                    unserved += 1;
                    end
                }
            };
            waits.push(received_at.duration_since(request.queued_at).unsigned_abs());
        }
        Figures {
            policy,
            jobs: state.requests().count(),
            agents_started: self.started,
            surplus: self.started.saturating_sub(self.failed + self.received),
            idle_agent_seconds: seconds(self.idle),
            peak_agents: self.peak,
            wait_seconds: Waits::of(waits),
            failed_starts: self.failed,
            cancelled,
            unserved,
        }
    }
}

impl Waits {
    fn of(mut waits: Vec<Duration>) -> Option<Self> {
        waits.sort_unstable();
        let rank = |percent: usize| {
            let rank = (waits.len() * percent).div_ceil(100).max(1);
            waits.get(rank - 1).copied().map(seconds)
        };
        Some(Self { p50: rank(50)?, p95: rank(95)?, max: rank(100)? })
    }
}

/// Seconds to the millisecond.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_ranked_by_the_nearest_rank() {
        let waits: Vec<_> = (1..=40).rev().map(Duration::from_secs).collect();
        assert_eq!(Waits::of(waits), Some(Waits { p50: 20.0, p95: 38.0, max: 40.0 }));
        assert_eq!(Waits::of(vec![Duration::from_millis(1500)]), Some(Waits { p50: 1.5, p95: 1.5, max: 1.5 }));
        assert_eq!(Waits::of(Vec::new()), None);
    }
}
