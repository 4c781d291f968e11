//! One pool as the planner looks at it: what was observed, with what was decided to be started since, and each run beside
//! its agent template and its agent. They are put together once, so that no rule has to search for them.

use super::{
    Agent, JobRequest, PoolPolicy, PoolSnapshot, Run, Timeouts, is_same_name,
    lifecycle::{Evidence, Life},
    quick_hash::HashMap,
    roster::{Link, Roster},
};

pub(super) struct Sight<'a> {
    pub(super) policy: &'a PoolPolicy,
    pub(super) requests: &'a [JobRequest],
    pub(super) runs: Vec<KnownRun<'a>>,
    /// The places among `runs` of those of each template.
    by_template: Vec<Vec<usize>>,
    pub(super) roster: Roster<'a>,
    /// Whether anybody looked at the agents.
    pub(super) knows_agents: bool,
    /// What the lives of runs are read from.
    pub(super) evidence: Evidence<'a>,
    /// The times of runs whose template is no more.
    timeouts: Timeouts,
}

/// One of our runs with what belongs to it.
#[derive(Clone, Copy)]
pub(super) struct KnownRun<'a> {
    pub(super) run: &'a Run,
    /// Its agent template's place in the policy, unless that is gone.
    pub(super) template: Option<usize>,
    /// Its agent, if that is registered.
    pub(super) agent: Option<&'a Agent>,
    /// Whether a running request names its agent, which is not among the agents.
    pub(super) is_unseen_at_work: bool,
}

impl<'a> Sight<'a> {
    /// `expected` are runs of any pool that were not observed and count as if they had been.
    pub(super) fn of(
        policy: &'a PoolPolicy,
        observed: &'a PoolSnapshot,
        expected: &'a [Run],
        evidence: Evidence<'a>,
        timeouts: Timeouts,
    ) -> Self {
        let expected = expected.iter().filter(|run| is_same_name(&run.pool, &observed.pool));
        let runs: Vec<&Run> = observed.runs.iter().chain(expected).collect();
        let (roster, links) = Roster::of(observed, &runs);
        let templates: HashMap<&str, usize> =
            policy.templates.iter().enumerate().rev().map(|(index, kind)| (kind.name.as_str(), index)).collect();
        let mut by_template = vec![Vec::new(); policy.templates.len()];
        let known = |(place, (run, Link { agent, is_at_work })): (usize, (&'a Run, Link<'a>))| {
            let template = templates.get(run.template.as_str()).copied();
            if let Some(template) = template {
                by_template[template].push(place);
            }
            KnownRun { run, template, agent, is_unseen_at_work: agent.is_none() && is_at_work }
        };
        let runs = runs.into_iter().zip(links).enumerate().map(known).collect();
        let knows_agents = observed.agents.is_some();
        Self { policy, requests: &observed.requests, runs, by_template, roster, knows_agents, evidence, timeouts }
    }

    /// The runs that have not ended.
    pub(super) fn live(&self) -> impl Iterator<Item = &KnownRun<'a>> {
        self.runs.iter().filter(|known| known.run.is_live())
    }

    /// Whether its agent has a job request.
    pub(super) fn is_at_work(&self, known: &KnownRun<'_>) -> bool {
        known.agent.map_or(known.is_unseen_at_work, |agent| self.roster.is_taken(agent))
    }

    /// What is to be said of the life of a live run.
    pub(super) fn life(&self, known: &KnownRun<'_>) -> Life {
        let timeouts = known.template.map_or(&self.timeouts, |index| &self.policy.templates[index].timeouts);
        self.evidence.life(known.run, known.agent, self.is_at_work(known), timeouts)
    }

    /// The runs of one template, of any revision.
    pub(super) fn of_template(&self, template: usize) -> impl Iterator<Item = &KnownRun<'a>> {
        self.by_template[template].iter().map(|&place| &self.runs[place])
    }
}

impl<'a> KnownRun<'a> {
    /// Its agent, if that holds a session.
    pub(super) fn online_agent(&self) -> Option<&'a Agent> {
        self.agent.filter(|agent| agent.online)
    }
}
