//! What the demo's morning came to.

use std::{io::Write, time::Duration};

use serde::Serialize;

use crate::{
    output::harmless,
    sandbox::{JobResult, Request, Sandbox, azure::GroupRecord},
};

/// The summary, as `-o json` prints it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary {
    /// Pipeline jobs queued: finished + cancelled + unservable, unless something went wrong.
    queued: usize,
    /// Those that ran to their end.
    finished: usize,
    /// Those that were cancelled.
    cancelled: usize,
    /// Those that no agent of the pool could ever serve, which Azure DevOps fails at once.
    unservable: usize,
    /// Agents that were started.
    agents_started: usize,
    /// The most agents at once.
    peak_agents: usize,
    /// Agents that never received a job request.
    surplus: usize,
    /// Agents that were still there at the end.
    left_running: usize,
    /// Container groups, where agents run in them.
    #[serde(skip_serializing_if = "Option::is_none")]
    container_groups: Option<Groups>,
    /// From queued to received by an agent, in seconds.
    wait_seconds: Waits,
    #[serde(skip)]
    problems: Vec<String>,
}

/// What became of container groups.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Groups {
    /// Those that were created.
    created: usize,
    /// Those that are gone.
    deleted: usize,
    /// Those that are still there, and would be paid for.
    left: usize,
    /// Those that were put or started more than once.
    restarted: usize,
}

impl Groups {
    pub(super) fn of(history: &[GroupRecord]) -> Self {
        let deleted = history.iter().filter(|group| group.deleted_at.is_some()).count();
        Self {
            created: history.len(),
            deleted,
            left: history.len() - deleted,
            restarted: history.iter().filter(|group| group.puts > 1 || group.starts > 1).count(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Waits {
    p50: f64,
    p95: f64,
    max: f64,
}

impl Summary {
    pub(super) fn of(sandbox: &Sandbox, left_running: usize, container_groups: Option<Groups>) -> Self {
        let requests = sandbox.requests();
        let ended = |result| move |request: &&Request| request.result == Some(result);
        let agents: Vec<_> = sandbox.history().into_iter().filter(|agent| agent.online_at.is_some()).collect();
        Self {
            queued: requests.len(),
            finished: requests.iter().filter(ended(JobResult::Succeeded)).count(),
            cancelled: requests.iter().filter(ended(JobResult::Canceled)).count(),
            unservable: requests.iter().filter(|request| request.was_unservable()).count(),
            agents_started: agents.len(),
            peak_agents: sandbox.peak_online_agents(),
            surplus: agents.iter().filter(|agent| agent.was_surplus()).count(),
            left_running,
            container_groups,
            wait_seconds: Waits::of(&requests),
            problems: requests
                .iter()
                .filter_map(|request| Some(harmless(&format!("{}: {}", request.job.name, request.problem.as_ref()?))))
                .collect(),
        }
    }

    /// Whether every job that could be served was, with no agent too many and nothing left.
    pub(super) fn is_good(&self) -> bool {
        let groups_are_good = self.container_groups.is_none_or(|groups| groups.left == 0 && groups.restarted == 0);
        let all_served = self.queued == self.finished + self.cancelled + self.unservable;
        all_served && self.surplus == 0 && self.left_running == 0 && groups_are_good
    }

    pub(super) fn print(&self, json: bool) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        if json {
            serde_json::to_writer(&mut out, self)?;
            return writeln!(out);
        }
        let Waits { p50, p95, max } = self.wait_seconds;
        writeln!(out, "Queued           {}", self.queued)?;
        writeln!(out, "Finished         {}", self.finished)?;
        writeln!(out, "Cancelled        {}", self.cancelled)?;
        writeln!(out, "Unservable       {}", self.unservable)?;
        for problem in &self.problems {
            writeln!(out, "                 {problem}")?;
        }
        writeln!(out, "Agents started   {}", self.agents_started)?;
        writeln!(out, "Most at once     {}", self.peak_agents)?;
        writeln!(out, "Surplus          {}", self.surplus)?;
        writeln!(out, "Left running     {}", self.left_running)?;
        if let Some(Groups { created, deleted, left, restarted }) = self.container_groups {
            writeln!(out, "Groups created   {created}")?;
            writeln!(out, "Groups deleted   {deleted}")?;
            writeln!(out, "Groups left      {left}")?;
            writeln!(out, "Restarted        {restarted}")?;
        }
        writeln!(out, "Wait             p50 {p50:.1}s   p95 {p95:.1}s   max {max:.1}s")
    }
}

impl Waits {
    fn of(requests: &[Request]) -> Self {
        let wait = |request: &Request| {
            let wait = request.received_at?.duration_since(request.queued_at);
            Some(Duration::try_from(wait).unwrap_or_default().as_secs_f64())
        };
        let mut waits: Vec<f64> = requests.iter().filter_map(wait).collect();
        waits.sort_by(f64::total_cmp);
        // The nearest rank: the smallest wait that so many of all waits do not exceed.
        let rank = |percent: usize| {
            let rank = (waits.len() * percent).div_ceil(100).max(1);
            let seconds = waits.get(rank - 1).copied().unwrap_or_default();
            (seconds * 1000.0).round() / 1000.0
        };
        Self { p50: rank(50), p95: rank(95), max: rank(100) }
    }
}
