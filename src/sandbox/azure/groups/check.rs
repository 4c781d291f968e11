//! The rules of the container service that a shape does not say.

use serde_json::Value;

use super::{AzureRules, Refusal, container_group::CONTAINER_GROUP};

/// Checks the body of a PUT and returns it without what is read-only.
pub(super) fn check(mut body: Value, name: &str, rules: &AzureRules) -> Result<Value, Refusal> {
    if !is_name(name) {
        let message = format!(
            "The container group name '{name}' is invalid. It must be 1 to 63 characters, with lower-case letters, \
             numbers and hyphens only, and start and end with a letter or a number."
        );
        return Err(Refusal::new(400, "InvalidContainerGroupName", message));
    }
    CONTAINER_GROUP.check(&mut body, "")?;
    tags(&body["tags"])?;
    let properties = &body["properties"];
    let containers = list(&properties["containers"]);
    if containers.is_empty() || containers.len() > 60 {
        let message = "The number of containers in a container group must be between 1 and 60.".to_owned();
        return Err(Refusal::new(400, "InvalidContainerCount", message));
    }
    let all = containers.iter().chain(list(&properties["initContainers"]));
    let mut names: Vec<&str> = Vec::new();
    for container in all {
        let name = container["name"].as_str().unwrap_or_default();
        if !is_name(name) || names.contains(&name) {
            let message = format!("The container name '{name}' is invalid or not unique.");
            return Err(Refusal::new(400, "InvalidContainerName", message));
        }
        names.push(name);
        variables(container)?;
        mounts(container, properties)?;
    }
    volumes(properties)?;
    resources(containers, rules)?;
    registries(&properties["imageRegistryCredentials"])?;
    spot(properties)?;
    let analytics = &properties["diagnostics"]["logAnalytics"];
    if analytics.is_object() && analytics["workspaceKey"].is_null() {
        return Err(invalid("LogAnalyticsWorkspaceKeyMissing", "The workspace key of log analytics is required."));
    }
    if let Some(image) = images(containers).find(|image| image.contains("inaccessible")) {
        let message = format!(
            "The image '{image}' in container group '{name}' is not accessible. Please check the image and registry \
             credential."
        );
        return Err(Refusal::new(400, "InaccessibleImage", message));
    }
    Ok(body)
}

/// `^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`, at most 63 characters.
fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = name.bytes().next().is_some_and(fits) && name.bytes().last().is_some_and(fits);
    ends && name.len() <= 63 && name.bytes().all(|byte| fits(byte) || byte == b'-')
}

/// Checks the body of a PATCH.
pub(super) fn tags_alone(body: &Value) -> Result<(), Refusal> {
    let other = body.as_object().is_none_or(|members| members.keys().any(|name| name != "tags"));
    let texts = body["tags"].as_object().is_some_and(|tags| tags.values().all(Value::is_string));
    if other || !texts {
        return Err(Refusal::content("Only tags can be changed, and they are texts. Path ''"));
    }
    tags(&body["tags"])
}

fn tags(tags: &Value) -> Result<(), Refusal> {
    let Some(tags) = tags.as_object() else { return Ok(()) };
    if tags.len() > 50 {
        let message = format!("The number of tags is {}; at most 50 are allowed.", tags.len());
        return Err(Refusal::new(400, "TooManyTags", message));
    }
    for (name, value) in tags {
        if name.is_empty() || name.chars().count() > 512 || name.contains(['<', '>', '%', '&', '\\', '?', '/']) {
            let message = format!(
                "The tag name '{name}' is invalid: it has at most 512 characters and none of '<,>,%,&,\\,?,/'."
            );
            return Err(Refusal::new(400, "InvalidTagNameCharacters", message));
        }
        if value.as_str().unwrap_or_default().chars().count() > 256 {
            let message = format!("The value of the tag '{name}' is longer than 256 characters.");
            return Err(Refusal::new(400, "TagValueTooLong", message));
        }
    }
    Ok(())
}

fn variables(container: &Value) -> Result<(), Refusal> {
    for variable in list(&container["properties"]["environmentVariables"]) {
        let name = variable["name"].as_str().unwrap_or_default();
        if name.is_empty() || name.contains('=') {
            return Err(invalid("InvalidEnvironmentVariableName", &format!("'{name}' is no name of a variable.")));
        }
        let both = variable["value"].is_string() && variable["secureValue"].is_string();
        let neither = variable["value"].is_null() && variable["secureValue"].is_null();
        if both || neither {
            let message = format!(
                "The environment variable '{name}' must have either a 'value' or a 'secureValue', and not both."
            );
            return Err(invalid("InvalidEnvironmentVariableType", &message));
        }
    }
    Ok(())
}

fn mounts(container: &Value, properties: &Value) -> Result<(), Refusal> {
    for mount in list(&container["properties"]["volumeMounts"]) {
        let name = &mount["name"];
        if !list(&properties["volumes"]).iter().any(|volume| volume["name"] == *name) {
            return Err(invalid("VolumeNotFound", &format!("The volume {name} of a volume mount is not defined.")));
        }
        let path = mount["mountPath"].as_str().unwrap_or_default();
        if path.is_empty() || path.contains(':') && properties["osType"] == "Linux" {
            return Err(invalid("InvalidVolumeMountPath", &format!("The mount path '{path}' is invalid.")));
        }
    }
    Ok(())
}

fn volumes(properties: &Value) -> Result<(), Refusal> {
    let volumes = list(&properties["volumes"]);
    if volumes.len() > 20 {
        return Err(invalid("TooManyVolumes", "A container group can have at most 20 volumes."));
    }
    let windows = is(&properties["osType"], "Windows");
    for (at, volume) in volumes.iter().enumerate() {
        let name = volume["name"].as_str().unwrap_or_default();
        if !is_name(name) || volumes[..at].iter().any(|other| other["name"] == volume["name"]) {
            return Err(invalid("InvalidVolumeName", &format!("The volume name '{name}' is invalid or not unique.")));
        }
        let kinds = ["azureFile", "emptyDir", "secret", "gitRepo"];
        if kinds.iter().filter(|kind| !volume[**kind].is_null()).count() != 1 {
            let message = format!("The volume '{name}' must be of exactly one type.");
            return Err(invalid("InvalidVolumeType", &message));
        }
        if windows && volume["azureFile"].is_null() {
            let message = format!("The type of volume '{name}' is not supported for the OS type 'Windows'.");
            return Err(invalid("VolumeTypeNotSupportedForOsType", &message));
        }
        if volume["azureFile"].is_object() && volume["azureFile"]["storageAccountKey"].is_null() {
            let message = format!("The storage account key of volume '{name}' is missing.");
            return Err(invalid("AzureFileVolumeStorageAccountKeyMissing", &message));
        }
    }
    Ok(())
}

fn resources(containers: &[Value], rules: &AzureRules) -> Result<(), Refusal> {
    let (mut cores, mut memory) = (0.0, 0.0);
    for container in containers {
        let resources = &container["properties"]["resources"];
        for (name, total) in [("cpu", &mut cores), ("memoryInGB", &mut memory)] {
            let requested = resources["requests"][name].as_f64().unwrap_or_default();
            let limit = resources["limits"][name].as_f64();
            if requested <= 0.0 || limit.is_some_and(|limit| limit < requested) {
                let name_of = &container["name"];
                let message = format!("The {name} requested for container {name_of} is invalid or above its limit.");
                return Err(invalid("InvalidResourceRequest", &message));
            }
            *total += requested;
        }
    }
    if cores > rules.max_cores || memory > rules.max_memory_gb {
        let message = format!(
            "The requested resource is not available in the location: '{cores}' cores and '{memory}' GB memory are more \
             than '{}' cores and '{}' GB.",
            rules.max_cores, rules.max_memory_gb
        );
        return Err(invalid("InvalidResourceRequest", &message));
    }
    Ok(())
}

fn registries(registries: &Value) -> Result<(), Refusal> {
    for registry in list(registries) {
        let password = registry["username"].is_string() && registry["password"].is_string();
        if password == registry["identity"].is_string() {
            let server = &registry["server"];
            let message = format!(
                "The image registry credential of {server} must have either an identity or a user name and a password."
            );
            return Err(invalid("InvalidImageRegistryCredentialType", &message));
        }
    }
    Ok(())
}

fn spot(properties: &Value) -> Result<(), Refusal> {
    if !is(&properties["priority"], "Spot") {
        return Ok(());
    }
    let other_sku = properties["sku"].is_string() && !is(&properties["sku"], "Standard");
    let gpu = list(&properties["containers"])
        .iter()
        .any(|container| container["properties"]["resources"]["requests"]["gpu"].is_object());
    if other_sku || gpu || properties["ipAddress"].is_object() {
        let message =
            "Spot container groups support neither inbound connectivity nor GPU nor other SKUs than Standard.";
        return Err(invalid("SpotPriorityNotSupported", message));
    }
    Ok(())
}

/// The images of containers.
pub(super) fn images(containers: &[Value]) -> impl Iterator<Item = &str> {
    containers.iter().filter_map(|container| container["properties"]["image"].as_str())
}

/// How many cores the containers of a group ask for.
pub(super) fn cores(body: &Value) -> f64 {
    let containers = list(&body["properties"]["containers"]);
    containers.iter().filter_map(|container| container["properties"]["resources"]["requests"]["cpu"].as_f64()).sum()
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Whether a text is this, regardless of case.
pub(super) fn is(value: &Value, text: &str) -> bool {
    value.as_str().is_some_and(|value| value.eq_ignore_ascii_case(text))
}

fn invalid(code: &'static str, message: &str) -> Refusal {
    Refusal::new(400, code, message)
}
