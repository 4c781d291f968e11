//! Azure DevOps and the host with each call counted and timed.

use std::{collections::BTreeMap, collections::BTreeSet, sync::Arc};

use tokio::time::Instant;

use super::Metrics;
use crate::{
    azure_devops::{self, AgentFiles, AzureDevOps, Error, NewAgent, PoolId, Proof},
    clock::ServerClock,
    core::{Agent, AgentId, EquipRun, JobRequest, LeaseView, ParallelJobs, Placeholder, Run, StartRun, StopRun},
    hosts::{self, AgentHost, HostError, Started},
};

/// One of the two, measured.
pub(super) struct Measured<'a, T> {
    inner: &'a T,
    metrics: Arc<Metrics>,
}

impl<T> Clone for Measured<'_, T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner, metrics: Arc::clone(&self.metrics) }
    }
}

impl<'a, T> Measured<'a, T> {
    pub(super) fn new(inner: &'a T, metrics: &Arc<Metrics>) -> Self {
        Self { inner, metrics: Arc::clone(metrics) }
    }

    async fn azure<R>(&self, kind: &'static str, call: impl Future<Output = Result<R, Error>>) -> Result<R, Error> {
        let began = Instant::now();
        let result = call.await;
        let outcome = result.as_ref().err().map_or("ok", azure_devops::Error::reason);
        self.metrics.called("azure_devops", kind, outcome, began.elapsed());
        result
    }

    async fn host<R>(
        &self,
        kind: &'static str,
        call: impl Future<Output = Result<R, HostError>>,
    ) -> Result<R, HostError> {
        let began = Instant::now();
        let result = call.await;
        let outcome = result.as_ref().err().map_or("ok", HostError::reason);
        self.metrics.called("host", kind, outcome, began.elapsed());
        result
    }
}

impl<A: AzureDevOps> AzureDevOps for Measured<'_, A> {
    async fn pool(&self, name: &str) -> Result<PoolId, Error> {
        self.azure("pool", self.inner.pool(name)).await
    }

    async fn job_requests(&self, pool: PoolId) -> Result<Vec<JobRequest>, Error> {
        self.azure("job_requests", self.inner.job_requests(pool)).await
    }

    async fn agents(&self, pool: PoolId) -> Result<Vec<Agent>, Error> {
        self.azure("agents", self.inner.agents(pool)).await
    }

    async fn parallel_jobs(&self) -> Result<BTreeMap<String, ParallelJobs>, Error> {
        self.azure("parallel_jobs", self.inner.parallel_jobs()).await
    }

    async fn disable(&self, pool: PoolId, agent: AgentId) -> Result<(), Error> {
        self.azure("disable", self.inner.disable(pool, agent)).await
    }

    async fn deregister(&self, pool: PoolId, agent: AgentId) -> Result<(), Error> {
        self.azure("deregister", self.inner.deregister(pool, agent)).await
    }

    async fn register(&self, pool: PoolId, placeholder: &Placeholder) -> Result<(), Error> {
        self.azure("register", self.inner.register(pool, placeholder)).await
    }

    async fn update(&self, pool: PoolId, agent: AgentId, placeholder: &Placeholder) -> Result<(), Error> {
        self.azure("update", self.inner.update(pool, agent, placeholder)).await
    }

    async fn enroll(&self, pool: PoolId, agent: &NewAgent) -> Result<AgentFiles, Error> {
        self.azure("enroll", self.inner.enroll(pool, agent)).await
    }

    async fn prove(&self, pool: PoolId, agent: Option<AgentId>, placeholder: &Placeholder) -> Proof {
        let began = Instant::now();
        let proof = self.inner.prove(pool, agent, placeholder).await;
        let outcome = proof.failed.as_ref().map_or("ok", |(_, error)| error.reason());
        self.metrics.called("azure_devops", "prove", outcome, began.elapsed());
        proof
    }

    fn stretch(&self) -> f64 {
        self.inner.stretch()
    }

    fn clock(&self) -> ServerClock {
        self.inner.clock()
    }
}

impl<H: AgentHost> AgentHost for Measured<'_, H> {
    async fn runs(&self) -> Result<Vec<Run>, HostError> {
        self.host("runs", self.inner.runs()).await
    }

    async fn changed(&self) {
        self.inner.changed().await;
    }

    async fn start(&self, run: &StartRun) -> Result<Started, HostError> {
        self.host("start", self.inner.start(run)).await
    }

    async fn claim(&self, run: &EquipRun) -> Result<(), HostError> {
        self.host("claim", self.inner.claim(run)).await
    }

    async fn equip(&self, name: &str, files: &hosts::AgentFiles) -> Result<(), HostError> {
        self.host("equip", self.inner.equip(name, files)).await
    }

    async fn mark_busy(&self, names: &BTreeSet<String>) -> Result<(), HostError> {
        self.host("mark_busy", self.inner.mark_busy(names)).await
    }

    async fn stop(&self, run: &StopRun) -> Result<(), HostError> {
        self.host("stop", self.inner.stop(run)).await
    }

    fn clock(&self) -> ServerClock {
        self.inner.clock()
    }

    async fn lease(&self, name: &str) -> Result<Option<LeaseView>, HostError> {
        self.host("lease", self.inner.lease(name)).await
    }

    async fn tidy(&self, runs: &[Run]) -> Result<(), HostError> {
        self.host("tidy", self.inner.tidy(runs)).await
    }
}
