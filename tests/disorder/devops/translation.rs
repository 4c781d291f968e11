//! From the organization's own words to those of the port.

use jiff::Timestamp;
use kubectl_ado::{
    azure_devops::Error,
    core::{Agent, AgentId, AgentRef, Capabilities, JobRequest, Placeholder, RequestId, Stage},
    sandbox::{AgentSpec, Phase, Refusal, Request, State},
};

use crate::clock::{self, Machine};

pub(super) fn spec(placeholder: &Placeholder) -> AgentSpec {
    offering(&placeholder.name, &placeholder.capabilities).disabled()
}

/// An agent that is said to offer exactly this.
pub(super) fn offering(name: &str, capabilities: &Capabilities) -> AgentSpec {
    let offered = capabilities.iter();
    let system_capabilities = offered.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    AgentSpec { system_capabilities, ..AgentSpec::named(name) }
}

pub(super) fn gone_is_fine(outcome: Result<(), Refusal>) -> Result<(), Error> {
    match outcome {
        Err(Refusal::AgentNotFound(_)) => Ok(()),
        other => other.map_err(|refusal| error(&refusal)),
    }
}

pub(super) fn error(refusal: &Refusal) -> Error {
    let said = refusal.to_string();
    match refusal {
        Refusal::AgentExists { .. } => Error::Taken(said),
        Refusal::AgentNotFound(_) => Error::Gone(said),
        Refusal::JobStillRunning { .. } => Error::Busy(said),
        _ => Error::NotFound(said),
    }
}

/// With all moments as Azure DevOps' clock shows them now.
pub(super) fn job_request(request: &Request) -> JobRequest {
    let agent = request.agent.as_ref().map(|agent| AgentRef { id: AgentId(agent.id), name: agent.name.clone() });
    let stage = match (request.phase(), agent) {
        (Phase::Finished, _) => Stage::Finished,
        (Phase::Received, agent) => Stage::Running(agent),
        (Phase::Assigned, Some(agent)) => Stage::Assigned(agent),
        _ => Stage::Waiting,
    };
    JobRequest {
        id: RequestId(request.id),
        queued_at: Some(shown(request.queued_at)),
        received_at: request.received_at.map(shown),
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

pub(super) fn agent(state: &State, agent: &kubectl_ado::sandbox::Agent) -> Agent {
    let last = agent.last_completed.and_then(|id| state.find_request(id));
    Agent {
        id: AgentId(agent.id),
        name: agent.name.clone(),
        enabled: agent.enabled,
        online: agent.online,
        assigned: agent.assigned.map(RequestId),
        capabilities: agent.system_capabilities.iter().chain(&agent.user_capabilities).collect(),
        created_at: Some(shown(agent.created_at)),
        status_changed_at: Some(shown(agent.status_changed_at)),
        last_finished_at: last.and_then(|request| request.finished_at).map(shown),
    }
}

fn shown(moment: Timestamp) -> Timestamp {
    clock::shown_by(Machine::AzureDevOps, moment)
}
