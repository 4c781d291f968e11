//! An organization and a host in one, in which agents work and calls are slow, hang or are refused.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use crate::{
    azure_devops::{AgentFiles, AzureDevOps, Error, NewAgent, PoolId, Proof, ProofStep},
    clock::ServerClock,
    core::{
        Agent, AgentId, AgentRef, EquipRun, JobRequest, LeaseView, ParallelJobs, Placeholder, Progress, Purpose,
        Recipe, RequestId, Run, RunPhase, Stage, StartRun, StopRun,
    },
    hosts::{self, AgentHost, HostError, Started},
    orchestrator::fixtures::waiting,
};

/// A clock that goes with the time of the test.
pub(super) fn now() -> Timestamp {
    thread_local!(static BEGAN: Instant = Instant::now());
    let since = BEGAN.with(Instant::elapsed);
    Timestamp::UNIX_EPOCH + Duration::from_secs(1_800_000_000) + since
}

/// From a run to its agent being online with its request.
const COMES_ONLINE: Duration = Duration::from_secs(2);

/// What a call meets.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    /// The calls that it concerns, by the name of the method.
    pub(super) call: &'static str,
    /// The pool's number, where it concerns one alone.
    pub(super) pool: Option<i64>,
    pub(super) takes: Duration,
    pub(super) fails: Option<Error>,
}

/// One job request.
struct Job {
    id: RequestId,
    pool: i64,
    done: bool,
}

/// One run, and when it was made.
struct Made {
    start: StartRun,
    at: Instant,
    created_at: Timestamp,
    /// It waits for its place for ever.
    stays_pending: bool,
}

pub(super) struct World {
    began: Instant,
    /// The numbers of the pools by their names.
    pub(super) numbers: RefCell<BTreeMap<String, i64>>,
    pub(super) faults: RefCell<Vec<Fault>>,
    /// How long each call takes.
    pub(super) latency: Cell<Duration>,
    jobs: RefCell<Vec<Job>>,
    made: RefCell<BTreeMap<String, Made>>,
    /// How long a job takes.
    pub(super) work: Cell<Duration>,
    /// What becomes of the trials, one after the other; after that all go well.
    pub(super) trials: RefCell<Vec<(ProofStep, Error)>>,
    /// Registrations that nothing is behind, by pool.
    pub(super) left_behind: RefCell<Vec<Agent>>,
    calls: RefCell<Vec<(Duration, &'static str)>>,
    pub(super) stopped: RefCell<Vec<String>>,
    /// The Lease that runs were started under, by their names.
    pub(super) started_under: RefCell<BTreeMap<String, &'static str>>,
    /// The Leases that are there.
    pub(super) leases: RefCell<BTreeMap<String, LeaseView>>,
}

pub(super) fn agent(id: i64, name: &str) -> Agent {
    Agent {
        id: AgentId(id),
        name: name.to_owned(),
        enabled: true,
        online: true,
        assigned: None,
        capabilities: [("KUBECTL_ADO_INSTALLATION", "test")].into_iter().collect(),
        created_at: None,
        status_changed_at: None,
        last_finished_at: None,
    }
}

impl World {
    pub(super) fn new(pools: &[&str]) -> Self {
        let numbers = pools.iter().zip(1..).map(|(name, number)| ((*name).to_owned(), number));
        Self {
            began: Instant::now(),
            numbers: RefCell::new(numbers.collect()),
            faults: RefCell::default(),
            latency: Cell::default(),
            jobs: RefCell::default(),
            made: RefCell::default(),
            work: Cell::new(Duration::from_secs(3)),
            trials: RefCell::default(),
            left_behind: RefCell::default(),
            calls: RefCell::default(),
            stopped: RefCell::default(),
            started_under: RefCell::default(),
            leases: RefCell::default(),
        }
    }

    pub(super) fn fault(&self, call: &'static str, pool: Option<i64>, takes: u64, fails: Option<Error>) {
        self.faults.borrow_mut().push(Fault { call, pool, takes: Duration::from_secs(takes), fails });
    }

    pub(super) fn queue(&self, pool: i64, ids: std::ops::RangeInclusive<i64>) {
        let jobs = ids.map(|id| Job { id: RequestId(id), pool, done: false });
        self.jobs.borrow_mut().extend(jobs);
    }

    /// A run from before that waits for its place for ever.
    pub(super) fn pending_run(&self, start: StartRun) {
        let made = Made { start, at: Instant::now(), created_at: now(), stays_pending: true };
        self.made.borrow_mut().insert(made.start.name.clone(), made);
    }

    /// When calls of a method were made.
    pub(super) fn calls_of(&self, call: &str) -> Vec<Duration> {
        self.calls.borrow().iter().filter(|(_, made)| *made == call).map(|(at, _)| *at).collect()
    }

    /// When each run was made, in the order of time.
    pub(super) fn starts(&self) -> Vec<(StartRun, Duration)> {
        let made = self.made.borrow();
        let mut starts: Vec<_> = made.values().map(|made| (made.start.clone(), made.at - self.began)).collect();
        starts.sort_by_key(|(_, at)| *at);
        starts
    }

    pub(super) fn done(&self) -> usize {
        self.look();
        self.jobs.borrow().iter().filter(|job| job.done).count()
    }

    async fn call(&self, call: &'static str, pool: i64) -> Result<(), Error> {
        self.calls.borrow_mut().push((self.began.elapsed(), call));
        let fault = self
            .faults
            .borrow()
            .iter()
            .find(|fault| fault.call == call && fault.pool.is_none_or(|of| of == pool))
            .cloned();
        sleep(fault.as_ref().map_or(self.latency.get(), |fault| fault.takes)).await;
        self.look();
        fault.and_then(|fault| fault.fails).map_or(Ok(()), Err)
    }

    fn host_call(result: Result<(), Error>) -> Result<(), HostError> {
        result.map_err(|error| HostError::Unavailable(error.to_string()))
    }

    /// Jobs whose agents have had their time are done.
    fn look(&self) {
        for made in self.made.borrow().values() {
            if let Purpose::Request(id) = made.start.purpose
                && !made.stays_pending
                && made.at.elapsed() >= COMES_ONLINE + self.work.get()
            {
                self.jobs.borrow_mut().iter_mut().filter(|job| job.id == id).for_each(|job| job.done = true);
            }
        }
    }

    fn worker_of(&self, id: RequestId) -> Option<AgentRef> {
        let made = self.made.borrow();
        let works = |made: &&Made| {
            made.start.purpose == Purpose::Request(id) && !made.stays_pending && made.at.elapsed() >= COMES_ONLINE
        };
        made.values().find(works).map(|made| AgentRef { id: AgentId(1000 + id.0), name: made.start.name.clone() })
    }
}

impl AzureDevOps for World {
    async fn pool(&self, name: &str) -> Result<PoolId, Error> {
        self.call("pool", 0).await?;
        self.numbers.borrow().get(name).map(|number| PoolId(*number)).ok_or_else(|| Error::NoSuchPool(name.to_owned()))
    }

    async fn job_requests(&self, pool: PoolId) -> Result<Vec<JobRequest>, Error> {
        self.call("job_requests", pool.0).await?;
        let jobs = self.jobs.borrow();
        let unfinished = jobs.iter().filter(|job| job.pool == pool.0 && !job.done);
        Ok(unfinished
            .map(|job| {
                let stage = self.worker_of(job.id).map_or(Stage::Waiting, |agent| Stage::Running(Some(agent)));
                JobRequest { stage, ..waiting(job.id) }
            })
            .collect())
    }

    async fn agents(&self, pool: PoolId) -> Result<Vec<Agent>, Error> {
        self.call("agents", pool.0).await?;
        // Its image is known to work.
        let mut placeholder = agent(1, "placeholder");
        (placeholder.online, placeholder.enabled) = (false, false);
        let marks = [("KUBECTL_ADO_PLACEHOLDER", "default"), ("KUBECTL_ADO_LEARNED", "r")];
        placeholder.capabilities = marks.into_iter().collect();
        let jobs = self.jobs.borrow();
        let workers = jobs.iter().filter(|job| job.pool == pool.0 && !job.done).filter_map(|job| {
            let worker = self.worker_of(job.id)?;
            Some(Agent { assigned: Some(job.id), ..agent(worker.id.0, &worker.name) })
        });
        let left_behind = if pool.0 == 2 { self.left_behind.borrow().clone() } else { Vec::new() };
        Ok([placeholder].into_iter().chain(workers).chain(left_behind).collect())
    }

    async fn parallel_jobs(&self) -> Result<BTreeMap<String, ParallelJobs>, Error> {
        self.call("parallel_jobs", 0).await?;
        Ok(BTreeMap::new())
    }

    async fn disable(&self, pool: PoolId, _: AgentId) -> Result<(), Error> {
        self.call("disable", pool.0).await
    }

    async fn deregister(&self, pool: PoolId, agent: AgentId) -> Result<(), Error> {
        self.call("deregister", pool.0).await?;
        self.left_behind.borrow_mut().retain(|known| known.id != agent);
        Ok(())
    }

    async fn register(&self, pool: PoolId, _: &Placeholder) -> Result<(), Error> {
        self.call("register", pool.0).await
    }

    async fn update(&self, pool: PoolId, _: AgentId, _: &Placeholder) -> Result<(), Error> {
        self.call("update", pool.0).await
    }

    async fn enroll(&self, pool: PoolId, _: &NewAgent) -> Result<AgentFiles, Error> {
        self.call("enroll", pool.0).await?;
        Ok(AgentFiles::new())
    }

    async fn prove(&self, pool: PoolId, agent: Option<AgentId>, _: &Placeholder) -> Proof {
        let _ = self.call("prove", pool.0).await;
        let mut trials = self.trials.borrow_mut();
        let failed = if trials.is_empty() { None } else { Some(trials.remove(0)) };
        Proof { agent, failed }
    }

    fn clock(&self) -> ServerClock {
        ServerClock::default()
    }
}

impl AgentHost for World {
    async fn runs(&self) -> Result<Vec<Run>, HostError> {
        self.look();
        let run = |made: &Made| {
            let ended = !made.stays_pending && made.at.elapsed() >= COMES_ONLINE + self.work.get();
            let phase = if ended { RunPhase::Succeeded(now()) } else { RunPhase::Live };
            let progress = if made.stays_pending { Progress::Pending } else { Progress::Running };
            let lease = self.started_under.borrow().get(&made.start.name).map(|lease| Box::from(*lease));
            Run { phase, progress, lease, ..made.start.expected(made.created_at) }
        };
        Ok(self.made.borrow().values().map(run).collect())
    }

    async fn start(&self, run: &StartRun) -> Result<Started, HostError> {
        Self::host_call(self.call("start", 0).await)?;
        let mut made = self.made.borrow_mut();
        if made.contains_key(&run.name) {
            return Ok(Started::AlreadyThere);
        }
        let start = run.clone();
        let at = Instant::now();
        made.insert(run.name.clone(), Made { start, at, created_at: now(), stays_pending: false });
        Ok(Started::Created)
    }

    async fn claim(&self, _: &EquipRun) -> Result<(), HostError> {
        Self::host_call(self.call("claim", 0).await)
    }

    async fn equip(&self, _: &str, _: &hosts::AgentFiles) -> Result<(), HostError> {
        Self::host_call(self.call("equip", 0).await)
    }

    async fn mark_busy(&self, _: &BTreeSet<String>) -> Result<(), HostError> {
        Self::host_call(self.call("mark_busy", 0).await)
    }

    async fn stop(&self, run: &StopRun) -> Result<(), HostError> {
        Self::host_call(self.call("stop", 0).await)?;
        self.stopped.borrow_mut().push(run.name.clone());
        self.made.borrow_mut().remove(&run.name);
        Ok(())
    }

    async fn tidy(&self, _: &[Run]) -> Result<(), HostError> {
        Self::host_call(self.call("tidy", 0).await)
    }

    async fn lease(&self, name: &str) -> Result<Option<LeaseView>, HostError> {
        Self::host_call(self.call("lease", 0).await)?;
        Ok(self.leases.borrow().get(name).cloned())
    }

    fn clock(&self) -> ServerClock {
        ServerClock::default()
    }
}

/// A start for a request of a pool, as a plan would say it.
pub(super) fn start_of(pool: &str, name: &str, id: i64) -> StartRun {
    StartRun {
        name: name.to_owned(),
        pool: pool.to_owned(),
        template: "default".to_owned(),
        purpose: Purpose::Request(RequestId(id)),
        attempt: 1,
        revision: "r".to_owned(),
        recipe: Recipe::Token,
    }
}
