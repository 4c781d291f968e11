//! How an agent that does not register itself gets the files by which it is registered: from a Secret of its own, or from
//! an init container, the only place then that has the organization's token.

use serde_json::{Value, json};

use super::credential;
use crate::{
    config::SecretKey,
    core::Recipe,
    hosts::json::{Node, TemplateError, free, set_variable},
};

/// Where the files are, in every container that has them.
const FOLDER: &str = "/run/secrets/kubectl-ado-agent";

/// Says where that is.
const FILES_VARIABLE: &str = "AZP_AGENT_FILES";

/// The agent shows it as a capability, so that it can be told how an agent was registered.
const REGISTRATION_VARIABLE: &str = "KUBECTL_ADO_REGISTRATION";

/// Has the entry point register the agent, put the files where they belong, and end.
const REGISTER_ONLY_VARIABLE: &str = "AZP_REGISTER_ONLY";

/// The files are small; what is in memory counts as the pod's.
const FOLDER_SIZE: &str = "1Mi";

/// What a container may have and an init container may not, and what would mean nothing there.
const NOT_IN_AN_INIT_CONTAINER: [&str; 8] = [
    "lifecycle",
    "livenessProbe",
    "ports",
    "readinessProbe",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "startupProbe",
];

/// The agent finds its files in a Secret that is made when the Job is there. No variable of its container leads to a token of
/// the organization; what a template brings otherwise (`envFrom`, a mounted file) is its owner's, and stays.
pub(super) fn from_secret(
    pod: &mut Node<'_>,
    agent: usize,
    secret: &str,
    mode: u32,
    warnings: &mut Vec<String>,
) -> Result<(), TemplateError> {
    pod.set_default("automountServiceAccountToken", false);
    credential::take_out(pod, agent, Recipe::JustInTime, warnings)?;
    let source = json!({"secret": {"secretName": secret, "defaultMode": mode}});
    mount_files(pod, agent, Recipe::JustInTime, source).map(drop)
}

/// An init container with the agent's image registers it and leaves the files in memory that both share. Returns whether
/// the Secret with the token is mounted there; a template may bring another credential.
pub(super) fn from_init_container(
    pod: &mut Node<'_>,
    agent: usize,
    token: &SecretKey,
    mode: u32,
    warnings: &mut Vec<String>,
) -> Result<bool, TemplateError> {
    let source = json!({"emptyDir": {"medium": "Memory", "sizeLimit": FOLDER_SIZE}});
    let folder = mount_files(pod, agent, Recipe::InitContainer, source)?;
    let name = free_container_name(pod, "kubectl-ado-register")?;
    // Whatever the template gave the agent for its registration: a proxy, certificates, a user, a credential of its own.
    let mut init = pod.list("containers")?.0.get(agent).cloned().unwrap_or(Value::Null);
    let mut container = Node::root(&mut init)?;
    for key in NOT_IN_AN_INIT_CONTAINER {
        container.remove(key);
    }
    credential::take_out_plain(&mut container)?;
    container.set("name", name);
    set_variable(&mut container, "env", REGISTER_ONLY_VARIABLE, "1")?;
    for mut mount in container.each("volumeMounts")? {
        if mount.text("mountPath")? == Some(folder.as_str()) {
            mount.remove("readOnly");
        }
    }
    credential::take_out(pod, agent, Recipe::InitContainer, warnings)?;
    pod.list("initContainers")?.0.push(init);
    let init = pod.list("initContainers")?.0.len() - 1;
    credential::mount(pod, "initContainers", init, token, mode)
}

/// Mounts the folder with the files where the agent expects it, and gives its path.
fn mount_files(pod: &mut Node<'_>, agent: usize, recipe: Recipe, source: Value) -> Result<String, TemplateError> {
    let volume = credential::free_volume_name(pod, "kubectl-ado-agent")?;
    let mut folder = FOLDER.to_owned();
    for container in pod.each("containers")?.iter_mut().skip(agent).take(1) {
        folder = credential::free_mount_path(container, FOLDER)?;
        let mount = json!({"name": volume, "mountPath": folder, "readOnly": true});
        container.list("volumeMounts")?.0.push(mount);
        set_variable(container, "env", FILES_VARIABLE, &folder)?;
        set_variable(container, "env", REGISTRATION_VARIABLE, recipe.name())?;
    }
    let mut named = source;
    named["name"] = json!(volume);
    pod.list("volumes")?.0.push(named);
    Ok(folder)
}

fn free_container_name(pod: &mut Node<'_>, base: &str) -> Result<String, TemplateError> {
    let mut taken = Vec::new();
    for list in ["initContainers", "containers"] {
        for container in pod.each(list)? {
            taken.extend(container.text("name")?.map(str::to_owned));
        }
    }
    Ok(free(base, &taken))
}
