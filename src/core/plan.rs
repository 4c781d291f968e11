//! The decision: which agents to start, and for every waiting job request what is being done about it.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use jiff::Timestamp;

use super::{
    JobRequest, LimitScope, Policy, PoolPolicy, PoolSnapshot, Purpose, RequestId, Run, RunPhase, Snapshot, Verdict,
    name::run_name,
    survey::{Survey, survey},
};

/// The wait after a first failure; it doubles with each further one.
const FIRST_BACK_OFF: Duration = Duration::from_secs(10);

/// The longest wait between two attempts.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(300);

/// What to do, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Agents to start, the most urgent first.
    pub starts: Vec<StartRun>,
    /// One for each pool that was observed.
    pub pools: Vec<PoolPlan>,
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
    /// Agents in the pool that are not online, ours or not.
    pub offline: u32,
}

/// Decides. The same arguments always give the same plan, and a plan whose actions took effect is followed by one
/// without actions.
#[must_use]
pub fn plan(policy: &Policy, snapshot: &Snapshot, now: Timestamp) -> Plan {
    let mut planner = Planner::new(policy, snapshot, now);
    planner.serve_requests();
    planner.fill_slots();
    planner.finish()
}

struct Planner<'a> {
    policy: &'a Policy,
    now: Timestamp,
    pools: Vec<PoolWork<'a>>,
    /// Live runs over all pools, planned ones included.
    live: u32,
    /// How many more requests may run at once, by the tag of their parallel jobs.
    parallel_left: BTreeMap<&'a str, (u32, u32)>,
    starts: Vec<StartRun>,
}

/// One pool while its plan is made.
struct PoolWork<'a> {
    policy: &'a PoolPolicy,
    /// The last attempt for each purpose.
    last: HashMap<Purpose, &'a Run>,
    /// Requests that nobody is free for.
    open: VecDeque<&'a JobRequest>,
    survey: Survey<'a>,
    live: u32,
}

/// Why an agent is not started.
enum Refusal {
    Limit(LimitScope, u32),
    BackOff(Timestamp, u32, String),
}

impl<'a> Planner<'a> {
    fn new(policy: &'a Policy, snapshot: &'a Snapshot, now: Timestamp) -> Self {
        let pools: Vec<_> = snapshot
            .pools
            .iter()
            .filter_map(|observed| {
                let pool = policy.pools.iter().find(|pool| pool.name == observed.pool)?;
                Some(PoolWork::new(pool, observed, policy.start_timeout, now))
            })
            .collect();
        let live = snapshot.live_elsewhere + pools.iter().map(|pool| pool.live).sum::<u32>();
        let parallel_left = snapshot
            .parallel_jobs
            .iter()
            .map(|(tag, jobs)| {
                let covered: u32 = pools.iter().map(|pool| pool.survey.covered_with_tag(tag)).sum();
                (tag.as_str(), (jobs.total.saturating_sub(jobs.used).saturating_sub(covered), jobs.total))
            })
            .collect();
        Self { policy, now, pools, live, parallel_left, starts: Vec::new() }
    }

    /// Gives the pool with the fewest agents its next one, so that a long queue in one pool does not starve another.
    fn serve_requests(&mut self) {
        while let Some(index) = (0..self.pools.len())
            .filter(|&index| !self.pools[index].open.is_empty())
            .min_by_key(|&index| (self.pools[index].live, index))
        {
            let Some(request) = self.pools[index].open.pop_front() else { break };
            let verdict = self.serve(index, request);
            self.pools[index].survey.verdicts.insert(request.id, verdict);
        }
    }

    fn serve(&mut self, index: usize, request: &JobRequest) -> Verdict {
        let template = match self.pools[index].survey.choose_template(request) {
            Ok(template) => template,
            Err(demand) => return Verdict::NoTemplate { demand },
        };
        let tag = request.parallelism_tag.as_deref();
        if let Some(&(0, total)) = tag.and_then(|tag| self.parallel_left.get(tag)) {
            return Verdict::ParallelJobs { tag: tag.unwrap_or_default().to_owned(), total };
        }
        match self.start(index, template, Purpose::Request(request.id)) {
            Ok(run) => {
                if let Some((left, _)) = tag.and_then(|tag| self.parallel_left.get_mut(tag)) {
                    *left -= 1;
                }
                Verdict::Starting { run, template: self.pools[index].policy.templates[template].name.clone() }
            }
            Err(Refusal::Limit(scope, limit)) => Verdict::AtMaximum { scope, limit },
            Err(Refusal::BackOff(until, attempt, reason)) => Verdict::BackingOff { until, attempt, reason },
        }
    }

    /// Fills up what is missing to the least number of agents and of idle ones.
    fn fill_slots(&mut self) {
        for index in 0..self.pools.len() {
            for template in 0..self.pools[index].policy.templates.len() {
                let scale = self.pools[index].policy.templates[template].scale_at(self.now);
                let tally = &self.pools[index].survey.templates[template];
                let missing = scale.min.saturating_sub(tally.live).max(scale.idle.saturating_sub(tally.spare));
                let mut slot = 0;
                for _ in 0..missing {
                    while self.pools[index].survey.templates[template].slots.contains(&slot) {
                        slot += 1;
                    }
                    // A limit or a failing template holds for the next slot just as well.
                    if self.start(index, template, Purpose::Slot(slot)).is_err() {
                        break;
                    }
                    slot += 1;
                }
            }
        }
    }

    fn start(&mut self, index: usize, template: usize, purpose: Purpose) -> Result<String, Refusal> {
        let pool = &mut self.pools[index];
        let kind = &pool.policy.templates[template];
        let limits = [
            (LimitScope::Template, kind.scale_at(self.now).max, pool.survey.templates[template].live),
            (LimitScope::Pool, pool.policy.max_agents, pool.live),
            (LimitScope::Installation, self.policy.max_agents, self.live),
        ];
        for (scope, limit, live) in limits {
            if let Some(limit) = limit.filter(|&limit| live >= limit) {
                return Err(Refusal::Limit(scope, limit));
            }
        }
        let attempt = next_attempt(pool.last_for(template, purpose), self.now)?;
        let name = run_name(
            &kind.name_prefix,
            &self.policy.installation,
            &self.policy.organization,
            &pool.policy.name,
            &kind.name,
            purpose,
            attempt,
        );
        self.starts.push(StartRun {
            name: name.clone(),
            pool: pool.policy.name.clone(),
            template: kind.name.clone(),
            purpose,
            attempt,
        });
        pool.live += 1;
        pool.survey.templates[template].live += 1;
        self.live += 1;
        Ok(name)
    }

    fn finish(self) -> Plan {
        let pools = self.pools.into_iter().map(PoolWork::finish).collect();
        Plan { starts: self.starts, pools }
    }
}

impl<'a> PoolWork<'a> {
    fn new(policy: &'a PoolPolicy, observed: &'a PoolSnapshot, start_timeout: Duration, now: Timestamp) -> Self {
        let mut last: HashMap<Purpose, &Run> = HashMap::new();
        for run in &observed.runs {
            let known = last.entry(run.purpose).or_insert(run);
            if run.attempt > known.attempt {
                *known = run;
            }
        }
        let survey = survey(policy, observed, start_timeout, now);
        let open = survey.open.iter().copied().collect();
        let live = observed.runs.iter().filter(|run| run.is_live()).count().try_into().unwrap_or(u32::MAX);
        Self { policy, last, open, survey, live }
    }

    /// The last attempt. Slots are numbered for each template by itself.
    fn last_for(&self, template: usize, purpose: Purpose) -> Option<&'a Run> {
        let kind = &self.policy.templates[template].name;
        match purpose {
            Purpose::Request(_) => self.last.get(&purpose).copied(),
            Purpose::Slot(_) => self.survey.last_of_slot(kind, purpose),
        }
    }

    fn finish(self) -> PoolPlan {
        let Self { policy, survey, .. } = self;
        let verdicts = survey.order.iter().filter_map(|id| Some((*id, survey.verdicts.get(id)?.clone()))).collect();
        PoolPlan { pool: policy.name.clone(), counts: survey.counts, verdicts }
    }
}

/// The number of the next attempt, or until when it has to wait. A first agent that ended well without serving its
/// request (another request got it) is followed at once.
fn next_attempt(last: Option<&Run>, now: Timestamp) -> Result<u32, Refusal> {
    let Some(last) = last else { return Ok(1) };
    let next = last.attempt + 1;
    let (ended_at, failures, reason) = match &last.phase {
        RunPhase::Live => return Ok(next),
        RunPhase::Succeeded(at) => (*at, last.attempt - 1, "it ended without serving the job request"),
        RunPhase::Failed(at, reason) => (*at, last.attempt, reason.as_str()),
    };
    let Some(doublings) = failures.checked_sub(1) else { return Ok(next) };
    let wait = LONGEST_BACK_OFF.min(FIRST_BACK_OFF * 2u32.pow(doublings.min(10)));
    let until = ended_at + wait;
    if now < until { Err(Refusal::BackOff(until, next, reason.to_owned())) } else { Ok(next) }
}
