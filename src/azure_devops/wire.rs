//! Azure DevOps' JSON, as far as it is needed, and how it becomes the core's model.
//!
//! Part of it is undocumented. What decides over an agent's life is required: numbers, names, status, assignments and the
//! times that a request's stage follows from. An element in which one of them cannot be read makes the whole answer
//! unreadable, because a list that leaves it out would say that the agent or the request is gone. Everything else is
//! lenient: an unknown field, an unknown value of an enumeration, a missing or misshapen field costs that field alone.

use std::{collections::BTreeMap, fmt};

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, MapAccess, Visitor},
};
use serde_json::Value;

use super::{PoolId, list::Wire};
use crate::core::{Agent, AgentId, AgentRef, Capabilities, Demand, JobRequest, ParallelJobs, RequestId, Stage};

/// A count of parallel jobs above which nobody is limited.
const UNLIMITED: i64 = 10_000;

/// Longer links are left out.
const LONGEST_LINK: usize = 1000;

/// A field that is as good as absent when it is not what was expected.
fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).unwrap_or_default())
}

/// A moment. A text without a zone is UTC.
fn parse_moment(text: &str) -> Option<Timestamp> {
    let utc = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|moment| moment.timestamp());
    text.parse::<Timestamp>().ok().or_else(utc)
}

/// What lies before 1970 is .NET's way to say "none" (0001-01-01).
fn is_set(moment: &Timestamp) -> bool {
    *moment > Timestamp::UNIX_EPOCH
}

/// A moment that is as good as absent when it cannot be read.
fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text: Option<String> = lenient(deserializer)?;
    Ok(text.and_then(|text| parse_moment(&text)).filter(is_set))
}

/// A moment that must be readable where it is present.
fn required_moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let moment = parse_moment(&text).ok_or_else(|| D::Error::custom("a time that cannot be read"))?;
    Ok(Some(moment).filter(is_set))
}

/// An agent pool.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pool {
    pub(super) id: PoolId,
    pub(super) name: String,
    /// Why agents of ours cannot serve it.
    pub(super) unfit: Option<&'static str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PoolJson {
    id: i64,
    name: String,
    is_hosted: Option<bool>,
    is_legacy: Option<bool>,
    pool_type: Option<String>,
    options: Option<String>,
}

impl PoolJson {
    fn unfit(&self) -> Option<&'static str> {
        let is_kind = |kind: &str| self.pool_type.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(kind));
        let has_option = |wanted: &str| {
            let options = self.options.as_deref().unwrap_or_default();
            options.split(',').any(|option| option.trim().eq_ignore_ascii_case(wanted))
        };
        if self.is_hosted == Some(true) {
            Some("its agents are Microsoft's (a hosted pool)")
        } else if self.is_legacy == Some(true) {
            Some("it is one of the old hosted pools")
        } else if is_kind("deployment") {
            Some("it is a deployment pool, whose agents are deployment targets")
        } else if has_option("elasticPool") {
            Some("Azure DevOps itself runs its agents on a virtual machine scale set (an elastic pool)")
        } else {
            None
        }
    }
}

impl Wire for PoolJson {
    type Model = Pool;

    fn into_model(self) -> Result<Option<Pool>, &'static str> {
        let unfit = self.unfit();
        Ok(Some(Pool { id: PoolId(self.id), name: self.name, unfit }))
    }

    fn number(pool: &Pool) -> Option<i64> {
        Some(pool.id.0)
    }
}

/// The agent that a request is reserved for.
#[derive(Deserialize)]
struct ReservedJson {
    id: i64,
    #[serde(default, deserialize_with = "lenient")]
    name: Option<String>,
}

#[derive(Default, Deserialize)]
struct NamedJson {
    #[serde(default, deserialize_with = "lenient")]
    name: Option<String>,
}

/// The pipeline run that a job request belongs to.
#[derive(Default, Deserialize)]
struct OwnerJson {
    #[serde(default, deserialize_with = "lenient")]
    name: Option<String>,
    #[serde(default, rename = "_links")]
    links: Value,
}

impl OwnerJson {
    /// The page of the pipeline run. Nothing but a web page may come out of this: somebody clicks on it.
    fn page(&self) -> Option<String> {
        let link = self.links.pointer("/web/href")?.as_str()?;
        let is_web = ["https://", "http://"].iter().any(|scheme| link.starts_with(scheme));
        let is_clean = link.len() <= LONGEST_LINK && !link.chars().any(|c| c.is_control() || c.is_whitespace());
        (is_web && is_clean).then(|| link.to_owned())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JobRequestJson {
    request_id: i64,
    #[serde(default, deserialize_with = "moment")]
    queue_time: Option<Timestamp>,
    #[serde(default, deserialize_with = "required_moment")]
    receive_time: Option<Timestamp>,
    #[serde(default, deserialize_with = "required_moment")]
    finish_time: Option<Timestamp>,
    #[serde(default)]
    result: Value,
    #[serde(default, deserialize_with = "lenient")]
    plan_type: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    demands: Vec<Value>,
    reserved_agent: Option<ReservedJson>,
    #[serde(default, deserialize_with = "lenient")]
    definition: Option<NamedJson>,
    #[serde(default, deserialize_with = "lenient")]
    owner: Option<OwnerJson>,
    #[serde(default, deserialize_with = "lenient")]
    data: BTreeMap<String, Value>,
    #[serde(default, deserialize_with = "lenient")]
    priority: i64,
}

impl JobRequestJson {
    /// A result that is neither a text nor a number of the enumeration tells nothing.
    fn is_finished(&self) -> Result<bool, &'static str> {
        match &self.result {
            Value::Null => Ok(self.finish_time.is_some()),
            Value::String(result) => Ok(!result.is_empty() || self.finish_time.is_some()),
            Value::Number(_) => Ok(true),
            Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err("a result that is no text"),
        }
    }
}

impl Wire for JobRequestJson {
    type Model = JobRequest;

    /// Finished ones are of no interest.
    fn into_model(self) -> Result<Option<JobRequest>, &'static str> {
        if self.is_finished()? {
            return Ok(None);
        }
        let agent =
            self.reserved_agent.map(|agent| AgentRef { id: AgentId(agent.id), name: agent.name.unwrap_or_default() });
        let stage = match (self.receive_time, agent) {
            (Some(_), agent) => Stage::Running(agent),
            (None, Some(agent)) => Stage::Assigned(agent),
            // An assignment whose agent was taken away again waits anew.
            (None, None) => Stage::Waiting,
        };
        let tag = self.data.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("ParallelismTag"));
        let owner = self.owner.unwrap_or_default();
        Ok(Some(JobRequest {
            id: RequestId(self.request_id),
            queued_at: self.queue_time,
            received_at: self.receive_time,
            stage,
            demands: self.demands.iter().filter_map(demand).collect(),
            plan_type: self.plan_type,
            parallelism_tag: tag.and_then(|(_, tag)| tag.as_str().map(str::to_owned)),
            pipeline: self.definition.and_then(|definition| definition.name),
            url: owner.page(),
            pipeline_run: owner.name,
            priority: self.priority,
        }))
    }

    fn number(request: &JobRequest) -> Option<i64> {
        Some(request.id.0)
    }

    /// The one that has come further: a page that was read later, or the state after an assignment.
    fn merge(kept: &mut JobRequest, other: JobRequest) {
        let progress = |request: &JobRequest| match request.stage {
            Stage::Waiting => 0,
            Stage::Assigned(_) => 1,
            Stage::Running(_) => 2,
            Stage::Finished => 3,
        };
        if progress(&other) > progress(kept) {
            *kept = other;
        }
    }
}

/// Demands are texts (`Agent.OS -equals Linux`); objects with a name and a value are understood in case some server
/// sends them.
fn demand(json: &Value) -> Option<Demand> {
    let text = match json {
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            let name = fields.get("name")?.as_str()?;
            match fields.get("value").and_then(Value::as_str) {
                Some(value) => format!("{name} -equals {value}"),
                None => name.to_owned(),
            }
        }
        _ => return None,
    };
    (!text.trim().is_empty()).then(|| Demand::parse(&text))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AgentJson {
    id: i64,
    name: String,
    enabled: Option<bool>,
    status: String,
    assigned_request: Option<AssignedJson>,
    #[serde(default, deserialize_with = "lenient")]
    last_completed_request: Option<CompletedJson>,
    #[serde(default, deserialize_with = "moment")]
    created_on: Option<Timestamp>,
    #[serde(default, deserialize_with = "moment")]
    status_changed_on: Option<Timestamp>,
    #[serde(default)]
    system_capabilities: CapabilitiesJson,
    #[serde(default)]
    user_capabilities: CapabilitiesJson,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AssignedJson {
    request_id: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CompletedJson {
    #[serde(default, deserialize_with = "moment")]
    finish_time: Option<Timestamp>,
}

impl Wire for AgentJson {
    type Model = Agent;

    fn into_model(self) -> Result<Option<Agent>, &'static str> {
        if self.name.is_empty() {
            return Err("an agent without a name");
        }
        let capabilities = self.system_capabilities.0.into_iter().chain(self.user_capabilities.0);
        Ok(Some(Agent {
            id: AgentId(self.id),
            name: self.name,
            enabled: self.enabled.unwrap_or(true),
            online: self.status.eq_ignore_ascii_case("online"),
            assigned: self.assigned_request.map(|request| RequestId(request.request_id)),
            capabilities: capabilities.collect::<Capabilities>(),
            created_at: self.created_on,
            status_changed_at: self.status_changed_on,
            last_finished_at: self.last_completed_request.and_then(|request| request.finish_time),
        }))
    }

    fn number(agent: &Agent) -> Option<i64> {
        Some(agent.id.0)
    }

    /// Whichever is at work, or online: an agent is never thought free or gone because it stands in a list twice.
    fn merge(kept: &mut Agent, other: Agent) {
        let alive = |agent: &Agent| (agent.assigned.is_some(), agent.online);
        if alive(&other) > alive(kept) {
            *kept = other;
        }
    }
}

/// Names and values. A value that is no text is taken as its JSON; `null` as nothing.
#[derive(Default)]
struct CapabilitiesJson(Vec<(String, String)>);

impl<'de> Deserialize<'de> for CapabilitiesJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = CapabilitiesJson;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("capabilities by their names")
            }

            fn visit_unit<E>(self) -> Result<CapabilitiesJson, E> {
                Ok(CapabilitiesJson::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<CapabilitiesJson, A::Error> {
                let mut pairs = Vec::new();
                while let Some((name, value)) = fields.next_entry::<String, Value>()? {
                    pairs.push((name, plain(value)));
                }
                Ok(CapabilitiesJson(pairs))
            }
        }

        deserializer.deserialize_any(Pairs)
    }
}

fn plain(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// How many parallel jobs there are and are used.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResourceUsageJson {
    #[serde(default, deserialize_with = "lenient")]
    resource_limit: Option<ResourceLimitJson>,
    #[serde(default, deserialize_with = "lenient")]
    used_count: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceLimitJson {
    #[serde(default, deserialize_with = "lenient")]
    total_count: Option<i64>,
    #[serde(default, deserialize_with = "lenient")]
    is_hosted: bool,
    #[serde(default, deserialize_with = "lenient")]
    failed_to_reach_all_providers: bool,
}

impl ResourceUsageJson {
    /// The limit, where there is one that can be believed. Every organization has at least one parallel job, so 0
    /// is no limit but a gap in the answer; and a count for Microsoft's own agents is not ours.
    pub(super) fn parallel_jobs(&self) -> Option<ParallelJobs> {
        let limit = self.resource_limit.as_ref()?;
        let total = limit.total_count.filter(|total| (1..UNLIMITED).contains(total))?;
        if limit.is_hosted || limit.failed_to_reach_all_providers {
            return None;
        }
        let count = |number: i64| u32::try_from(number.max(0)).unwrap_or(u32::MAX);
        Some(ParallelJobs { total: count(total), used: count(self.used_count) })
    }
}
