//! A pool's registered agents, looked at from several sides.

use std::borrow::Cow;

use super::{
    Agent, AgentId, JobRequest, PoolSnapshot, RequestId, Run, Stage,
    demand::lower_case,
    placeholder::placeholder_of,
    quick_hash::{HashMap, HashSet},
};

pub(super) struct Roster<'a> {
    by_id: HashMap<AgentId, &'a Agent>,
    by_name: HashMap<Cow<'a, str>, &'a Agent>,
    /// Who has which request, by the agents' own word.
    holders: HashMap<RequestId, &'a Agent>,
    /// Agents that a running request names, whatever their own record says by now.
    used: HashSet<AgentId>,
    /// Their names, because the agents may have been looked at before they were registered.
    at_work: HashSet<Cow<'a, str>>,
    /// Our runs by their names, ended ones included.
    ours: HashMap<Cow<'a, str>, &'a Run>,
    /// The placeholders, anybody's, with the names of the templates that they stand for.
    placeholders: Vec<(&'a str, &'a Agent)>,
    agents: &'a [Agent],
}

impl<'a> Roster<'a> {
    pub(super) fn of(observed: &'a PoolSnapshot, runs: &[&'a Run]) -> Self {
        let agents = observed.agents.as_deref().unwrap_or_default();
        let used = observed.requests.iter().filter_map(|request| match &request.stage {
            Stage::Running(agent) => agent.as_ref(),
            _ => None,
        });
        Self {
            by_id: agents.iter().map(|agent| (agent.id, agent)).collect(),
            by_name: agents.iter().map(|agent| (lower_case(&agent.name), agent)).collect(),
            holders: agents.iter().filter_map(|agent| Some((agent.assigned?, agent))).collect(),
            used: used.clone().map(|agent| agent.id).collect(),
            at_work: used.map(|agent| lower_case(&agent.name)).collect(),
            ours: runs.iter().map(|run| (lower_case(&run.name), *run)).collect(),
            placeholders: agents.iter().filter_map(|agent| Some((placeholder_of(agent)?, agent))).collect(),
            agents,
        }
    }

    pub(super) fn agent_of(&self, run: &Run) -> Option<&'a Agent> {
        self.named(&run.name)
    }

    /// The agent of that name, in any case.
    pub(super) fn named(&self, name: &str) -> Option<&'a Agent> {
        self.by_name.get(&lower_case(name)).copied()
    }

    /// Our run that the agent belongs to, if it is known yet or still.
    pub(super) fn run_of(&self, agent: &Agent) -> Option<&'a Run> {
        self.ours.get(&lower_case(&agent.name)).copied()
    }

    pub(super) fn is_taken(&self, agent: &Agent) -> bool {
        agent.assigned.is_some() || self.used.contains(&agent.id)
    }

    /// Whether a running request names the agent of this run.
    pub(super) fn is_at_work(&self, run: &Run) -> bool {
        self.at_work.contains(&lower_case(&run.name))
    }

    /// The agent that has the request or is about to take it. The agents were observed after the requests, so one of
    /// them may have it by now; one that is offline, disabled or busy with another will not take it.
    pub(super) fn holder_of(&self, request: &JobRequest) -> Option<&'a Agent> {
        if let Some(holder) = self.holders.get(&request.id) {
            return holder.online.then_some(*holder);
        }
        let Stage::Assigned(reserved) = &request.stage else { return None };
        let agent = self.by_id.get(&reserved.id)?;
        (agent.online && agent.enabled && !self.is_taken(agent)).then_some(*agent)
    }

    /// Idle agents of others. One of ours whose run has ended is about to go; it is no supply.
    pub(super) fn idle_of_others(&self) -> impl Iterator<Item = &'a Agent> {
        self.agents
            .iter()
            .filter(|agent| agent.online && agent.enabled && !self.is_taken(agent) && self.run_of(agent).is_none())
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
