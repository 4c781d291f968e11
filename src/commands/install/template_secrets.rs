//! Secrets in a Job template. The template is stored in a ConfigMap, which many may read who may read no Secret: so a
//! Secret among its documents is applied by itself, a literal token is taken out, and neither is stored or shown.

use std::path::Path;

use serde_json::Value;

use super::{
    super::{Failure, serve::refused},
    beside::items,
};
use crate::config::JobTemplate;

/// Variables that hold a token of Azure DevOps. The orchestrator takes their literal values out of its Jobs, too.
const TOKENS: [&str; 2] = ["AZP_TOKEN", "VSTS_AGENT_INPUT_TOKEN"];

/// A template without what is secret in it.
#[derive(Debug)]
pub(super) struct Stripped {
    /// What may be stored. As it was given where nothing in it is secret.
    pub(super) text: String,
    /// The Secrets among its documents.
    pub(super) secrets: Vec<Value>,
    /// The variables that held a token, with their containers.
    pub(super) tokens: Vec<String>,
}

impl Stripped {
    /// Whether anything was taken out.
    pub(super) fn is_other(&self) -> bool {
        !self.secrets.is_empty() || !self.tokens.is_empty()
    }
}

/// Takes out of a template what is secret.
pub(super) fn strip(path: &Path, text: &str) -> Result<Stripped, Failure> {
    let JobTemplate { mut job, others, .. } = JobTemplate::parse(path, text).map_err(refused)?;
    let tokens = take_tokens(&mut job);
    let (mut kept, mut secrets) = (Vec::new(), Vec::new());
    for document in others {
        let (secret, open): (Vec<Value>, Vec<Value>) =
            items(&document).iter().cloned().partition(|item| item["kind"] == "Secret");
        if secret.is_empty() {
            kept.push(document);
        } else {
            kept.extend(open);
            secrets.extend(secret);
        }
    }
    let mut stripped = Stripped { text: text.to_owned(), secrets, tokens };
    if stripped.is_other() {
        let documents = std::iter::once(&job).chain(&kept).map(serde_yaml::to_string);
        let documents: Result<Vec<String>, _> = documents.collect();
        stripped.text = documents.map_err(anyhow::Error::from)?.join("---\n");
    }
    Ok(stripped)
}

/// Takes literal tokens out of the variables of all containers, and says which.
fn take_tokens(job: &mut Value) -> Vec<String> {
    let mut taken = Vec::new();
    for list in ["containers", "initContainers"] {
        let containers = job.pointer_mut(&format!("/spec/template/spec/{list}")).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let name = container["name"].as_str().unwrap_or_default().to_owned();
            let Some(variables) = container.get_mut("env").and_then(Value::as_array_mut) else { continue };
            variables.retain(|variable| {
                let is_token = variable["name"].as_str().is_some_and(|name| TOKENS.contains(&name));
                let is_literal = variable["value"].as_str().is_some_and(|value| !value.is_empty());
                if is_token && is_literal {
                    taken.push(format!("{} of container {name}", variable["name"].as_str().unwrap_or_default()));
                }
                !(is_token && is_literal)
            });
            if variables.is_empty()
                && let Some(container) = container.as_object_mut()
            {
                container.shift_remove("env");
            }
        }
    }
    taken
}

/// A stored template as it may be shown. One that cannot be read may hold anything.
pub(super) fn shown(name: &str, text: &str) -> String {
    match strip(Path::new(name), text) {
        Ok(stripped) => stripped.text,
        Err(_) => "(a Job template that cannot be read)\n".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = "\
# kept where nothing is secret
apiVersion: batch/v1
kind: Job
metadata: {name: a}
spec:
  template:
    spec:
      containers:
      - name: agent
        image: x
        env: [{name: AZP_TOKEN, value: TOKEN-IN-CLEAR}, {name: A, value: b}]
---
{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {password: PASSWORD-IN-CLEAR}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}
";

    #[test]
    fn tokens_and_secrets_are_taken_out_and_all_else_stays() {
        let stripped = strip(Path::new("t.yaml"), TEMPLATE).unwrap();
        assert!(!stripped.text.contains("IN-CLEAR"), "{}", stripped.text);
        assert_eq!(stripped.secrets[0]["stringData"]["password"], "PASSWORD-IN-CLEAR");
        assert_eq!(stripped.tokens, ["AZP_TOKEN of container agent"]);
        let again = JobTemplate::parse(Path::new("t.yaml"), &stripped.text).unwrap();
        assert_eq!(again.others.len(), 1);
        assert_eq!(again.job["spec"]["template"]["spec"]["containers"][0]["env"][0]["name"], "A");
    }

    #[test]
    fn a_template_without_secrets_is_stored_as_it_was_given() {
        let text = TEMPLATE.split("        env:").next().unwrap();
        assert_eq!(strip(Path::new("t.yaml"), text).unwrap().text, text);
    }
}
