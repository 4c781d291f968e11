//! What is to be done, and why: the planner's answer.

use jiff::Timestamp;

use super::{
    AgentAction, EquipRun, Memory, Policy, Progress, Purpose, Recipe, RequestId, Run, RunPhase, Snapshot, StopRun,
    Verdict, duplicates::without_duplicates, memory::Found, planner::decide,
};

/// What to do, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Agents to start, the most urgent first.
    pub starts: Vec<StartRun>,
    /// Runs that were made, and whose agents have to be registered.
    pub equips: Vec<EquipRun>,
    /// Runs to end. Never one whose agent has a job request.
    pub stops: Vec<StopRun>,
    /// Changes to registrations.
    pub agents: Vec<AgentAction>,
    /// One for each pool that was observed.
    pub pools: Vec<PoolPlan>,
    /// What has to be found again by the next look before anything is ended or removed for it.
    pub found: Vec<Found>,
    /// When time alone will have changed the plan.
    pub wake_at: Option<Timestamp>,
}

impl Plan {
    /// Adds what a later look at the same moment found missing.
    fn take_on(&mut self, later: &Self) {
        self.starts.extend(later.starts.iter().cloned());
        for (pool, later) in self.pools.iter_mut().zip(&later.pools) {
            for ((_, verdict), (_, later)) in pool.verdicts.iter_mut().zip(&later.verdicts) {
                if matches!(later, Verdict::Starting { .. }) {
                    *verdict = later.clone();
                }
            }
        }
    }

    /// Whether something is to be ended or removed if another look agrees.
    #[must_use]
    pub fn wants_another_look(&self) -> bool {
        !self.found.is_empty()
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.starts.is_empty() && self.equips.is_empty() && self.stops.is_empty() && self.agents.is_empty()
    }
}

/// An agent to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartRun {
    /// The name of the run and of its agent.
    pub name: String,
    /// The pool it serves.
    pub pool: String,
    /// The agent template it is made from.
    pub template: String,
    /// What it is for.
    pub purpose: Purpose,
    /// Counts the tries for this purpose, from 1.
    pub attempt: u32,
    /// The template's revision.
    pub revision: String,
    /// How its agent gets the right to work.
    pub recipe: Recipe,
}

impl StartRun {
    /// The run as it will be seen first, if it is started at this moment.
    #[must_use]
    pub fn expected(&self, now: Timestamp) -> Run {
        Run {
            name: self.name.clone(),
            pool: self.pool.clone(),
            template: self.template.clone(),
            purpose: self.purpose,
            attempt: self.attempt,
            created_at: now,
            phase: RunPhase::Live,
            revision: self.revision.clone(),
            progress: Progress::Pending,
            progress_since: None,
            runs_since: None,
            trouble: None,
            agent_ended_at: None,
            recipe: self.recipe,
            held: None,
            was_busy: false,
            lease: None,
        }
    }
}

/// How one pool stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolPlan {
    /// The pool's name.
    pub pool: String,
    /// How many of what.
    pub counts: Counts,
    /// One for every waiting job request, the most urgent first.
    pub verdicts: Vec<(RequestId, Verdict)>,
    /// The live runs of ours whose agent has a job request.
    pub busy: Vec<String>,
    /// What troubles of agents keep warm ones from being started.
    pub unfilled: Vec<Verdict>,
}

/// How many of what there are in a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Job requests that no agent has received.
    pub waiting: u32,
    /// When the oldest of them was queued.
    pub oldest_queued_at: Option<Timestamp>,
    /// Job requests that an agent works on.
    pub running: u32,
    /// Runs of ours whose agent is not online yet.
    pub starting: u32,
    /// Runs of ours whose agent has a job request.
    pub busy: u32,
    /// Runs of ours whose agent is online and free.
    pub idle: u32,
    /// Agents in the pool that are not online, ours or not. `None` if nobody looked.
    pub offline: Option<u32>,
}

/// Decides, by this look and by what is remembered of earlier ones; `now` is the time of day. The same arguments always give
/// the same plan, and a plan whose starts took effect is followed by one without starts. Whatever ends a run or removes a
/// registration is planned when two looks agree on it: [`Memory::remember`] has to be called between them.
#[must_use]
pub fn plan(policy: &Policy, snapshot: &Snapshot, memory: &Memory, now: Timestamp) -> Plan {
    let snapshot = &*without_duplicates(snapshot);
    let (mut plan, mut could_start_more) = decide(policy, snapshot, memory, &[], now);
    let mut latest = if could_start_more { plan.starts.clone() } else { Vec::new() };
    let mut expected: Vec<Run> = Vec::new();
    while could_start_more {
        expected.extend(latest.iter().map(|start| start.expected(snapshot.clocks.host.unwrap_or(now))));
        let (next, again) = decide(policy, snapshot, memory, &expected, now);
        plan.take_on(&next);
        (latest, could_start_more) = (next.starts, again);
    }
    plan
}
