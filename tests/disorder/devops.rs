//! The port to Azure DevOps over an [`Organization`], with the errors, delays and stale views that one has to expect.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use jiff::Timestamp;
use kubectl_ado::{
    azure_devops::{AgentFiles, AzureDevOps, Error, NewAgent, PoolId, Proof},
    core::{Agent, AgentId, AgentRef, JobRequest, ParallelJobs, Placeholder, RequestId, Stage},
    sandbox::{AgentSpec, Phase, Refusal, Request, State, state::AgentChange},
};
use tokio::time::{sleep, timeout};

use crate::{organization::Organization, storm::Storm};

/// As long as the real client waits for an answer, or longer.
const DEADLINE: Duration = Duration::from_secs(20);

const REQUESTS: &str = "job requests";

/// Azure DevOps as the orchestrator sees it.
pub(crate) struct FakeAzureDevOps {
    pub(crate) organization: Organization,
    pub(crate) storm: Storm,
}

/// What goes wrong with one call.
#[derive(Clone, Debug)]
enum Fault {
    None,
    Fails(Error),
    SlowBefore(Duration),
    SlowAfter(Duration),
    /// A view of a while ago; for a change, that it is made and the answer lost.
    Stale(Duration),
}

impl FakeAzureDevOps {
    fn choose(&self) -> Fault {
        let Storm { dice, tempo, .. } = &self.storm;
        if !self.storm.strikes() {
            return Fault::None;
        }
        match dice.number(0..=4) {
            0 => Fault::SlowBefore(dice.time(tempo.slow.clone())),
            1 => Fault::SlowAfter(dice.time(tempo.slow.clone())),
            2 => Fault::Stale(dice.time(tempo.stale.clone())),
            _ => Fault::Fails(self.error()),
        }
    }

    fn error(&self) -> Error {
        let said = || "so the weather wants it".to_owned();
        match self.storm.dice.number(0..=7) {
            0 => Error::Unauthorized(said()),
            1 => Error::Forbidden(said()),
            2 => Error::NoSuchPool(said()),
            3 => Error::NotFound(said()),
            4 => Error::Throttled(self.storm.dice.time(self.storm.tempo.slow.clone())),
            5 => Error::Unavailable { status: 503, message: said() },
            6 => Error::Unreachable(said()),
            _ => Error::Unreadable(said()),
        }
    }

    /// A question, which the organization answers as it is at one moment between asking and answering.
    pub(crate) async fn ask<T>(&self, what: &str, answer: impl Fn(&State) -> Result<T, Error>) -> Result<T, Error> {
        let fault = self.choose();
        self.storm.log.note(format!("azure devops, {what}: {fault:?}"));
        if matches!(fault, Fault::Stale(_)) && what == REQUESTS {
            self.storm.stale_looks.fetch_add(1, Ordering::Relaxed);
        }
        let asked = async {
            sleep(self.storm.latency()).await;
            match fault {
                Fault::Fails(error) => return Err(error),
                Fault::SlowBefore(time) => sleep(time).await,
                _ => {}
            }
            let answer = match fault {
                Fault::Stale(age) => self.organization.see_past(age, answer),
                _ => self.organization.see(answer),
            };
            sleep(self.storm.latency()).await;
            if let Fault::SlowAfter(time) = fault {
                sleep(time).await;
            }
            answer
        };
        timeout(DEADLINE, asked).await.unwrap_or_else(|_| Err(Error::Unreachable("the deadline has passed".to_owned())))
    }

    /// A change, which takes effect whether or not its sender is still there. It hears whether it comes so late that its
    /// sender has given it up.
    pub(crate) async fn tell<T, F>(&self, what: &str, change: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut State, Timestamp, bool) -> Result<T, Error> + Send + 'static,
    {
        let fault = self.choose();
        self.storm.log.note(format!("azure devops, {what}: {fault:?}"));
        let (there, back) = (self.storm.latency(), self.storm.latency());
        let (before, after) = match fault {
            Fault::Fails(error) => {
                sleep(there + back).await;
                return Err(error);
            }
            Fault::SlowBefore(time) => (there + time, back),
            Fault::SlowAfter(time) => (there, back + time),
            _ => (there, back),
        };
        let organization = self.organization.clone();
        let made = tokio::spawn(async move {
            sleep(before).await;
            organization.change(|state, now| change(state, now, before >= DEADLINE))
        });
        let told = async {
            let outcome = made.await.unwrap();
            sleep(after).await;
            if let Fault::Stale(_) = fault { Err(Error::Unreachable("the answer is lost".to_owned())) } else { outcome }
        };
        timeout(DEADLINE, told).await.unwrap_or_else(|_| Err(Error::Unreachable("the deadline has passed".to_owned())))
    }
}

impl AzureDevOps for FakeAzureDevOps {
    async fn pool(&self, name: &str) -> Result<PoolId, Error> {
        let found = |state: &State| state.pool_named(name).map(|pool| PoolId(pool.id));
        self.ask("pool", |state| found(state).ok_or_else(|| Error::NoSuchPool(name.to_owned()))).await
    }

    async fn job_requests(&self, pool: PoolId) -> Result<Vec<JobRequest>, Error> {
        self.ask(REQUESTS, |state| Ok(state.unfinished_in(pool.0).map(job_request).collect())).await
    }

    async fn agents(&self, pool: PoolId) -> Result<Vec<Agent>, Error> {
        self.ask("agents", |state| {
            let found = state.pool(pool.0).map_err(|refusal| Error::NotFound(refusal.to_string()))?;
            Ok(found.agents().map(|known| agent(state, known)).collect())
        })
        .await
    }

    async fn parallel_jobs(&self) -> Result<BTreeMap<String, ParallelJobs>, Error> {
        self.ask("parallel jobs", |_| Ok(BTreeMap::new())).await
    }

    async fn disable(&self, pool: PoolId, agent: AgentId) -> Result<(), Error> {
        self.tell(&format!("disable agent {agent:?}"), move |state, now, _| {
            let change = AgentChange { enabled: Some(false), ..AgentChange::default() };
            gone_is_fine(state.change_agent(pool.0, agent.0, change, now))
        })
        .await
    }

    async fn deregister(&self, pool: PoolId, agent: AgentId) -> Result<(), Error> {
        self.tell(&format!("deregister agent {agent:?}"), move |state, now, _| {
            gone_is_fine(state.remove_agent(pool.0, agent.0, now))
        })
        .await
    }

    async fn register(&self, pool: PoolId, placeholder: &Placeholder) -> Result<(), Error> {
        let spec = spec(placeholder);
        self.tell(&format!("register {}", placeholder.name), move |state, now, _| {
            state.register(pool.0, spec, now).map(drop).map_err(|refusal| error(&refusal))
        })
        .await
    }

    async fn update(&self, pool: PoolId, agent: AgentId, placeholder: &Placeholder) -> Result<(), Error> {
        let mut spec = spec(placeholder);
        self.tell(&format!("update agent {agent:?}"), move |state, now, _| {
            if let Ok(known) = state.agent(pool.0, agent.0) {
                spec.user_capabilities.clone_from(&known.user_capabilities);
            }
            state.replace(pool.0, agent.0, spec, now).map_err(|refusal| error(&refusal))
        })
        .await
    }

    async fn enroll(&self, pool: PoolId, agent: &NewAgent) -> Result<AgentFiles, Error> {
        self.enroll_agent(pool, agent).await
    }

    async fn prove(&self, pool: PoolId, agent: Option<AgentId>, placeholder: &Placeholder) -> Proof {
        self.prove_it(pool, agent, placeholder).await
    }
}

pub(crate) fn spec(placeholder: &Placeholder) -> AgentSpec {
    let offered = placeholder.capabilities.iter();
    let system_capabilities = offered.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    AgentSpec { system_capabilities, ..AgentSpec::named(&placeholder.name).disabled() }
}

fn gone_is_fine(outcome: Result<(), Refusal>) -> Result<(), Error> {
    match outcome {
        Err(Refusal::AgentNotFound(_)) => Ok(()),
        other => other.map_err(|refusal| error(&refusal)),
    }
}

pub(crate) fn error(refusal: &Refusal) -> Error {
    let said = refusal.to_string();
    match refusal {
        Refusal::AgentExists { .. } => Error::Taken(said),
        Refusal::AgentNotFound(_) => Error::Gone(said),
        Refusal::JobStillRunning { .. } => Error::Busy(said),
        _ => Error::NotFound(said),
    }
}

fn job_request(request: &Request) -> JobRequest {
    let agent = request.agent.as_ref().map(|agent| AgentRef { id: AgentId(agent.id), name: agent.name.clone() });
    let stage = match (request.phase(), agent) {
        (Phase::Finished, _) => Stage::Finished,
        (Phase::Received, agent) => Stage::Running(agent),
        (Phase::Assigned, Some(agent)) => Stage::Assigned(agent),
        _ => Stage::Waiting,
    };
    JobRequest {
        id: RequestId(request.id),
        queued_at: Some(request.queued_at),
        received_at: request.received_at,
        stage,
        demands: request.demands().to_vec(),
        plan_type: Some(request.job.plan_type.clone()),
        parallelism_tag: Some(request.job.parallelism_tag.clone()),
        pipeline: Some(request.job.pipeline.clone()),
        pipeline_run: None,
        url: None,
        priority: request.job.priority,
    }
}

fn agent(state: &State, agent: &kubectl_ado::sandbox::Agent) -> Agent {
    let last = agent.last_completed.and_then(|id| state.find_request(id));
    Agent {
        id: AgentId(agent.id),
        name: agent.name.clone(),
        enabled: agent.enabled,
        online: agent.online,
        assigned: agent.assigned.map(RequestId),
        capabilities: agent.system_capabilities.iter().chain(&agent.user_capabilities).collect(),
        created_at: Some(agent.created_at),
        status_changed_at: Some(agent.status_changed_at),
        last_finished_at: last.and_then(|request| request.finished_at),
    }
}
