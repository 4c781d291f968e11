//! What is put into the organization: pools, agents and pipeline jobs, as their makers describe them.

use std::{collections::BTreeMap, time::Duration};

use super::KeySpec;

/// What kind of pool it is. Agents of this project can only serve ordinary ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PoolKind {
    /// Self-hosted agents.
    #[default]
    Ordinary,
    /// Microsoft's own agents.
    Hosted,
    /// A deployment group.
    Deployment,
    /// A scale set that Azure DevOps grows and shrinks itself.
    Elastic,
}

/// A pool to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSpec {
    /// Its name, unique in the organization regardless of case.
    pub name: String,
    /// Its kind.
    pub kind: PoolKind,
}

impl<N: Into<String>> From<N> for PoolSpec {
    fn from(name: N) -> Self {
        Self { name: name.into(), kind: PoolKind::Ordinary }
    }
}

/// An agent to be registered. Until it opens a session it is offline: a placeholder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentSpec {
    /// Its name, unique in its pool regardless of case.
    pub name: String,
    /// The version of its software.
    pub version: String,
    /// Its operating system, in words.
    pub os_description: String,
    /// Whether it may be given job requests.
    pub enabled: bool,
    /// What its machine offers.
    pub system_capabilities: BTreeMap<String, String>,
    /// What its owner says it offers besides.
    pub user_capabilities: BTreeMap<String, String>,
    /// The key that it signs in with, if it has one of its own.
    pub key: Option<KeySpec>,
}

impl AgentSpec {
    /// An enabled agent that offers what every Linux agent reports of itself.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        let name = name.into();
        let system = [
            ("Agent.Name", name.as_str()),
            ("Agent.Version", crate::sandbox::AGENT_VERSION),
            ("Agent.ComputerName", name.as_str()),
            ("Agent.OS", "Linux"),
            ("Agent.OSArchitecture", "X64"),
        ];
        Self {
            system_capabilities: system.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            user_capabilities: BTreeMap::new(),
            version: crate::sandbox::AGENT_VERSION.to_owned(),
            os_description: "Linux".to_owned(),
            enabled: true,
            key: None,
            name,
        }
    }

    /// The same agent with one more system capability.
    #[must_use]
    pub fn with(mut self, capability: impl Into<String>, value: impl Into<String>) -> Self {
        self.system_capabilities.insert(capability.into(), value.into());
        self
    }

    /// The same agent with as many more variables as real machines have, some 70 bytes each.
    #[must_use]
    pub fn with_variables(mut self, count: usize) -> Self {
        self.system_capabilities.extend(made_up_variables(count));
        self
    }

    /// The same agent, disabled.
    #[must_use]
    pub fn disabled(mut self) -> Self {
        self.enabled = false;
        self
    }
}

/// Variables as they are on machines with many tools.
pub(in crate::sandbox) fn made_up_variables(count: usize) -> impl Iterator<Item = (String, String)> {
    (0..count).map(|number| {
        (format!("TOOLCHAIN_{number:03}_HOME"), format!("/opt/hostedtoolcache/tool-{number:03}/12.4.{number}/x64/bin"))
    })
}

/// What a PATCH of an agent may change; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentChange {
    /// Whether it may be given job requests.
    pub enabled: Option<bool>,
    /// The version of its software.
    pub version: Option<String>,
    /// Its operating system, in words.
    pub os_description: Option<String>,
    /// All of its system capabilities.
    pub system_capabilities: Option<BTreeMap<String, String>>,
    /// All of its user capabilities.
    pub user_capabilities: Option<BTreeMap<String, String>>,
}

/// One step of a pipeline job: a shell script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it is called in the log.
    pub name: String,
    /// What `sh -c` runs.
    pub script: String,
}

impl Step {
    /// A step that runs a script.
    #[must_use]
    pub fn new(name: impl Into<String>, script: impl Into<String>) -> Self {
        Self { name: name.into(), script: script.into() }
    }
}

/// A pipeline job to be queued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSpec {
    /// The pipeline's name.
    pub pipeline: String,
    /// The job's name.
    pub name: String,
    /// What it asks of an agent, as on the wire: `docker`, `Agent.OS -equals Linux`.
    pub demands: Vec<String>,
    /// What it does.
    pub steps: Vec<Step>,
    /// Higher ones are served first; 0 is usual.
    pub priority: i64,
    /// The kind of parallel job it uses up: `Private` or `Public`.
    pub parallelism_tag: String,
    /// `Build`, `Release`, `PoolMaintenance` …
    pub plan_type: String,
    /// How long it may run until it is canceled.
    pub timeout: Option<Duration>,
}

impl JobSpec {
    /// A job of a private project's build without demands and steps.
    #[must_use]
    pub fn new(pipeline: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            pipeline: pipeline.into(),
            name: name.into(),
            demands: Vec::new(),
            steps: Vec::new(),
            priority: 0,
            parallelism_tag: "Private".to_owned(),
            plan_type: "Build".to_owned(),
            timeout: None,
        }
    }

    /// The same job with one more demand.
    #[must_use]
    pub fn demand(mut self, demand: impl Into<String>) -> Self {
        self.demands.push(demand.into());
        self
    }

    /// The same job with one more step.
    #[must_use]
    pub fn step(mut self, name: impl Into<String>, script: impl Into<String>) -> Self {
        self.steps.push(Step::new(name, script));
        self
    }

    /// The same job with another priority.
    #[must_use]
    pub fn priority(mut self, priority: i64) -> Self {
        self.priority = priority;
        self
    }

    /// The same job of a public project, which uses up no private parallel job.
    #[must_use]
    pub fn public(mut self) -> Self {
        self.parallelism_tag = "Public".to_owned();
        self
    }
}
