//! `pools/{id}/jobrequests`: the queue. Not documented, and its JSON depends on how it is asked for.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Shared,
    agents::base,
    call::{Call, number},
    reply::Reply,
    wire::{self, Shape},
};
use crate::sandbox::state::{JobResult, JobSpec, Phase, Refusal, Request, State};

/// How many finished requests of each agent are listed if the caller does not say.
const RECENT_PER_AGENT: usize = 25;

/// `$top` lists no more than this.
const MAX_TOP: usize = 200;

/// All overloads: by `$top`, by agent, by plan and job, or all that is unfinished with some that are finished.
pub(super) fn list(shared: &Shared, call: &Call, pool: &str) -> Result<Reply, Refusal> {
    let pool = number(pool, "poolId")?;
    let base = base(shared, call);
    if let Some(top) = call.number("$top")? {
        let token = call.number("continuationToken")?;
        return shared.see(|state| newest(shared, state, pool, top, token, &base));
    }
    let shape = Shape {
        matched_agents: true,
        omit_where_all_match: shared.settings.omit_matched_agents,
        status: call.flag("includeStatus"),
    };
    let agents = match call.number("agentId")? {
        Some(agent) => Some(vec![agent]),
        None => call.numbers("agentIds")?,
    };
    let finished = call.number("completedRequestCount")?.map(|count| usize::try_from(count).unwrap_or(0));
    let plan = call.query("planId").map(str::to_lowercase);
    let job = call.query("jobId").map(str::to_lowercase);
    shared.see(|state| {
        state.pool(pool)?;
        let all = || state.requests().filter(|request| request.pool == pool);
        let chosen: Vec<&Request> = if plan.is_some() || job.is_some() {
            all()
                .filter(|request| plan.as_ref().is_none_or(|plan| *plan == wire::plan_id(request)))
                .filter(|request| job.as_ref().is_none_or(|job| *job == wire::job_id(request)))
                .collect()
        } else {
            let of_agents = |request: &&Request| {
                agents.as_ref().is_none_or(|ids| request.agent.as_ref().is_some_and(|agent| ids.contains(&agent.id)))
            };
            let mut chosen: Vec<&Request> = state.unfinished_in(pool).filter(of_agents).collect();
            let count = finished.unwrap_or(RECENT_PER_AGENT);
            if count > 0 {
                chosen.extend(recent(all().filter(of_agents), count));
            }
            chosen
        };
        let mut values: Vec<Value> =
            chosen.into_iter().map(|request| wire::full_request(request, shape, state, &base)).collect();
        if finished.is_none() && plan.is_none() && job.is_none() && agents.is_none() {
            values.extend(state.old_requests(pool).map(|request| wire::request(&request, &base)));
        }
        Ok(Reply::list(values))
    })
}

/// The newest finished requests, `count` for each agent. One that never had an agent is not among them.
fn recent<'a>(requests: impl DoubleEndedIterator<Item = &'a Request>, count: usize) -> Vec<&'a Request> {
    let mut listed = std::collections::HashMap::<i64, usize>::new();
    requests
        .rev()
        .filter(|request| request.phase() == Phase::Finished)
        .filter(|request| {
            let Some(agent) = &request.agent else { return false };
            let listed = listed.entry(agent.id).or_default();
            *listed += 1;
            *listed <= count
        })
        .collect()
}

/// The newest requests, finished or not, in the other JSON.
fn newest(
    shared: &Shared,
    state: &State,
    pool: i64,
    top: i64,
    token: Option<i64>,
    base: &str,
) -> Result<Reply, Refusal> {
    state.pool(pool)?;
    let top = usize::try_from(top).unwrap_or(0).min(MAX_TOP);
    let before = |id: i64| token.is_none_or(|token| id < token);
    let shape = Shape::default();
    let current = state.requests().rev().filter(|request| request.pool == pool && before(request.id));
    let old = state.old_requests(pool).rev().filter(|request| before(request.id));
    let mut values: Vec<(i64, Value)> = current
        .map(|request| (request.id, wire::full_request(request, shape, state, base)))
        .chain(old.map(|request| (request.id, wire::request(&request, base))))
        .take(top + 1)
        .collect();
    let more = values.len() > top;
    values.truncate(top);
    let last = values.last().map(|(id, _)| id.to_string());
    let values: Vec<Value> = values.into_iter().map(|(_, value)| value).collect();
    let reply = if shared.settings.bare_lists { Reply::json(&Value::Array(values)) } else { Reply::list(values) };
    Ok(match last {
        Some(last) if more => reply.with("x-ms-continuationtoken", &last),
        _ => reply,
    })
}

pub(super) fn get(shared: &Shared, call: &Call, pool: &str, id: &str) -> Result<Reply, Refusal> {
    one(shared, call, number(pool, "poolId")?, number(id, "requestId")?)
}

fn one(shared: &Shared, call: &Call, pool: i64, id: i64) -> Result<Reply, Refusal> {
    let shape = Shape { matched_agents: true, status: call.flag("includeStatus"), ..Shape::default() };
    let base = base(shared, call);
    shared.see(|state| {
        let request = state.request(pool, id)?;
        Ok(Reply::json(&wire::full_request(request, shape, state, &base)))
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Body {
    definition: Named,
    job_name: Option<String>,
    demands: Vec<String>,
    plan_type: Option<String>,
    priority: i64,
    data: std::collections::BTreeMap<String, String>,
    result: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Named {
    name: Option<String>,
}

pub(super) fn queue(shared: &Shared, call: &Call, pool: &str) -> Result<Reply, Refusal> {
    let pool = number(pool, "poolId")?;
    let body: Body = call.json()?;
    let mut job = JobSpec::new(
        body.definition.name.unwrap_or_else(|| "pipeline".to_owned()),
        body.job_name.unwrap_or_else(|| "job".to_owned()),
    );
    job.demands = body.demands;
    job.priority = body.priority;
    job.plan_type = body.plan_type.unwrap_or(job.plan_type);
    job.parallelism_tag = body.data.get("ParallelismTag").cloned().unwrap_or(job.parallelism_tag);
    let id = shared.with(|state, now| state.queue(pool, job, now))?;
    one(shared, call, pool, id)
}

/// To the top, finished, or renewed. The lock token has to be there; its value was never used.
pub(super) fn update(shared: &Shared, call: &Call, pool: &str, id: &str) -> Result<Reply, Refusal> {
    let (pool, id) = (number(pool, "poolId")?, number(id, "requestId")?);
    let body: Body = call.json()?;
    let bump = call.query("updateOptions").is_some_and(|option| option.eq_ignore_ascii_case("bumpRequestToTop"));
    shared.with(|state, now| {
        if bump {
            return state.bump_to_top(pool, id, now);
        }
        if call.query("lockToken").is_none() {
            return Err(Refusal::Invalid("The lock token is missing.".to_owned()));
        }
        match body.result {
            Some(result) => state.finish(pool, id, parse_result(&result)?, false, now),
            None => state.renew(pool, id, now).map(|_| ()),
        }
    })?;
    one(shared, call, pool, id)
}

/// Finished, in the way that agents use.
pub(super) fn delete(shared: &Shared, call: &Call, pool: &str, id: &str) -> Result<Reply, Refusal> {
    let (pool, id) = (number(pool, "poolId")?, number(id, "requestId")?);
    let result = call.query("result").map_or(Ok(JobResult::Abandoned), parse_result)?;
    shared.with(|state, now| state.finish(pool, id, result, call.flag("agentShuttingDown"), now))?;
    Ok(Reply::json(&json!({})))
}

pub(super) fn parse_result(name: &str) -> Result<JobResult, Refusal> {
    JobResult::parse(name).ok_or_else(|| Refusal::Invalid(format!("\"{name}\" is no result of a job request.")))
}
