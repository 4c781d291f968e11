//! From a template and a run to a container group, as data: nothing here talks to Azure.
//!
//! The template stays JSON from end to end, so that what Azure knows and this program does not survives. What is ours is
//! merged into it: who the agent is, where it belongs, its credential, and that nothing is ever started again.

mod credential;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

pub(super) use credential::Grant;

use super::tags;
use crate::{
    config::{AciConfig, AgentSpec, GroupTemplate, Os, Registry, RegistrySecret, Way, agent_container},
    core::{Installation, StartRun},
    hosts::{
        json::{Node, TemplateError, set_default_variable},
        kubernetes::DEFAULT_AGENT_IMAGE,
        variables,
    },
};

/// The key of a container's variables.
const VARIABLES: &str = "environmentVariables";

/// What stands in documents of a group beside its body: Azure takes them from the URL.
const NOT_IN_A_BODY: [&str; 4] = ["name", "type", "apiVersion", "id"];

/// Everything but the run itself that goes into a group.
pub(super) struct GroupSettings<'a> {
    pub(super) installation: &'a Installation,
    pub(super) organization: &'a str,
    pub(super) aci: &'a AciConfig,
    pub(super) agent: &'a AgentSpec,
    pub(super) tags: Map<String, Value>,
    pub(super) grant: Grant<'a>,
    /// The password of the registry, where it has one.
    pub(super) registry_password: Option<&'a str>,
    pub(super) way: &'a Way,
}

/// A group, and what its template's owner should know.
#[derive(Debug)]
pub(super) struct MadeGroup {
    pub(super) body: Value,
    pub(super) warnings: Vec<String>,
}

/// Makes the group of a run.
pub(super) fn make_group(run: &StartRun, settings: &GroupSettings<'_>) -> Result<MadeGroup, TemplateError> {
    let mut warnings = Vec::new();
    let template = settings.agent.container_group.as_ref();
    let mut body = template.map_or_else(|| json!({}), |template| template.body.clone());
    let mut root = Node::root(&mut body)?;
    for key in NOT_IN_A_BODY {
        root.remove(key);
    }
    place_it(&mut root, settings, &mut warnings)?;
    tag_it(&mut root.child("tags")?, settings);
    identify(&mut root, settings)?;
    let agent = agent_container(root.map.get("properties").and_then(|properties| properties.get("containers")));

    let mut properties = root.child("properties")?;
    if let Some(other) = properties.text("restartPolicy")?.filter(|&other| other != "Never") {
        warnings.push(format!("properties.restartPolicy {other} becomes Never: an agent runs one job and ends"));
    }
    properties.set("restartPolicy", "Never");
    properties.set("osType", os_type(settings.agent.os));
    if let Some(subnet) = &settings.aci.subnet_id
        && !properties.has("subnetIds")
    {
        properties.set("subnetIds", json!([{"id": subnet}]));
    }
    sign_in_to_registry(&mut properties, settings)?;
    if properties.list("containers")?.0.is_empty() {
        properties.list("containers")?.0.push(json!({"name": "agent"}));
    }
    for container in properties.each("containers")?.iter_mut().skip(agent).take(1) {
        container.set_default("name", "agent");
        furnish(&mut container.child("properties")?, run, settings)?;
    }
    credential::place(&mut properties, agent, settings, &mut warnings)?;
    if let Some(GroupTemplate { path, .. }) = template {
        for warning in &mut warnings {
            *warning = format!("the container group's template {}: {warning}", path.display());
        }
    }
    Ok(MadeGroup { body, warnings })
}

/// The cores that a group asks for, for a look at the quota.
pub(super) fn cores(body: &Value) -> f64 {
    let containers = body.pointer("/properties/containers").and_then(Value::as_array);
    let of = |container: &Value| container.pointer("/properties/resources/requests/cpu").and_then(Value::as_f64);
    containers.into_iter().flatten().filter_map(of).sum()
}

fn os_type(os: Os) -> &'static str {
    match os {
        Os::Linux => "Linux",
        Os::Windows => "Windows",
    }
}

fn place_it(
    root: &mut Node<'_>,
    settings: &GroupSettings<'_>,
    warnings: &mut Vec<String>,
) -> Result<(), TemplateError> {
    let region = &settings.aci.region;
    let plain = |text: &str| text.replace(' ', "").to_lowercase();
    if let Some(other) = root.text("location")?.filter(|other| plain(other) != *region) {
        warnings.push(format!("location {other} does not count: groups are made in {region} (AZ_REGION)"));
    }
    root.set("location", region.as_str());
    Ok(())
}

/// Ours replace those of the same names, in whatever case: Azure tells no two apart by it.
fn tag_it(tags: &mut Node<'_>, settings: &GroupSettings<'_>) {
    let theirs: Vec<String> = tags.map.keys().filter(|name| tags::is_ours(name)).cloned().collect();
    for name in theirs {
        tags.remove(&name);
    }
    tags.map.extend(settings.tags.clone());
}

/// The identities that the settings name, beside the template's own. One that only pulls the image has to be the group's too.
fn identify(root: &mut Node<'_>, settings: &GroupSettings<'_>) -> Result<(), TemplateError> {
    let of_registry = settings.aci.registry.as_ref().and_then(|registry| match &registry.secret {
        RegistrySecret::Identity(id) => Some(id),
        RegistrySecret::Password { .. } => None,
    });
    for id in settings.aci.identity.iter().chain(of_registry) {
        let mut identity = root.child("identity")?;
        let with_system = identity.text("type")?.is_some_and(|kind| kind.to_lowercase().contains("systemassigned"));
        identity.set("type", if with_system { "SystemAssigned, UserAssigned" } else { "UserAssigned" });
        let mut known = identity.child("userAssignedIdentities")?;
        if !known.map.keys().any(|key| key.eq_ignore_ascii_case(id)) {
            known.set(id, json!({}));
        }
    }
    Ok(())
}

fn sign_in_to_registry(properties: &mut Node<'_>, settings: &GroupSettings<'_>) -> Result<(), TemplateError> {
    let Some(Registry { server, secret }) = &settings.aci.registry else { return Ok(()) };
    const KEY: &str = "imageRegistryCredentials";
    for known in properties.each(KEY)? {
        if known.text("server")?.is_some_and(|known| known.eq_ignore_ascii_case(server)) {
            return Ok(());
        }
    }
    let entry = match secret {
        RegistrySecret::Identity(id) => json!({"server": server, "identity": id}),
        RegistrySecret::Password { username, .. } => {
            json!({"server": server, "username": username, "password": settings.registry_password.unwrap_or_default()})
        }
    };
    properties.list(KEY)?.0.push(entry);
    Ok(())
}

/// The agent's container: its image, its size, who it is, and the way to Azure DevOps.
fn furnish(container: &mut Node<'_>, run: &StartRun, settings: &GroupSettings<'_>) -> Result<(), TemplateError> {
    container.text("image")?;
    match &settings.agent.image {
        Some(image) => container.set("image", image.as_str()),
        None => container.set_default("image", DEFAULT_AGENT_IMAGE),
    }
    let mut resources = container.child("resources")?;
    let mut requests = resources.child("requests")?;
    requests.set_default("cpu", settings.aci.cpu);
    requests.set_default("memoryInGB", settings.aci.memory_gb);
    variables::set(container, VARIABLES, run, settings.organization, settings.installation)?;
    for (name, value) in [("VSTS_HTTP_PROXY", &settings.way.proxy), ("NO_PROXY", &settings.way.no_proxy)] {
        if let Some(value) = value.as_deref().filter(|_| settings.agent.starts_as_ours()) {
            set_default_variable(container, VARIABLES, name, value)?;
        }
    }
    Ok(())
}
