//! One pool taken stock of: what each of our agents is doing, and which waiting requests nobody is free for.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use jiff::Timestamp;

use super::{
    Counts, Demand, JobRequest, PoolPolicy, PoolSnapshot, Purpose, RequestId, Stage, Verdict,
    matching::assign,
    placeholder::{Learned, learned},
    roster::Roster,
};

/// What taking stock of a pool gives.
pub(super) struct Survey<'a> {
    pub(super) counts: Counts,
    /// All waiting requests, the most urgent first.
    pub(super) order: Vec<RequestId>,
    /// Those that need an agent of somebody; after [`Survey::match_supply`] those that nobody is free for.
    pub(super) open: Vec<&'a JobRequest>,
    pub(super) verdicts: HashMap<RequestId, Verdict>,
    /// One for each agent template of the policy.
    pub(super) templates: Vec<Tally>,
    policy: &'a PoolPolicy,
    pub(super) roster: Roster<'a>,
    pub(super) learned: Vec<Option<Learned<'a>>>,
    pub(super) observed: &'a PoolSnapshot,
}

/// How many agents of one template there are.
#[derive(Default)]
pub(super) struct Tally {
    /// Not ended.
    pub(super) live: u32,
    /// Not ended and not online yet.
    pub(super) starting: u32,
    /// The agent has ended, and its run has yet to say how.
    pub(super) undecided: u32,
    /// Idle or starting, and not needed by a waiting request.
    pub(super) spare: u32,
    /// Warm slots in use.
    pub(super) slots: BTreeSet<u32>,
}

/// How readily a free agent is given to a request: others' first, then ours that nobody would miss, and last those that
/// the template wants idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Use {
    Others,
    Unneeded,
    WantedIdle,
}

/// An agent that could take a request.
struct Free {
    /// The agent template of one of ours.
    template: Option<usize>,
    readiness: Use,
    /// The request that it was started for.
    started_for: Option<RequestId>,
    /// Which of the demands in play it satisfies.
    satisfies: Vec<bool>,
}

impl<'a> Survey<'a> {
    /// Looks at the requests: which ones wait, and for which of them something else than an agent of ours is due.
    pub(super) fn of(policy: &'a PoolPolicy, observed: &'a PoolSnapshot) -> Self {
        let roster = Roster::of(observed);
        let mut survey = Self {
            counts: Counts { offline: observed.agents.is_some().then(|| count(roster.offline())), ..Counts::default() },
            order: Vec::new(),
            open: Vec::new(),
            verdicts: HashMap::new(),
            templates: policy.templates.iter().map(|_| Tally::default()).collect(),
            policy,
            observed,
            learned: policy.templates.iter().map(|kind| learned(kind, &observed.runs, &roster)).collect(),
            roster,
        };
        let mut waiting: Vec<&JobRequest> = Vec::new();
        for request in &observed.requests {
            match request.stage {
                Stage::Finished => {}
                Stage::Running(_) => survey.counts.running += 1,
                Stage::Waiting | Stage::Assigned(_) => waiting.push(request),
            }
        }
        waiting.sort_by_key(|request| urgency(request));
        for request in waiting {
            survey.waits(request);
        }
        survey
    }

    fn waits(&mut self, request: &'a JobRequest) {
        self.order.push(request.id);
        if request.is_pinned() {
            self.verdicts.insert(request.id, Verdict::Pinned);
            return;
        }
        self.counts.waiting += 1;
        let oldest = self.counts.oldest_queued_at;
        self.counts.oldest_queued_at = [oldest, request.queued_at].into_iter().flatten().min();
        match self.roster.holder_of(request) {
            Some(agent) => {
                self.verdicts.insert(request.id, Verdict::Assigned { agent: agent.name.clone() });
            }
            None => self.open.push(request),
        }
    }

    /// Matches the open requests to free agents. What is left over is open on one side and spare on the other.
    pub(super) fn match_supply(&mut self, start_timeout: Duration, now: Timestamp) {
        let waiting = std::mem::take(&mut self.open);
        let demands: Vec<&Demand> =
            waiting.iter().flat_map(|request| &request.demands).collect::<BTreeSet<_>>().into_iter().collect();
        let mut free = self.free(&demands, start_timeout, now);
        self.keep_wanted_idle(&mut free, now);

        // A request whose own agent is free keeps it, so that the others are the ones that get new agents and names.
        let own: HashSet<RequestId> = free.iter().filter_map(|free| free.started_for).collect();
        let mut by_claim = waiting.clone();
        by_claim.sort_by_key(|request| !own.contains(&request.id));
        let wanted = classes(&by_claim, |request| {
            let demands = request.demands.iter().filter_map(|demand| demands.binary_search(&demand).ok());
            (own.contains(&request.id), demands.collect::<BTreeSet<_>>())
        });
        let mut offered = classes(&free, |free| (free.readiness, free.template, free.satisfies.clone()));
        offered.sort();

        // First as many requests as possible, the oldest before the others; then the same number with the agents that
        // are of least use otherwise, so that what is spare is really spare.
        let fits = |d: usize, s: usize| wanted.keys[d].1.iter().all(|&demand| offered.keys[s].2[demand]);
        let served = totals(assign(&wanted.sizes(), &offered.sizes(), fits));
        let used = totals(assign(&offered.sizes(), &served, |s, d| fits(d, s)));

        let mut covered = HashSet::new();
        for (members, &served) in wanted.members.iter().zip(&served) {
            covered.extend(members.iter().take(served).map(|&member| by_claim[member].id));
        }
        let mut troubled = self.troubled();
        for request in waiting {
            if covered.contains(&request.id) {
                self.verdicts.insert(request.id, troubled.remove(&request.id).unwrap_or(Verdict::Covered));
            } else {
                self.open.push(request);
            }
        }
        for ((_, template, _), (members, used)) in offered.keys.iter().zip(offered.members.iter().zip(used)) {
            if let Some(template) = *template {
                self.templates[template].spare += count(members.len() - used);
            }
        }
    }

    /// The requests whose own agent has trouble starting. They are told so, although the agent may still come.
    fn troubled(&self) -> HashMap<RequestId, Verdict> {
        let troubled = self.observed.runs.iter().filter(|run| run.is_live()).filter_map(|run| {
            let (Purpose::Request(id), Some(trouble)) = (run.purpose, run.trouble.clone()) else { return None };
            Some((id, Verdict::Trouble { run: run.name.clone(), trouble }))
        });
        troubled.collect()
    }

    /// Marks as many free agents of each template as it wants idle; warm ones rather than those started for a request.
    fn keep_wanted_idle(&self, free: &mut [Free], now: Timestamp) {
        free.sort_by_key(|free| free.started_for.is_some());
        for (index, template) in self.policy.templates.iter().enumerate() {
            let wanted = template.scale_at(now).idle as usize;
            for free in free.iter_mut().filter(|free| free.template == Some(index)).take(wanted) {
                free.readiness = Use::WantedIdle;
            }
        }
    }

    /// The agents that can take a request, ours and others', and the tally of ours.
    fn free(&mut self, demands: &[&Demand], start_timeout: Duration, now: Timestamp) -> Vec<Free> {
        let mut free = Vec::new();
        for run in self.observed.runs.iter().filter(|run| run.is_live()) {
            let template = self.policy.templates.iter().position(|template| template.name == run.template);
            if let Some(template) = template {
                self.templates[template].live += 1;
                if let Purpose::Slot(slot) = run.purpose {
                    self.templates[template].slots.insert(slot);
                }
            }
            let satisfies: Vec<bool> = match self.roster.agent_of(run) {
                Some(agent) if self.roster.is_taken(agent) => {
                    self.counts.busy += 1;
                    continue;
                }
                None if self.roster.is_unseen_at_work(run) => {
                    self.counts.busy += 1;
                    continue;
                }
                // It has done its one job and is about to go.
                Some(agent) if agent.last_finished_at.is_some() => continue,
                Some(agent) if agent.online => {
                    self.counts.idle += 1;
                    if !agent.enabled {
                        continue;
                    }
                    demands.iter().map(|demand| agent.capabilities.satisfy(demand)).collect()
                }
                _ if run.agent_has_ended() => {
                    if let Some(template) = template {
                        self.templates[template].undecided += 1;
                    }
                    continue;
                }
                _ => {
                    self.counts.starting += 1;
                    if let Some(template) = template {
                        self.templates[template].starting += 1;
                    }
                    if now >= run.created_at + start_timeout {
                        continue;
                    }
                    demands.iter().map(|demand| self.will_satisfy(template, demand)).collect()
                }
            };
            let started_for = match run.purpose {
                Purpose::Request(id) => Some(id),
                Purpose::Slot(_) => None,
            };
            free.push(Free { template, readiness: Use::Unneeded, started_for, satisfies });
        }
        free.extend(self.roster.idle_of_others().map(|agent| Free {
            template: None,
            readiness: Use::Others,
            started_for: None,
            satisfies: demands.iter().map(|demand| agent.capabilities.satisfy(demand)).collect(),
        }));
        free
    }

    fn will_satisfy(&self, template: Option<usize>, demand: &Demand) -> bool {
        template.is_some_and(|template| self.unmet(template, std::slice::from_ref(demand)).is_none())
    }

    /// The first agent template that satisfies the request, or the demand that the last one fails.
    pub(super) fn choose_template(&self, request: &JobRequest) -> Result<usize, String> {
        let mut unmet = String::new();
        for template in 0..self.policy.templates.len() {
            match self.unmet(template, &request.demands) {
                None => return Ok(template),
                Some(demand) => unmet = demand.to_string(),
            }
        }
        Err(unmet)
    }

    /// What a template lacks: by its declaration, or where it declares nothing by what an agent of it was seen to offer.
    pub(super) fn unmet<'d>(&self, template: usize, demands: &'d [Demand]) -> Option<&'d Demand> {
        let kind = &self.policy.templates[template];
        match (&kind.capabilities, &self.learned[template]) {
            // What was learned of another revision may have changed with it.
            (None, Some(Learned { capabilities, is_current: true })) => {
                demands.iter().find(|demand| !kind.ignores(demand) && !capabilities.satisfy(demand))
            }
            _ => kind.unmet(demands),
        }
    }
}

/// The order in which requests are served.
pub(super) fn urgency(request: &JobRequest) -> (std::cmp::Reverse<i64>, Option<Timestamp>, RequestId) {
    (std::cmp::Reverse(request.priority), request.queued_at, request.id)
}

/// Things that are alike, by a key; the classes in the order of their first members.
struct Classes<K> {
    keys: Vec<K>,
    members: Vec<Vec<usize>>,
}

impl<K: Ord> Classes<K> {
    fn sort(&mut self) {
        let mut both: Vec<(K, Vec<usize>)> = self.keys.drain(..).zip(self.members.drain(..)).collect();
        both.sort_by(|(one, _), (other, _)| one.cmp(other));
        (self.keys, self.members) = both.into_iter().unzip();
    }

    fn sizes(&self) -> Vec<usize> {
        self.members.iter().map(Vec::len).collect()
    }
}

fn classes<T, K: Clone + Eq + std::hash::Hash>(things: &[T], key: impl Fn(&T) -> K) -> Classes<K> {
    let mut index: HashMap<K, usize> = HashMap::new();
    let mut classes = Classes { keys: Vec::new(), members: Vec::new() };
    for (position, thing) in things.iter().enumerate() {
        let key = key(thing);
        let class = *index.entry(key.clone()).or_insert_with(|| {
            classes.keys.push(key);
            classes.members.push(Vec::new());
            classes.members.len() - 1
        });
        classes.members[class].push(position);
    }
    classes
}

fn totals(flow: Vec<Vec<usize>>) -> Vec<usize> {
    flow.into_iter().map(|given| given.into_iter().sum()).collect()
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
