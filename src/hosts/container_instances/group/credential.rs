//! The agent's credential in its group: files of a secret volume where there can be one, else a secure variable. Azure shows
//! neither to anybody again.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::{GroupSettings, VARIABLES};
use crate::{
    config::Os,
    core::Recipe,
    hosts::{
        AgentFiles,
        json::{Node, TemplateError, free, set_default_variable, set_variable},
    },
};

/// Where the token is.
const TOKEN_FOLDER: &str = "/run/secrets/kubectl-ado";
const TOKEN_FILE: &str = "token";
const AUTHORITIES_FILE: &str = "ca.pem";

/// Where the files of a just-in-time agent are, as in a pod.
const FILES_FOLDER: &str = "/run/secrets/kubectl-ado-agent";

const VOLUME: &str = "kubectl-ado-agent";

const TOKEN: &str = "AZP_TOKEN";

/// Variables that lead to a token; which of them an agent has is ours to say.
const TOKENS: [&str; 3] = [TOKEN, "AZP_TOKEN_FILE", "VSTS_AGENT_INPUT_TOKEN"];

/// What gives the agent of a group the right to work: see [`Recipe`].
#[derive(Clone, Copy, Debug)]
pub(in crate::hosts::container_instances) enum Grant<'a> {
    /// The files of its registration.
    Files(&'a AgentFiles),
    /// The organization's token.
    Token(&'a SecretString),
}

/// Puts the credential into the agent's container, and takes every token out that a template has there or, in clear,
/// anywhere else.
pub(super) fn place(
    properties: &mut Node<'_>,
    agent: usize,
    settings: &GroupSettings<'_>,
    warnings: &mut Vec<String>,
) -> Result<(), TemplateError> {
    for list in ["initContainers", "containers"] {
        for (index, mut container) in properties.each(list)?.into_iter().enumerate() {
            let name = container.text("name")?.unwrap_or_default().to_owned();
            let is_agent = list == "containers" && index == agent;
            take_out(&mut container.child("properties")?, is_agent, &name, warnings)?;
        }
    }
    match settings.grant {
        Grant::Files(files) => {
            let folder =
                mount(properties, agent, FILES_FOLDER, files.iter().map(|(name, text)| (*name, text.expose_secret())))?;
            with_agent(properties, agent, |container| {
                set_variable(container, VARIABLES, "AZP_AGENT_FILES", &folder)?;
                set_variable(container, VARIABLES, crate::core::REGISTRATION_CAPABILITY, Recipe::JustInTime.name())
            })
        }
        // Groups of Windows have no secret volumes, and other images may know no file.
        Grant::Token(token) if settings.agent.os == Os::Windows || !settings.agent.starts_as_ours() => {
            if settings.way.authorities.is_some() && settings.agent.os == Os::Linux {
                warnings
                    .push("its image is not ours: the certificates of ADO_CA_FILE have to be in it already".to_owned());
            }
            with_agent(properties, agent, |container| {
                let variable = json!({"name": TOKEN, "secureValue": token.expose_secret()});
                container.list(VARIABLES)?.0.push(variable);
                Ok(())
            })
        }
        Grant::Token(token) => {
            let mut files = BTreeMap::from([(TOKEN_FILE, token.expose_secret())]);
            files.extend(settings.way.authorities.as_deref().map(|text| (AUTHORITIES_FILE, text)));
            let certified = files.len() > 1;
            let folder = mount(properties, agent, TOKEN_FOLDER, files)?;
            with_agent(properties, agent, |container| {
                set_variable(container, VARIABLES, "AZP_TOKEN_FILE", &format!("{folder}/{TOKEN_FILE}"))?;
                if certified {
                    let file = format!("{folder}/{AUTHORITIES_FILE}");
                    set_default_variable(container, VARIABLES, "AZP_CA_FILE", &file)?;
                }
                Ok(())
            })
        }
    }
}

fn take_out(
    container: &mut Node<'_>,
    is_agent: bool,
    name: &str,
    warnings: &mut Vec<String>,
) -> Result<(), TemplateError> {
    let mut out = Vec::new();
    for variable in container.each(VARIABLES)? {
        let Some(variable_name) = variable.text("name")?.filter(|name| TOKENS.contains(name)) else { continue };
        let is_plain = variable_name != "AZP_TOKEN_FILE" && variable.has("value");
        if is_plain {
            warnings.push(format!(
                "{variable_name} of container \"{name}\" is plain text: it is left out; remove it from the template, and have \
                 a new token issued if others could read it"
            ));
        } else if is_agent {
            warnings
                .push(format!("{variable_name} of container \"{name}\" is left out: the agent's credential is ours"));
        }
        if is_plain || is_agent {
            out.push(variable_name.to_owned());
        }
    }
    if !out.is_empty() {
        let is_out = |variable: &Value| {
            let name = variable["name"].as_str().unwrap_or_default();
            let is_plain = variable.get("value").is_some_and(|value| !value.is_null());
            out.iter().any(|out| out == name) && (is_agent || is_plain)
        };
        container.list(VARIABLES)?.0.retain(|variable| !is_out(variable));
    }
    Ok(())
}

/// Mounts a volume with these files in the agent's container, and says where.
fn mount<'f>(
    properties: &mut Node<'_>,
    agent: usize,
    folder: &str,
    files: impl IntoIterator<Item = (&'f str, &'f str)>,
) -> Result<String, TemplateError> {
    let mut taken = Vec::new();
    for volume in properties.each("volumes")? {
        taken.extend(volume.text("name")?.map(str::to_owned));
    }
    let volume = free(VOLUME, &taken);
    let encoded: Map<String, Value> =
        files.into_iter().map(|(name, text)| (name.to_owned(), STANDARD.encode(text).into())).collect();
    properties.list("volumes")?.0.push(json!({"name": volume, "secret": encoded}));
    let mut path = folder.to_owned();
    with_agent(properties, agent, |container| {
        let mut taken = Vec::new();
        for mount in container.each("volumeMounts")? {
            taken.extend(mount.text("mountPath")?.map(|path| path.trim_end_matches('/').to_owned()));
        }
        path = free(folder, &taken);
        let mount = json!({"name": volume, "mountPath": path, "readOnly": true});
        container.list("volumeMounts")?.0.push(mount);
        Ok(())
    })?;
    Ok(path)
}

/// Does something to the properties of the agent's container.
fn with_agent(
    properties: &mut Node<'_>,
    agent: usize,
    mut what: impl FnMut(&mut Node<'_>) -> Result<(), TemplateError>,
) -> Result<(), TemplateError> {
    for container in properties.each("containers")?.iter_mut().skip(agent).take(1) {
        what(&mut container.child("properties")?)?;
    }
    Ok(())
}
