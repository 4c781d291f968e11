//! Looking at job requests. Nothing here changes anything; call [`State::advance`] before, if time has passed.

use std::time::Duration;

use super::{Agent, AgentRef, JobResult, JobSpec, Pool, Refusal, Request, State};

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

    /// All requests that an agent has.
    pub(super) fn held_requests(&self) -> impl Iterator<Item = &Request> {
        let agents = self.pools.values().flat_map(|pool| pool.agents.values());
        agents.filter_map(|agent| self.requests.get(&agent.assigned?))
    }

    /// A pool's requests that have not ended, in the order of their numbers.
    pub fn unfinished_in(&self, pool: i64) -> impl Iterator<Item = &Request> {
        self.unfinished.range((pool, i64::MIN)..=(pool, i64::MAX)).filter_map(|(_, id)| self.requests.get(id))
    }

    /// A pool's requests of the past, as many as the rules say. They ended well before the pool was first looked at.
    pub fn old_requests(&self, pool: i64) -> impl DoubleEndedIterator<Item = Request> + '_ {
        let pool = self.pools.get(&pool);
        pool.into_iter().flat_map(|pool| pool.old_requests.clone().map(|id| old_request(pool, id)))
    }

    /// Every registered agent, online or not, enabled or not, that satisfies a request's demands.
    pub fn matched_agents(&self, request: &Request) -> impl Iterator<Item = &Agent> {
        let agents = self.pools.get(&request.pool).map(|pool| pool.agents.values());
        agents.into_iter().flatten().filter(|agent| agent.satisfies(&request.demands))
    }
}

fn old_request(pool: &Pool, id: i64) -> Request {
    let age = pool.old_requests.end.saturating_sub(id).unsigned_abs();
    let ended = pool.created_at.checked_sub(Duration::from_secs(60 * age)).unwrap_or(pool.created_at);
    let started = ended.checked_sub(Duration::from_secs(45)).unwrap_or(ended);
    Request {
        id,
        pool: pool.id,
        definition: 1,
        job: JobSpec::new("nightly", "build"),
        queued_at: started,
        assigned_at: Some(started),
        received_at: Some(started),
        locked_until: Some(ended),
        finished_at: Some(ended),
        result: Some(JobResult::Succeeded),
        agent: Some(AgentRef {
            id: 0,
            name: "long-gone".to_owned(),
            version: crate::sandbox::AGENT_VERSION.to_owned(),
            os_description: "Linux".to_owned(),
        }),
        problem: None,
        cancel_by: None,
        demands: Vec::new(),
        bumped: 0,
    }
}
