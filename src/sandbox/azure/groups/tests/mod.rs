//! The groups at chosen moments, and bodies that are refused.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Accepted, AzureRules, Fate, Groups, Order, Refusal};

mod bodies;
mod life;
mod limits;
mod updates;

fn at(seconds: f64) -> Timestamp {
    Timestamp::UNIX_EPOCH + Duration::from_secs_f64(seconds)
}

/// A second in Pending, a second in Creating, a second to be deleted, a second until a restart.
fn rules() -> AzureRules {
    let second = Duration::from_secs(1);
    AzureRules { scheduling: second, pulling: second, deletion: second, restart_delay: second, ..AzureRules::default() }
}

fn groups() -> Groups {
    Groups::new("s", rules())
}

fn body() -> Value {
    json!({
        "location": "West Europe",
        "properties": {
            "osType": "Linux",
            "restartPolicy": "Never",
            "containers": [{
                "name": "agent",
                "properties": {
                    "image": "i",
                    "resources": { "requests": { "cpu": 1, "memoryInGB": 1.5 } },
                },
            }],
        },
    })
}

fn put(groups: &mut Groups, name: &str, body: Value, now: f64) -> Result<Accepted, Refusal> {
    groups.put("g", name, body, Fate::Run, at(now))
}

/// Makes a group and lets it run; returns the number of its process.
fn run(groups: &mut Groups, name: &str, body: Value, now: f64) -> u64 {
    put(groups, name, body, now).unwrap();
    groups.advance(at(now + 2.0));
    started(groups)
}

/// The process that was ordered last.
fn started(groups: &mut Groups) -> u64 {
    let orders = groups.take_orders();
    let started = orders.iter().rev().find_map(|order| match order {
        Order::Start(process, _) => Some(*process),
        Order::Stop(_) => None,
    });
    started.unwrap()
}

/// The provisioning state and the state.
fn states(groups: &Groups, name: &str) -> (String, String) {
    let view = groups.get("g", name).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&view["properties"]["provisioningState"]), text(&view["properties"]["instanceView"]["state"]))
}

fn are(groups: &Groups, name: &str, provisioning: &str, state: &str) {
    assert_eq!(states(groups, name), (provisioning.to_owned(), state.to_owned()));
}

fn code<T: std::fmt::Debug>(result: Result<T, Refusal>) -> (u16, &'static str) {
    let refusal = result.unwrap_err();
    (refusal.status, refusal.code)
}

fn instance(groups: &Groups, name: &str) -> Value {
    groups.get("g", name).unwrap()["properties"]["containers"][0]["properties"]["instanceView"].clone()
}
