//! Checks the documents of a Job template, so that a slip is answered with its line here and not, for every job
//! request anew, by the API server. Only what would surely fail, or do what nobody can mean, is refused.

use std::path::Path;

use super::{
    error::Problems,
    reader::IN_QUOTES,
    value::quoted,
    yaml::{Node, Yaml},
};

struct Checker<'a> {
    path: &'a Path,
    problems: &'a Problems,
}

/// The index of the one Job. `None` where there is not exactly one; that and all else that is wrong is reported.
pub(super) fn check(path: &Path, documents: &[Node], problems: &Problems) -> Option<usize> {
    let checker = Checker { path, problems };
    let mut jobs = Vec::new();
    let mut kinds = Vec::new();
    for (index, document) in documents.iter().enumerate() {
        checker.duplicates(document, "");
        if !matches!(document.value, Yaml::Map(_)) {
            checker.error(
                document,
                &format!("the document is {}; it has to be an object of Kubernetes", document.describe()),
                None,
            );
            continue;
        }
        checker.text(document, "apiVersion", "", true);
        let Some(kind) = checker.text(document, "kind", "", true) else { continue };
        kinds.push(kind);
        if kind == "Job" {
            jobs.push(index);
            checker.job(document);
        } else if kind.ends_with("List") && document.get("items").is_some() {
            let fix = "write its items as documents of their own, with a line --- between them";
            checker.error(document, &format!("a {kind} is not read"), Some(fix));
        } else if let Some(metadata) = checker.map(document, "metadata", "", true) {
            checker.text(metadata, "name", "metadata.", true);
        }
    }
    match jobs[..] {
        [job] => return Some(job),
        [_, second, ..] => {
            checker.error(&documents[second], "this is a second Job; a template has exactly one", None);
        }
        [] if kinds.contains(&"CronJob") => problems.error_with_fix(
            format!("{} has a CronJob and no Job", path.display()),
            "write the CronJob's spec.jobTemplate as a Job: apiVersion batch/v1, kind Job, and its spec",
        ),
        [] if problems.has_errors() => {}
        [] => problems.error_with_fix(
            format!("{} has no Job in it, only {}", path.display(), listed(&kinds)),
            "add a document with apiVersion: batch/v1 and kind: Job",
        ),
    }
    None
}

impl<'a> Checker<'a> {
    fn job(&self, job: &'a Node) {
        if let Some(version) = job.get("apiVersion").filter(|version| version.text().is_some_and(|it| it != "batch/v1"))
        {
            self.error(
                version,
                &format!("apiVersion is {}; a Job has batch/v1", quoted(version.text().unwrap_or_default())),
                None,
            );
        }
        if let Some(metadata) = self.map(job, "metadata", "", false) {
            for key in ["name", "generateName", "namespace"] {
                self.text(metadata, key, "metadata.", false);
            }
            self.texts(metadata, "metadata.");
        }
        let Some(spec) = self.map(job, "spec", "", true) else { return };
        for key in ["parallelism", "completions"] {
            if let Some(node) = spec.get(key).filter(|node| !matches!(node.value, Yaml::Whole(1) | Yaml::Null)) {
                let message =
                    format!("spec.{key} is {}; there is one Job, with one pod, for each agent", node.describe());
                self.error(node, &message, Some("remove it"));
            }
        }
        if let Some(selector) = spec.get("selector") {
            self.error(selector, "spec.selector would catch the pods of other agents too", Some("remove it"));
        }
        let Some(template) = self.map(spec, "template", "spec.", true) else { return };
        if let Some(metadata) = self.map(template, "metadata", "spec.template.", false) {
            self.texts(metadata, "spec.template.metadata.");
        }
        if let Some(pod) = self.map(template, "spec", "spec.template.", true) {
            self.pod(pod);
        }
    }

    fn pod(&self, pod: &'a Node) {
        let at = "spec.template.spec.";
        if let Some(policy) = pod.get("restartPolicy").filter(|policy| policy.text() == Some("Always")) {
            let message = "spec.template.spec.restartPolicy is Always, which a Job cannot have";
            self.error(policy, message, Some("use Never, or leave it out"));
        }
        let mut names: Vec<&str> = Vec::new();
        for (key, required) in [("containers", true), ("initContainers", false)] {
            for (index, container) in self.list(pod, key, at, required).iter().enumerate() {
                let at = format!("{at}{key}[{index}].");
                if !matches!(container.value, Yaml::Map(_)) {
                    let message =
                        format!("{} is {}; it has to be a container", at.trim_end_matches('.'), container.describe());
                    self.error(container, &message, None);
                    continue;
                }
                if let Some(name) = self.text(container, "name", &at, true) {
                    if names.contains(&name) {
                        self.error(container, &format!("{at}name is {} a second time", quoted(name)), None);
                    }
                    names.push(name);
                }
                self.text(container, "image", &at, false);
                self.variables(container, &at);
            }
        }
    }

    fn variables(&self, container: &'a Node, at: &str) {
        for (index, variable) in self.list(container, "env", at, false).iter().enumerate() {
            let at = format!("{at}env[{index}].");
            let name = self.text(variable, "name", &at, true);
            let value = self.text(variable, "value", &at, false);
            if name == Some("AZP_TOKEN") && value.is_some_and(|value| !value.is_empty()) {
                self.problems.warn(format!(
                    "{}: {at}value is a token in clear; it is not used: the agent gets the orchestrator's own. \
                     Take it out of the file, and revoke it if others could read it",
                    self.place(variable.get("value").unwrap_or(variable)),
                ));
            }
        }
    }

    /// Labels and annotations are texts; `1.10` and `yes` have to be quoted.
    fn texts(&self, metadata: &'a Node, at: &str) {
        for key in ["labels", "annotations"] {
            let Some(Yaml::Map(entries)) = self.map(metadata, key, at, false).map(|node| &node.value) else { continue };
            for (name, value) in entries {
                if value.text().is_none() {
                    self.not_a_text(value, &format!("{at}{key}.{}", name.name));
                }
            }
        }
    }

    fn text(&self, node: &'a Node, key: &str, at: &str, required: bool) -> Option<&'a str> {
        let value = self.value(node, key, at, required)?;
        if value.text().is_none() {
            self.not_a_text(value, &format!("{at}{key}"));
        }
        value.text()
    }

    fn map(&self, node: &'a Node, key: &str, at: &str, required: bool) -> Option<&'a Node> {
        let value = self.value(node, key, at, required)?;
        if matches!(value.value, Yaml::Map(_)) {
            return Some(value);
        }
        self.error(value, &format!("{at}{key} is {}; it has to be a mapping", value.describe()), None);
        None
    }

    fn list(&self, node: &'a Node, key: &str, at: &str, required: bool) -> &'a [Node] {
        let Some(value) = self.value(node, key, at, required) else { return &[] };
        match &value.value {
            Yaml::List(items) if required && items.is_empty() => {
                self.error(value, &format!("{at}{key} is empty; it has to have at least one item"), None);
                &[]
            }
            Yaml::List(items) => items,
            _ => {
                self.error(value, &format!("{at}{key} is {}; it has to be a list", value.describe()), None);
                &[]
            }
        }
    }

    fn value(&self, node: &'a Node, key: &str, at: &str, required: bool) -> Option<&'a Node> {
        let value = node.get(key).filter(|value| !matches!(value.value, Yaml::Null));
        if value.is_none() && required {
            self.error(node, &format!("{at}{key} is missing"), None);
        }
        value
    }

    fn not_a_text(&self, node: &Node, key: &str) {
        let fix = matches!(node.value, Yaml::Bool(_) | Yaml::Whole(_) | Yaml::Float(_)).then_some(IN_QUOTES);
        self.error(node, &format!("{key} is {}; it has to be a text", node.describe()), fix);
    }

    /// The same key twice in a mapping: one of the two would be lost.
    fn duplicates(&self, node: &Node, at: &str) {
        match &node.value {
            Yaml::Map(entries) => {
                for (index, (key, value)) in entries.iter().enumerate() {
                    if let Some((first, _)) = entries[..index].iter().find(|(earlier, _)| earlier.name == key.name) {
                        let place = format!("{}:{}", self.path.display(), key.place);
                        let line = first.place.line;
                        self.problems.error(format!("{place}: {at}{} stands there already at line {line}", key.name));
                    }
                    self.duplicates(value, &format!("{at}{}.", key.name));
                }
            }
            Yaml::List(items) => {
                let at = at.trim_end_matches('.');
                for (index, item) in items.iter().enumerate() {
                    self.duplicates(item, &format!("{at}[{index}]."));
                }
            }
            _ => {}
        }
    }

    fn place(&self, node: &Node) -> String {
        format!("{}:{}", self.path.display(), node.place)
    }

    fn error(&self, node: &Node, message: &str, fix: Option<&str>) {
        let message = format!("{}: {message}", self.place(node));
        match fix {
            Some(fix) => self.problems.error_with_fix(message, fix),
            None => self.problems.error(message),
        }
    }
}

fn listed(kinds: &[&str]) -> String {
    if kinds.is_empty() { "nothing".to_owned() } else { kinds.join(", ") }
}
