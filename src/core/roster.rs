//! A pool's registered agents, looked at from several sides.

use std::borrow::Cow;

use super::{
    Agent, AgentId, JobRequest, PoolSnapshot, RequestId, Run, Stage,
    demand::lower_case,
    placeholder::placeholder_of,
    quick_hash::{HashMap, HashSet},
};

pub(super) struct Roster<'a> {
    /// The agents that are reserved for a request.
    reserved: HashMap<AgentId, &'a Agent>,
    /// Who has which request, by the agents' own word.
    holders: HashMap<RequestId, &'a Agent>,
    /// Agents that a running request names, whatever their own record says by now.
    used: HashSet<AgentId>,
    /// For each agent our run that it belongs to, ended ones included, if that is known yet or still.
    runs: Vec<Option<&'a Run>>,
    /// The placeholders, anybody's, with the names of the templates that they stand for.
    placeholders: Vec<(&'a str, &'a Agent)>,
    agents: &'a [Agent],
}

/// What the names tell of one of our runs.
#[derive(Clone, Copy, Default)]
pub(super) struct Link<'a> {
    /// Its agent, if that is registered.
    pub(super) agent: Option<&'a Agent>,
    /// Whether a running request names its agent. The agents may have been looked at before it was registered.
    pub(super) is_at_work: bool,
}

impl<'a> Roster<'a> {
    /// The roster, and each run's link to it. Agents and runs are put together here, by their names in any case, so that
    /// nobody has to search for one of them later.
    pub(super) fn of(observed: &'a PoolSnapshot, runs: &[&'a Run]) -> (Self, Vec<Link<'a>>) {
        let agents = observed.agents.as_deref().unwrap_or_default();
        let places: HashMap<Cow<'_, str>, usize> =
            runs.iter().enumerate().map(|(place, run)| (lower_case(&run.name), place)).collect();
        let mut links = vec![Link::default(); runs.len()];
        let mut used = HashSet::default();
        let mut reserved_ids = HashSet::default();
        for request in &observed.requests {
            match &request.stage {
                Stage::Running(Some(agent)) => {
                    used.insert(agent.id);
                    if let Some(&place) = places.get(&lower_case(&agent.name)) {
                        links[place].is_at_work = true;
                    }
                }
                Stage::Assigned(agent) => {
                    reserved_ids.insert(agent.id);
                }
                Stage::Waiting | Stage::Running(None) | Stage::Finished => {}
            }
        }
        let mut runs_of_agents = Vec::with_capacity(agents.len());
        for agent in agents {
            let place = places.get(&lower_case(&agent.name)).copied();
            if let Some(place) = place {
                links[place].agent = Some(agent);
            }
            runs_of_agents.push(place.map(|place| runs[place]));
        }
        let reserved = agents.iter().filter(|agent| reserved_ids.contains(&agent.id));
        let roster = Self {
            reserved: reserved.map(|agent| (agent.id, agent)).collect(),
            holders: agents.iter().filter_map(|agent| Some((agent.assigned?, agent))).collect(),
            used,
            runs: runs_of_agents,
            placeholders: agents.iter().filter_map(|agent| Some((placeholder_of(agent)?, agent))).collect(),
            agents,
        };
        (roster, links)
    }

    /// The agent of that name, in any case. For the few names of placeholders, which are ASCII: most others differ in
    /// length already, so that a map would cost more.
    pub(super) fn named(&self, name: &str) -> Option<&'a Agent> {
        self.agents.iter().find(|agent| agent.name.eq_ignore_ascii_case(name))
    }

    /// All agents, each with our run that it belongs to, if that is known yet or still.
    pub(super) fn agents_and_runs(&self) -> impl Iterator<Item = (&'a Agent, Option<&'a Run>)> {
        self.agents.iter().zip(self.runs.iter().copied())
    }

    pub(super) fn is_taken(&self, agent: &Agent) -> bool {
        agent.assigned.is_some() || self.used.contains(&agent.id)
    }

    /// The agent that has the request or is about to take it. The agents were observed after the requests, so one of
    /// them may have it by now; one that is offline, disabled or busy with another will not take it.
    pub(super) fn holder_of(&self, request: &JobRequest) -> Option<&'a Agent> {
        if let Some(holder) = self.holders.get(&request.id) {
            return holder.online.then_some(*holder);
        }
        let Stage::Assigned(reserved) = &request.stage else { return None };
        let agent = self.reserved.get(&reserved.id)?;
        (agent.online && agent.enabled && !self.is_taken(agent)).then_some(*agent)
    }

    /// Idle agents of others. One of ours whose run has ended is about to go; it is no supply.
    pub(super) fn idle_of_others(&self) -> impl Iterator<Item = &'a Agent> {
        let of_others = self.agents_and_runs().filter(|(_, run)| run.is_none()).map(|(agent, _)| agent);
        of_others.filter(|agent| agent.online && agent.enabled && !self.is_taken(agent))
    }

    pub(super) fn offline(&self) -> usize {
        self.agents.iter().filter(|agent| !agent.online).count()
    }

    pub(super) fn agents(&self) -> &'a [Agent] {
        self.agents
    }

    /// The placeholders, anybody's, each after the name of the template that it stands for.
    pub(super) fn placeholders(&self) -> &[(&'a str, &'a Agent)] {
        &self.placeholders
    }
}
