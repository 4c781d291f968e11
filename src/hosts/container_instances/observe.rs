//! What Azure says of a group, as a run. Nothing here talks to Azure.
//!
//! A list tells how far a group's provisioning has come and leaves out the instance view; only a look at the group itself
//! tells what its containers do.

use jiff::Timestamp;
use serde_json::Value;

use super::tags::Tagged;
use crate::{
    config::agent_container,
    core::{Progress, Run, RunPhase, Trouble, TroubleKind},
};

/// One group of ours, as it was seen.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) run: Run,
    /// When it is deleted, whatever it does.
    pub(super) deadline: Timestamp,
    /// Its agent's container, whose log it is.
    pub(super) container: String,
    /// `Pending`, `Creating`, `Succeeded` …
    pub(super) provisioning: String,
    /// Whether it was told what its containers do.
    pub(super) in_full: bool,
    /// Whether its agent has ever run, so that there is a log.
    pub(super) has_run: bool,
    /// What its agent ended with.
    pub(super) exit_code: Option<i64>,
}

impl Seen {
    /// Whether it is on its way out, by whoever's wish.
    pub(super) fn is_going(&self) -> bool {
        ["deleting", "deleted"].iter().any(|state| self.provisioning.eq_ignore_ascii_case(state))
    }
}

/// Reads a group of ours. `now` stands for a time that Azure does not tell.
pub(super) fn seen(name: &str, tagged: Tagged, group: &Value, now: Timestamp) -> Seen {
    let text = |pointer: &str| group.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let containers = group.pointer("/properties/containers");
    let container = containers.and_then(|all| all.get(agent_container(containers))).unwrap_or(&Value::Null);
    let provisioning = text("/properties/provisioningState").to_owned();
    let state = text("/properties/instanceView/state");
    let agent = Agent::of(container);
    let in_full = group.pointer("/properties/instanceView/state").is_some();
    let failed = provisioning.eq_ignore_ascii_case("failed");
    let trouble = agent.trouble().or_else(|| trouble_in(group.pointer("/properties/instanceView/events")));

    let phase = match state.to_lowercase().as_str() {
        "succeeded" => RunPhase::Succeeded(agent.ended_at(now)),
        // A sidecar that failed is no failure of the agent's.
        "failed" if agent.exit_code == Some(0) => RunPhase::Succeeded(agent.ended_at(now)),
        "failed" => RunPhase::Failed(agent.ended_at(now), agent.why_failed(trouble.as_ref())),
        "stopped" => RunPhase::Failed(agent.ended_at(now), "its group was stopped by somebody, or evicted".to_owned()),
        _ if failed => RunPhase::Failed(agent.ended_at(now), agent.why_failed(trouble.as_ref())),
        _ => RunPhase::Live,
    };
    let live = phase == RunPhase::Live;
    let has_run = agent.started_at.is_some();
    let (container, exit_code) = (container["name"].as_str().unwrap_or("agent").to_owned(), agent.exit_code);
    let Tagged { pool, template, purpose, attempt, revision, recipe, created_at, deadline } = tagged;
    let run = Run {
        name: name.to_owned(),
        pool,
        template,
        purpose,
        attempt,
        created_at,
        phase,
        revision,
        progress: agent.progress(),
        progress_since: None,
        runs_since: agent.started_at.filter(|_| agent.runs && live),
        trouble: trouble.filter(|_| live && !has_run),
        agent_ended_at: (live && agent.has_ended).then(|| agent.ended_at(now)),
        recipe,
        held: None,
        was_busy: false,
        lease: None,
    };
    Seen { run, deadline, container, provisioning, in_full, has_run, exit_code }
}

/// What the agent's container does.
#[derive(Default)]
struct Agent<'a> {
    runs: bool,
    has_ended: bool,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    exit_code: Option<i64>,
    detail: &'a str,
    events: Option<&'a Value>,
}

impl<'a> Agent<'a> {
    fn of(container: &'a Value) -> Self {
        let Some(view) = container.pointer("/properties/instanceView") else { return Self::default() };
        let state = &view["currentState"];
        let time = |key: &str| state[key].as_str().and_then(|text| text.parse::<Timestamp>().ok());
        let is = |name: &str| state["state"].as_str().is_some_and(|it| it.eq_ignore_ascii_case(name));
        Self {
            runs: is("running"),
            has_ended: is("terminated"),
            started_at: time("startTime"),
            finished_at: time("finishTime"),
            exit_code: state["exitCode"].as_i64().filter(|_| is("terminated")),
            detail: state["detailStatus"].as_str().unwrap_or_default(),
            events: view.get("events"),
        }
    }

    fn progress(&self) -> Progress {
        let placed = || events(self.events).any(|event| event.name != "FailedScheduling");
        match self {
            Self { has_ended: true, .. } => Progress::Ended,
            Self { runs: true, .. } => Progress::Running,
            _ if placed() => Progress::Placed,
            _ => Progress::Pending,
        }
    }

    fn ended_at(&self, now: Timestamp) -> Timestamp {
        let last = || events(self.events).filter_map(|event| event.at).max();
        self.finished_at.or_else(last).unwrap_or(now)
    }

    fn trouble(&self) -> Option<Trouble> {
        trouble_in(self.events)
    }

    fn why_failed(&self, trouble: Option<&Trouble>) -> String {
        match (self.exit_code, trouble) {
            (Some(code), _) if self.detail.is_empty() => format!("its agent ended with exit code {code}"),
            (Some(code), _) => {
                format!("its agent ended with exit code {code} ({})", crate::azure::readable(self.detail))
            }
            (None, Some(trouble)) => trouble.message.clone(),
            (None, None) if !self.detail.is_empty() => crate::azure::readable(self.detail),
            (None, None) => "Azure could not provision its container group, and did not say why".to_owned(),
        }
    }
}

struct Event<'a> {
    name: &'a str,
    message: &'a str,
    is_warning: bool,
    at: Option<Timestamp>,
}

fn events(list: Option<&Value>) -> impl Iterator<Item = Event<'_>> {
    list.and_then(Value::as_array).into_iter().flatten().map(|event| Event {
        name: event["name"].as_str().unwrap_or_default(),
        message: event["message"].as_str().unwrap_or_default(),
        is_warning: event["type"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("warning")),
        at: event["lastTimestamp"].as_str().and_then(|text| text.parse().ok()),
    })
}

/// The last warning that says what keeps a container from starting.
fn trouble_in(list: Option<&Value>) -> Option<Trouble> {
    let warnings: Vec<_> = events(list).filter(|event| event.is_warning).collect();
    warnings.into_iter().rev().find_map(|event| {
        let words = format!("{} {}", event.name, event.message).to_lowercase();
        let has = |any: &[&str]| any.iter().any(|word| words.contains(word));
        let kind = if has(&["mount", "volume", "azure file", "share"]) {
            TroubleKind::Volume
        } else if has(&["pull", "image", "registry", "manifest"]) {
            TroubleKind::Image
        } else if has(&["schedul", "capacity", "insufficient"]) {
            TroubleKind::Unschedulable
        } else {
            return None;
        };
        let message = crate::azure::readable(&format!("{}: {}", event.name, event.message));
        Some(Trouble { kind, message })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::{Purpose, Recipe, RequestId};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[allow(clippy::needless_pass_by_value)] // It reads better where it is called.
    fn look(provisioning: &str, state: Option<&str>, container: Value, events: Value) -> Seen {
        let tagged = Tagged {
            pool: "p".to_owned(),
            template: "t".to_owned(),
            purpose: Purpose::Request(RequestId(1)),
            attempt: 1,
            revision: "r".to_owned(),
            recipe: Recipe::Token,
            created_at: at(10),
            deadline: at(9000),
        };
        let mut group = json!({"properties": {"provisioningState": provisioning, "containers": [
            {"name": "side", "properties": {}},
            {"name": "agent", "properties": {"instanceView": {"currentState": container, "events": events}}}]}});
        if let Some(state) = state {
            group["properties"]["instanceView"] = json!({"state": state, "events": []});
        }
        seen("a", tagged, &group, at(500))
    }

    #[test]
    fn a_list_tells_that_a_group_lives_and_not_more() {
        let seen = look("Succeeded", None, Value::Null, Value::Null);
        assert!(!seen.in_full && seen.run.is_live());
        assert_eq!(
            (seen.run.progress, seen.run.created_at, seen.container.as_str()),
            (Progress::Pending, at(10), "agent")
        );
        assert!(look("Deleting", None, Value::Null, Value::Null).is_going());
    }

    #[test]
    fn an_agent_is_seen_from_its_place_to_its_end() {
        let waiting = json!({"state": "Waiting", "detailStatus": ""});
        let pulling = json!([{"name": "Pulling", "type": "Normal", "message": "pulling image", "lastTimestamp": "1970-01-01T00:00:20Z"}]);
        assert_eq!(look("Creating", Some("Pending"), waiting.clone(), json!([])).run.progress, Progress::Pending);
        assert_eq!(look("Creating", Some("Pending"), waiting, pulling.clone()).run.progress, Progress::Placed);
        let running = json!({"state": "Running", "startTime": "1970-01-01T00:00:30Z"});
        let seen = look("Succeeded", Some("Running"), running, pulling);
        assert_eq!((seen.run.progress, seen.run.runs_since), (Progress::Running, Some(at(30))));
        let ended = |code: i64| {
            json!({"state": "Terminated", "exitCode": code, "detailStatus": "Error",
            "startTime": "1970-01-01T00:00:30Z", "finishTime": "1970-01-01T00:00:40Z"})
        };
        let seen = look("Succeeded", Some("Running"), ended(0), json!([]));
        assert_eq!((seen.run.progress, seen.run.agent_ended_at), (Progress::Ended, Some(at(40))));
        assert_eq!(look("Succeeded", Some("Succeeded"), ended(0), json!([])).run.phase, RunPhase::Succeeded(at(40)));
        assert_eq!(look("Succeeded", Some("Failed"), ended(0), json!([])).run.phase, RunPhase::Succeeded(at(40)));
        let failed = RunPhase::Failed(at(40), "its agent ended with exit code 2 (Error)".to_owned());
        let seen = look("Succeeded", Some("Failed"), ended(2), json!([]));
        assert_eq!((seen.run.phase, seen.has_run, seen.exit_code), (failed, true, Some(2)));
    }

    #[test]
    fn what_keeps_it_from_starting_is_told_and_ends_as_its_failure() {
        let events = json!([
            {"name": "Pulling", "type": "Normal", "message": "pulling", "lastTimestamp": "1970-01-01T00:00:20Z"},
            {"name": "Failed", "type": "Warning", "message": "Failed to pull image \"x\": not found", "lastTimestamp": "1970-01-01T00:00:25Z"}]);
        let waiting = json!({"state": "Waiting"});
        let seen = look("Creating", Some("Pending"), waiting.clone(), events.clone());
        let trouble = seen.run.trouble.unwrap();
        assert_eq!(
            (trouble.kind, trouble.message.as_str()),
            (TroubleKind::Image, "Failed: Failed to pull image \"x\": not found")
        );
        let failed = RunPhase::Failed(at(25), trouble.message);
        for state in [Some("Failed"), Some("Pending")] {
            let seen = look("Failed", state, waiting.clone(), events.clone());
            assert_eq!((&seen.run.phase, seen.has_run), (&failed, false));
        }
        let silent = look("Failed", None, Value::Null, Value::Null).run.phase;
        assert!(matches!(silent, RunPhase::Failed(when, why) if when == at(500) && why.contains("did not say why")));
        let mounts = json!([{"name": "FailedMount", "type": "Warning", "message": "share not found"}]);
        assert_eq!(look("Creating", Some("Pending"), waiting, mounts).run.trouble.unwrap().kind, TroubleKind::Volume);
    }

    #[test]
    fn a_group_that_was_stopped_has_failed() {
        let seen = look("Succeeded", Some("Stopped"), json!({"state": "Terminated", "exitCode": 0}), json!([]));
        assert!(matches!(seen.run.phase, RunPhase::Failed(_, why) if why.contains("stopped")));
    }
}
