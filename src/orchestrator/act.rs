//! The calls that change something. `go_on` is asked between two steps of one whether the next may still begin: another
//! orchestrator may lead by then, or it is time to stop, and a step that changes what another one has begun would undo it.

use super::{calls::Kind, equip};
use crate::{
    azure_devops::{AzureDevOps, Error, NewAgent, PoolId},
    core::{AgentChange, EquipRun, StartRun, StopRun},
    hosts::{AgentHost, HostError, Started},
};

/// How one start came out.
pub(super) struct Acted {
    pub(super) start: StartRun,
    pub(super) result: Result<Started, HostError>,
}

/// Starts a run. One that waits for its files gets them from whoever has made it.
pub(super) async fn start<A: AzureDevOps, H: AgentHost>(
    azure_devops: &A,
    host: &H,
    run: &StartRun,
    pool: Option<PoolId>,
    agent: &NewAgent,
    go_on: &dyn Fn() -> bool,
) -> Result<Started, HostError> {
    let started = host.start(run).await?;
    if started == Started::Created && equip::is_held(run) {
        equip::finish(azure_devops, host, known(pool, &run.pool)?, agent, go_on).await?;
    }
    Ok(started)
}

/// Makes a run ready that was seen waiting for it.
pub(super) async fn equip<A: AzureDevOps, H: AgentHost>(
    azure_devops: &A,
    host: &H,
    run: &EquipRun,
    pool: Option<PoolId>,
    agent: &NewAgent,
    go_on: &dyn Fn() -> bool,
) -> Result<(), HostError> {
    let pool = known(pool, &run.pool)?;
    host.claim(run).await?;
    equip::finish(azure_devops, host, pool, agent, go_on).await
}

/// Ends a run, and takes its registration back where it cannot do that itself. What fails of that is swept later.
pub(super) async fn stop<A: AzureDevOps, H: AgentHost>(
    azure_devops: &A,
    host: &H,
    run: &StopRun,
    pool: Option<PoolId>,
) -> Result<(), HostError> {
    host.stop(run).await?;
    if let (Some(agent), Some(pool)) = (&run.agent, pool)
        && let Err(error) = azure_devops.deregister(pool, agent.id).await
    {
        tracing::debug!(run = run.name, %error, "the registration of a stopped agent stays for now");
    }
    Ok(())
}

/// Changes a registration. Each change is harmless when it is repeated, and a later plan repeats what failed.
pub(super) async fn change<A: AzureDevOps>(azure_devops: &A, pool: PoolId, change: &AgentChange) -> Result<(), Error> {
    match change {
        AgentChange::Disable(agent, _) => azure_devops.disable(pool, agent.id).await,
        AgentChange::Deregister(agent, _) => azure_devops.deregister(pool, agent.id).await,
        AgentChange::Register(placeholder) => azure_devops.register(pool, placeholder).await,
        AgentChange::Update(agent, placeholder) => azure_devops.update(pool, *agent, placeholder).await,
    }
}

/// Which kind of call a change is, and the agent that it concerns.
pub(super) fn kind_of(change: &AgentChange) -> (Kind, &str) {
    match change {
        AgentChange::Disable(agent, _) => (Kind::Disable, &agent.name),
        AgentChange::Deregister(agent, _) => (Kind::Deregister, &agent.name),
        AgentChange::Register(placeholder) => (Kind::Register, &placeholder.name),
        AgentChange::Update(_, placeholder) => (Kind::Update, &placeholder.name),
    }
}

fn known(number: Option<PoolId>, pool: &str) -> Result<PoolId, HostError> {
    number.ok_or_else(|| HostError::Unavailable(format!("the number of the pool \"{pool}\" is not known")))
}
