//! The port to Azure DevOps over an [`Organization`], with the errors, delays and stale views that one has to expect.

mod enroll;
mod translation;
mod weather;

use std::collections::BTreeMap;

use kubectl_ado::{
    azure_devops::{AgentFiles, AzureDevOps, Error, NewAgent, PoolId, Proof},
    core::{Agent, AgentId, JobRequest, ParallelJobs, Placeholder},
    sandbox::{State, state::AgentChange},
};

use crate::{organization::Organization, storm::Storm};
use translation::{agent, error, gone_is_fine, job_request, spec};

/// What the fault of a stale view is told apart by.
const REQUESTS: &str = "job requests";

/// Azure DevOps as the orchestrator sees it.
pub(crate) struct FakeAzureDevOps {
    pub(crate) organization: Organization,
    pub(crate) storm: Storm,
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
        self.tell(&format!("disable agent {agent:?}"), move |state, now| {
            let change = AgentChange { enabled: Some(false), ..AgentChange::default() };
            gone_is_fine(state.change_agent(pool.0, agent.0, change, now))
        })
        .await
    }

    async fn deregister(&self, pool: PoolId, agent: AgentId) -> Result<(), Error> {
        self.tell(&format!("deregister agent {agent:?}"), move |state, now| {
            gone_is_fine(state.remove_agent(pool.0, agent.0, now))
        })
        .await
    }

    async fn register(&self, pool: PoolId, placeholder: &Placeholder) -> Result<(), Error> {
        let spec = spec(placeholder);
        self.tell(&format!("register {}", placeholder.name), move |state, now| {
            state.register(pool.0, spec, now).map(drop).map_err(|refusal| error(&refusal))
        })
        .await
    }

    async fn update(&self, pool: PoolId, agent: AgentId, placeholder: &Placeholder) -> Result<(), Error> {
        let mut spec = spec(placeholder);
        self.tell(&format!("update agent {agent:?}"), move |state, now| {
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
        self.prove_with(pool, agent, placeholder).await
    }
}
