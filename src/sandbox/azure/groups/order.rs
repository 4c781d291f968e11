//! What has to be done with processes on behalf of groups.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;

use super::check::list;

/// Something to do with a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Start one, under this number.
    Start(u64, Start),
    /// End it: ask it, and after the grace kill it. Its end is told as that of any other.
    Stop(u64),
}

/// What a process is started with.
#[derive(Clone, PartialEq, Eq)]
pub struct Start {
    /// The container's command; without one it is the image's own.
    pub command: Vec<String>,
    /// The environment, secret or not.
    pub environment: BTreeMap<String, String>,
    /// The folders to mount: where, and the files in each.
    pub mounts: Vec<(String, BTreeMap<String, Vec<u8>>)>,
}

/// Values are nobody's business.
impl std::fmt::Debug for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&String> = self.environment.keys().collect();
        f.debug_struct("Start").field("environment", &names).finish_non_exhaustive()
    }
}

impl Start {
    /// What the container of this name is started with.
    pub(super) fn of(body: &Value, container: &str) -> Self {
        let properties = &body["properties"];
        let containers = list(&properties["containers"]);
        let container = containers.iter().find(|one| one["name"] == container).unwrap_or(&Value::Null);
        let container = &container["properties"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let variables = list(&container["environmentVariables"]).iter().map(|variable| {
            let value = if variable["value"].is_string() { &variable["value"] } else { &variable["secureValue"] };
            (text(&variable["name"]), text(value))
        });
        let mounts = list(&container["volumeMounts"]).iter().map(|mount| {
            let volume = list(&properties["volumes"]).iter().find(|volume| volume["name"] == mount["name"]);
            let secret = volume.and_then(|volume| volume["secret"].as_object());
            let files = secret.into_iter().flatten().map(|(name, content)| {
                (name.clone(), BASE64_STANDARD.decode(content.as_str().unwrap_or_default()).unwrap_or_default())
            });
            (text(&mount["mountPath"]), files.collect())
        });
        Self {
            command: list(&container["command"]).iter().map(text).collect(),
            environment: variables.collect(),
            mounts: mounts.collect(),
        }
    }
}
