//! Parallel jobs: how many requests of private projects an organization may run at once on agents of its own.

use jiff::Timestamp;

use super::{PoolKind, Request, State};

const PRIVATE: &str = "Private";

/// How an organization uses its parallel jobs of one kind.
#[derive(Clone, Debug)]
pub struct Usage<'a> {
    /// How many it may use; `None` is no limit.
    pub total: Option<u32>,
    /// The requests that use one each.
    pub running: Vec<&'a Request>,
}

impl State {
    /// The use of self-hosted parallel jobs with this tag (`Private`, `Public`), over all pools.
    #[must_use]
    pub fn usage(&self, tag: &str) -> Usage<'_> {
        let running = self.unfinished().filter(|request| {
            request.assigned_at.is_some()
                && request.job.parallelism_tag.eq_ignore_ascii_case(tag)
                && self.uses_licences(request.pool)
        });
        Usage { total: self.limit(tag), running: running.collect() }
    }

    /// Buys or sells parallel jobs for private projects.
    pub fn set_parallel_jobs(&mut self, limit: Option<u32>, now: Timestamp) {
        self.rules.parallel_jobs = limit;
        self.changed();
        self.advance(now);
    }

    pub(super) fn limit(&self, tag: &str) -> Option<u32> {
        if tag.eq_ignore_ascii_case(PRIVATE) { self.rules.parallel_jobs } else { None }
    }

    /// Whether one more request of this kind may run beside `used` private ones.
    pub(super) fn has_licence(&self, request: &Request, used: usize) -> bool {
        match self.limit(&request.job.parallelism_tag) {
            Some(limit) if self.uses_licences(request.pool) => used < limit as usize,
            _ => true,
        }
    }

    pub(super) fn private_in_use(&self) -> usize {
        let agents = self.pools.values().flat_map(|pool| pool.agents.values());
        let assigned = agents.filter_map(|agent| self.requests.get(&agent.assigned?));
        assigned.filter(|request| self.uses_private(request)).count()
    }

    pub(super) fn uses_private(&self, request: &Request) -> bool {
        request.job.parallelism_tag.eq_ignore_ascii_case(PRIVATE) && self.uses_licences(request.pool)
    }

    /// Hosted pools have parallel jobs of their own.
    fn uses_licences(&self, pool: i64) -> bool {
        self.pools.get(&pool).is_some_and(|pool| pool.kind != PoolKind::Hosted)
    }
}
