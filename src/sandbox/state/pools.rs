//! Pools: made once, found by number or name.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use super::{JobResult, Pool, PoolSpec, Refusal, State};

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
        let id = self.last_pool.map_or(FIRST_POOL, |last| last + 1);
        self.last_pool = Some(id);
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

    /// Gives a pool another name; its number, agents and requests stay.
    ///
    /// # Errors
    ///
    /// [`Refusal::PoolNotFound`]; [`Refusal::PoolExists`] if another pool has the name, [`Refusal::Invalid`] if it is empty.
    pub fn rename_pool(&mut self, id: i64, name: String, now: Timestamp) -> Result<(), Refusal> {
        self.lapse(now);
        if name.trim().is_empty() {
            return Err(Refusal::Invalid("The agent pool has no name.".to_owned()));
        }
        if self.pool_named(&name).is_some_and(|other| other.id != id) {
            return Err(Refusal::PoolExists(name));
        }
        self.pool_mut(id)?.name = name;
        self.changed();
        Ok(())
    }

    /// Deletes a pool with its agents and their sessions; its unfinished requests are canceled. Its number is never used
    /// again.
    ///
    /// # Errors
    ///
    /// [`Refusal::PoolNotFound`].
    pub fn remove_pool(&mut self, id: i64, now: Timestamp) -> Result<(), Refusal> {
        self.lapse(now);
        let name = self.pool(id)?.name.clone();
        let unfinished: Vec<i64> = self.unfinished_in(id).map(|request| request.id).collect();
        for request in unfinished {
            self.end(request, JobResult::Canceled, Some(format!("The agent pool {name} was deleted.")), now);
        }
        let agents: Vec<i64> = self.pool(id)?.agents.keys().copied().collect();
        for agent in agents {
            self.remove_agent(id, agent, now)?;
        }
        self.pools.remove(&id);
        self.changed();
        self.assign(now);
        Ok(())
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
