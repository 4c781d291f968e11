//! Making a just-in-time run ready: its agent is registered in its place, and it gets the files of that one agent.

use crate::{
    azure_devops::{AzureDevOps, Error, NewAgent, PoolId},
    core::{INSTALLATION_CAPABILITY, Policy, REGISTRATION_CAPABILITY, Recipe, StartRun},
    hosts::{AgentHost, HostError},
};

/// The agent of a run, as it is registered. What it offers is what its template declares, until it says so itself.
pub(super) fn new_agent(policy: &Policy, pool: &str, template: &str, name: &str) -> NewAgent {
    let kind = policy.pools.iter().find(|known| known.name == pool);
    let kind = kind.and_then(|known| known.templates.iter().find(|kind| kind.name == template));
    let mut capabilities = kind.and_then(|kind| kind.capabilities.clone()).unwrap_or_default();
    capabilities.set("Agent.Name", name);
    capabilities.set(INSTALLATION_CAPABILITY, policy.installation.id());
    capabilities.set(REGISTRATION_CAPABILITY, Recipe::JustInTime.name());
    NewAgent {
        name: name.to_owned(),
        pool: pool.to_owned(),
        installation: policy.installation.id().to_owned(),
        capabilities,
    }
}

/// Makes a run ready that is ours to make ready. `go_on` is asked before each step: somebody else may have begun it anew by
/// then, and a registration of ours would make theirs worthless.
pub(super) async fn finish<A: AzureDevOps, H: AgentHost>(
    azure_devops: &A,
    host: &H,
    pool: PoolId,
    agent: &NewAgent,
    go_on: &dyn Fn() -> bool,
) -> Result<(), HostError> {
    let stands_back = || {
        let message =
            format!("the agent \"{}\" is left to another orchestrator, or to a later start of this one", agent.name);
        HostError::Unavailable(message)
    };
    if !go_on() {
        return Err(stands_back());
    }
    let files = azure_devops.enroll(pool, agent).await.map_err(|error| not_registered(agent, &error))?;
    if !go_on() {
        return Err(stands_back());
    }
    host.equip(&agent.name, &files).await
}

/// Whether the run waits for its files after it was made.
pub(super) fn is_held(start: &StartRun) -> bool {
    start.recipe == Recipe::JustInTime
}

fn not_registered(agent: &NewAgent, error: &Error) -> HostError {
    let message = format!("the agent \"{}\" cannot be registered in the pool \"{}\": {error}", agent.name, agent.pool);
    match error {
        Error::Taken(_) => HostError::Collision {
            name: agent.name.clone(),
            owner: format!("another agent of the pool \"{}\": {error}", agent.pool),
        },
        Error::Forbidden(_) | Error::Unreadable(_) => {
            HostError::Refused { reason: "registration", message, fix: error.fix() }
        }
        Error::Unauthorized(_) | Error::StrangeIdentity(_) | Error::Token(_) | Error::Entra { .. } => {
            HostError::Credential(message)
        }
        _ => HostError::Unavailable(message),
    }
}
