//! What the agent says of its machine: itself, its operating system, and every environment variable that is short
//! enough and not to be ignored. The last is what makes a secret in the environment everybody's to read.

use std::collections::BTreeMap;

use super::{Surroundings, arguments::INPUT};
use crate::sandbox::AGENT_VERSION;

/// Longer variables are no capabilities.
const MAX_LENGTH: usize = 1024;

/// Names the variables that are no capabilities.
const IGNORE: &str = "VSO_AGENT_IGNORE";

/// How many variables the agent shows besides, as many as on a real machine.
const VARIABLES: &str = "SANDBOX_AGENT_VARIABLES";

pub(super) fn capabilities(agent: &str, surroundings: &Surroundings) -> BTreeMap<String, String> {
    let environment = &surroundings.environment;
    let ignored: Vec<String> = environment
        .get(IGNORE)
        .map(|list| list.split(',').map(|name| name.trim().to_lowercase()).collect())
        .unwrap_or_default();
    let variables = environment.iter().filter(|(name, value)| {
        value.len() < MAX_LENGTH
            && *name != IGNORE
            && *name != VARIABLES
            && !name.to_uppercase().starts_with(INPUT)
            && !ignored.contains(&name.to_lowercase())
    });
    let made_up = environment.get(VARIABLES).and_then(|count| count.parse().ok()).unwrap_or(0);
    let own = [
        ("Agent.Name", agent.to_owned()),
        ("Agent.Version", AGENT_VERSION.to_owned()),
        ("Agent.OS", system().to_owned()),
        ("Agent.OSArchitecture", architecture().to_owned()),
        ("Agent.ComputerName", computer(environment)),
        ("Agent.HomeDirectory", surroundings.root.display().to_string()),
        ("InteractiveSession", "False".to_owned()),
    ];
    let variables = variables.map(|(name, value)| (name.clone(), value.clone()));
    let own = own.map(|(name, value)| (name.to_owned(), value));
    variables.chain(crate::sandbox::made_up_variables(made_up)).chain(own).collect()
}

/// The machine's name.
pub(super) fn computer(environment: &BTreeMap<String, String>) -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = kernel.as_deref().map(str::trim).or_else(|| environment.get("HOSTNAME").map(String::as_str));
    name.filter(|name| !name.is_empty()).unwrap_or("localhost").to_owned()
}

/// The operating system in words.
pub(super) fn os_description() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} {}", system(), release.trim()).trim().to_owned()
}

fn system() -> &'static str {
    match std::env::consts::OS {
        "macos" => "Darwin",
        "windows" => "Windows_NT",
        _ => "Linux",
    }
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "X64",
        "x86" => "X86",
        "arm" => "ARM",
        _ => "ARM64",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_short_variable_is_a_capability_unless_it_is_ignored() {
        let environment = [
            ("docker", "/usr/bin/docker"),
            ("LONG", &"x".repeat(1024)),
            ("AZP_TOKEN", "secret"),
            ("VSTS_AGENT_INPUT_TOKEN", "secret"),
            ("VSO_AGENT_IGNORE", "AZP_TOKEN, azp_token_file"),
            ("AZP_TOKEN_FILE", "/run/secret"),
            ("KUBECTL_ADO_REGISTRATION", "just-in-time"),
            ("KUBECTL_ADO_INSTALLATION", "id"),
            ("SANDBOX_AGENT_VARIABLES", "90"),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let found = capabilities("a-1", &Surroundings { root: "/azp".into(), environment });
        assert_eq!(found["docker"], "/usr/bin/docker");
        assert_eq!(found["Agent.Name"], "a-1");
        assert_eq!(found["Agent.HomeDirectory"], "/azp");
        assert_eq!(found["KUBECTL_ADO_REGISTRATION"], "just-in-time");
        assert_eq!(found["KUBECTL_ADO_INSTALLATION"], "id");
        assert_eq!(found.len(), 100, "{found:?}");
        let bytes: usize = found.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!((5500..7500).contains(&bytes), "{bytes}");
    }
}
