//! The environment variables we read, and the environment they are read from.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    error::{Problems, Wrong},
    near_miss,
    origin::{Found, Origin},
};

/// Every variable of ours and the key of `ado.yaml` that says the same. A token has no key: it does not belong there.
pub(super) const VARIABLES: &[(&str, &str)] = &[
    ("HOST_TYPE", "host"),
    ("ORG_URL", "organization.url"),
    ("ORG_AUTHENTICATION", "organization.authentication"),
    ("ORG_PAT", ""),
    ("ORG_PAT_FILE", "organization.tokenFile"),
    ("ADO_CA_FILE", "organization.caFile"),
    ("AGENT_POOLS", "pools"),
    ("POLLING_DELAY", "polling"),
    ("RUN_ONCE", "runOnce"),
    ("JOB_IMAGE", "image"),
    ("JOB_NAMESPACE", "namespace"),
    ("JOB_PREFIX", "jobPrefix"),
    ("JOB_DOCKER_SOCKET_PATH", "dockerSocketPath"),
    ("JOB_DEFINITION_FILE", "jobTemplate"),
    ("JOB_TOKEN_SECRET", "tokenSecret"),
    ("JOB_OS", "os"),
    ("INITIALIZE_NAMESPACE", "initializeNamespace"),
    ("MINIMUM_AGENT_COUNT", "defaults.minAgents"),
    ("MINIMUM_IDLE_AGENT_COUNT", "defaults.idleAgents"),
    ("MAXIMUM_AGENT_COUNT", "defaults.maxAgents"),
    ("AZ_SUBSCRIPTION_ID", "containerInstances.subscriptionId"),
    ("AZ_RESOURCE_GROUP", "containerInstances.resourceGroup"),
    ("AZ_TENANT_ID", "containerInstances.tenantId"),
    ("AZ_REGION", "containerInstances.region"),
    ("AZ_ENVIRONMENT", "containerInstances.environment"),
    ("AZ_CPU", "containerInstances.cpu"),
    ("AZ_MEMORY_GB", "containerInstances.memoryGb"),
    ("AZ_SUBNET_ID", "containerInstances.subnetId"),
    ("AZ_IDENTITY", "containerInstances.identity"),
    ("AZ_REGISTRY", "containerInstances.registry.server"),
    ("AZ_REGISTRY_IDENTITY", "containerInstances.registry.identity"),
    ("AZ_REGISTRY_USERNAME", "containerInstances.registry.username"),
    ("AZ_REGISTRY_PASSWORD_FILE", "containerInstances.registry.passwordFile"),
    ("AZ_TEMPLATE_FILE", "containerInstances.template"),
    ("AZ_RESOURCE_MANAGER_URL", "containerInstances.resourceManagerUrl"),
    ("AZ_MAX_LIFETIME", "containerInstances.maxLifetime"),
    ("INSTALLATION_ID", "installationId"),
    ("LISTEN_ADDRESS", "listenAddress"),
    ("STATUS_FILE", "statusFile"),
    ("AGENT_FOLDER", "agentFolder"),
];

/// Environment variables. Its `Debug` shows names and never values: one of them may be the token.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    not_unicode: BTreeSet<String>,
}

impl Environment {
    /// The variables of this process. Values that are not UTF-8 matter only where they are ours.
    #[must_use]
    pub fn of_this_process() -> Self {
        let mut environment = Self::default();
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            if let Ok(value) = value.into_string() {
                environment.variables.insert(name, value);
            } else {
                environment.not_unicode.insert(name);
            }
        }
        environment
    }

    /// The same, with another value for a variable; an empty one unsets it.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A variable's value without white space around it; an empty one counts as not set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// The names of all variables that have a value.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str).filter(|name| self.get(name).is_some())
    }

    /// Reads one of our variables; what is wrong with it is reported.
    pub(super) fn read<T>(
        &self,
        name: &'static str,
        problems: &Problems,
        parse: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<Found<T>> {
        let origin = Origin::Variable(name);
        if self.not_unicode.contains(name) {
            problems.error(format!("{origin} is not valid UTF-8"));
            return None;
        }
        let text = self.get(name)?;
        match parse(text) {
            // Names, images and prefixes are shown in logs, Jobs and to Azure DevOps.
            Ok(_) if name != "ORG_PAT" && problems.stands_in(text) => {
                let mend = "take it out there: the token belongs into ORG_PAT_FILE or ORG_PAT alone";
                problems.wrong(&origin, Wrong::new("has the token of ORG_PAT in it").mend(mend));
                None
            }
            Ok(value) => Some(Found { value, origin }),
            Err(wrong) => {
                problems.wrong(&origin, wrong);
                None
            }
        }
    }

    /// Whether the variable has a value, right or wrong.
    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some() || self.not_unicode.contains(name)
    }

    /// Reports that one of these variables has to be set and none is. One that is set under nearly its name is
    /// pointed out; where one is set and wrong, that has been said.
    pub(super) fn report_missing(&self, names: &[&str], needed: &str, mend: &str, problems: &Problems) {
        if names.iter().any(|name| self.has(name)) {
            return;
        }
        let fix = names.iter().find_map(|name| {
            let other = near_miss::set_instead_of(name, self)?;
            Some(format!("{other} is set: rename it to {name}"))
        });
        problems.error_with_fix(needed, fix.unwrap_or_else(|| mend.to_owned()));
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { variables, not_unicode: BTreeSet::new() }
    }
}

impl From<BTreeMap<String, String>> for Environment {
    fn from(variables: BTreeMap<String, String>) -> Self {
        Self { variables, not_unicode: BTreeSet::new() }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_is_empty_or_blank_counts_as_not_set() {
        let environment: Environment = [("A", ""), ("B", " \n"), ("C", " c\n")].into_iter().collect();
        assert_eq!([environment.get("A"), environment.get("B"), environment.get("C")], [None, None, Some("c")]);
    }

    #[test]
    fn debug_shows_names_and_no_values() {
        let environment: Environment = [("ORG_PAT", "s3cr3t")].into_iter().collect();
        assert_eq!(format!("{environment:?}"), "{\"ORG_PAT\"}");
    }

    #[test]
    fn every_variable_is_there_once() {
        let names: BTreeSet<_> = VARIABLES.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), VARIABLES.len());
    }

    #[test]
    fn the_example_file_shows_every_variable_and_its_key() {
        let example = include_str!("../../docs/ado.example.yaml");
        for (name, key) in VARIABLES {
            let key = key.rsplit('.').next().unwrap_or_default();
            assert!(names(example).any(|known| known == *name) && example.contains(&format!("{key}:")), "{name} {key}");
        }
    }

    #[test]
    fn every_variable_is_explained() {
        let [readme, groups] = [include_str!("../../README.md"), include_str!("../../docs/container-instances.md")];
        for (name, _) in VARIABLES {
            assert!(names(readme).chain(names(groups)).any(|known| known == *name), "{name}");
        }
    }

    /// What could be names of variables: one that begins another is not the same.
    fn names(text: &str) -> impl Iterator<Item = &str> {
        text.split(|c: char| c != '_' && !c.is_ascii_alphanumeric())
    }
}
