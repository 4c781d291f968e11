//! The agent's token: a file from a Secret, never a literal in a Job, where everyone who may see Jobs could read it.

use serde_json::{Value, json};

use super::json::{Node, TemplateError};
use crate::config::SecretKey;

const FOLDER: &str = "/run/secrets/kubectl-ado";
const FILE: &str = "token";

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
    let volume = free_volume_name(pod, "kubectl-ado-token")?;
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        for (index, mut container) in pod.each(list)?.into_iter().enumerate() {
            let is_agent = list == "containers" && index == agent;
            let name = container.text("name")?.unwrap_or_default().to_owned();
            let found = find(&mut container)?;
            if found.literal {
                warnings.push(format!(
                    "AZP_TOKEN of container \"{name}\" is plain text: it is left out, and the container gets AZP_TOKEN_FILE; \
                     remove it from the template (an image that only knows AZP_TOKEN takes it by valueFrom.secretKeyRef, see JOB_TOKEN_SECRET)"
                ));
            }
            if found.own || !(is_agent || found.literal) {
                continue;
            }
            let folder = free_mount_path(&mut container)?;
            container.list("env")?.0.push(json!({"name": "AZP_TOKEN_FILE", "value": format!("{folder}/{FILE}")}));
            let mount = json!({"name": volume, "mountPath": folder, "readOnly": true});
            container.list("volumeMounts")?.0.push(mount);
            mounted = true;
        }
    }
    if mounted {
        let source = json!({
            "secretName": secret.name,
            "items": [{"key": secret.key, "path": FILE}],
            "defaultMode": mode,
        });
        pod.list("volumes")?.0.push(json!({"name": volume, "secret": source}));
    }
    Ok(mounted)
}

struct Found {
    /// There was a plaintext token; it is gone.
    literal: bool,
    /// The template brings its own credential.
    own: bool,
}

fn find(container: &mut Node<'_>) -> Result<Found, TemplateError> {
    let mut found = Found { literal: false, own: false };
    let mut literals = Vec::new();
    for (index, variable) in container.each("env")?.into_iter().enumerate() {
        match variable.text("name")? {
            Some("AZP_TOKEN") if variable.has("valueFrom") => found.own = true,
            Some("AZP_TOKEN") => literals.push(index),
            Some("AZP_TOKEN_FILE") => found.own = true,
            _ => {}
        }
    }
    for index in literals.into_iter().rev() {
        container.list("env")?.0.remove(index);
        found.literal = true;
    }
    Ok(found)
}

/// A name for a volume that no volume of the template has.
pub(super) fn free_volume_name(pod: &mut Node<'_>, base: &str) -> Result<String, TemplateError> {
    let mut taken = Vec::new();
    for volume in pod.each("volumes")? {
        taken.extend(volume.text("name")?.map(str::to_owned));
    }
    Ok(free(base, &taken))
}

fn free_mount_path(container: &mut Node<'_>) -> Result<String, TemplateError> {
    let taken = mount_paths(container)?;
    Ok(free(FOLDER, &taken))
}

/// Where a container has something mounted.
pub(super) fn mount_paths(container: &mut Node<'_>) -> Result<Vec<String>, TemplateError> {
    let mut paths = Vec::new();
    for mount in container.each("volumeMounts")? {
        paths.extend(mount.text("mountPath")?.map(|path| path.trim_end_matches('/').to_owned()));
    }
    Ok(paths)
}

fn free(base: &str, taken: &[String]) -> String {
    let is_free = |name: &String| !taken.contains(name);
    let numbered = (2..).map(|number| format!("{base}-{number}"));
    std::iter::once(base.to_owned()).chain(numbered).find(is_free).unwrap_or_default()
}

/// Whether a text stands anywhere in a document.
pub(crate) fn contains_text(value: &Value, text: &str) -> bool {
    match value {
        Value::String(string) => string.contains(text),
        Value::Array(list) => list.iter().any(|item| contains_text(item, text)),
        Value::Object(map) => map.iter().any(|(key, item)| key.contains(text) || contains_text(item, text)),
        _ => false,
    }
}
