//! The way to Azure DevOps, for agents that start as ours do: the proxy by the variables that the agent reads, private
//! authorities from the Secret that the token is in. Agents that get files have both in them as well; the proxy's variable
//! is there for the download of the agent's own software.

use serde_json::json;

use crate::{
    config::Way,
    hosts::json::{Node, TemplateError, set_default_variable},
};

/// The file with the certificates, and so its key in the Secret.
pub(in crate::hosts::kubernetes) const AUTHORITIES: &str = "ca.pem";

const AUTHORITIES_VARIABLE: &str = "AZP_CA_FILE";

/// Tells the agent's container of the proxy. What a template says of its own stays.
pub(super) fn lead(pod: &mut Node<'_>, agent: usize, way: &Way) -> Result<(), TemplateError> {
    let variables = [("VSTS_HTTP_PROXY", &way.proxy), ("NO_PROXY", &way.no_proxy)];
    for container in pod.each("containers")?.iter_mut().skip(agent).take(1) {
        for (name, value) in variables {
            if let Some(value) = value {
                set_default_variable(container, "env", name, value)?;
            }
        }
    }
    Ok(())
}

/// Shows the certificates to each container that the Secret is mounted in, and says where they are.
pub(super) fn certify(pod: &mut Node<'_>, secret: &str) -> Result<(), TemplateError> {
    let mut volume_name = None;
    for volume in pod.each("volumes")? {
        let name = volume.text("name")?.map(str::to_owned);
        let Some(source) = volume.map.get_mut("secret").filter(|source| source["secretName"] == secret) else {
            continue;
        };
        if let Some(items) = source["items"].as_array_mut() {
            items.push(json!({"key": AUTHORITIES, "path": AUTHORITIES}));
            volume_name = name;
        }
    }
    let Some(volume) = volume_name else { return Ok(()) };
    for list in ["initContainers", "containers"] {
        for mut container in pod.each(list)? {
            let mut folder = None;
            for mount in container.each("volumeMounts")? {
                if mount.text("name")? == Some(volume.as_str()) {
                    folder = mount.text("mountPath")?.map(str::to_owned);
                }
            }
            if let Some(folder) = folder {
                let file = format!("{folder}/{AUTHORITIES}");
                set_default_variable(&mut container, "env", AUTHORITIES_VARIABLE, &file)?;
            }
        }
    }
    Ok(())
}
