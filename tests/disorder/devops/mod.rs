//! The port to Azure DevOps over an [`Organization`], with the errors, delays and stale views that one has to expect.

mod enroll;
mod translation;
mod weather;

use std::collections::BTreeMap;

use jiff::Timestamp;
use kubectl_ado::{
    azure_devops::{AgentFiles, AzureDevOps, Error, NewAgent, PoolId, Proof},
    clock::ServerClock,
    core::{Agent, AgentId, JobRequest, ParallelJobs, Placeholder},
    sandbox::{State, state::AgentChange},
};
use tokio::time::sleep;

use crate::{organization::Organization, storm::Storm, weather::Call};
use translation::{agent, error, gone_is_fine, job_request, spec};
use weather::Asked;

/// Azure DevOps as the orchestrator sees it.
pub(crate) struct FakeAzureDevOps {
    pub(crate) organization: Organization,
    pub(crate) storm: Storm,
    /// Azure DevOps' clock, as its answers tell it.
    pub(crate) clock: ServerClock,
}

impl AzureDevOps for FakeAzureDevOps {
    async fn pool(&self, name: &str) -> Result<PoolId, Error> {
        let asked = Asked { call: Call::Pool, pool: Some(name), what: "pool" };
        let none = || Error::NoSuchPool(name.to_owned());
        let number = self.ask(asked, |_| self.organization.pool_named(name).ok_or_else(none)).await?;
        if self.storm.weather.is_out_of_sight(name) { Err(none()) } else { Ok(PoolId(number)) }
    }

    async fn job_requests(&self, pool: PoolId) -> Result<Vec<JobRequest>, Error> {
        let name = self.organization.name_of(pool.0);
        let asked = Asked { call: Call::Requests, pool: Some(&name), what: "job requests" };
        let list = self
            .ask(asked, |state| {
                self.organization.exists(pool.0)?;
                Ok(state.unfinished_in(pool.0).map(job_request).collect())
            })
            .await?;
        self.shaped(Call::Requests, &name, list)
    }

    async fn agents(&self, pool: PoolId) -> Result<Vec<Agent>, Error> {
        let name = self.organization.name_of(pool.0);
        let asked = Asked { call: Call::Agents, pool: Some(&name), what: "agents" };
        let list = self
            .ask(asked, |state| {
                self.organization.exists(pool.0)?;
                let found = state.pool(pool.0).map_err(|refusal| Error::NotFound(refusal.to_string()))?;
                Ok(found.agents().map(|known| agent(state, known)).collect())
            })
            .await?;
        self.shaped(Call::Agents, &name, list)
    }

    async fn parallel_jobs(&self) -> Result<BTreeMap<String, ParallelJobs>, Error> {
        // The real client asks for each of two tags.
        let asked = Asked { call: Call::ParallelJobs, pool: None, what: "parallel jobs" };
        sleep(self.storm.weather.delay(Call::ParallelJobs, None)).await;
        self.ask(asked, |_| Ok(BTreeMap::new())).await
    }

    async fn disable(&self, pool: PoolId, agent: AgentId) -> Result<(), Error> {
        self.change(Call::Disable, pool, &format!("disable agent {agent:?}"), move |state, now| {
            let change = AgentChange { enabled: Some(false), ..AgentChange::default() };
            gone_is_fine(state.change_agent(pool.0, agent.0, change, now))
        })
        .await
    }

    async fn deregister(&self, pool: PoolId, agent: AgentId) -> Result<(), Error> {
        self.change(Call::Deregister, pool, &format!("deregister agent {agent:?}"), move |state, now| {
            gone_is_fine(state.remove_agent(pool.0, agent.0, now))
        })
        .await
    }

    async fn register(&self, pool: PoolId, placeholder: &Placeholder) -> Result<(), Error> {
        let spec = spec(placeholder);
        self.change(Call::Register, pool, &format!("register {}", placeholder.name), move |state, now| {
            state.register(pool.0, spec, now).map(drop).map_err(|refusal| error(&refusal))
        })
        .await
    }

    async fn update(&self, pool: PoolId, agent: AgentId, placeholder: &Placeholder) -> Result<(), Error> {
        let mut spec = spec(placeholder);
        self.change(Call::Update, pool, &format!("update agent {agent:?}"), move |state, now| {
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

    fn clock(&self) -> ServerClock {
        self.clock.clone()
    }

    async fn prove(&self, pool: PoolId, agent: Option<AgentId>, placeholder: &Placeholder) -> Proof {
        self.prove_with(pool, agent, placeholder).await
    }
}

impl FakeAzureDevOps {
    /// A change in a pool.
    async fn change<T, F>(&self, call: Call, pool: PoolId, what: &str, change: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut State, Timestamp) -> Result<T, Error> + Send + 'static,
    {
        let name = self.organization.name_of(pool.0);
        self.tell(Asked { call, pool: Some(&name), what }, change).await
    }
}
