//! From a container's description to a process that can be started here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, Pod};
use serde_json::Value;

use crate::mounts::Mounts;
use crate::pods::{NODE_NAME, agent_container};
use crate::sources::{Entries, Sources};

/// A process with exactly the environment that the container describes; only `PATH` is ours if it names none.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) program: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) folder: PathBuf,
}

/// Why a container cannot start yet: the reason it waits with, and the message.
#[derive(Debug)]
pub(crate) struct NotYet {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// Reads what the agent's container needs and writes its volumes into `folder`.
pub(crate) async fn prepare(
    pod: &Pod,
    entrypoint: &[String],
    sources: &Sources,
    folder: &Path,
) -> Result<Process, NotYet> {
    let waits_with = |reason| move |error: anyhow::Error| NotYet { reason, message: format!("{error:#}") };
    let config_error = "CreateContainerConfigError";
    let container = agent_container(pod).context("a pod without containers").map_err(waits_with(config_error))?;
    let mounts = Mounts::of(pod, container, sources, folder).await.map_err(waits_with("ContainerCreating"))?;
    let environment = environment(pod, container, sources).await.map_err(waits_with(config_error))?;
    process(container, entrypoint, &environment, &mounts, folder).map_err(waits_with(config_error))
}

fn process(
    container: &Container,
    entrypoint: &[String],
    environment: &BTreeMap<String, String>,
    mounts: &Mounts,
    folder: &Path,
) -> Result<Process> {
    let command = container.command.as_deref().filter(|command| !command.is_empty()).unwrap_or(entrypoint);
    let words = command.iter().chain(container.args.iter().flatten());
    let mut words = words.map(|word| mounts.localize(&expand(word, environment)));
    Ok(Process {
        program: words.next().context("no command specified")?,
        arguments: words.collect(),
        folder: match &container.working_dir {
            Some(path) => mounts.localize(path).into(),
            None => folder.to_owned(),
        },
        environment: environment.iter().map(|(name, value)| (name.clone(), mounts.localize(value))).collect(),
    })
}

async fn environment(pod: &Pod, container: &Container, sources: &Sources) -> Result<BTreeMap<String, String>> {
    let mut environment = BTreeMap::new();
    for source in container.env_from.iter().flatten() {
        let mut entries = Entries::new();
        if let Some(secret) = &source.secret_ref {
            entries.extend(sources.secret(&secret.name, secret.optional).await?);
        }
        if let Some(map) = &source.config_map_ref {
            entries.extend(sources.config_map(&map.name, map.optional).await?);
        }
        let prefix = source.prefix.as_deref().unwrap_or_default();
        for (key, value) in entries {
            environment.insert(format!("{prefix}{key}"), text(value)?);
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value_of(pod, variable, &environment, sources).await? {
            environment.insert(variable.name.clone(), value);
        }
    }
    Ok(environment)
}

async fn value_of(
    pod: &Pod,
    variable: &EnvVar,
    environment: &BTreeMap<String, String>,
    sources: &Sources,
) -> Result<Option<String>> {
    let Some(source) = &variable.value_from else {
        return Ok(Some(expand(variable.value.as_deref().unwrap_or_default(), environment)));
    };
    let EnvVarSource { secret_key_ref, config_map_key_ref, field_ref, .. } = source;
    let (mut entries, what, key, optional) = if let Some(secret) = secret_key_ref {
        let entries = sources.secret(&secret.name, secret.optional).await?;
        (entries, format!("Secret {}", secret.name), &secret.key, secret.optional)
    } else if let Some(map) = config_map_key_ref {
        let entries = sources.config_map(&map.name, map.optional).await?;
        (entries, format!("ConfigMap {}", map.name), &map.key, map.optional)
    } else if let Some(field) = field_ref {
        return Ok(Some(field_of(pod, &field.field_path)?));
    } else {
        bail!("{}: the tests' node knows secretKeyRef, configMapKeyRef and fieldRef only", variable.name);
    };
    match entries.remove(key) {
        Some(value) => Ok(Some(text(value)?)),
        None if optional == Some(true) => Ok(None),
        None => bail!("couldn't find key {key} in {what}"),
    }
}

/// `metadata.name`, `metadata.labels['app']`, `spec.serviceAccountName`, …
fn field_of(pod: &Pod, path: &str) -> Result<String> {
    match path {
        "spec.nodeName" => return Ok(NODE_NAME.to_owned()),
        "status.podIP" | "status.hostIP" => return Ok("127.0.0.1".to_owned()),
        _ => {}
    }
    let pod = serde_json::to_value(pod)?;
    let pointer = |path: &str| format!("/{}", path.replace('.', "/"));
    let value = match path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        // A label that is not there is empty.
        Some((map, key)) => {
            return Ok(pod.pointer(&pointer(map)).map_or("", |map| map[key].as_str().unwrap_or("")).into());
        }
        None => pod.pointer(&pointer(path)),
    };
    value.and_then(Value::as_str).map(str::to_owned).with_context(|| format!("no field {path} to refer to"))
}

/// Kubernetes' own `$(NAME)`: `$$` stands for `$`, and what is not known stays as it is.
fn expand(text: &str, environment: &BTreeMap<String, String>) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        result += before;
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            result.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
            match environment.get(name) {
                Some(value) => result += value,
                None => result += &format!("$({name})"),
            }
            rest = after;
        } else {
            result.push('$');
        }
    }
    result + rest
}

fn text(value: Vec<u8>) -> Result<String> {
    String::from_utf8(value).context("a variable that is not text")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn references_to_variables_are_expanded_as_the_kubelet_does() {
        let environment = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        assert_eq!(expand("$(A) $$(A) $(B) $A ${A} $", &environment), "1 $(A) $(B) $A ${A} $");
    }

    #[test]
    fn the_entry_point_stands_in_for_a_missing_command_and_keeps_the_arguments() {
        let container: Container = serde_json::from_value(json!({ "name": "agent", "args": ["--once"] })).unwrap();
        let entrypoint = ["start.sh".to_owned()];
        let process =
            process(&container, &entrypoint, &BTreeMap::new(), &Mounts::default(), Path::new("/tmp")).unwrap();
        assert_eq!((process.program.as_str(), process.arguments.as_slice()), ("start.sh", &["--once".to_owned()][..]));
    }

    #[test]
    fn fields_of_the_pod_are_found_by_their_path() {
        let pod: Pod =
            serde_json::from_value(json!({ "metadata": { "name": "a", "labels": { "x/y": "z" } } })).unwrap();
        assert_eq!(field_of(&pod, "metadata.name").unwrap(), "a");
        assert_eq!(field_of(&pod, "metadata.labels['x/y']").unwrap(), "z");
        assert_eq!(field_of(&pod, "metadata.labels['none']").unwrap(), "");
        assert!(field_of(&pod, "metadata.nothing").is_err());
    }
}
