//! The loop with an organization and a host in memory, in paused time.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use tokio::time::{Instant, timeout};

mod left_pools;
mod slow;
mod world;

use super::*;
use crate::{
    azure_devops::{AgentFiles, Error, NewAgent, PoolId, Proof},
    clock::ServerClock,
    core::{
        Agent, AgentId, EquipRun, JobRequest, LeaseView, ParallelJobs, Placeholder, RequestId, Run, StartRun, StopRun,
    },
    hosts::{self, HostError, Started},
    orchestrator::{
        fixtures::{policy, waiting},
        stop_pair,
    },
};

/// An organization with a pool in which something happens while the first poll is on its way.
struct Organization<F> {
    at_first_poll: RefCell<Option<F>>,
    /// What each of the first polls gives; all others give none.
    requests: RefCell<VecDeque<Vec<JobRequest>>>,
    agents: Vec<Agent>,
    began: Instant,
    /// When each placeholder was registered.
    registered: RefCell<Vec<Duration>>,
}

impl<F> Organization<F> {
    fn new(at_first_poll: F) -> Self {
        Self {
            at_first_poll: RefCell::new(Some(at_first_poll)),
            requests: RefCell::default(),
            agents: Vec::new(),
            began: Instant::now(),
            registered: RefCell::default(),
        }
    }
}

impl<F: FnOnce()> AzureDevOps for Organization<F> {
    async fn pool(&self, _: &str) -> Result<PoolId, Error> {
        Ok(PoolId(1))
    }

    async fn job_requests(&self, _: PoolId) -> Result<Vec<JobRequest>, Error> {
        if let Some(happens) = self.at_first_poll.take() {
            happens();
        }
        Ok(self.requests.borrow_mut().pop_front().unwrap_or_default())
    }

    async fn agents(&self, _: PoolId) -> Result<Vec<Agent>, Error> {
        Ok(self.agents.clone())
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

    fn clock(&self) -> ServerClock {
        ServerClock::default()
    }
}

/// A host on which a start takes this long and comes to nothing.
#[derive(Default)]
struct Nowhere {
    takes: Duration,
    started: Cell<usize>,
}

impl AgentHost for Nowhere {
    async fn runs(&self) -> Result<Vec<Run>, HostError> {
        Ok(Vec::new())
    }

    async fn start(&self, _: &StartRun) -> Result<Started, HostError> {
        self.started.set(self.started.get() + 1);
        tokio::time::sleep(self.takes).await;
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

    async fn lease(&self, _: &str) -> Result<Option<LeaseView>, HostError> {
        Ok(None)
    }

    fn clock(&self) -> ServerClock {
        ServerClock::default()
    }
}

const SETTINGS: Settings = Settings { polling: Polling::Adaptive, respect_parallel_jobs: false, now: Timestamp::now };

#[tokio::test(start_paused = true)]
async fn who_begins_to_lead_while_a_poll_is_on_its_way_looks_at_the_agents_at_once_and_not_in_a_minute() {
    let (lead, leadership) = Leadership::to_come();
    let (organization, host) = (Organization::new(lead), Nowhere::default());
    let mut engine =
        Engine::new(&organization, &host, policy(&["A"]), SETTINGS, Arc::new(Metrics::default())).under(leadership);
    let (_stopper, stop) = stop_pair();
    let _ = timeout(Duration::from_mins(2), engine.run(&stop)).await;
    let registered = organization.registered.borrow();
    // What people ask has to be known first, and here nobody says.
    let most = UNTIL_ASKED + Duration::from_secs(5);
    assert!(registered.first().is_some_and(|after| *after < most), "{registered:?}");
}

/// A hundred job requests wait, and are cancelled before the next poll. The image is known to work.
fn a_burst_that_is_cancelled() -> Organization<fn()> {
    let requests = (1..=100).map(|id| waiting(RequestId(id))).collect();
    let learned = [("KUBECTL_ADO_PLACEHOLDER", "default"), ("KUBECTL_ADO_LEARNED", "r")];
    let placeholder = Agent {
        id: AgentId(1),
        name: "placeholder".to_owned(),
        enabled: false,
        online: false,
        assigned: None,
        capabilities: learned.into_iter().collect(),
        created_at: None,
        status_changed_at: None,
        last_finished_at: None,
    };
    Organization { requests: RefCell::new([requests].into()), agents: vec![placeholder], ..Organization::new(|| ()) }
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_begun_before_the_next_poll_is_decided_anew() {
    let organization = a_burst_that_is_cancelled();
    let host = Nowhere { takes: Duration::from_secs(4), ..Nowhere::default() };
    let mut engine = Engine::new(&organization, &host, policy(&["A"]), SETTINGS, Arc::new(Metrics::default()));
    let (_stopper, stop) = stop_pair();
    let _ = timeout(Duration::from_mins(2), engine.run(&stop)).await;
    // Sixteen at a time; the poll after that sees that the others wait no longer.
    assert_eq!(host.started.get(), 16);
}

#[tokio::test(start_paused = true)]
async fn a_single_pass_begins_whatever_it_has_decided() {
    let organization = a_burst_that_is_cancelled();
    let host = Nowhere { takes: Duration::from_secs(4), ..Nowhere::default() };
    let mut engine = Engine::new(&organization, &host, policy(&["A"]), SETTINGS, Arc::new(Metrics::default()));
    let (_stopper, stop) = stop_pair();
    engine.run_once(&stop).await;
    assert_eq!(host.started.get(), 100);
}
