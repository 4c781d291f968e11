//! `hubs/{hub}/plans/{id}`: what the worker of a job reports while it runs, and its end. Of what it uploads only the size is
//! kept.

use std::collections::{BTreeMap, VecDeque};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Shared, call::Call, job_requests::parse_result, reply::Reply, wire};
use crate::sandbox::state::{Refusal, Request};

/// Of how many plans what was reported is kept.
const KEPT: usize = 200;

/// A zip file without entries.
const EMPTY_ZIP: [u8; 22] = {
    let mut zip = [0; 22];
    (zip[0], zip[1], zip[2], zip[3]) = (b'P', b'K', 5, 6);
    zip
};

/// What was reported of each plan, the newest last.
#[derive(Debug, Default)]
pub(super) struct Plans(VecDeque<(String, Plan)>);

/// What was reported of one plan.
#[derive(Debug, Default)]
struct Plan {
    records: BTreeMap<String, Value>,
    changes: u64,
    lines: u64,
    /// How many bytes each log has.
    logs: Vec<usize>,
    attachments: Vec<Value>,
}

impl Plans {
    fn plan(&mut self, id: &str) -> &mut Plan {
        if let Some(index) = self.0.iter().position(|(known, _)| known == id) {
            return &mut self.0[index].1;
        }
        if self.0.len() >= KEPT {
            self.0.pop_front();
        }
        self.0.push_back((id.to_owned(), Plan::default()));
        let last = self.0.len() - 1;
        &mut self.0[last].1
    }
}

/// Answers a call about a plan. `rest` is the path after the plan's id.
pub(super) fn answer(shared: &Shared, call: &Call, plan_id: &str, rest: &[&str]) -> Result<Option<Reply>, Refusal> {
    let request = shared.see(|state| state.requests().find(|request| wire::plan_id(request) == plan_id).cloned());
    let Some(request) = request else {
        let message = format!("No plan found for identifier {plan_id}.");
        return Ok(Some(Reply::error(404, "TaskOrchestrationPlanNotFoundException", &message)));
    };
    if (call.method.as_str(), rest) == ("POST", &["events"]) {
        return event(shared, call, &request).map(Some);
    }
    let mut plans = shared.plans();
    let plan = plans.plan(plan_id);
    Ok(Some(match (call.method.as_str(), rest) {
        ("GET", []) => Reply::json(&json!({
            "planId": plan_id,
            "planType": request.job.plan_type,
            "version": wire::PLAN_VERSION,
            "scopeIdentifier": wire::PROJECT_ID,
        })),
        ("GET", ["timelines"]) => Reply::list(vec![timeline(plan_id, plan)]),
        ("GET", ["timelines", id]) => {
            let mut timeline = timeline(id, plan);
            timeline["records"] = plan.records.values().cloned().collect();
            Reply::json(&timeline)
        }
        ("GET", ["timelines", _, "records"]) => Reply::list(plan.records.values().cloned().collect()),
        ("PATCH", ["timelines", _, "records"]) => Reply::list(update_records(plan, call.json()?)),
        ("POST", ["timelines", _, "records", _, "feed"]) => {
            let Elements { value } = call.json()?;
            plan.lines += value.len() as u64;
            Reply::empty(200)
        }
        ("PUT", ["timelines", _, "records", record, "attachments", kind, name]) => {
            let attachment = json!({ "type": kind, "name": name, "recordId": record, "size": call.size() });
            plan.attachments.push(attachment.clone());
            Reply::json(&attachment)
        }
        ("POST", ["logs"]) => {
            plan.logs.push(0);
            Reply::json(&log(plan.logs.len(), 0))
        }
        ("GET", ["logs"]) => Reply::list(plan.logs.iter().zip(1..).map(|(size, id)| log(id, *size)).collect()),
        ("POST", ["logs", id]) => {
            let index = id.parse::<usize>().ok().and_then(|id| id.checked_sub(1));
            match index.and_then(|index| Some((index, plan.logs.get_mut(index)?))) {
                Some((index, size)) => {
                    *size += call.size();
                    Reply::json(&log(index + 1, *size))
                }
                None => Reply::error(404, "TaskLogNotFoundException", &format!("No log found with identifier {id}.")),
            }
        }
        _ => return Ok(None),
    }))
}

#[derive(Debug, Deserialize)]
struct Elements {
    value: Vec<Value>,
}

/// Each record replaces what was said before in the fields that it has.
fn update_records(plan: &mut Plan, Elements { value }: Elements) -> Vec<Value> {
    plan.changes += 1;
    let changes = plan.changes;
    let updated = value.into_iter().filter_map(|record| {
        let id = record["id"].as_str()?.to_lowercase();
        let known = plan.records.entry(id).or_insert_with(|| json!({}));
        for (name, value) in record.as_object().into_iter().flatten() {
            known[name.as_str()] = value.clone();
        }
        known["changeId"] = changes.into();
        Some(known.clone())
    });
    updated.collect()
}

fn timeline(id: &str, plan: &Plan) -> Value {
    json!({ "id": id, "changeId": plan.changes, "lastChangedBy": wire::guid(9, 1) })
}

fn log(id: usize, size: usize) -> Value {
    json!({ "id": id, "path": format!("logs\\{id}"), "size": size })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    name: String,
    #[serde(default)]
    job_id: String,
    result: Option<String>,
    #[serde(default)]
    agent_shutting_down: bool,
}

/// The worker's word that the job has ended, which is how plans of today end.
fn event(shared: &Shared, call: &Call, request: &Request) -> Result<Reply, Refusal> {
    let event: Event = call.json()?;
    if event.name.eq_ignore_ascii_case("JobCompleted") {
        if !event.job_id.eq_ignore_ascii_case(&wire::job_id(request)) {
            return Err(Refusal::Invalid(format!("The plan has no job {}.", event.job_id)));
        }
        let result = parse_result(event.result.as_deref().unwrap_or_default())?;
        let (pool, id) = (request.pool, request.id);
        shared.with(|state, now| state.finish(pool, id, result, event.agent_shutting_down, now))?;
    }
    Ok(Reply::empty(200))
}

/// The code of a task, which here is all in the inputs of its step.
pub(super) fn task() -> Reply {
    Reply::zip(EMPTY_ZIP.to_vec())
}
