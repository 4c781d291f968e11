//! Parallel jobs: how many requests of private projects an organization may run at once on agents of its own.

use jiff::Timestamp;

use super::{PoolKind, Request, State};

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
        let uses = |request: &&Request| {
            request.job.parallelism_tag.eq_ignore_ascii_case(tag) && self.uses_licences(request.pool)
        };
        let mut running: Vec<&Request> = self.held_requests().filter(uses).collect();
        running.sort_by_key(|request| request.id);
        Usage { total: if is_private(tag) { self.rules.parallel_jobs } else { None }, running }
    }

    /// Buys or sells parallel jobs for private projects.
    pub fn set_parallel_jobs(&mut self, limit: Option<u32>, now: Timestamp) {
        self.rules.parallel_jobs = limit;
        self.changed();
        self.advance(now);
    }

    /// Whether one more private request of this pool may run beside those that are `in_use`.
    pub(super) fn has_licence(&self, pool: i64, in_use: usize) -> bool {
        !self.uses_licences(pool) || self.rules.parallel_jobs.is_none_or(|limit| in_use < limit as usize)
    }

    pub(super) fn private_in_use(&self) -> usize {
        let private = |request: &&Request| is_private(&request.job.parallelism_tag) && self.uses_licences(request.pool);
        self.held_requests().filter(private).count()
    }

    /// Hosted pools have parallel jobs of their own.
    pub(super) fn uses_licences(&self, pool: i64) -> bool {
        self.pools.get(&pool).is_some_and(|pool| pool.kind != PoolKind::Hosted)
    }
}

/// Whether this kind of parallel job is limited.
pub(super) fn is_private(tag: &str) -> bool {
    tag.eq_ignore_ascii_case("Private")
}
