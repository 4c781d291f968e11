//! What is known of one container group.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::check::{is, list};

/// A group by the names of its resource group and itself, in lower case: ids have no case.
pub(super) type Key = (String, String);

/// What a group goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Accepted; nothing is there yet.
    Pending,
    /// Its image is pulled.
    Creating,
    /// Its containers were started once; what became of them is theirs to say.
    Created,
    /// It could not be created.
    Failed,
    /// It goes away.
    Deleting,
}

impl Stage {
    pub(super) fn is_transition(self) -> bool {
        matches!(self, Self::Pending | Self::Creating | Self::Deleting)
    }

    pub(super) fn provisioning_state(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Creating => "Creating",
            Self::Created => "Succeeded",
            Self::Failed => "Failed",
            Self::Deleting => "Deleting",
        }
    }
}

/// What is to become of a group that is being created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    /// It will run.
    #[default]
    Run,
    /// It stays `Pending` for ever.
    Stuck,
    /// Its image cannot be pulled: it fails.
    Unpullable,
    /// The operation fails for another reason: so does the group.
    Fail,
}

/// What a container does.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Doing {
    Waiting { why: &'static str },
    Running { since: Timestamp },
    Terminated { since: Option<Timestamp>, at: Timestamp, code: i32 },
}

/// One container.
#[derive(Clone, Debug)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) doing: Doing,
    pub(super) before: Option<Doing>,
    pub(super) restarts: u32,
    pub(super) events: Vec<Event>,
}

/// Something that happened to a container.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) at: Timestamp,
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) message: String,
}

impl Container {
    fn new(name: String) -> Self {
        Self { name, doing: Doing::Waiting { why: "" }, before: None, restarts: 0, events: Vec::new() }
    }

    pub(super) fn now_does(&mut self, doing: Doing) {
        self.before = Some(std::mem::replace(&mut self.doing, doing));
    }

    pub(super) fn note(&mut self, at: Timestamp, kind: &'static str, name: &'static str, message: String) {
        self.events.push(Event { at, name, kind, message });
    }
}

/// One container group.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// Both as they were written when it was created.
    pub(super) resource_group: String,
    pub(super) name: String,
    /// What was put, with all its secrets.
    pub(super) body: Value,
    pub(super) stage: Stage,
    pub(super) fate: Fate,
    /// When it goes on by itself.
    pub(super) due: Option<Timestamp>,
    pub(super) containers: Vec<Container>,
    /// The operation that is going on.
    pub(super) operation: Option<u64>,
    /// The process that runs for it.
    pub(super) process: Option<u64>,
    /// Somebody stopped it.
    pub(super) stopped: bool,
    /// Where it stands in the history.
    pub(super) record: usize,
}

impl Group {
    pub(super) fn location(&self) -> String {
        region(&self.body)
    }

    pub(super) fn reset_containers(&mut self) {
        let names = list(&self.body["properties"]["containers"]).iter().map(|container| &container["name"]);
        self.containers = names.map(|name| Container::new(name.as_str().unwrap_or_default().to_owned())).collect();
    }

    /// The container that really runs.
    pub(super) fn agent(&mut self) -> Option<&mut Container> {
        let at = self.agent_at();
        self.containers.get_mut(at)
    }

    /// Which one that is: the one named `agent`, else the first.
    pub(super) fn agent_at(&self) -> usize {
        self.containers.iter().position(|container| container.name == "agent").unwrap_or_default()
    }

    /// Whether a container that ended like this is started again.
    pub(super) fn restarts_after(&self, code: i32) -> bool {
        let policy = &self.body["properties"]["restartPolicy"];
        // Without one it is Always: whoever forgets it pays.
        if policy.is_null() || is(policy, "Always") { true } else { is(policy, "OnFailure") && code != 0 }
    }

    pub(super) fn state(&self) -> &'static str {
        let ended = |container: &Container| matches!(container.doing, Doing::Terminated { .. });
        match self.stage {
            Stage::Pending | Stage::Creating => "Pending",
            Stage::Failed => "Failed",
            _ if self.stopped => "Stopped",
            _ if !self.containers.iter().all(ended) => "Running",
            _ if self.containers.iter().all(|one| matches!(one.doing, Doing::Terminated { code: 0, .. })) => {
                "Succeeded"
            }
            _ => "Failed",
        }
    }
}

/// The region of a body, as quotas count it.
pub(super) fn region(body: &Value) -> String {
    plain_region(body["location"].as_str().unwrap_or_default())
}

/// One way to write a region: "East US" and `eastus` are the same.
pub(super) fn plain_region(region: &str) -> String {
    region.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect()
}

/// The tags of a body.
pub(super) fn tags(body: &Value) -> BTreeMap<String, String> {
    let tags = body["tags"].as_object().into_iter().flatten();
    tags.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

/// One group that was ever created, for whoever wants to know that none was made twice and none was left.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupRecord {
    /// The resource group's name.
    pub resource_group: String,
    /// The group's name. A name that was used again has another record.
    pub name: String,
    /// The region, in lower case and without blanks.
    pub location: String,
    /// Its tags, as they were put last.
    pub tags: BTreeMap<String, String>,
    /// How often it was put: once, unless somebody updates it.
    pub puts: u32,
    /// How often its agent was started: once, unless it was restarted.
    pub starts: u32,
    /// How often its deletion was asked for and accepted.
    pub deletes: u32,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it was gone.
    pub deleted_at: Option<Timestamp>,
    /// What its agent's process ended with last.
    pub exit_code: Option<i32>,
    /// The processes that ran for it, oldest first.
    pub processes: Vec<u64>,
}

/// An operation that goes on after the answer.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) started: Timestamp,
    pub(super) ended: Option<Timestamp>,
    pub(super) error: Option<(&'static str, String)>,
    pub(super) canceled: bool,
    pub(super) of: Key,
    pub(super) deletes: bool,
}

impl Operation {
    pub(super) fn status(&self) -> &'static str {
        match self {
            Self { ended: None, .. } => "InProgress",
            Self { canceled: true, .. } => "Canceled",
            Self { error: Some(_), .. } => "Failed",
            _ => "Succeeded",
        }
    }
}
