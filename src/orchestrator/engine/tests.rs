//! The loop with an organization and a host in memory, in paused time.

use std::{cell::RefCell, collections::BTreeMap, time::Duration};

use tokio::time::{Instant, timeout};

use super::*;
use crate::{
    azure_devops::{AgentFiles, Error, NewAgent, PoolId, Proof},
    core::{Agent, AgentId, EquipRun, JobRequest, ParallelJobs, Placeholder, Run, StartRun, StopRun},
    hosts::{self, HostError, Started},
    orchestrator::{fixtures::policy, stop_pair},
};

/// An organization with an empty pool, in which something happens while the first poll is on its way.
struct Organization<F> {
    at_first_poll: RefCell<Option<F>>,
    began: Instant,
    /// When each placeholder was registered.
    registered: RefCell<Vec<Duration>>,
}

impl<F: FnOnce()> AzureDevOps for Organization<F> {
    async fn pool(&self, _: &str) -> Result<PoolId, Error> {
        Ok(PoolId(1))
    }

    async fn job_requests(&self, _: PoolId) -> Result<Vec<JobRequest>, Error> {
        if let Some(happens) = self.at_first_poll.take() {
            happens();
        }
        Ok(Vec::new())
    }

    async fn agents(&self, _: PoolId) -> Result<Vec<Agent>, Error> {
        Ok(Vec::new())
    }

    async fn parallel_jobs(&self) -> Result<BTreeMap<String, ParallelJobs>, Error> {
        Ok(BTreeMap::new())
    }

    async fn disable(&self, _: PoolId, _: AgentId) -> Result<(), Error> {
        Ok(())
    }

    async fn deregister(&self, _: PoolId, _: AgentId) -> Result<(), Error> {
        Ok(())
    }

    async fn register(&self, _: PoolId, _: &Placeholder) -> Result<(), Error> {
        self.registered.borrow_mut().push(self.began.elapsed());
        Ok(())
    }

    async fn update(&self, _: PoolId, _: AgentId, _: &Placeholder) -> Result<(), Error> {
        Ok(())
    }

    async fn enroll(&self, _: PoolId, _: &NewAgent) -> Result<AgentFiles, Error> {
        Ok(AgentFiles::new())
    }

    async fn prove(&self, _: PoolId, agent: Option<AgentId>, _: &Placeholder) -> Proof {
        Proof { agent, failed: None }
    }
}

struct Nowhere;

impl AgentHost for Nowhere {
    async fn runs(&self) -> Result<Vec<Run>, HostError> {
        Ok(Vec::new())
    }

    async fn start(&self, _: &StartRun) -> Result<Started, HostError> {
        Ok(Started::Created)
    }

    async fn claim(&self, _: &EquipRun) -> Result<(), HostError> {
        Ok(())
    }

    async fn equip(&self, _: &str, _: &hosts::AgentFiles) -> Result<(), HostError> {
        Ok(())
    }

    async fn stop(&self, _: &StopRun) -> Result<(), HostError> {
        Ok(())
    }

    async fn tidy(&self, _: &[Run]) -> Result<(), HostError> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn who_begins_to_lead_while_a_poll_is_on_its_way_looks_at_the_agents_at_once_and_not_in_a_minute() {
    let (lead, leadership) = Leadership::to_come();
    let organization =
        Organization { at_first_poll: RefCell::new(Some(lead)), began: Instant::now(), registered: RefCell::default() };
    let settings = Settings { polling: Polling::Adaptive, respect_parallel_jobs: false, now: Timestamp::now };
    let mut engine =
        Engine::new(&organization, &Nowhere, policy(&["A"]), settings, Arc::new(Metrics::default())).under(leadership);
    let (_stopper, stop) = stop_pair();
    let _ = timeout(Duration::from_mins(2), engine.run(&stop)).await;
    let registered = organization.registered.borrow();
    // What people ask has to be known first, and here nobody says.
    let most = UNTIL_ASKED + Duration::from_secs(5);
    assert!(registered.first().is_some_and(|after| *after < most), "{registered:?}");
}
