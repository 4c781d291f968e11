//! What a check found, for people and for machines.

use serde::Serialize;

use crate::{
    core::{API_VERSION, Code},
    output::harmless,
};

/// What a check is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::commands) enum Section {
    /// The way to Azure DevOps, the token, the pools.
    AzureDevops,
    /// Azure, where agents are container groups.
    Azure,
    /// The cluster, and what people and accounts may do in it.
    Cluster,
    /// The orchestrator itself.
    Orchestrator,
}

impl Section {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::AzureDevops => "azure-devops",
            Self::Azure => "azure",
            Self::Cluster => "cluster",
            Self::Orchestrator => "orchestrator",
        }
    }
}

/// How a check ended, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::commands) enum Outcome {
    /// Not done, because it needs something that is not there.
    Skipped,
    /// As it should be.
    Ok,
    /// Worth knowing; also what cannot be known from here.
    Info,
    /// It works, and somebody should look.
    Warning,
    /// It does not work.
    Error,
}

impl Outcome {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Skipped => "-",
            Self::Ok => "OK",
            Self::Info => "INFO",
            Self::Warning => "WARN",
            Self::Error => "FAIL",
        }
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::commands) struct CheckResult {
    /// What it is about.
    pub(in crate::commands) section: Section,
    /// Which one it is; stable.
    pub(in crate::commands) check: &'static str,
    /// How it ended.
    pub(in crate::commands) outcome: Outcome,
    /// One line.
    pub(in crate::commands) message: String,
    /// What shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::commands) evidence: Option<String>,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::commands) code: Option<Code>,
    /// The line that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::commands) fix: Option<String>,
}

impl CheckResult {
    fn new(section: Section, check: &'static str, outcome: Outcome, message: &str) -> Self {
        Self { section, check, outcome, message: harmless(message), evidence: None, code: None, fix: None }
    }

    /// The same with what shows it.
    pub(super) fn evidence(self, evidence: impl AsRef<str>) -> Self {
        let evidence = harmless(evidence.as_ref());
        Self { evidence: Some(evidence).filter(|text| !text.is_empty()), ..self }
    }

    /// The same with the line that mends it.
    pub(super) fn fix(self, fix: impl AsRef<str>) -> Self {
        Self { fix: Some(harmless(fix.as_ref())), ..self }
    }
}

/// Makes the results of one check.
#[derive(Clone, Copy)]
pub(super) struct Check(pub(super) Section, pub(super) &'static str);

impl Check {
    pub(super) fn ok(self, message: impl AsRef<str>) -> CheckResult {
        CheckResult::new(self.0, self.1, Outcome::Ok, message.as_ref())
    }

    pub(super) fn info(self, message: impl AsRef<str>) -> CheckResult {
        CheckResult::new(self.0, self.1, Outcome::Info, message.as_ref())
    }

    pub(super) fn warn(self, code: Code, message: impl AsRef<str>) -> CheckResult {
        CheckResult { code: Some(code), ..CheckResult::new(self.0, self.1, Outcome::Warning, message.as_ref()) }
    }

    pub(super) fn fail(self, code: Code, message: impl AsRef<str>) -> CheckResult {
        CheckResult { code: Some(code), ..CheckResult::new(self.0, self.1, Outcome::Error, message.as_ref()) }
    }

    pub(super) fn skipped(self, message: impl AsRef<str>) -> CheckResult {
        CheckResult::new(self.0, self.1, Outcome::Skipped, message.as_ref())
    }
}

/// How many ended in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::commands) struct Summary {
    passed: u32,
    warnings: u32,
    failed: u32,
    skipped: u32,
}

impl Summary {
    pub(in crate::commands) fn of(results: &[CheckResult]) -> Self {
        let mut summary = Self::default();
        for result in results {
            match result.outcome {
                Outcome::Ok | Outcome::Info => summary.passed += 1,
                Outcome::Warning => summary.warnings += 1,
                Outcome::Error => summary.failed += 1,
                Outcome::Skipped => summary.skipped += 1,
            }
        }
        summary
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { passed, warnings, failed, skipped } = self;
        let plural = if *warnings == 1 { "" } else { "s" };
        write!(f, "{passed} passed, {warnings} warning{plural}, {failed} failed, {skipped} skipped")
    }
}

/// All checks as a document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document<'a> {
    api_version: &'static str,
    kind: &'static str,
    /// Whether nothing failed.
    success: bool,
    summary: Summary,
    checks: &'a [CheckResult],
}

impl<'a> Document<'a> {
    pub(super) fn of(checks: &'a [CheckResult]) -> Self {
        let success = !checks.iter().any(|check| check.outcome == Outcome::Error);
        Self { api_version: API_VERSION, kind: "CheckReport", success, summary: Summary::of(checks), checks }
    }
}
