//! What agents were last seen to offer, so that what has not changed is held once, however often it is asked for: the
//! capabilities of a thousand agents are many megabytes, and the answer before is still in use while the next one is read.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{PoolId, list::Each};
use crate::core::{Agent, AgentId, Capabilities};

/// By pool and agent: its capabilities. They are shared with the answers that hold them.
#[derive(Debug, Default)]
pub(super) struct KnownCapabilities(Mutex<HashMap<PoolId, Arc<HashMap<AgentId, Capabilities>>>>);

impl KnownCapabilities {
    /// Gives an agent that offers what it offered before the same piece of memory.
    pub(super) fn reuse(&self, pool: PoolId) -> Each<Agent> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&pool).cloned().unwrap_or_default();
        Arc::new(move |agent| {
            if let Some(known) = known.get(&agent.id).filter(|known| **known == agent.capabilities) {
                agent.capabilities = known.clone();
            }
        })
    }

    /// The agents of a pool as they are now.
    pub(super) fn keep(&self, pool: PoolId, agents: &[Agent]) {
        let now = agents.iter().map(|agent| (agent.id, agent.capabilities.clone())).collect();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(pool, Arc::new(now));
    }
}
