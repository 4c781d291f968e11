//! Azure DevOps' side of agent pools as a pure state machine: every method that needs the time is given it, nothing
//! here waits, reads a clock or touches a socket. The HTTP around it (`demo`, tests) runs it in real time; whoever
//! passes in other moments runs it in virtual time.
//!
//! Each mutating method first lets the time pass ([`State::advance`]: leases and sessions lapse), then does its work,
//! then hands waiting job requests to idle agents. What cannot be done is a [`Refusal`] with Azure DevOps' own type key.
//!
//! Semantics and sources: the project's facts about Azure DevOps, §5. Where the real service's behaviour is unknown,
//! the comments say what was chosen.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;

mod agents;
mod assignment;
mod authorization;
mod history;
mod lapse;
mod licence;
mod model;
mod pools;
mod queries;
mod refusal;
mod requests;
mod rules;
mod sessions;
mod spec;
#[cfg(test)]
mod tests;
mod waiting;

pub use authorization::{Authorization, KeySpec, PublicKey, SessionKey};
pub use history::AgentRecord;
pub use licence::Usage;
pub use model::{Agent, AgentRef, JobResult, Message, MessageContent, Phase, Pool, Request};
pub use refusal::Refusal;
pub use rules::Rules;
pub use sessions::SessionDraft;
pub(super) use spec::made_up_variables;
pub use spec::{AgentChange, AgentSpec, JobSpec, PoolKind, PoolSpec, Step};

use waiting::Waiting;

/// An organization with its pools, agents and job requests at one moment.
#[derive(Clone, Debug)]
pub struct State {
    rules: Rules,
    pools: BTreeMap<i64, Pool>,
    requests: BTreeMap<i64, Request>,
    /// Requests that have not ended, by (pool, request).
    unfinished: BTreeSet<(i64, i64)>,
    /// Requests without an agent, in the order in which they are served.
    waiting: Waiting,
    /// Agents that may be able to take a request, as (pool, agent): all that can, and some that no longer can.
    candidates: BTreeSet<(i64, i64)>,
    /// Where each session's agent is, as (pool, agent).
    sessions: HashMap<String, (i64, i64)>,
    /// Which agent signs in with a client id, as (pool, agent).
    clients: HashMap<String, (i64, i64)>,
    history: BTreeMap<(i64, i64), AgentRecord>,
    pipelines: Vec<String>,
    last_pool: Option<i64>,
    last_request: i64,
    last_session: u64,
    last_client: u64,
    last_bump: u64,
    online: usize,
    peak_online: usize,
    /// Whether something happened that may let a waiting request be assigned.
    unsettled: bool,
    /// Nothing lapses before this moment; it may be earlier than necessary.
    alarm: Option<Timestamp>,
    version: u64,
}

impl State {
    /// An organization without pools.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            pools: BTreeMap::new(),
            requests: BTreeMap::new(),
            unfinished: BTreeSet::new(),
            waiting: Waiting::default(),
            candidates: BTreeSet::new(),
            sessions: HashMap::new(),
            clients: HashMap::new(),
            history: BTreeMap::new(),
            pipelines: Vec::new(),
            last_pool: None,
            last_request: 0,
            last_session: 0,
            last_client: 0,
            last_bump: 0,
            online: 0,
            peak_online: 0,
            unsettled: false,
            alarm: None,
            version: 0,
        }
    }

    /// The rules it goes by.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Counts the changes, so that one can tell whether anything happened.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The next moment at which something may happen by itself. [`State::advance`] should be called then.
    #[must_use]
    pub fn next_alarm(&self) -> Option<Timestamp> {
        self.alarm
    }

    /// Lets the time pass until `now`: sessions, leases and timeouts lapse, and what they held is handed on.
    pub fn advance(&mut self, now: Timestamp) {
        self.lapse(now);
        self.assign(now);
    }

    fn changed(&mut self) {
        self.version += 1;
        self.unsettled = true;
    }

    fn wake_by(&mut self, moment: Timestamp) {
        self.alarm = Some(self.alarm.map_or(moment, |alarm| alarm.min(moment)));
    }
}

/// `moment + duration`, at most the end of time.
fn after(moment: Timestamp, duration: std::time::Duration) -> Timestamp {
    moment.checked_add(duration).unwrap_or(Timestamp::MAX)
}
