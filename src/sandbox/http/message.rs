//! What agents are sent, and where: the body of a message is a JSON text of its own. It is encrypted afterwards for an
//! agent that has a key; for one without, it stays plain, and `iv` is absent.

use std::time::Duration;

use serde_json::{Value, json};

use super::wire;
use crate::sandbox::state::{Message, MessageContent, Request, State};

/// The task behind `script:` steps in a pipeline.
const COMMAND_LINE_TASK: &str = "d9bafed4-0b18-4f58-968d-86655b4d2ce9";

/// How often the agent should renew its request, in seconds. A real agent knows only 60.
pub(in crate::sandbox) const RENEW_SECONDS: &str = "sandbox.renewSeconds";

/// How long the agent should pause after a poll without a message, in seconds: at least and at most. A real agent knows
/// only 5 to 15.
pub(in crate::sandbox) const POLL_PAUSE: &str = "sandbox.pollPauseSeconds";

/// Where the worker of a job reports, and with what token.
pub(super) struct Connection {
    pub(super) url: String,
    pub(super) token: String,
}

/// `connect` gives the worker of a job request its connection.
pub(super) fn message(
    message: &Message,
    state: &State,
    connect: impl FnOnce(i64) -> Option<Connection>,
) -> Option<Value> {
    let (message_type, body) = match message.content {
        MessageContent::Job(id) => ("PipelineAgentJobRequest", job(state.find_request(id)?, state, &connect(id)?)),
        MessageContent::Cancel(id) => ("JobCancelMessage", cancel(state.find_request(id)?, state)),
    };
    Some(json!({ "messageId": message.id, "messageType": message_type, "body": body.to_string() }))
}

fn job(request: &Request, state: &State, connection: &Connection) -> Value {
    let steps: Vec<Value> = request
        .job
        .steps
        .iter()
        .zip(1..)
        .map(|(step, number)| {
            json!({
                "type": "task",
                "reference": { "id": COMMAND_LINE_TASK, "name": "CmdLine", "version": "2.250.0" },
                "id": wire::guid(3, request.id * 1000 + number),
                "name": "CmdLine",
                "displayName": step.name,
                "enabled": true,
                "condition": "succeeded()",
                "inputs": { "script": step.script },
            })
        })
        .collect();
    let variable = |value: String| json!({ "value": value });
    json!({
        "messageType": "PipelineAgentJobRequest",
        "plan": {
            "scopeIdentifier": wire::PROJECT_ID,
            "version": wire::PLAN_VERSION,
            "planType": request.job.plan_type,
            "planId": wire::plan_id(request),
            "definition": { "id": request.definition, "name": request.job.pipeline },
            "owner": { "id": request.id },
        },
        "timeline": { "id": wire::plan_id(request) },
        "jobId": wire::job_id(request),
        "jobDisplayName": request.job.name,
        "jobName": "__default",
        "requestId": request.id,
        "lockedUntil": request.locked_until.map(wire::date),
        "lockToken": "00000000-0000-0000-0000-000000000000",
        "resources": {
            "endpoints": [{
                "name": "SystemVssConnection",
                "url": connection.url,
                "authorization": { "scheme": "OAuth", "parameters": { "AccessToken": connection.token } },
                "isShared": false,
                "isReady": true,
            }],
            "repositories": [],
        },
        "variables": {
            "system.definitionName": variable(request.job.pipeline.clone()),
            "system.jobDisplayName": variable(request.job.name.clone()),
            RENEW_SECONDS: variable(state.rules().renew_every.as_secs_f64().to_string()),
        },
        "steps": steps,
    })
}

fn cancel(request: &Request, state: &State) -> Value {
    json!({ "jobId": wire::job_id(request), "timeout": time_span(state.rules().cancel_timeout) })
}

/// A duration as .NET writes it.
fn time_span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
