//! Telling what takes so long that job requests wait for it. What waits without another reason always has this one.

use std::time::Duration;

use tokio::time::Instant;

use super::Engine;
use crate::{
    azure_devops::AzureDevOps,
    core::{Code, Finding, StartRun, Timeouts},
    hosts::AgentHost,
    orchestrator::{
        calls::{Call, Kind},
        holds::Scope,
    },
};

/// A start that was decided begins within this time.
const BEGINS_WITHIN: Duration = Duration::from_secs(15);

/// A poll or a start that takes longer is told.
const TAKES_LONG: Duration = Duration::from_secs(30);

/// Over the time that an agent has to come online, Azure DevOps gives it its request within this time.
const GIVEN_WITHIN: Duration = Duration::from_secs(120);

/// What is said of how long something takes, so that the text does not change from second to second.
fn more_than(time: Duration) -> &'static str {
    const STEPS: [(u64, &str); 8] = [
        (3600, "an hour"),
        (1800, "30 minutes"),
        (600, "10 minutes"),
        (300, "5 minutes"),
        (120, "2 minutes"),
        (60, "a minute"),
        (30, "30 seconds"),
        (0, "15 seconds"),
    ];
    STEPS.iter().find(|(seconds, _)| time.as_secs() >= *seconds).map_or("15 seconds", |(_, words)| words)
}

impl<A: AzureDevOps, H: AgentHost> Engine<'_, A, H> {
    /// Tells of each pool what its job requests wait for.
    pub(super) fn tell_delays(&mut self) {
        let now = Instant::now();
        for index in 0..self.pools.len() {
            if self.pools[index].done {
                continue;
            }
            let delays = self.delays(index, now);
            let name = &self.policy.pools[index].name;
            self.journal.delayed(name, &delays);
            let fix = "see whether Azure DevOps or the host is slow: kubectl_ado_call_duration_seconds says how long calls take";
            let finding = |message| Finding::new(Code::Delayed, message, Some(fix.to_owned()));
            self.board.delayed(name, delays.into_iter().map(finding).collect());
        }
    }

    fn delays(&self, index: usize, now: Instant) -> Vec<String> {
        let mut delays = Vec::new();
        let oldest = |kinds: &[Kind]| {
            let of_pool = self.calls.in_flight().filter(|(call, _)| call.pool == index && kinds.contains(&call.kind));
            of_pool.min_by_key(|(_, since)| *since)
        };
        if let Some((_, since)) = oldest(&[Kind::Poll]).filter(|(_, since)| now > *since + TAKES_LONG) {
            delays.push(format!("the pool's poll takes more than {}", more_than(now - since)));
        }
        if let Some((Call { object, .. }, since)) =
            oldest(&[Kind::Start, Kind::Equip]).filter(|(_, since)| now > *since + TAKES_LONG)
        {
            delays.push(format!("the start of {object} has been in flight for more than {}", more_than(now - since)));
        }
        let state = &self.pools[index];
        if let Some(since) = state.starts_wait.filter(|since| now > *since + BEGINS_WITHIN) {
            let may_begin = |start: &StartRun| self.holds.allow(&Scope::new(index, Kind::Start, &start.template), now);
            let why = if !state.to_do.starts.iter().any(may_begin) {
                // The last one was refused, which is a finding of its own.
                None
            } else if self.calls.has(index, Kind::SecondLook) {
                Some("their job requests are being looked at again")
            } else if !self.calls.has_room(index, Kind::Start) {
                Some("as many starts as may be are in flight")
            } else if self.parallel_jobs.starts_wait_until(now).is_some() {
                Some("Azure DevOps is asked how many parallel jobs are left")
            } else {
                None
            };
            let waited = more_than(now - since);
            delays.extend(
                why.map(|why| format!("starts that were decided have not begun for more than {waited}: {why}")),
            );
        }
        // Each step of a start has its own timeout, after which the run is replaced.
        let Timeouts { start, pull, schedule, .. } = self.policy.timeouts;
        let allowed = start + pull + schedule + GIVEN_WITHIN;
        let late = state.covered.iter().filter(|(_, since)| now > **since + allowed);
        if let Some((id, since)) = late.min() {
            delays.push(format!(
                "an agent has been free or starting for job request {id} for more than {}, and Azure DevOps has not given it to one",
                more_than(now - *since)
            ));
        }
        delays
    }
}
