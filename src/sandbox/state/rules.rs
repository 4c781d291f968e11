//! The numbers the organization goes by. The defaults are Azure DevOps' own as far as they are known.

use std::time::Duration;

/// Times and limits of an organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How many requests with the tag `Private` may run at once in all self-hosted pools; `None` is no limit.
    /// `Public` ones are never limited.
    pub parallel_jobs: Option<u32>,
    /// How long an assigned request waits for its agent's first renewal. The real length is not known: 5 minutes.
    pub first_lease: Duration,
    /// How long each renewal holds a request: 10 minutes.
    pub lease: Duration,
    /// How often an agent is asked to renew: 60 seconds.
    pub renew_every: Duration,
    /// How long after its last poll an agent counts as offline: 2 minutes.
    pub offline_after: Duration,
    /// How long an agent may take to stop a canceled job: 5 minutes.
    pub cancel_timeout: Duration,
    /// How many finished requests of the past the organization has in each pool. They show where finished requests
    /// are listed; 10,000 of them are what makes a list without `completedRequestCount` a burden.
    pub old_finished_requests: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            parallel_jobs: None,
            first_lease: Duration::from_secs(300),
            lease: Duration::from_secs(600),
            renew_every: Duration::from_secs(60),
            offline_after: Duration::from_secs(120),
            cancel_timeout: Duration::from_secs(300),
            old_finished_requests: 0,
        }
    }
}
