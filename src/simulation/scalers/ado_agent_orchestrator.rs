//! The C# project *ado-agent-orchestrator* (snapshot of 2022-07-17), whose heir this is: a table of workers in memory,
//! subtracted from the queue.
//!
//! What it looks for an agent's own worker by is true of every worker, so each agent that is online becomes the first
//! worker of the table; the others stay "provisioning" and are subtracted until they are forgotten after five minutes.
//! A restart empties the table. It knows neither demands nor a maximum. Its `MINIMUM_AGENT_COUNT` is 0 here.

use std::{collections::HashSet, time::Duration};

use jiff::Timestamp;

use super::{Kinds, Names, Order, Scaler, View};

/// A worker that is provisioning for so long is forgotten.
const PROVISIONING_TIMEOUT: Duration = Duration::from_mins(5);

/// What it remembers of an agent.
struct Worker {
    id: String,
    provisioning_since: Option<Timestamp>,
    busy: bool,
}

/// Queue minus idle and provisioning workers.
pub(super) struct AdoAgentOrchestrator {
    template: String,
    names: Names,
    workers: Vec<Worker>,
}

impl AdoAgentOrchestrator {
    pub(super) fn new(kinds: &Kinds) -> Self {
        let template = kinds.merged.first().map(|kind| kind.name.clone()).unwrap_or_default();
        Self { template, names: Names::default(), workers: Vec::new() }
    }

    /// Brings the table up to date.
    fn update(&mut self, view: &View<'_>, now: Timestamp) {
        let mut online = HashSet::new();
        for agent in view.agents().filter(|agent| agent.online && agent.enabled) {
            online.insert(agent.name.as_str());
            let seen = Worker { id: agent.name.clone(), provisioning_since: None, busy: agent.assigned.is_some() };
            match self.workers.first_mut() {
                Some(first) => *first = seen,
                None => self.workers.push(seen),
            }
        }
        self.workers.retain(|worker| match worker.provisioning_since {
            Some(since) => now < since + PROVISIONING_TIMEOUT,
            None => online.contains(worker.id.as_str()),
        });
    }
}

impl Scaler for AdoAgentOrchestrator {
    fn name(&self) -> &'static str {
        "ado-agent-orchestrator"
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn poll(&mut self, view: &View<'_>, now: Timestamp) -> Vec<Order> {
        self.update(view, now);
        // A job that runs on an agent which is disabled by now counts as one without an agent.
        let serving: HashSet<i64> =
            view.agents().filter(|agent| agent.online && agent.enabled).map(|agent| agent.id).collect();
        let served = |agent: &crate::sandbox::state::AgentRef| serving.contains(&agent.id);
        let demand = view.requests().filter(|request| !request.agent.as_ref().is_some_and(served)).count();
        let supply = self.workers.iter().filter(|worker| worker.provisioning_since.is_some() || !worker.busy).count();
        let orders = self.names.starts("agent-job", &self.template, demand.saturating_sub(supply));
        self.workers.extend(orders.iter().filter_map(|order| match order {
            Order::Start(start) => Some(Worker { id: start.name.clone(), provisioning_since: Some(now), busy: false }),
            _ => None,
        }));
        orders
    }

    fn forget(&mut self) {
        self.workers.clear();
    }
}
