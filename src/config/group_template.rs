//! A user's template of a container group: one document of the shape of Azure Resource Manager's, in YAML or JSON.
//!
//! It stays as it is: typed structs would drop what they do not know, and Azure adds to it every year. What is looked at is
//! what we merge into, so that a slip there is answered with its line.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    Os,
    error::{ConfigErrors, Problems, Wrong},
    job_template::agent_container,
    reader::{Field, Map, Source},
    value::{self, quoted},
    yaml::{self, Dialect},
};

/// The longest name of a container.
const LONGEST_NAME: usize = 63;

/// A file with one container group, whose structure has been checked.
#[derive(Clone)]
pub struct GroupTemplate {
    /// Where it was read.
    pub path: PathBuf,
    /// The container group.
    pub body: Value,
}

impl GroupTemplate {
    /// Reads and checks a file.
    ///
    /// # Errors
    ///
    /// It cannot be read, is neither YAML nor JSON, or is no container group; all that is wrong, with line and column.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        Self::parse(path, &super::file::template(path)?)
    }

    /// Checks the text of a file.
    ///
    /// # Errors
    ///
    /// As [`GroupTemplate::load`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigErrors> {
        let problems = Problems::hiding(None);
        let documents =
            yaml::parse(text, Dialect::Strict).map_err(|error| problems.error(error.in_file(path))).unwrap_or_default();
        let source = Source { path, problems: &problems };
        if let Some(second) = documents.get(1) {
            Field::root(source, second).report(Wrong::new("has a second document here; it has to have one"));
        }
        let body = match documents.first() {
            Some(document) => {
                check(&Field::root(source, document));
                Some(document.to_json())
            }
            None => {
                if !problems.has_errors() {
                    problems.error_with_fix(
                        format!("{} says nothing", path.display()),
                        "it has to hold a container group: properties, with containers in it",
                    );
                }
                None
            }
        };
        let (body, _) = problems.settle(body)?;
        Ok(Self { path: path.to_owned(), body })
    }

    /// The index of the agent's container: the one named `agent`, else the first.
    #[must_use]
    pub fn agent_container(&self) -> usize {
        agent_container(self.body.pointer("/properties/containers"))
    }

    /// The image of the agent's container, where it names one.
    #[must_use]
    pub fn image(&self) -> Option<&str> {
        self.of_agent("image")?.as_str()
    }

    /// Whether the agent's container starts with another program than its image says.
    #[must_use]
    pub fn has_own_command(&self) -> bool {
        self.of_agent("command").is_some_and(|command| !command.is_null())
    }

    /// Its operating system, where it names one.
    #[must_use]
    pub fn os(&self) -> Option<Os> {
        value::os(self.body.pointer("/properties/osType")?.as_str()?).ok()
    }

    fn of_agent(&self, key: &str) -> Option<&Value> {
        self.body.pointer(&format!("/properties/containers/{}/properties/{key}", self.agent_container()))
    }
}

/// Without the document: there may be passwords in it.
impl fmt::Debug for GroupTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupTemplate").field("path", &self.path).finish_non_exhaustive()
    }
}

fn check(root: &Field<'_>) {
    let Some(root) = root.any_map() else { return };
    for key in ["tags", "identity"] {
        root.get(key).map(|field| field.any_map());
    }
    let Some(field) = root.get("properties") else {
        let what = "has no `properties`, so it is no container group";
        root.field().report(Wrong::new(what).mend("write containers, volumes and the like below `properties`"));
        return;
    };
    let Some(properties) = field.any_map() else { return };
    if let Some(os) = properties.get("osType") {
        os.text(value::os);
    }
    let containers = properties.get("containers").and_then(|field| field.list());
    for container in containers.iter().flatten() {
        check_container(container);
    }
    for key in ["initContainers", "volumes", "imageRegistryCredentials", "subnetIds"] {
        named_maps(&properties, key, key == "volumes" || key == "initContainers");
    }
}

fn check_container(container: &Field<'_>) {
    let Some(map) = container.any_map() else { return };
    match map.get("name") {
        Some(name) => drop(name.text(container_name)),
        None => {
            map.field().report(Wrong::new("has no name").mend("add the key `name`; the agent's container is `agent`"));
        }
    }
    let Some(properties) = map.get("properties").and_then(|field| field.any_map()) else { return };
    if let Some(image) = properties.get("image") {
        image.text(|text| Ok(text.to_owned()));
    }
    for key in ["environmentVariables", "volumeMounts"] {
        named_maps(&properties, key, true);
    }
    let resources = properties.get("resources").and_then(|field| field.any_map());
    for bound in resources.iter().flat_map(|resources| ["requests", "limits"].map(|key| resources.get(key))) {
        let Some(bound) = bound.and_then(|field| field.any_map()) else { continue };
        for key in ["cpu", "memoryInGB"] {
            if let Some(field) = bound.get(key) {
                amount(&field);
            }
        }
    }
}

/// Azure takes numbers alone, and says so only when the first group is made.
fn amount(field: &Field<'_>) {
    let amount = field.number().and_then(|found| found.value.parse::<f64>().ok());
    if amount.is_some_and(|amount| amount <= 0.0) {
        field.report(Wrong::new("has to be more than 0"));
    }
}

fn named_maps(map: &Map<'_>, key: &str, named: bool) {
    let items = map.get(key).and_then(|field| field.list()).unwrap_or_default();
    for item in items.iter().filter_map(Field::any_map) {
        match item.get("name") {
            Some(name) if named => drop(name.text(|text| Ok(text.to_owned()))),
            None if named => item.field().report(Wrong::new("has no name").mend("add the key `name`")),
            _ => {}
        }
    }
}

/// The rule of container groups for the names of their containers.
fn container_name(text: &str) -> Result<(), Wrong> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.len() <= LONGEST_NAME && text.chars().all(fits) && !text.starts_with('-') && !text.ends_with('-') {
        return Ok(());
    }
    Err(Wrong::new(format!(
        "is {}; it has to be at most {LONGEST_NAME} lower-case letters, digits and dashes, with no dash at its ends",
        quoted(text)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<GroupTemplate, String> {
        GroupTemplate::parse(Path::new("group.yaml"), text).map_err(|errors| errors.to_string())
    }

    #[test]
    fn what_we_do_not_know_stays_as_it_is() {
        let text = "zones: [\"1\"]\nproperties:\n  osType: Windows\n  newToUs: {a: [1, 2.5]}\n  containers:\n  - name: side\n  - name: agent\n    properties: {image: x, command: [a]}\n";
        let template = parse(text).unwrap();
        assert_eq!(template.body["properties"]["newToUs"], serde_json::json!({"a": [1, 2.5]}));
        assert_eq!((template.agent_container(), template.image(), template.os()), (1, Some("x"), Some(Os::Windows)));
        assert!(template.has_own_command());
        let json = parse("{\"properties\": {\"containers\": [{\"name\": \"first\"}]}}").unwrap();
        assert_eq!((json.agent_container(), json.image(), json.os()), (0, None, None));
    }

    #[test]
    fn slips_are_named_with_their_place() {
        for (text, said) in [
            ("", "group.yaml says nothing"),
            ("[]", "group.yaml:1:1: the file is a list"),
            ("containers: []", "group.yaml:1:1: the file has no `properties`"),
            (
                "properties:\n  containers: {}",
                "group.yaml:2:15: properties.containers is a mapping; it has to be a list",
            ),
            ("properties:\n  containers:\n  - properties: {}", "properties.containers[0] has no name"),
            ("properties:\n  containers:\n  - name: Agent", "properties.containers[0].name is \"Agent\""),
            ("properties:\n  osType: macos", "group.yaml:2:11: properties.osType is \"macos\""),
            ("properties:\n  volumes:\n  - emptyDir: {}", "properties.volumes[0] has no name"),
            (
                "properties:\n  containers:\n  - name: a\n    properties: {resources: {requests: {cpu: four}}}",
                "group.yaml:4:46: properties.containers[0].properties.resources.requests.cpu is the text ",
            ),
            ("properties: {}\n---\nproperties: {}", "has a second document here"),
        ] {
            let errors = parse(text).unwrap_err();
            assert!(errors.contains(said), "{text}: {errors}");
        }
    }

    #[test]
    fn debug_shows_no_password() {
        let template = parse("properties: {imageRegistryCredentials: [{server: a, password: s3cr3t}]}").unwrap();
        assert!(!format!("{template:?}").contains("s3cr3t"));
    }
}
