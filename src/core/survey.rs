//! One pool taken stock of: what each of our agents is doing, and which waiting requests nobody is free for.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::Duration,
};

use jiff::Timestamp;

use super::{
    Agent, AgentId, Capabilities, Counts, Demand, JobRequest, PoolPolicy, PoolSnapshot, Purpose, RequestId, Run, Stage,
    Verdict, matching::assign,
};

/// What taking stock of a pool gives.
pub(super) struct Survey<'a> {
    pub(super) counts: Counts,
    /// All waiting requests, the most urgent first.
    pub(super) order: Vec<RequestId>,
    /// Those that nobody is free for, the most urgent first.
    pub(super) open: Vec<&'a JobRequest>,
    pub(super) verdicts: HashMap<RequestId, Verdict>,
    /// One for each agent template of the policy.
    pub(super) templates: Vec<Tally>,
    policy: &'a PoolPolicy,
    runs: &'a [Run],
    covered_tags: BTreeMap<&'a str, u32>,
    learned: Vec<Option<&'a Capabilities>>,
}

/// How many agents of one template there are.
#[derive(Default)]
pub(super) struct Tally {
    /// Not ended.
    pub(super) live: u32,
    /// Idle or starting, and not needed by a waiting request.
    pub(super) spare: u32,
    /// Warm slots in use.
    pub(super) slots: BTreeSet<u32>,
}

/// An agent that could take a request.
struct Free<'a> {
    /// Our run behind it; `None` is somebody else's agent.
    run: Option<&'a Run>,
    /// Which of the demands in play it satisfies.
    satisfies: Vec<bool>,
}

pub(super) fn survey<'a>(
    policy: &'a PoolPolicy,
    observed: &'a PoolSnapshot,
    start_timeout: Duration,
    now: Timestamp,
) -> Survey<'a> {
    let agents = Agents::of(observed);
    let template_of: HashMap<&str, usize> =
        policy.templates.iter().enumerate().map(|(index, kind)| (kind.name.as_str(), index)).collect();
    let mut survey = Survey {
        counts: Counts::default(),
        order: Vec::new(),
        open: Vec::new(),
        verdicts: HashMap::new(),
        templates: policy.templates.iter().map(|_| Tally::default()).collect(),
        policy,
        runs: &observed.runs,
        covered_tags: BTreeMap::new(),
        learned: learned(policy, observed, &agents, &template_of),
    };
    let waiting = survey.waiting(observed, &agents);
    let demands: Vec<&Demand> =
        waiting.iter().flat_map(|request| &request.demands).collect::<BTreeSet<_>>().into_iter().collect();
    let free = survey.free(observed, &agents, &template_of, &demands, start_timeout, now);
    survey.counts.offline = count(observed.agents.iter().filter(|agent| !agent.online).count());
    survey.cover(&waiting, &demands, &free, &template_of);
    survey
}

impl<'a> Survey<'a> {
    /// The requests that need an agent, the most urgent first; what needs none of ours gets its verdict here.
    fn waiting(&mut self, observed: &'a PoolSnapshot, agents: &Agents<'a>) -> Vec<&'a JobRequest> {
        let mut waiting: Vec<&JobRequest> = observed
            .requests
            .iter()
            .filter(|request| match &request.stage {
                Stage::Finished => false,
                Stage::Running(_) => {
                    self.counts.running += 1;
                    false
                }
                Stage::Waiting | Stage::Assigned(_) => true,
            })
            .collect();
        waiting.sort_by_key(|request| (std::cmp::Reverse(request.priority), request.queued_at, request.id));
        let mut need = Vec::with_capacity(waiting.len());
        for request in waiting {
            self.order.push(request.id);
            if request.is_pinned() {
                self.verdicts.insert(request.id, Verdict::Pinned);
                continue;
            }
            self.counts.waiting += 1;
            let oldest = self.counts.oldest_queued_at;
            self.counts.oldest_queued_at = [oldest, request.queued_at].into_iter().flatten().min();
            match agents.holder_of(request) {
                Some(agent) => {
                    self.verdicts.insert(request.id, Verdict::Assigned { agent: agent.name.clone() });
                }
                None => need.push(request),
            }
        }
        need
    }

    /// The agents that can take a request, ours and others', and the tally of ours.
    fn free(
        &mut self,
        observed: &'a PoolSnapshot,
        agents: &Agents<'a>,
        template_of: &HashMap<&str, usize>,
        demands: &[&Demand],
        start_timeout: Duration,
        now: Timestamp,
    ) -> Vec<Free<'a>> {
        let mut free = Vec::new();
        for run in observed.runs.iter().filter(|run| run.is_live()) {
            let template = template_of.get(run.template.as_str()).copied();
            if let Some(template) = template {
                self.templates[template].live += 1;
                if let Purpose::Slot(slot) = run.purpose {
                    self.templates[template].slots.insert(slot);
                }
            }
            match agents.by_name.get(run.name.to_lowercase().as_str()) {
                Some(agent) if agents.is_taken(agent) => self.counts.busy += 1,
                Some(agent) if agent.online => {
                    self.counts.idle += 1;
                    if agent.enabled {
                        let satisfies = demands.iter().map(|demand| agent.capabilities.satisfy(demand)).collect();
                        free.push(Free { run: Some(run), satisfies });
                    }
                }
                _ => {
                    self.counts.starting += 1;
                    if now < run.created_at + start_timeout {
                        let satisfies = demands.iter().map(|d| self.will_satisfy(template, d)).collect();
                        free.push(Free { run: Some(run), satisfies });
                    }
                }
            }
        }
        // An agent of ours whose run has ended is about to go; anybody else's idle agent serves as well as ours.
        let ours: HashSet<String> = observed.runs.iter().map(|run| run.name.to_lowercase()).collect();
        let others = observed.agents.iter().filter(|agent| {
            agent.online && agent.enabled && !agents.is_taken(agent) && !ours.contains(&agent.name.to_lowercase())
        });
        free.extend(others.map(|agent| Free {
            run: None,
            satisfies: demands.iter().map(|demand| agent.capabilities.satisfy(demand)).collect(),
        }));
        free
    }

    fn will_satisfy(&self, template: Option<usize>, demand: &Demand) -> bool {
        template.is_some_and(|template| self.unmet(template, std::slice::from_ref(demand)).is_none())
    }

    /// Matches waiting requests to free agents; what is left over on either side is open or spare.
    fn cover(
        &mut self,
        waiting: &[&'a JobRequest],
        demands: &[&Demand],
        free: &[Free<'a>],
        template_of: &HashMap<&str, usize>,
    ) {
        let wanted = classes(waiting, |request| {
            let mut indices: Vec<usize> =
                request.demands.iter().filter_map(|demand| demands.binary_search(&demand).ok()).collect();
            indices.sort_unstable();
            indices
        });
        let offered = classes(free, |free| free.satisfies.clone());
        let sizes = |members: &[Vec<usize>]| members.iter().map(Vec::len).collect::<Vec<_>>();
        let flow = assign(&sizes(&wanted.members), &sizes(&offered.members), |d, s| {
            wanted.keys[d].iter().all(|&index| offered.keys[s][index])
        });

        let own: HashSet<RequestId> = free
            .iter()
            .filter_map(|free| match free.run?.purpose {
                Purpose::Request(id) => Some(id),
                Purpose::Slot(_) => None,
            })
            .collect();
        let mut covered = HashSet::new();
        for (members, given) in wanted.members.iter().zip(&flow) {
            // A request whose own agent is free keeps it, so that the others are the ones that get new names.
            let mut members = members.clone();
            members.sort_by_key(|&member| !own.contains(&waiting[member].id));
            covered.extend(members.into_iter().take(given.iter().sum()));
        }
        for (index, request) in waiting.iter().copied().enumerate() {
            if covered.contains(&index) {
                self.verdicts.insert(request.id, Verdict::Covered);
                if let Some(tag) = &request.parallelism_tag {
                    *self.covered_tags.entry(tag).or_default() += 1;
                }
            } else {
                self.open.push(request);
            }
        }
        for (s, members) in offered.members.iter().enumerate() {
            let used: usize = flow.iter().map(|given| given[s]).sum();
            for &member in members.iter().skip(used) {
                let template = free[member].run.and_then(|run| template_of.get(run.template.as_str()));
                if let Some(&template) = template {
                    self.templates[template].spare += 1;
                }
            }
        }
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
    fn unmet<'d>(&self, template: usize, demands: &'d [Demand]) -> Option<&'d Demand> {
        let kind = &self.policy.templates[template];
        match (&kind.capabilities, self.learned[template]) {
            (None, Some(seen)) => {
                let ignored = |demand: &Demand| kind.ignores(demand);
                demands.iter().find(|demand| !ignored(demand) && !seen.satisfy(demand))
            }
            _ => kind.unmet(demands),
        }
    }

    /// The last attempt for a warm slot of a template.
    pub(super) fn last_of_slot(&self, template: &str, purpose: Purpose) -> Option<&'a Run> {
        let of_slot = self.runs.iter().filter(|run| run.template == template && run.purpose == purpose);
        of_slot.max_by_key(|run| run.attempt)
    }

    /// How many covered requests will use up a parallel job of this tag.
    pub(super) fn covered_with_tag(&self, tag: &str) -> u32 {
        self.covered_tags.get(tag).copied().unwrap_or_default()
    }
}

/// The pool's agents, looked at from several sides.
struct Agents<'a> {
    by_id: HashMap<AgentId, &'a Agent>,
    by_name: HashMap<String, &'a Agent>,
    /// Who has which request, by the agents' own word.
    holders: HashMap<RequestId, &'a Agent>,
    /// Agents that a running request names, whatever their own record says by now.
    used: HashSet<AgentId>,
}

impl<'a> Agents<'a> {
    fn of(observed: &'a PoolSnapshot) -> Self {
        let agents = &observed.agents;
        let used = observed.requests.iter().filter_map(|request| match &request.stage {
            Stage::Running(agent) => agent.as_ref().map(|agent| agent.id),
            _ => None,
        });
        Self {
            by_id: agents.iter().map(|agent| (agent.id, agent)).collect(),
            by_name: agents.iter().map(|agent| (agent.name.to_lowercase(), agent)).collect(),
            holders: agents.iter().filter_map(|agent| Some((agent.assigned?, agent))).collect(),
            used: used.collect(),
        }
    }

    fn is_taken(&self, agent: &Agent) -> bool {
        agent.assigned.is_some() || self.used.contains(&agent.id)
    }

    /// The agent that has the request or is about to take it. The agents were observed after the requests, so one of
    /// them may have it by now; one that is offline, disabled or busy with another will not take it.
    fn holder_of(&self, request: &JobRequest) -> Option<&'a Agent> {
        if let Some(holder) = self.holders.get(&request.id) {
            return holder.online.then_some(*holder);
        }
        let Stage::Assigned(reserved) = &request.stage else { return None };
        let agent = self.by_id.get(&reserved.id)?;
        (agent.online && agent.enabled && !self.is_taken(agent)).then_some(*agent)
    }
}

/// For each template the capabilities of one agent of it that is online.
fn learned<'a>(
    policy: &PoolPolicy,
    observed: &'a PoolSnapshot,
    agents: &Agents<'a>,
    template_of: &HashMap<&str, usize>,
) -> Vec<Option<&'a Capabilities>> {
    let mut learned = vec![None; policy.templates.len()];
    for run in &observed.runs {
        let online = agents.by_name.get(run.name.to_lowercase().as_str()).filter(|agent| agent.online);
        if let (Some(agent), Some(&template)) = (online, template_of.get(run.template.as_str())) {
            learned[template].get_or_insert(&agent.capabilities);
        }
    }
    learned
}

/// Things that are alike, by a key; the classes in the order of their first members.
struct Classes<K> {
    keys: Vec<K>,
    members: Vec<Vec<usize>>,
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

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
