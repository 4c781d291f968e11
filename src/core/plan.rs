//! The decision: which agents to start, and for every waiting job request what is being done about it.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use jiff::Timestamp;

use super::{
    JobRequest, LimitScope, Policy, PoolPolicy, PoolSnapshot, Purpose, RequestId, Run, RunPhase, Snapshot, Verdict,
    name::run_name,
    survey::{Survey, urgency},
};

/// The wait after a first failure; it doubles with each further one.
const FIRST_BACK_OFF: Duration = Duration::from_secs(10);

/// The longest wait between two attempts. For so long a failed run has to be remembered.
pub const LONGEST_BACK_OFF: Duration = Duration::from_secs(300);

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
    /// The template's revision.
    pub revision: String,
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
    planner.set_aside_what_has_no_parallel_job(snapshot);
    for pool in &mut planner.pools {
        pool.survey.match_supply(policy.start_timeout, now);
    }
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
    starts: Vec<StartRun>,
}

/// One pool while its plan is made.
struct PoolWork<'a> {
    policy: &'a PoolPolicy,
    /// The last attempt for each purpose.
    last: HashMap<Key<'a>, &'a Run>,
    survey: Survey<'a>,
    live: u32,
}

/// What attempts are counted for: a request in its pool, a warm slot in its template.
type Key<'a> = (Option<&'a str>, Purpose);

fn key(template: &str, purpose: Purpose) -> Key<'_> {
    match purpose {
        Purpose::Request(_) => (None, purpose),
        Purpose::Slot(_) => (Some(template), purpose),
    }
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
                Some(PoolWork::new(pool, observed))
            })
            .collect();
        let live = snapshot.live_elsewhere + pools.iter().map(|pool| pool.live).sum::<u32>();
        Self { policy, now, pools, live, starts: Vec::new() }
    }

    /// An agent for a request that Azure DevOps will not hand out would only idle, so such a request takes no part.
    fn set_aside_what_has_no_parallel_job(&mut self, snapshot: &Snapshot) {
        for (tag, jobs) in &snapshot.parallel_jobs {
            let of_tag = |request: &&JobRequest| request.parallelism_tag.as_deref() == Some(tag.as_str());
            let mut waiting: Vec<&JobRequest> =
                self.pools.iter().flat_map(|pool| pool.survey.open.iter().copied()).filter(of_tag).collect();
            waiting.sort_by_key(|request| urgency(request));
            let left = jobs.total.saturating_sub(jobs.used) as usize;
            let aside: HashSet<RequestId> = waiting.iter().skip(left).map(|request| request.id).collect();
            for pool in &mut self.pools {
                let survey = &mut pool.survey;
                survey.open.retain(|request| {
                    let verdict = Verdict::ParallelJobs { tag: tag.clone(), total: jobs.total };
                    let set_aside = aside.contains(&request.id);
                    if set_aside {
                        survey.verdicts.insert(request.id, verdict);
                    }
                    !set_aside
                });
            }
        }
    }

    /// Gives the pool with the fewest agents its next one, so that a long queue in one pool does not starve another.
    fn serve_requests(&mut self) {
        let mut queues: Vec<VecDeque<&JobRequest>> =
            self.pools.iter_mut().map(|pool| std::mem::take(&mut pool.survey.open).into()).collect();
        while let Some(index) = (0..queues.len())
            .filter(|&index| !queues[index].is_empty())
            .min_by_key(|&index| (self.pools[index].live, index))
        {
            let Some(request) = queues[index].pop_front() else { break };
            let verdict = self.serve(index, request);
            let survey = &mut self.pools[index].survey;
            if !matches!(verdict, Verdict::Starting { .. }) {
                survey.open.push(request);
            }
            survey.verdicts.insert(request.id, verdict);
        }
    }

    fn serve(&mut self, index: usize, request: &JobRequest) -> Verdict {
        let template = match self.pools[index].survey.choose_template(request) {
            Ok(template) => template,
            Err(demand) => return Verdict::NoTemplate { demand },
        };
        match self.start(index, template, Purpose::Request(request.id)) {
            Ok(run) => Verdict::Starting { run, template: self.pools[index].policy.templates[template].name.clone() },
            Err(Refusal::Limit(scope, limit)) => Verdict::AtMaximum { scope, limit },
            Err(Refusal::BackOff(until, attempt, reason)) => Verdict::BackingOff { until, attempt, reason },
        }
    }

    /// Fills up what is missing to the least number of agents and of idle ones.
    fn fill_slots(&mut self) {
        for index in 0..self.pools.len() {
            let templates = self.pools[index].policy.templates.len();
            for template in 0..templates {
                self.fill_to_minimum(index, template);
            }
            for template in 0..templates {
                self.fill_idle(index, template);
            }
        }
    }

    fn fill_to_minimum(&mut self, index: usize, template: usize) {
        let scale = self.pools[index].policy.templates[template].scale_at(self.now);
        while self.pools[index].survey.templates[template].live < scale.min {
            if self.start_warm(index, template).is_err() {
                return;
            }
            // The new agent serves a request that is still open rather than idle.
            let survey = &mut self.pools[index].survey;
            match (0..survey.open.len()).find(|&open| survey.unmet(template, &survey.open[open].demands).is_none()) {
                Some(open) => {
                    let request = survey.open.remove(open);
                    survey.verdicts.insert(request.id, Verdict::Covered);
                }
                None => survey.templates[template].spare += 1,
            }
        }
    }

    /// No agent is kept idle while a request that it satisfies waits: it would not be idle, and the limit or back-off
    /// that the request waits for would be got round.
    fn fill_idle(&mut self, index: usize, template: usize) {
        let scale = self.pools[index].policy.templates[template].scale_at(self.now);
        let survey = &self.pools[index].survey;
        if survey.open.iter().any(|request| survey.unmet(template, &request.demands).is_none()) {
            return;
        }
        while self.pools[index].survey.templates[template].spare < scale.idle {
            if self.start_warm(index, template).is_err() {
                return;
            }
            self.pools[index].survey.templates[template].spare += 1;
        }
    }

    /// Starts an agent in the first warm slot that is not in use. What keeps this one from starting holds for the next
    /// slot just as well.
    fn start_warm(&mut self, index: usize, template: usize) -> Result<(), Refusal> {
        let slots = &self.pools[index].survey.templates[template].slots;
        let slot = (0..).find(|slot| !slots.contains(slot)).unwrap_or_default();
        self.start(index, template, Purpose::Slot(slot))?;
        self.pools[index].survey.templates[template].slots.insert(slot);
        Ok(())
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
        let attempt = next_attempt(pool.last.get(&key(&kind.name, purpose)).copied(), self.now)?;
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
            revision: kind.revision.clone(),
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
    fn new(policy: &'a PoolPolicy, observed: &'a PoolSnapshot) -> Self {
        let mut last: HashMap<Key<'_>, &Run> = HashMap::new();
        for run in &observed.runs {
            let known = last.entry(key(&run.template, run.purpose)).or_insert(run);
            if run.attempt > known.attempt {
                *known = run;
            }
        }
        let live = observed.runs.iter().filter(|run| run.is_live()).count().try_into().unwrap_or(u32::MAX);
        Self { policy, last, survey: Survey::of(policy, observed), live }
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
