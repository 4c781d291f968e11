//! Who gets which agent: requests in the order of bumps, priority and age; for each the first agent that is online,
//! enabled, idle and satisfies its demands, if there is a parallel job left for it.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use jiff::Timestamp;

use super::{AgentRef, MessageContent, Request, State, after};

/// A waiting request's place in the queue of the organization; the smallest is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    bumped: Reverse<u64>,
    priority: Reverse<i64>,
    queued_at: Timestamp,
    pub(super) id: i64,
}

impl Turn {
    pub(super) fn of(request: &Request) -> Self {
        Self {
            bumped: Reverse(request.bumped),
            priority: Reverse(request.job.priority),
            queued_at: request.queued_at,
            id: request.id,
        }
    }
}

impl State {
    /// Hands waiting requests to idle agents, as long as there is anything to hand out.
    pub(super) fn assign(&mut self, now: Timestamp) {
        if !std::mem::take(&mut self.unsettled) || self.waiting.is_empty() {
            return;
        }
        let mut ready = self.ready_agents();
        let mut private = self.private_in_use();
        let mut chosen = Vec::new();
        for turn in &self.waiting {
            if ready.is_empty() {
                break;
            }
            let Some(request) = self.requests.get(&turn.id) else { continue };
            let Some(agents) = ready.get_mut(&request.pool) else { continue };
            if !self.has_licence(request, private) {
                continue;
            }
            let Some(agent) = agents.iter().copied().find(|&agent| self.can_serve(agent, request)) else { continue };
            agents.remove(&agent);
            if agents.is_empty() {
                ready.remove(&request.pool);
            }
            private += usize::from(self.uses_private(request));
            chosen.push((*turn, agent));
        }
        for (turn, agent) in chosen {
            self.give(turn, agent, now);
        }
    }

    fn ready_agents(&self) -> BTreeMap<i64, BTreeSet<i64>> {
        let mut ready = BTreeMap::new();
        for pool in self.pools.values() {
            let agents: BTreeSet<i64> =
                pool.agents.values().filter(|agent| agent.is_ready()).map(|agent| agent.id).collect();
            if !agents.is_empty() {
                ready.insert(pool.id, agents);
            }
        }
        ready
    }

    fn can_serve(&self, agent: i64, request: &Request) -> bool {
        let pool = self.pools.get(&request.pool);
        pool.and_then(|pool| pool.agents.get(&agent)).is_some_and(|agent| agent.satisfies(&request.demands))
    }

    fn give(&mut self, turn: Turn, agent: i64, now: Timestamp) {
        let locked_until = after(now, self.rules.first_lease);
        let Some(request) = self.requests.get_mut(&turn.id) else { return };
        let Some(agent) = self.pools.get_mut(&request.pool).and_then(|pool| pool.agents.get_mut(&agent)) else {
            return;
        };
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
        self.waiting.remove(&turn);
        self.wake_by(locked_until);
        self.version += 1;
    }

    /// Takes a request that was assigned and not received back from its agent.
    pub(super) fn take_back(&mut self, id: i64) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        let agent = request.agent.take();
        request.assigned_at = None;
        request.locked_until = None;
        self.waiting.insert(Turn::of(request));
        let pool = self.pools.get_mut(&request.pool);
        if let Some(agent) = pool.zip(agent).and_then(|(pool, agent)| pool.agents.get_mut(&agent.id)) {
            agent.assigned = None;
        }
        self.changed();
    }
}
