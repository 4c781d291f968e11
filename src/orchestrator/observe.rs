//! Observing one pool: its unfinished job requests, and its agents where anything depends on them.

use std::sync::Arc;

use crate::{
    azure_devops::{AzureDevOps, Error, PoolId},
    core::{PoolSnapshot, Run},
};

/// What a poll of one pool brought.
pub(super) struct Polled {
    /// The pool's place in the policy.
    pub(super) index: usize,
    /// Its number, which is looked up once and again when it is no longer found.
    pub(super) id: Option<PoolId>,
    pub(super) result: Result<PoolSnapshot, Error>,
}

/// Polls one pool. `runs` were observed before, so that an agent which ends meanwhile is still counted as supply: the
/// plan may then start an agent a pass late, never one too many.
pub(super) async fn poll<A: AzureDevOps>(
    azure_devops: &A,
    index: usize,
    pool: String,
    known_id: Option<PoolId>,
    look_at_agents: bool,
    runs: Arc<Vec<Run>>,
) -> Polled {
    let mut id = known_id;
    let result = observe(azure_devops, &pool, &mut id, look_at_agents, &runs).await;
    if matches!(result, Err(Error::NotFound(_) | Error::NoSuchPool(_) | Error::Forbidden(_))) {
        // Deleted, renamed or made anew: the next poll asks for the name again.
        id = None;
    }
    Polled { index, id, result }
}

async fn observe<A: AzureDevOps>(
    azure_devops: &A,
    pool: &str,
    id: &mut Option<PoolId>,
    look_at_agents: bool,
    runs: &[Run],
) -> Result<PoolSnapshot, Error> {
    let number = match *id {
        Some(number) => number,
        None => *id.insert(azure_devops.pool(pool).await?),
    };
    let requests = azure_devops.job_requests(number).await?;
    let runs: Vec<Run> = runs.iter().filter(|run| run.pool == pool).cloned().collect();
    // A quiet pool costs one call, except when its registrations are due to be looked after.
    let quiet = requests.is_empty() && !runs.iter().any(Run::is_live);
    let agents = if quiet && !look_at_agents { None } else { Some(azure_devops.agents(number).await?) };
    Ok(PoolSnapshot { pool: pool.to_owned(), runs, requests, agents })
}
