//! Configurations, right and wrong, as their owners would write them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fs, path::PathBuf};

use kubectl_ado::config::{Config, Environment};
use tempfile::TempDir;

mod container_instances;
mod entra;
mod good;
mod job_templates;
mod tokens;
mod wrong_environment;
mod wrong_files;

/// What is required and nothing else. No home, so that no kubeconfig of this machine matters.
const LEAST: [(&str, &str); 3] =
    [("ORG_URL", "https://dev.azure.com/contoso"), ("ORG_PAT", "12345"), ("AGENT_POOLS", "Pool1,Pool2")];

/// The least environment with these variables added, or replaced.
fn least_and(changes: &[(&str, &str)]) -> Environment {
    LEAST.iter().chain(changes).copied().collect()
}

/// Variables and the parts of each error that has to answer them.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a [&'a str]]);

/// A folder with files, to stand for a user's.
struct Folder(TempDir);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            fs::write(folder.path(name), text).unwrap();
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A text without this folder's own path.
    fn strip(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.0.path().display()), "")
    }
}

/// The lines that answer a configuration that is wrong.
fn errors_of(environment: &Environment, folder: &Folder) -> String {
    let file = folder.path("ado.yaml");
    let result = Config::load(environment, file.exists().then_some(file.as_path()));
    folder.strip(&result.expect_err("this configuration should be refused").to_string())
}

/// Asserts that the answer is made of exactly these errors; each has to hold these parts, among them its mend.
fn assert_errors(answer: &str, expected: &[&[&str]]) {
    let errors: Vec<&str> = answer.split("error: ").skip(1).collect();
    assert_eq!(errors.len(), expected.len(), "number of errors in:\n{answer}");
    for parts in expected {
        let fits = |error: &str| parts.iter().all(|part| error.contains(part));
        assert!(errors.iter().any(|error| fits(error)), "no error with {parts:?} in:\n{answer}");
    }
    for line in answer.lines() {
        assert!(line.starts_with("error: ") || line.starts_with("fix: "), "{line}");
    }
}
