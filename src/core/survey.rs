//! One pool taken stock of: what each of our agents is doing, and which waiting requests nobody is free for.

use jiff::Timestamp;

use super::{
    AgentTemplate, Counts, Demand, JobRequest, Progress, Purpose, RequestId, Scale, Stage, Verdict,
    classes::Classes,
    demand_sets::{DemandSets, SetId},
    lifecycle::State,
    matching::assign,
    placeholder::{Learned, learned},
    quick_hash::{HashMap, HashSet},
    sight::{KnownRun, Sight},
    supply::{Supply, Tally},
};

/// What taking stock of a pool gives.
pub(super) struct Survey<'a> {
    pub(super) sight: Sight<'a>,
    pub(super) counts: Counts,
    /// Every waiting request with what is done about it, the most urgent first.
    pub(super) verdicts: Vec<(RequestId, Option<Verdict>)>,
    /// Those that need an agent of somebody; after [`Survey::match_supply`] those that nobody is free for.
    pub(super) open: Vec<Open<'a>>,
    /// One for each agent template of the policy.
    pub(super) templates: Vec<Tally>,
    /// What each template asks for at this moment.
    pub(super) scales: Vec<Scale>,
    pub(super) learned: Vec<Option<Learned<'a>>>,
    demands: DemandSets<'a>,
    /// For each set of demands whether somebody who is free satisfies it, needed elsewhere or not.
    pub(super) reached: Vec<bool>,
    /// The template for each set of demands, or the demand that none satisfies, once it is known.
    choices: Vec<Option<Result<usize, String>>>,
}

/// A waiting request that nobody is free for yet.
#[derive(Clone, Copy)]
pub(super) struct Open<'a> {
    pub(super) request: &'a JobRequest,
    /// What it asks for.
    pub(super) demands: SetId,
    /// Its place among the verdicts.
    place: usize,
}

impl<'a> Survey<'a> {
    /// Looks at the requests: which ones wait, and for which of them something else than an agent of ours is due.
    pub(super) fn of(sight: Sight<'a>, now: Timestamp) -> Self {
        let templates = &sight.policy.templates;
        let mut survey = Self {
            counts: Counts { offline: sight.knows_agents.then(|| count(sight.roster.offline())), ..Counts::default() },
            verdicts: Vec::with_capacity(sight.requests.len()),
            open: Vec::with_capacity(sight.requests.len()),
            templates: templates.iter().map(|_| Tally::default()).collect(),
            scales: templates.iter().map(|template| template.scale_at(now)).collect(),
            learned: (0..templates.len()).map(|template| learned(template, &sight)).collect(),
            demands: DemandSets::default(),
            reached: Vec::new(),
            choices: Vec::new(),
            sight,
        };
        let mut waiting: Vec<&JobRequest> = Vec::new();
        for request in survey.sight.requests {
            match request.stage {
                Stage::Finished => {}
                Stage::Running(_) => survey.counts.running += 1,
                Stage::Waiting | Stage::Assigned(_) => waiting.push(request),
            }
        }
        waiting.sort_by_cached_key(|request| urgency(request));
        for request in waiting {
            survey.waits(request);
        }
        survey.choices = vec![None; survey.demands.len()];
        survey
    }

    fn waits(&mut self, request: &'a JobRequest) {
        if request.is_pinned() {
            self.verdicts.push((request.id, Some(Verdict::Pinned)));
            return;
        }
        self.counts.waiting += 1;
        let oldest = self.counts.oldest_queued_at;
        self.counts.oldest_queued_at = [oldest, request.queued_at].into_iter().flatten().min();
        let holder = self.sight.roster.holder_of(request);
        if holder.is_none() {
            let demands = self.demands.add(&request.demands);
            self.open.push(Open { request, demands, place: self.verdicts.len() });
        }
        self.verdicts.push((request.id, holder.map(|agent| Verdict::Assigned { agent: agent.name.clone() })));
    }

    /// Says what is done about an open request.
    pub(super) fn judge(&mut self, open: Open<'a>, verdict: Verdict) {
        self.verdicts[open.place].1 = Some(verdict);
    }

    /// Matches the open requests to free agents. What is left over is open on one side and spare on the other.
    pub(super) fn match_supply(&mut self) {
        let demands = std::mem::take(&mut self.demands);
        let mut supply = self.supply(&demands);
        supply.keep_wanted_idle(self.scales.iter().map(|scale| scale.idle));

        // A request whose own agent is free keeps it, so that the others are the ones that get new agents and names.
        let own: HashSet<RequestId> = supply.free.iter().filter_map(|free| free.started_for).collect();
        let waiting = std::mem::take(&mut self.open);
        let has_own = |open: &Open<'_>| own.contains(&open.request.id);
        let (claiming, others): (Vec<usize>, Vec<usize>) = (0..waiting.len()).partition(|&at| has_own(&waiting[at]));
        let claims = claiming.len();
        let by_claim: Vec<usize> = claiming.into_iter().chain(others).collect();
        let wanted = Classes::of(by_claim.iter().enumerate().map(|(rank, &at)| (rank < claims, waiting[at].demands)));
        let mut offered = Classes::of(supply.free.iter().map(|free| (free.readiness, free.template, free.offer)));
        offered.sort_by_key(|&(readiness, template, offer)| (readiness, template, supply.offers[offer].clone()));

        // First as many requests as possible, the oldest before the others; then the same number with the agents that
        // are of least use otherwise, so that what is spare is really spare.
        let fits = |d: usize, s: usize| demands.is_satisfied(wanted.keys[d].1, &supply.offers[offered.keys[s].2]);
        let served = totals(assign(&wanted.sizes(), &offered.sizes(), fits));
        let used = totals(assign(&offered.sizes(), &served, |s, d| fits(d, s)));

        self.reached = (0..demands.len()).map(|set| supply.reaches(set)).collect();
        let mut is_covered = vec![false; waiting.len()];
        for (members, &served) in wanted.members.iter().zip(&served) {
            for &rank in members.iter().take(served) {
                is_covered[by_claim[rank]] = true;
            }
        }
        let mut troubled = self.troubled();
        for (open, is_covered) in waiting.into_iter().zip(is_covered) {
            if is_covered {
                self.judge(open, troubled.remove(&open.request.id).unwrap_or(Verdict::Covered));
            } else {
                self.open.push(open);
            }
        }
        for ((_, template, _), (members, used)) in offered.keys.iter().zip(offered.members.iter().zip(used)) {
            if let Some(template) = *template {
                self.templates[template].spare += count(members.len() - used);
            }
        }
        self.demands = demands;
    }

    /// The requests whose own agent has trouble starting, or waits in a queue. They are told so, although it may still come.
    fn troubled(&self) -> HashMap<RequestId, Verdict> {
        let troubled = self.sight.live().filter_map(|KnownRun { run, .. }| {
            let Purpose::Request(id) = run.purpose else { return None };
            let name = || run.name.clone();
            match &run.trouble {
                Some(trouble) => Some((id, Verdict::Trouble { run: name(), trouble: trouble.clone() })),
                None if run.progress == Progress::Queued => Some((id, Verdict::HeldByQueue { run: name() })),
                None => None,
            }
        });
        troubled.collect()
    }

    /// The agents that can take a request, ours and others', and the tally of ours.
    fn supply<'s>(&mut self, demands: &'s DemandSets<'a>) -> Supply<'s, 'a> {
        let Self { sight, counts, templates, learned, .. } = self;
        let mut supply = Supply::new(demands);
        let will_satisfy = |template: usize| {
            let (kind, known) = (&sight.policy.templates[template], learned[template].as_ref());
            demands.demands().iter().map(|demand| unmet(kind, known, std::slice::from_ref(*demand)).is_none()).collect()
        };
        for known in sight.live() {
            let &KnownRun { run, template, agent, .. } = known;
            if let Some(template) = template {
                templates[template].live += 1;
                if let Purpose::Slot(slot) = run.purpose {
                    templates[template].slots.insert(slot);
                }
            }
            match agent {
                _ if sight.is_at_work(known) => counts.busy += 1,
                // It has done its one job and is about to go.
                Some(agent) if agent.last_finished_at.is_some() => {}
                Some(agent) if agent.online => {
                    counts.idle += 1;
                    if agent.enabled {
                        supply.add_online(agent, template, run.purpose);
                    }
                }
                _ if run.agent_has_ended() => {
                    if let Some(template) = template {
                        templates[template].undecided += 1;
                    }
                }
                _ => {
                    let life = sight.life(known);
                    // One that took its registration back came online long ago.
                    let is_finishing = life.state == State::Finishing;
                    counts.starting += u32::from(!is_finishing);
                    if let Some(template) = template {
                        let tally = &mut templates[template];
                        *(if is_finishing { &mut tally.undecided } else { &mut tally.starting }) += 1;
                    }
                    if life.may_serve {
                        supply.add_starting(template, run.purpose, will_satisfy);
                    }
                }
            }
        }
        for agent in sight.roster.idle_of_others() {
            supply.add_others(agent);
        }
        supply
    }

    /// The first agent template that satisfies the request, or the demand that the last one fails.
    pub(super) fn choose_template(&mut self, open: Open<'a>) -> Result<usize, String> {
        if let Some(known) = &self.choices[open.demands] {
            return known.clone();
        }
        let mut choice = Err(String::new());
        for template in 0..self.templates.len() {
            choice = match self.unmet(template, self.demands.list(open.demands)) {
                None => Ok(template),
                Some(demand) => Err(demand.to_string()),
            };
            if choice.is_ok() {
                break;
            }
        }
        self.choices[open.demands].insert(choice).clone()
    }

    /// Which sets of demands an agent of the template will satisfy.
    pub(super) fn satisfiable(&self, template: usize) -> Vec<bool> {
        (0..self.demands.len()).map(|set| self.unmet(template, self.demands.list(set)).is_none()).collect()
    }

    fn unmet<'d>(&self, template: usize, demands: &'d [Demand]) -> Option<&'d Demand> {
        unmet(&self.sight.policy.templates[template], self.learned[template].as_ref(), demands)
    }
}

/// What a template lacks: by its declaration, or where it declares nothing by what an agent of it was seen to offer.
fn unmet<'d>(kind: &AgentTemplate, known: Option<&Learned<'_>>, demands: &'d [Demand]) -> Option<&'d Demand> {
    match (&kind.capabilities, known) {
        // What was learned of another revision may have changed with it.
        (None, Some(Learned { capabilities, is_current: true })) => {
            demands.iter().find(|demand| !kind.ignores(demand) && !capabilities.satisfy(demand))
        }
        _ => kind.unmet(demands),
    }
}

/// The order in which requests are served.
pub(super) fn urgency(request: &JobRequest) -> (std::cmp::Reverse<i64>, Option<Timestamp>, RequestId) {
    (std::cmp::Reverse(request.priority), request.queued_at, request.id)
}

fn totals(flow: Vec<Vec<usize>>) -> Vec<usize> {
    flow.into_iter().map(|given| given.into_iter().sum()).collect()
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
