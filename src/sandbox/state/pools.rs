//! Pools: made once, found by number or name.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use super::{Pool, PoolSpec, Refusal, State};

/// Small numbers are Azure DevOps' own pools (`Default`, `Azure Pipelines`).
const FIRST_POOL: i64 = 11;

impl State {
    /// Makes a pool and returns its number.
    ///
    /// # Errors
    ///
    /// [`Refusal::PoolExists`] if the name is taken.
    pub fn add_pool(&mut self, spec: PoolSpec, now: Timestamp) -> Result<i64, Refusal> {
        if self.pool_named(&spec.name).is_some() {
            return Err(Refusal::PoolExists(spec.name));
        }
        let id = self.pools.last_key_value().map_or(FIRST_POOL, |(last, _)| last + 1);
        let old = i64::from(self.rules.old_finished_requests);
        let old_requests = self.last_request + 1..self.last_request + 1 + old;
        self.last_request += old;
        let pool = Pool {
            old_requests,
            id,
            name: spec.name,
            kind: spec.kind,
            created_at: now,
            agents: BTreeMap::new(),
            names: HashMap::new(),
            last_agent: 0,
        };
        self.pools.insert(id, pool);
        self.changed();
        Ok(id)
    }

    /// All pools.
    pub fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.pools.values()
    }

    /// The pool of this name, regardless of case.
    #[must_use]
    pub fn pool_named(&self, name: &str) -> Option<&Pool> {
        let name = name.to_lowercase();
        self.pools.values().find(|pool| pool.name.to_lowercase() == name)
    }

    /// The pool of this number.
    ///
    /// # Errors
    ///
    /// [`Refusal::PoolNotFound`].
    pub fn pool(&self, id: i64) -> Result<&Pool, Refusal> {
        self.pools.get(&id).ok_or(Refusal::PoolNotFound(id))
    }

    pub(super) fn pool_mut(&mut self, id: i64) -> Result<&mut Pool, Refusal> {
        self.pools.get_mut(&id).ok_or(Refusal::PoolNotFound(id))
    }
}
