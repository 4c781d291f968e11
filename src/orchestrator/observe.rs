//! Observing one pool: its unfinished job requests, and its agents where anything depends on them.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    azure_devops::{AzureDevOps, Error, PoolId},
    core::{PoolSnapshot, Run},
};

/// How old the job requests may be when the agents are known. An agent that was given one of them in between, has done it
/// and is gone would leave a request that nobody seems to serve.
const AGED: Duration = Duration::from_secs(2);

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
    let asked = Instant::now();
    let mut requests = azure_devops.job_requests(number).await?;
    let runs: Vec<Run> = runs.iter().filter(|run| run.pool == pool).cloned().collect();
    // A quiet pool costs one call, except when its registrations are due to be looked after.
    let quiet = requests.is_empty() && !runs.iter().any(Run::is_live);
    let agents = if quiet && !look_at_agents { None } else { Some(azure_devops.agents(number).await?) };
    if agents.is_some() && asked.elapsed() > AGED {
        requests = azure_devops.job_requests(number).await?;
    }
    Ok(PoolSnapshot { pool: pool.to_owned(), runs, requests, agents })
}

#[cfg(test)]
mod tests {
    use crate::azure_devops::{AgentFiles, NewAgent, Proof};
    use std::{cell::Cell, collections::BTreeMap};

    use super::*;
    use crate::{
        core::{Agent, AgentId, JobRequest, ParallelJobs, Placeholder, RequestId},
        orchestrator::fixtures::waiting,
    };

    /// One job request waits until the agents have been asked for, which takes a while.
    struct Slow {
        takes: Duration,
        served: Cell<bool>,
        asked: Cell<u32>,
    }

    impl AzureDevOps for Slow {
        async fn pool(&self, _: &str) -> Result<PoolId, Error> {
            Ok(PoolId(1))
        }

        async fn job_requests(&self, _: PoolId) -> Result<Vec<JobRequest>, Error> {
            self.asked.set(self.asked.get() + 1);
            Ok(if self.served.get() { Vec::new() } else { vec![waiting(RequestId(1))] })
        }

        async fn agents(&self, _: PoolId) -> Result<Vec<Agent>, Error> {
            tokio::time::sleep(self.takes).await;
            self.served.set(true);
            Ok(Vec::new())
        }

        async fn parallel_jobs(&self) -> Result<BTreeMap<String, ParallelJobs>, Error> {
            unreachable!()
        }

        async fn disable(&self, _: PoolId, _: AgentId) -> Result<(), Error> {
            unreachable!()
        }

        async fn deregister(&self, _: PoolId, _: AgentId) -> Result<(), Error> {
            unreachable!()
        }

        async fn register(&self, _: PoolId, _: &Placeholder) -> Result<(), Error> {
            unreachable!()
        }

        async fn update(&self, _: PoolId, _: AgentId, _: &Placeholder) -> Result<(), Error> {
            unreachable!()
        }

        async fn enroll(&self, _: PoolId, _: &NewAgent) -> Result<AgentFiles, Error> {
            unreachable!()
        }

        async fn prove(&self, _: PoolId, _: Option<AgentId>, _: &Placeholder) -> Proof {
            unreachable!()
        }
    }

    async fn look(takes: Duration) -> (usize, u32) {
        let slow = Slow { takes, served: Cell::new(false), asked: Cell::new(0) };
        let polled = poll(&slow, 0, "Default".to_owned(), None, false, Arc::default()).await;
        (polled.result.unwrap().requests.len(), slow.asked.get())
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_was_served_while_the_agents_were_asked_for_does_not_wait() {
        assert_eq!(look(Duration::from_secs(14)).await, (0, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn ordinarily_the_requests_are_asked_for_once() {
        assert_eq!(look(Duration::from_millis(300)).await, (1, 1));
    }
}
