//! The agent's token: a file from a Secret, never a literal in a Job, where everyone who may see Jobs could read it.

use serde_json::{Value, json};

use crate::{
    config::SecretKey,
    core::Recipe,
    hosts::json::{Node, TemplateError, free},
};

const FOLDER: &str = "/run/secrets/kubectl-ado";
const FILE: &str = "token";

const VARIABLE: &str = "AZP_TOKEN";
const FILE_VARIABLE: &str = "AZP_TOKEN_FILE";

/// The lists of a pod's containers.
const CONTAINERS: [&str; 2] = ["initContainers", "containers"];

/// Takes plaintext tokens out of the pod and mounts the Secret where they were, and in the agent's container. A
/// template that brings its own credential (AZP_TOKEN from a Secret of its owner's, or AZP_TOKEN_FILE) keeps it.
/// Returns whether the Secret is mounted.
pub(super) fn place(
    pod: &mut Node<'_>,
    agent: usize,
    secret: &SecretKey,
    mode: u32,
    warnings: &mut Vec<String>,
) -> Result<bool, TemplateError> {
    let mut wanted = Vec::new();
    for list in CONTAINERS {
        for (index, mut container) in pod.each(list)?.into_iter().enumerate() {
            let is_agent = list == "containers" && index == agent;
            let name = container.text("name")?.unwrap_or_default().to_owned();
            let is_plain = take_out_plain(&mut container)?;
            if is_plain {
                warnings.push(format!(
                    "AZP_TOKEN of container \"{name}\" is plain text: it is left out, and the container gets AZP_TOKEN_FILE; \
                     remove it from the template (an image that only knows AZP_TOKEN takes it by valueFrom.secretKeyRef, see JOB_TOKEN_SECRET)"
                ));
            }
            if is_agent || is_plain {
                wanted.push((list, index));
            }
        }
    }
    let mut mounted = false;
    for (list, index) in wanted {
        mounted |= mount(pod, list, index, secret, mode)?;
    }
    Ok(mounted)
}

/// Takes the organization's token out of the agent's container, and plaintext tokens out of every other one.
pub(super) fn take_out(
    pod: &mut Node<'_>,
    agent: usize,
    recipe: Recipe,
    warnings: &mut Vec<String>,
) -> Result<(), TemplateError> {
    for list in CONTAINERS {
        for (index, mut container) in pod.each(list)?.into_iter().enumerate() {
            let name = container.text("name")?.unwrap_or_default().to_owned();
            if take_out_plain(&mut container)? {
                warnings.push(format!(
                    "AZP_TOKEN of container \"{name}\" is plain text: it is left out, since the agents' registration is \
                     {recipe}; remove it from the template"
                ));
            }
            if list != "containers" || index != agent {
                continue;
            }
            for own in own(&mut container)? {
                remove_variable(&mut container, own)?;
                let instead = match recipe {
                    Recipe::InitContainer => "only the init container that registers the agent has it",
                    Recipe::JustInTime | Recipe::Token => "the agent gets files of its own and needs no token",
                };
                warnings.push(format!(
                    "{own} of container \"{name}\" is left out, since the agents' registration is {recipe}: {instead}; what \
                     else leads to a token there (a mounted file) is the template's, and pipeline jobs can read it"
                ));
            }
        }
    }
    Ok(())
}

/// Mounts the Secret in one container, as [`FILE`], and says where. A container that has a credential of its own keeps
/// that: then it is `false`.
pub(super) fn mount(
    pod: &mut Node<'_>,
    list: &str,
    index: usize,
    secret: &SecretKey,
    mode: u32,
) -> Result<bool, TemplateError> {
    let source = json!({
        "secretName": secret.name,
        "items": [{"key": secret.key, "path": FILE}],
        "defaultMode": mode,
    });
    let known = volume_with(pod, &source)?;
    let volume = match &known {
        Some(name) => name.clone(),
        None => free_volume_name(pod, "kubectl-ado-token")?,
    };
    let mut mounted = false;
    for container in pod.each(list)?.iter_mut().skip(index).take(1) {
        if !own(container)?.is_empty() {
            continue;
        }
        let folder = free_mount_path(container, FOLDER)?;
        container.list("env")?.0.push(json!({"name": FILE_VARIABLE, "value": format!("{folder}/{FILE}")}));
        let mount = json!({"name": volume, "mountPath": folder, "readOnly": true});
        container.list("volumeMounts")?.0.push(mount);
        mounted = true;
    }
    if mounted && known.is_none() {
        pod.list("volumes")?.0.push(json!({"name": volume, "secret": source}));
    }
    Ok(mounted)
}

/// The volume that another container of ours has this Secret from.
fn volume_with(pod: &mut Node<'_>, source: &Value) -> Result<Option<String>, TemplateError> {
    for volume in pod.each("volumes")? {
        if volume.map.get("secret") == Some(source) {
            return Ok(volume.text("name")?.map(str::to_owned));
        }
    }
    Ok(None)
}

/// The variables by which a template brings its own credential.
fn own(container: &mut Node<'_>) -> Result<Vec<&'static str>, TemplateError> {
    let mut found = Vec::new();
    for variable in container.each("env")? {
        match variable.text("name")? {
            Some(VARIABLE) if variable.has("valueFrom") => found.push(VARIABLE),
            Some(FILE_VARIABLE) => found.push(FILE_VARIABLE),
            _ => {}
        }
    }
    Ok(found)
}

/// Takes plaintext tokens out of a container. Returns whether there was one.
pub(super) fn take_out_plain(container: &mut Node<'_>) -> Result<bool, TemplateError> {
    let mut plain = false;
    for variable in container.each("env")? {
        plain |= variable.text("name")? == Some(VARIABLE) && !variable.has("valueFrom");
    }
    if plain {
        let is_plain =
            |variable: &Value| variable["name"] == VARIABLE && variable.get("valueFrom").is_none_or(Value::is_null);
        container.list("env")?.0.retain(|variable| !is_plain(variable));
    }
    Ok(plain)
}

fn remove_variable(container: &mut Node<'_>, name: &str) -> Result<(), TemplateError> {
    container.list("env")?.0.retain(|variable| variable["name"] != name);
    Ok(())
}

/// A name for a volume that no volume of the template has.
pub(super) fn free_volume_name(pod: &mut Node<'_>, base: &str) -> Result<String, TemplateError> {
    let mut taken = Vec::new();
    for volume in pod.each("volumes")? {
        taken.extend(volume.text("name")?.map(str::to_owned));
    }
    Ok(free(base, &taken))
}

/// A path where a container has nothing mounted.
pub(super) fn free_mount_path(container: &mut Node<'_>, base: &str) -> Result<String, TemplateError> {
    let taken = mount_paths(container)?;
    Ok(free(base, &taken))
}

/// Where a container has something mounted.
pub(super) fn mount_paths(container: &mut Node<'_>) -> Result<Vec<String>, TemplateError> {
    let mut paths = Vec::new();
    for mount in container.each("volumeMounts")? {
        paths.extend(mount.text("mountPath")?.map(|path| path.trim_end_matches('/').to_owned()));
    }
    Ok(paths)
}
