//! Who gets which agent: requests in the order of the queue; for each the first agent that is online, enabled, idle and
//! satisfies its demands, if there is a parallel job left for it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{AgentRef, MessageContent, State, after};
use crate::core::Demand;

/// For each pool the agents that can take a request.
type Ready = BTreeMap<i64, BTreeSet<i64>>;

impl State {
    /// Hands waiting requests to idle agents, as long as there is anything to hand out.
    pub(super) fn assign(&mut self, now: Timestamp) {
        if !std::mem::take(&mut self.unsettled) || self.waiting.is_empty() {
            return;
        }
        self.forget_those_that_are_not_ready();
        for (request, agent) in self.choose() {
            self.give(request, agent, now);
        }
    }

    /// Pairs of a request and an agent.
    fn choose(&self) -> Vec<(i64, i64)> {
        let mut ready = self.ready_agents();
        let mut private = if self.rules.parallel_jobs.is_some() { self.private_in_use() } else { 0 };
        let mut chosen = Vec::new();
        let mut lanes: Vec<_> = self.waiting.lanes().map(|(lane, turns)| (lane, turns.peekable())).collect();
        loop {
            lanes.retain_mut(|(lane, turns)| {
                turns.peek().is_some()
                    && ready.contains_key(&lane.pool)
                    && (!lane.private || self.has_licence(lane.pool, private))
            });
            let heads = lanes.iter_mut().enumerate().filter_map(|(index, (_, turns))| Some((*turns.peek()?, index)));
            let Some((_, index)) = heads.min() else { return chosen };
            let (lane, turns) = &mut lanes[index];
            match self.take_ready(&mut ready, lane.pool, &lane.demands) {
                Some(agent) => {
                    chosen.extend(turns.next().map(|turn| (turn.id, agent)));
                    private += usize::from(lane.private && self.uses_licences(lane.pool));
                }
                None => drop(lanes.swap_remove(index)),
            }
        }
    }

    fn forget_those_that_are_not_ready(&mut self) {
        let Self { candidates, pools, .. } = self;
        candidates.retain(|(pool, agent)| {
            let agent = pools.get(pool).and_then(|pool| pool.agents.get(agent));
            agent.is_some_and(super::Agent::is_ready)
        });
    }

    fn ready_agents(&self) -> Ready {
        let mut ready = Ready::new();
        for &(pool, agent) in &self.candidates {
            ready.entry(pool).or_default().insert(agent);
        }
        ready
    }

    /// Takes the first agent that satisfies the demands out of those that are ready.
    fn take_ready(&self, ready: &mut Ready, pool: i64, demands: &[Demand]) -> Option<i64> {
        let agents = ready.get_mut(&pool)?;
        let satisfies = |id: &i64| self.agent(pool, *id).is_ok_and(|agent| agent.satisfies(demands));
        let agent = agents.iter().copied().find(satisfies)?;
        agents.remove(&agent);
        if agents.is_empty() {
            ready.remove(&pool);
        }
        Some(agent)
    }

    fn give(&mut self, id: i64, agent: i64, now: Timestamp) {
        let locked_until = after(now, self.rules.first_lease);
        let Some(request) = self.requests.get_mut(&id) else { return };
        let Some(agent) = self.pools.get_mut(&request.pool).and_then(|pool| pool.agents.get_mut(&agent)) else {
            return;
        };
        self.waiting.remove(request);
        request.assigned_at = Some(now);
        request.locked_until = Some(locked_until);
        request.agent = Some(AgentRef {
            id: agent.id,
            name: agent.name.clone(),
            version: agent.version.clone(),
            os_description: agent.os_description.clone(),
        });
        agent.assigned = Some(request.id);
        if let Some(session) = &mut agent.session {
            session.push(MessageContent::Job(request.id));
        }
        self.wake_by(locked_until);
        self.version += 1;
    }

    /// Takes a request that was assigned and not received back from its agent.
    pub(super) fn take_back(&mut self, id: i64) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        let agent = request.agent.take();
        request.assigned_at = None;
        request.locked_until = None;
        self.waiting.insert(request);
        let pool = self.pools.get_mut(&request.pool);
        if let Some(agent) = pool.zip(agent).and_then(|(pool, agent)| pool.agents.get_mut(&agent.id)) {
            agent.assigned = None;
            self.candidates.insert((request.pool, agent.id));
        }
        self.changed();
    }
}
