//! A user's Job template: a file with exactly one Job and whatever goes with it.
//!
//! The documents stay as they are: typed structs would drop fields that they do not know.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    error::{ConfigErrors, Problems},
    job_fields, job_structure,
    yaml::{self, Dialect},
};

/// The container that is the agent, unless none has this name: then it is the first.
const AGENT_CONTAINER: &str = "agent";

/// The index of the agent among the containers of a pod or a container group: the one named `agent`, else the first.
#[must_use]
pub fn agent_container(containers: Option<&Value>) -> usize {
    let is_agent = |container: &Value| container.get("name").and_then(Value::as_str) == Some(AGENT_CONTAINER);
    containers.and_then(Value::as_array).and_then(|all| all.iter().position(is_agent)).unwrap_or(0)
}

/// A file with exactly one Job, whose structure has been checked, and whatever goes with it.
#[derive(Clone)]
pub struct JobTemplate {
    /// Where it was read.
    pub path: PathBuf,
    /// The Job.
    pub job: Value,
    /// The other documents (PersistentVolume, ConfigMap …), applied once at start.
    pub others: Vec<Value>,
    /// What is odd about it but no error: one line each, with its place.
    pub warnings: Vec<String>,
}

impl JobTemplate {
    /// Reads and checks a file.
    ///
    /// # Errors
    ///
    /// It cannot be read, is no YAML, or is not one Job and other objects of Kubernetes; all that is wrong, with path,
    /// line and column.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        Self::parse(path, &super::file::template(path)?)
    }

    /// Checks the text of a file.
    ///
    /// # Errors
    ///
    /// As [`JobTemplate::load`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigErrors> {
        let problems = Problems::hiding(None);
        let documents = yaml::parse(text, Dialect::Kubectl)
            .map_err(|error| problems.error(error.in_file(path)))
            .unwrap_or_default();
        let job = job_structure::check(path, &documents, &problems);
        let mut documents: Vec<Value> = documents.iter().map(yaml::Node::to_json).collect();
        let job = job.map(|index| documents.remove(index));
        let (job, warnings) = problems.settle(job)?;
        Ok(Self { path: path.to_owned(), job, others: documents, warnings })
    }

    /// Checks the text of a file more strictly than the orchestrator does: a field that looks like a misspelt one is an error,
    /// and what else Kubernetes does not know or is most likely a slip is among the warnings.
    ///
    /// # Errors
    ///
    /// As [`JobTemplate::load`], and unknown fields.
    pub fn parse_strictly(path: &Path, text: &str) -> Result<Self, ConfigErrors> {
        Self::parse_with_advice(path, text, true)
    }

    /// As [`JobTemplate::parse_strictly`], for somebody who has the API server say which fields it knows.
    ///
    /// # Errors
    ///
    /// As [`JobTemplate::load`].
    pub fn parse_for_server(path: &Path, text: &str) -> Result<Self, ConfigErrors> {
        Self::parse_with_advice(path, text, false)
    }

    fn parse_with_advice(path: &Path, text: &str, judges_fields: bool) -> Result<Self, ConfigErrors> {
        let template = Self::parse(path, text)?;
        let problems = Problems::hiding(None);
        let documents = yaml::parse(text, Dialect::Kubectl).unwrap_or_default();
        let job = documents.iter().find(|document| document.get("kind").and_then(yaml::Node::text) == Some("Job"));
        if let Some(job) = job {
            if judges_fields {
                job_fields::unknown(path, job, &problems);
            }
            job_fields::lint(path, job, template.agent_container(), &problems);
        }
        let (template, more) = problems.settle(Some(template))?;
        Ok(Self { warnings: template.warnings.into_iter().chain(more).collect(), ..template })
    }

    /// The prefix of its runs' names, where it gives one.
    #[must_use]
    pub fn name_prefix(&self) -> Option<&str> {
        let metadata = self.job.get("metadata")?;
        metadata.get("name").or_else(|| metadata.get("generateName"))?.as_str()
    }

    /// The index of the agent's container: the one named `agent`, else the first.
    #[must_use]
    pub fn agent_container(&self) -> usize {
        agent_container(self.job.pointer("/spec/template/spec/containers"))
    }

    /// The image of the agent's container, where it names one.
    #[must_use]
    pub fn image(&self) -> Option<&str> {
        let pointer = format!("/spec/template/spec/containers/{}/image", self.agent_container());
        self.job.pointer(&pointer)?.as_str()
    }

    /// Whether the agent's container starts with another program than its image says.
    #[must_use]
    pub fn has_own_command(&self) -> bool {
        let pointer = format!("/spec/template/spec/containers/{}/command", self.agent_container());
        self.job.pointer(&pointer).is_some_and(|command| !command.is_null())
    }
}

/// Without the documents: there may be a token in them.
impl fmt::Debug for JobTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<_> = self.others.iter().filter_map(|document| document.get("kind")).collect();
        f.debug_struct("JobTemplate").field("path", &self.path).field("others", &kinds).finish_non_exhaustive()
    }
}
