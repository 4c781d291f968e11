//! The decision: which agents to start, and for every waiting job request what is being done about it.

use std::collections::{HashMap, HashSet, VecDeque};

use jiff::Timestamp;

use super::{
    AgentAction, JobRequest, LimitScope, Pause, Plan, Policy, PoolPlan, PoolPolicy, PoolSnapshot, Purpose, RequestId,
    Run, Snapshot, StartRun, StopRun, Verdict,
    attempts::{Wait, next_attempt},
    health::{Allowance, allowance, quota_trouble},
    name::run_name,
    placeholder::{has_to_learn, retire_placeholders, tend},
    survey::{Survey, urgency},
    upkeep::{Patience, registrations, upkeep},
};

/// One look at one moment.
pub(super) fn decide(policy: &Policy, snapshot: &Snapshot, now: Timestamp) -> Plan {
    let mut planner = Planner::new(policy, snapshot, now);
    planner.set_aside_what_has_no_parallel_job(snapshot);
    for pool in &mut planner.pools {
        pool.survey.match_supply(policy.start_timeout, now);
    }
    planner.keep_up();
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
    stops: Vec<StopRun>,
    agents: Vec<AgentAction>,
    wake_at: Option<Timestamp>,
    /// Set while a pod is refused for want of quota: no further agent is started then.
    quota: Option<Allowance>,
}

/// One pool while its plan is made.
struct PoolWork<'a> {
    policy: &'a PoolPolicy,
    /// The last attempt for each purpose.
    last: HashMap<Key<'a>, &'a Run>,
    /// How many agents of each template may be starting.
    allowances: Vec<Allowance>,
    survey: Survey<'a>,
    live: u32,
    /// What keeps warm agents from being started.
    unfilled: Vec<Verdict>,
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
    /// Somebody said so.
    Held(Verdict),
    Limit(LimitScope, u32),
    Health(Allowance),
    BackOff(Wait),
}

impl<'a> Planner<'a> {
    fn new(policy: &'a Policy, snapshot: &'a Snapshot, now: Timestamp) -> Self {
        let pools: Vec<_> = snapshot
            .pools
            .iter()
            .filter_map(|observed| {
                let pool = policy.pools.iter().find(|pool| pool.name == observed.pool)?;
                Some(PoolWork::new(pool, observed, now))
            })
            .collect();
        let live = snapshot.live_elsewhere + pools.iter().map(|pool| pool.live).sum::<u32>();
        let runs = snapshot.pools.iter().flat_map(|pool| &pool.runs);
        Self {
            policy,
            now,
            pools,
            live,
            starts: Vec::new(),
            stops: Vec::new(),
            agents: Vec::new(),
            wake_at: None,
            quota: quota_trouble(runs),
        }
    }

    /// Tends the agents that exist and their registrations.
    fn keep_up(&mut self) {
        let retire = self.policy.retire;
        let patience = Patience { start: self.policy.start_timeout, idle: self.policy.idle_timeout, retire };
        for pool in &mut self.pools {
            let PoolWork { policy, survey, .. } = pool;
            let mut spare: Vec<u32> = survey
                .templates
                .iter()
                .zip(&policy.templates)
                .map(|(tally, template)| {
                    if retire {
                        return tally.live;
                    }
                    let scale = template.scale_at(self.now);
                    tally.spare.saturating_sub(scale.idle).min(tally.live.saturating_sub(scale.min))
                })
                .collect();
            let upkeep = upkeep(policy, survey.observed, &survey.roster, &mut spare, patience, self.now);
            self.stops.extend(upkeep.stops);
            self.agents.extend(upkeep.agents);
            self.wake_at = earliest(earliest(self.wake_at, upkeep.wake_at), policy.next_change(self.now));
            // Nothing is said of registrations when nobody looked at them.
            if survey.observed.agents.is_some() {
                let (ours, runs) = (&self.policy.installation, &survey.observed.runs);
                let clear = registrations(&policy.name, survey.observed, &survey.roster, ours, retire, self.now);
                self.agents.extend(clear);
                self.agents.extend(if retire {
                    retire_placeholders(&policy.name, ours, &survey.roster)
                } else {
                    tend(policy, ours, &self.policy.organization, runs, &survey.roster)
                });
            }
        }
    }

    /// An agent for a request that Azure DevOps will not hand out would only idle, so such a request takes no part.
    fn set_aside_what_has_no_parallel_job(&mut self, snapshot: &Snapshot) {
        for (tag, jobs) in &snapshot.parallel_jobs {
            let of_tag = |request: &&JobRequest| request.parallelism_tag.as_deref() == Some(tag.as_str());
            // Where nothing is started, nothing has to be set aside.
            let going_on = self.pools.iter().filter(|pool| pool.policy.pause_at(self.now).is_none());
            let mut waiting: Vec<&JobRequest> =
                going_on.flat_map(|pool| pool.survey.open.iter().copied()).filter(of_tag).collect();
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
            Err(refusal) => self.refused(index, template, refusal),
        }
    }

    fn refused(&mut self, index: usize, template: usize, refusal: Refusal) -> Verdict {
        match refusal {
            Refusal::Held(verdict) => verdict,
            Refusal::Limit(scope, limit) => {
                let template = self.pools[index].policy.templates[template].name.clone();
                Verdict::AtMaximum { scope, limit, template }
            }
            Refusal::BackOff(Wait { until, attempt, reason }) => {
                self.wake_at = earliest(self.wake_at, Some(until));
                Verdict::BackingOff { until, attempt, reason }
            }
            Refusal::Health(allowance) => self.unhealthy(index, template, allowance),
        }
    }

    fn unhealthy(&mut self, index: usize, template: usize, allowance: Allowance) -> Verdict {
        let template = self.pools[index].policy.templates[template].name.clone();
        match allowance {
            Allowance::Trouble { run, trouble } => Verdict::Trouble { run, trouble },
            Allowance::BackOff { until, failures, reason } => {
                self.wake_at = earliest(self.wake_at, Some(until));
                Verdict::TemplateFails { template, until, failures, reason }
            }
            Allowance::AtMost(limit) => Verdict::TryingOut { limit, template },
            // Refuses nothing.
            Allowance::Any => Verdict::Covered,
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
        let PoolWork { policy, survey, .. } = &self.pools[index];
        let kind = &policy.templates[template];
        let to_learn =
            survey.observed.agents.is_some() && has_to_learn(kind, survey.learned[template].as_ref(), &survey.roster);
        let least = kind.scale_at(self.now).min.max(u32::from(to_learn));
        while self.pools[index].survey.templates[template].live < least {
            if let Err(refusal) = self.start_warm(index, template) {
                self.unfilled(index, template, refusal);
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
            if let Err(refusal) = self.start_warm(index, template) {
                self.unfilled(index, template, refusal);
                return;
            }
            self.pools[index].survey.templates[template].spare += 1;
        }
    }

    /// What keeps a warm agent from being started is told where it is a trouble of agents; all else is as it should be.
    fn unfilled(&mut self, index: usize, template: usize, refusal: Refusal) {
        let verdict = self.refused(index, template, refusal);
        if verdict.is_trouble_of_agents() {
            self.pools[index].unfilled.push(verdict);
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
        if self.policy.retire {
            return Err(Refusal::Held(Verdict::Retiring));
        }
        if let Some(Pause { reason, until, .. }) = pool.policy.pause_at(self.now).cloned() {
            return Err(Refusal::Held(Verdict::Paused { reason, until }));
        }
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
        let attempt =
            next_attempt(pool.last.get(&key(&kind.name, purpose)).copied(), self.now).map_err(Refusal::BackOff)?;
        pool.allow(template, self.quota.as_ref())?;
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
        pool.survey.templates[template].starting += 1;
        self.live += 1;
        Ok(name)
    }

    fn finish(self) -> Plan {
        let Self { starts, stops, agents, wake_at, .. } = self;
        Plan { starts, stops, agents, pools: self.pools.into_iter().map(PoolWork::finish).collect(), wake_at }
    }
}

impl<'a> PoolWork<'a> {
    fn new(policy: &'a PoolPolicy, observed: &'a PoolSnapshot, now: Timestamp) -> Self {
        let mut last: HashMap<Key<'_>, &Run> = HashMap::new();
        for run in &observed.runs {
            let known = last.entry(key(&run.template, run.purpose)).or_insert(run);
            if run.attempt > known.attempt {
                *known = run;
            }
        }
        let live = observed.runs.iter().filter(|run| run.is_live()).count().try_into().unwrap_or(u32::MAX);
        let survey = Survey::of(policy, observed);
        let allowances = policy
            .templates
            .iter()
            .zip(&survey.learned)
            .map(|(template, known)| {
                let proven = known.as_ref().is_some_and(|known| known.is_current);
                allowance(template, &observed.runs, &survey.roster, proven, now)
            })
            .collect();
        Self { policy, last, allowances, survey, live, unfilled: Vec::new() }
    }

    /// Whether the template's health lets one more agent start.
    fn allow(&self, template: usize, quota: Option<&Allowance>) -> Result<(), Refusal> {
        let allowance = quota.unwrap_or(&self.allowances[template]);
        match allowance {
            Allowance::Any => Ok(()),
            Allowance::AtMost(limit) if self.survey.templates[template].starting < *limit => Ok(()),
            refused => Err(Refusal::Health(refused.clone())),
        }
    }

    fn finish(self) -> PoolPlan {
        let Self { policy, survey, unfilled, .. } = self;
        let verdicts = survey.order.iter().filter_map(|id| Some((*id, survey.verdicts.get(id)?.clone()))).collect();
        PoolPlan { pool: policy.name.clone(), counts: survey.counts, verdicts, unfilled }
    }
}

fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    [one, other].into_iter().flatten().min()
}
