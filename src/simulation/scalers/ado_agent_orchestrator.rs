//! The C# project *ado-agent-orchestrator* (snapshot of 2022-07-17), whose heir this is: a table of workers in memory,
//! subtracted from the queue.
//!
//! What it looks for an agent's own worker by is true of every worker, so each agent that is online becomes the first
//! worker of the table; the others stay "provisioning" and are subtracted until they are forgotten after five minutes.
//! A restart empties the table. It knows neither demands nor a maximum. Its `MINIMUM_AGENT_COUNT` is 0 here.

use std::time::Duration;

use jiff::Timestamp;

use super::{Kinds, Names, Order, Scaler, View};
use crate::sandbox::{Agent, Request};

/// A worker that is provisioning for so long is forgotten.
const PROVISIONING_TIMEOUT: Duration = Duration::from_mins(5);

/// What it remembers of an agent.
struct Worker {
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
        // One agent after the other becomes the first worker, so it is the last one that stays.
        match (view.agents().filter(|agent| serves(agent)).last(), self.workers.first_mut()) {
            (Some(agent), Some(first)) => *first = Worker::seen(agent),
            (Some(agent), None) => self.workers.push(Worker::seen(agent)),
            (None, _) => self.workers.retain(|worker| worker.provisioning_since.is_some()),
        }
        self.workers.retain(|worker| worker.provisioning_since.is_none_or(|since| now < since + PROVISIONING_TIMEOUT));
    }
}

impl Worker {
    fn seen(agent: &Agent) -> Self {
        Self { provisioning_since: None, busy: agent.assigned.is_some() }
    }
}

/// It looks at no other agents than these.
fn serves(agent: &Agent) -> bool {
    agent.online && agent.enabled
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
        let served = |request: &&Request| {
            let agent = request.agent.as_ref().and_then(|agent| view.state.agent(view.pool, agent.id).ok());
            agent.is_some_and(serves)
        };
        let demand = view.requests().filter(|request| !served(request)).count();
        let supply = self.workers.iter().filter(|worker| worker.provisioning_since.is_some() || !worker.busy).count();
        let orders = self.names.starts("agent-job", &self.template, demand.saturating_sub(supply));
        self.workers.extend(orders.iter().map(|_| Worker { provisioning_since: Some(now), busy: false }));
        orders
    }

    fn forget(&mut self) {
        self.workers.clear();
    }
}
