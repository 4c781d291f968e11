//! Observing one pool: its unfinished job requests, and its agents where anything depends on them.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    azure_devops::{AzureDevOps, Error, PoolId},
    core::{PoolSnapshot, Run, is_same_name},
};

/// How far the looks at job requests and at agents may lie apart. An agent that was given a request in between, has done it
/// and is gone would leave a request that nobody seems to serve, or seem to be free itself.
const AGED: Duration = Duration::from_secs(2);

/// Where both take longer than this, only the requests are asked for again: slow answers must not make a look four times as
/// slow.
const SLOW: Duration = Duration::from_secs(10);

/// What a poll of one pool brought.
pub(super) struct Polled {
    /// Its number, which is looked up once and again when it is no longer found.
    pub(super) id: Option<PoolId>,
    pub(super) result: Result<PoolSnapshot, Error>,
    /// When its job requests were seen.
    pub(super) seen_at: Instant,
}

/// Polls one pool. `runs` were observed before, so that an agent which ends meanwhile is still counted as supply: the
/// plan may then start an agent a pass late, never one too many.
pub(super) async fn poll<A: AzureDevOps>(
    azure_devops: &A,
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
    Polled { id, result, seen_at: Instant::now() }
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
    let mut asked = Instant::now();
    let mut requests = azure_devops.job_requests(number).await?;
    let runs: Vec<Run> = runs.iter().filter(|run| is_same_name(&run.pool, pool)).cloned().collect();
    // A quiet pool costs one call, except when its registrations are due to be looked after.
    let quiet = requests.is_empty() && !runs.iter().any(Run::is_live);
    let mut agents = if quiet && !look_at_agents { None } else { Some(azure_devops.agents(number).await?) };
    if agents.is_some() && asked.elapsed() > AGED {
        if asked.elapsed() <= SLOW {
            asked = Instant::now();
            requests = azure_devops.job_requests(number).await?;
            agents = Some(azure_devops.agents(number).await?);
        }
        // Where answers are always slow, no agent too many is what matters most.
        if asked.elapsed() > AGED {
            requests = azure_devops.job_requests(number).await?;
        }
    }
    Ok(PoolSnapshot { pool: pool.to_owned(), runs, requests, agents })
}

#[cfg(test)]
mod tests {
    use crate::azure_devops::{AgentFiles, NewAgent, Proof};
    use std::{cell::Cell, collections::BTreeMap};

    use super::*;
    use crate::{
        clock::ServerClock,
        core::{Agent, AgentId, JobRequest, ParallelJobs, Placeholder, RequestId},
        orchestrator::fixtures::waiting,
    };

    /// One job request waits until the agents have been asked for, which takes a while.
    struct Slow {
        takes: Duration,
        /// How many looks at the agents do.
        times: Cell<u32>,
        served: Cell<bool>,
        asked: Cell<u32>,
        looked: Cell<u32>,
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
            if let Some(left) = self.times.get().checked_sub(1) {
                self.times.set(left);
                tokio::time::sleep(self.takes).await;
            }
            self.served.set(true);
            self.looked.set(self.looked.get() + 1);
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

        fn clock(&self) -> ServerClock {
            ServerClock::default()
        }
    }

    /// How many requests wait, and how often requests and agents were asked for.
    async fn look(takes: Duration, times: u32) -> (usize, u32, u32) {
        let slow = Slow { takes, times: times.into(), served: false.into(), asked: 0.into(), looked: 0.into() };
        let polled = poll(&slow, "Default".to_owned(), None, false, Arc::default()).await;
        (polled.result.unwrap().requests.len(), slow.asked.get(), slow.looked.get())
    }

    #[tokio::test(start_paused = true)]
    async fn looks_that_lie_far_apart_are_both_repeated() {
        assert_eq!(look(Duration::from_secs(4), 1).await, (0, 2, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn where_answers_are_always_slow_a_request_that_was_served_meanwhile_does_not_wait() {
        assert_eq!(look(Duration::from_secs(4), u32::MAX).await, (0, 3, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn where_answers_are_very_slow_only_the_requests_are_asked_for_again() {
        assert_eq!(look(Duration::from_secs(14), u32::MAX).await, (0, 2, 1));
        assert_eq!(look(Duration::from_secs(14), 1).await, (0, 2, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn ordinarily_both_are_asked_for_once() {
        assert_eq!(look(Duration::from_millis(300), u32::MAX).await, (1, 1, 1));
    }
}
