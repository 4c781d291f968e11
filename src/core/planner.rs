//! The decision: which agents to start, and for every waiting job request what is being done about it.

mod pool;
mod warm;

use std::collections::VecDeque;

use jiff::Timestamp;

use super::{
    AgentAction, EquipRun, JobRequest, LimitScope, Memory, Pause, Plan, Policy, Purpose, RequestId, Run, Snapshot,
    StartRun, StopRun, Verdict,
    attempts::Wait,
    health::{Allowance, quota_trouble},
    memory::{AGREE_AFTER, Found},
    placeholder::{retire_placeholders, tend},
    planner::pool::{Looking, PoolWork},
    quick_hash::HashSet,
    survey::{Open, urgency},
    upkeep::{Patience, registrations, upkeep},
};

/// One look at one moment, and whether another one, at what its starts come to, could find more to start. Runs that are
/// `expected` count as if they had been observed.
pub(super) fn decide(
    policy: &Policy,
    snapshot: &Snapshot,
    memory: &Memory,
    expected: &[Run],
    now: Timestamp,
) -> (Plan, bool) {
    let host = snapshot.clocks.host.unwrap_or(now);
    let azure_devops = snapshot.clocks.azure_devops.unwrap_or(now);
    let looking = Looking { memory, moment: snapshot.looked_at, now, host, azure_devops };
    let mut planner = Planner::new(policy, snapshot, expected, looking);
    planner.set_aside_what_has_no_parallel_job(snapshot);
    for pool in &mut planner.pools {
        pool.survey.match_supply();
    }
    planner.keep_up();
    planner.serve_requests();
    planner.fill_slots();
    let could_start_more = planner.could_start_more();
    (planner.finish(), could_start_more)
}

struct Planner<'a> {
    policy: &'a Policy,
    now: Timestamp,
    /// Now, by the clock that stamps runs.
    host: Timestamp,
    pools: Vec<PoolWork<'a>>,
    /// Live runs over all pools, planned ones included.
    live: u32,
    starts: Vec<StartRun>,
    equips: Vec<EquipRun>,
    stops: Vec<StopRun>,
    agents: Vec<AgentAction>,
    /// What another look has to find again.
    found: Vec<Found>,
    wake_at: Option<Timestamp>,
    /// Whether nobody else acts for this installation and these pools.
    elected: bool,
    /// Set while a pod is refused for want of quota: no further agent is started then.
    quota: Option<Allowance>,
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
    fn new(policy: &'a Policy, snapshot: &'a Snapshot, expected: &'a [Run], looking: Looking<'a>) -> Self {
        let Looking { now, host, .. } = looking;
        let pools: Vec<_> = snapshot
            .pools
            .iter()
            .filter_map(|observed| {
                let pool = policy.pools.iter().find(|pool| pool.name == observed.pool)?;
                Some(PoolWork::new(policy, pool, observed, expected, looking))
            })
            .collect();
        let live = snapshot.live_elsewhere + pools.iter().map(|pool| pool.live).sum::<u32>();
        let runs = snapshot.pools.iter().flat_map(|pool| &pool.runs);
        Self {
            policy,
            now,
            host,
            pools,
            live,
            starts: Vec::new(),
            equips: Vec::new(),
            stops: Vec::new(),
            agents: Vec::new(),
            found: Vec::new(),
            wake_at: None,
            elected: snapshot.elected,
            quota: quota_trouble(runs),
        }
    }

    /// Tends the agents that exist and their registrations.
    fn keep_up(&mut self) {
        let retire = self.policy.retire;
        for pool in &mut self.pools {
            let retire = retire || pool.policy.removed;
            let patience = Patience {
                idle: self.policy.idle_timeout,
                retire,
                identity: &self.policy.identity,
                elected: self.elected,
            };
            let survey = &pool.survey;
            let tallies = survey.templates.iter().zip(&survey.scales);
            let mut spare: Vec<u32> = tallies
                .map(|(tally, scale)| {
                    if retire {
                        return tally.live;
                    }
                    tally.spare.saturating_sub(scale.idle).min(tally.live.saturating_sub(scale.min))
                })
                .collect();
            let upkeep = upkeep(&survey.sight, &mut spare, patience, pool.doubts, self.now);
            self.found.extend(upkeep.found);
            self.equips.extend(upkeep.equips);
            self.stops.extend(upkeep.stops);
            self.agents.extend(upkeep.agents);
            self.wake_at = earliest(earliest(self.wake_at, upkeep.wake_at), pool.policy.next_change(self.now));
            // Nothing is said of registrations when nobody looked at them.
            if survey.sight.knows_agents {
                let Policy { installation: ours, organization, .. } = self.policy;
                let (removed, found) = registrations(&survey.sight, ours, retire, pool.doubts);
                self.agents.extend(removed);
                if !found.is_empty() {
                    self.wake_at = earliest(self.wake_at, Some(self.now + AGREE_AFTER));
                }
                self.found.extend(found);
                self.agents.extend(if retire {
                    retire_placeholders(&pool.policy.name, ours, &survey.sight.roster)
                } else {
                    tend(ours, organization, &survey.sight, &survey.learned)
                });
            }
        }
    }

    /// An agent for a request that Azure DevOps will not hand out would only idle, so such a request takes no part.
    fn set_aside_what_has_no_parallel_job(&mut self, snapshot: &Snapshot) {
        for (tag, jobs) in &snapshot.parallel_jobs {
            // Where nothing is started, nothing has to be set aside.
            let going_on = self.pools.iter().filter(|pool| pool.policy.pause_at(self.now).is_none());
            let mut waiting: Vec<&JobRequest> = going_on.flat_map(|pool| pool.open_of_tag(tag)).collect();
            waiting.sort_by_cached_key(|request| urgency(request));
            let left = jobs.total.saturating_sub(jobs.used) as usize;
            let aside: HashSet<RequestId> = waiting.iter().skip(left).map(|request| request.id).collect();
            for PoolWork { survey, .. } in &mut self.pools {
                let is_aside = |open: &Open<'_>| aside.contains(&open.request.id);
                let (set_aside, open) = std::mem::take(&mut survey.open).into_iter().partition(is_aside);
                survey.open = open;
                let set_aside: Vec<Open<'_>> = set_aside;
                for open in set_aside {
                    survey.judge(open, Verdict::ParallelJobs { tag: tag.clone(), total: jobs.total });
                }
            }
        }
    }

    /// Gives the pool with the fewest agents its next one, so that a long queue in one pool does not starve another.
    fn serve_requests(&mut self) {
        let mut queues: Vec<VecDeque<Open<'a>>> =
            self.pools.iter_mut().map(|pool| std::mem::take(&mut pool.survey.open).into()).collect();
        while let Some(index) = (0..queues.len())
            .filter(|&index| !queues[index].is_empty())
            .min_by_key(|&index| (self.pools[index].live, index))
        {
            let Some(open) = queues[index].pop_front() else { break };
            let verdict = self.serve(index, open);
            let survey = &mut self.pools[index].survey;
            if !matches!(verdict, Verdict::Starting { .. }) {
                survey.open.push(open);
            }
            survey.judge(open, verdict);
        }
    }

    fn serve(&mut self, index: usize, open: Open<'a>) -> Verdict {
        let template = match self.pools[index].survey.choose_template(open) {
            Ok(template) => template,
            Err(demand) => return Verdict::NoTemplate { demand },
        };
        match self.start(index, template, Purpose::Request(open.request.id)) {
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
                let until = self.by_our_clock(until);
                self.wake_at = earliest(self.wake_at, Some(until));
                Verdict::BackingOff { until, attempt, reason }
            }
            Refusal::Health(allowance) => self.unhealthy(index, template, allowance),
        }
    }

    /// A moment of the host's clock as ours will show it.
    fn by_our_clock(&self, moment: Timestamp) -> Timestamp {
        self.now + moment.duration_since(self.host)
    }

    fn unhealthy(&mut self, index: usize, template: usize, allowance: Allowance) -> Verdict {
        let template = self.pools[index].policy.templates[template].name.clone();
        match allowance {
            Allowance::Trouble { run, trouble } => Verdict::Trouble { run, trouble },
            Allowance::BackOff { until, failures, reason } => {
                let until = self.by_our_clock(until);
                self.wake_at = earliest(self.wake_at, Some(until));
                Verdict::TemplateFails { template, until, failures, reason }
            }
            Allowance::AtMost(limit) => Verdict::TryingOut { limit, template },
            // Refuses nothing.
            Allowance::Any => Verdict::Covered,
        }
    }

    fn start(&mut self, index: usize, template: usize, purpose: Purpose) -> Result<String, Refusal> {
        let pool = &mut self.pools[index];
        let kind = &pool.policy.templates[template];
        if self.policy.retire {
            return Err(Refusal::Held(Verdict::Retiring));
        }
        if pool.policy.removed {
            return Err(Refusal::Held(Verdict::PoolRemoved));
        }
        if let Some(Pause { reason, until, .. }) = pool.policy.pause_at(self.now).cloned() {
            return Err(Refusal::Held(Verdict::Paused { reason, until }));
        }
        let limits = [
            (LimitScope::Template, pool.survey.scales[template].max, pool.survey.templates[template].live),
            (LimitScope::Pool, pool.policy.max_agents, pool.live),
            (LimitScope::Installation, self.policy.max_agents, self.live),
        ];
        for (scope, limit, live) in limits {
            if let Some(limit) = limit.filter(|&limit| live >= limit) {
                return Err(Refusal::Limit(scope, limit));
            }
        }
        if let Some(reason) = &kind.registration_pending {
            let (template, reason) = (kind.name.clone(), reason.clone());
            return Err(Refusal::Held(Verdict::RegistrationPending { template, reason }));
        }
        let attempt = pool.next_attempt(template, purpose, self.host).map_err(Refusal::BackOff)?;
        pool.allow(template, self.quota.as_ref())?;
        let name = pool.names[template].name(purpose, attempt);
        self.starts.push(StartRun {
            name: name.clone(),
            pool: pool.policy.name.clone(),
            template: kind.name.clone(),
            purpose,
            attempt,
            revision: kind.revision.clone(),
            recipe: kind.recipe,
        });
        pool.live += 1;
        pool.survey.templates[template].live += 1;
        pool.survey.templates[template].starting += 1;
        self.live += 1;
        Ok(name)
    }

    /// A new agent may be what sets another one free for a request that could get none of its own, and is missing again
    /// then. Not so where there is no room for yet another one, or nothing that is free or started serves what is left.
    /// Warm agents may always have changed what is spare.
    fn could_start_more(&self) -> bool {
        if self.starts.iter().any(|start| matches!(start.purpose, Purpose::Slot(_))) {
            return true;
        }
        if self.starts.is_empty() || self.policy.max_agents.is_some_and(|max| self.live >= max) {
            return false;
        }
        self.pools.iter().any(|pool| {
            let has_room = pool.policy.max_agents.is_none_or(|max| pool.live < max);
            has_room && pool.could_serve_more()
        })
    }

    fn finish(self) -> Plan {
        let Self { starts, equips, stops, agents, found, wake_at, .. } = self;
        let pools = self.pools.into_iter().map(PoolWork::finish).collect();
        Plan { starts, equips, stops, agents, pools, found, wake_at }
    }
}

fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    [one, other].into_iter().flatten().min()
}
