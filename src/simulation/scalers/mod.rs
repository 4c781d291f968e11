//! The policies: ours, and the published algorithms of others, re-expressed from descriptions of them.
//!
//! Each sees Azure DevOps and its own Jobs or pods as its original sees them. Three things are the same for all: no
//! least number of agents is asked for, calls take no time, and lists come whole (that Azure DevOps gives at most 200
//! job requests to those who ask with `$top` is left out, to their benefit).

mod ado_agent_orchestrator;
mod go_operator;
mod keda;
mod ours;

use std::time::Duration;

use jiff::Timestamp;

use super::{
    Settings,
    host::Tracked,
    kinds::{Kind, Kinds},
};
use crate::{
    core::{AgentId, Capabilities, Placeholder, Purpose, Run, StartRun},
    sandbox::{Agent, Request, State},
};

/// The pool that all is about.
pub(super) const POOL: &str = "simulation";

/// Decides about agents.
pub(super) trait Scaler: Send {
    /// The name under which its figures are shown.
    fn name(&self) -> &'static str;

    /// How often it looks, unless the user wants another interval.
    fn interval(&self) -> Duration;

    /// What it has its agents say of themselves besides what they offer.
    fn marks(&self) -> Capabilities {
        Capabilities::default()
    }

    /// What it has left in a pool in which it has been at work before.
    fn legacy(&self, _now: Timestamp) -> Vec<Order> {
        Vec::new()
    }

    /// Looks, and says what to do.
    fn poll(&mut self, view: &View<'_>, now: Timestamp) -> Vec<Order>;

    /// Its process restarts: what it has only in memory is lost.
    fn forget(&mut self);
}

/// What can be seen at one moment.
pub(super) struct View<'a> {
    pub(super) state: &'a State,
    pub(super) pool: i64,
    pub(super) runs: &'a [Tracked],
    /// Another one wherever anything of all this is different.
    pub(super) version: (u64, u64),
    /// How often an agent that was registered got other capabilities or another name.
    pub(super) replaced: usize,
}

impl<'a> View<'a> {
    /// The pool's unfinished job requests.
    pub(super) fn requests(&self) -> impl Iterator<Item = &'a Request> {
        self.state.unfinished_in(self.pool)
    }

    /// Those that no agent has received.
    pub(super) fn queued(&self) -> impl Iterator<Item = &'a Request> {
        self.requests().filter(|request| request.received_at.is_none())
    }

    /// The pool's registered agents.
    pub(super) fn agents(&self) -> impl Iterator<Item = &'a Agent> {
        self.state.pool(self.pool).ok().into_iter().flat_map(crate::sandbox::state::Pool::agents)
    }

    /// The scaler's own Jobs, those that have ended included until their time is over.
    pub(super) fn runs(&self) -> impl Iterator<Item = &'a Run> {
        self.runs.iter().map(|tracked| &tracked.run)
    }

    /// Those that have not ended, made from a template.
    pub(super) fn live_runs_of(&self, template: &str) -> impl Iterator<Item = &'a Run> {
        self.runs().filter(move |run| run.is_live() && run.template == template)
    }
}

/// What a scaler wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// An agent is started.
    Start(StartRun),
    /// A run, by its name, is deleted.
    Stop(String),
    /// An agent gets no further job requests.
    Disable(AgentId),
    /// An agent's registration is removed.
    Deregister(AgentId),
    /// An agent that never runs is registered.
    Register(Placeholder),
    /// Such an agent gets other capabilities.
    Update(AgentId, Placeholder),
}

/// All policies, ours first.
pub(super) fn scalers(kinds: &Kinds, settings: &Settings) -> Vec<Box<dyn Scaler>> {
    let max = settings.max_agents;
    vec![
        Box::new(ours::Ours::new(kinds, settings)),
        Box::new(ado_agent_orchestrator::AdoAgentOrchestrator::new(kinds)),
        Box::new(keda::Keda::new(keda::Strategy::Default, kinds, max)),
        Box::new(keda::Keda::new(keda::Strategy::Accurate, kinds, max)),
        Box::new(keda::Keda::new(keda::Strategy::Eager, kinds, max)),
        Box::new(go_operator::GoOperator::new(kinds, max)),
    ]
}

/// Names for runs that are all different, as `generateName` gives them. A restart makes none of them anew.
#[derive(Debug, Default)]
struct Names(u32);

impl Names {
    /// As many agents from a template, named after whoever starts them.
    fn starts(&mut self, prefix: &str, template: &str, count: usize) -> Vec<Order> {
        let mut start = || {
            self.0 += 1;
            Order::Start(StartRun {
                name: format!("{prefix}-{}", self.0),
                pool: POOL.to_owned(),
                template: template.to_owned(),
                purpose: Purpose::Slot(self.0),
                attempt: 1,
                revision: String::new(),
                recipe: crate::core::Recipe::default(),
            })
        };
        (0..count).map(|_| start()).collect()
    }
}
