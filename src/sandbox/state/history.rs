//! What is remembered of agents that are gone: whether each one was of use.

use jiff::Timestamp;

use super::State;

/// One agent that was registered at some time, gone or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentRecord {
    /// Its pool's number.
    pub pool: i64,
    /// Its number in the pool.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// When it was registered first.
    pub registered_at: Timestamp,
    /// When it was first there for work: with a session while it was enabled, or asking for messages. A placeholder never is,
    /// though it signs in when its organization is tried.
    pub online_at: Option<Timestamp>,
    /// When it was removed.
    pub removed_at: Option<Timestamp>,
    /// How many job requests it received.
    pub received: u32,
}

impl AgentRecord {
    /// Whether it was started for nothing: it came online and never received a job request.
    #[must_use]
    pub fn was_surplus(&self) -> bool {
        self.online_at.is_some() && self.received == 0
    }
}

impl State {
    /// Every agent ever registered, by pool and number.
    pub fn history(&self) -> impl Iterator<Item = &AgentRecord> {
        self.history.values()
    }

    /// How many agents are online now, in all pools.
    #[must_use]
    pub fn online_agents(&self) -> usize {
        self.online
    }

    /// The most agents that were online at once.
    #[must_use]
    pub fn peak_online_agents(&self) -> usize {
        self.peak_online
    }
}
