//! Looking at job requests. Nothing here changes anything; call [`State::advance`] before, if time has passed.

use super::{Agent, Refusal, Request, State};

impl State {
    /// A request of a pool.
    ///
    /// # Errors
    ///
    /// [`Refusal::PoolNotFound`], [`Refusal::JobNotFound`].
    pub fn request(&self, pool: i64, id: i64) -> Result<&Request, Refusal> {
        self.pool(pool)?;
        self.requests.get(&id).filter(|request| request.pool == pool).ok_or(Refusal::JobNotFound(id))
    }

    /// All requests that were ever queued, in the order of their numbers, which is that of their queueing.
    pub fn requests(&self) -> impl DoubleEndedIterator<Item = &Request> {
        self.requests.values()
    }

    /// A request by its number alone.
    #[must_use]
    pub fn find_request(&self, id: i64) -> Option<&Request> {
        self.requests.get(&id)
    }

    /// All requests that have not ended.
    pub fn unfinished(&self) -> impl Iterator<Item = &Request> {
        self.unfinished.iter().filter_map(|(_, id)| self.requests.get(id))
    }

    /// A pool's requests that have not ended, in the order of their numbers.
    pub fn unfinished_in(&self, pool: i64) -> impl Iterator<Item = &Request> {
        self.unfinished.range((pool, i64::MIN)..=(pool, i64::MAX)).filter_map(|(_, id)| self.requests.get(id))
    }

    /// Every registered agent, online or not, enabled or not, that satisfies a request's demands.
    pub fn matched_agents(&self, request: &Request) -> impl Iterator<Item = &Agent> {
        let agents = self.pools.get(&request.pool).map(|pool| pool.agents.values());
        agents.into_iter().flatten().filter(|agent| agent.satisfies(&request.demands))
    }
}
