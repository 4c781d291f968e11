//! The real agent's arguments, as far as they matter here. Each one may come as a variable VSTS_AGENT_INPUT_… too.

use std::collections::BTreeMap;

use secrecy::SecretString;

use super::AgentError;

/// Arguments may come by variables of this prefix; those are no capabilities.
pub(super) const INPUT: &str = "VSTS_AGENT_INPUT_";

/// Arguments with a value. Those that change nothing here are taken and left alone.
const VALUES: [&str; 9] = ["agent", "url", "auth", "token", "pool", "work", "startuptype", "proxyurl", "sslcacert"];
const FLAGS: [&str; 8] = [
    "unattended",
    "replace",
    "acceptteeeula",
    "once",
    "disableupdate",
    "norestart",
    "sslskipcertvalidation",
    "disableloguploads",
];

#[derive(Debug)]
pub(super) enum Command {
    Configure(Configuration),
    Remove { token: SecretString },
    Run { once: bool },
}

#[derive(Debug)]
pub(super) struct Configuration {
    pub(super) url: String,
    pub(super) token: SecretString,
    pub(super) pool: String,
    pub(super) agent: Option<String>,
    pub(super) work: String,
    pub(super) replace: bool,
    pub(super) accept_tee_eula: bool,
}

pub(super) fn parse(arguments: Vec<String>, environment: &BTreeMap<String, String>) -> Result<Command, AgentError> {
    let mut arguments = arguments.into_iter();
    let command = arguments.next().unwrap_or_default();
    let mut given = BTreeMap::new();
    while let Some(argument) = arguments.next() {
        let name = argument.strip_prefix("--").map(str::to_lowercase).unwrap_or_default();
        let value = if VALUES.contains(&name.as_str()) {
            let missing = || AgentError::Usage(format!("the argument --{name} needs a value"));
            arguments.next().ok_or_else(missing)?
        } else if FLAGS.contains(&name.as_str()) {
            "true".to_owned()
        } else {
            return Err(AgentError::Usage(format!("unrecognized argument \"{argument}\"")));
        };
        given.insert(name, value);
    }
    let given = Given { given, environment };
    match command.as_str() {
        "configure" => Ok(Command::Configure(Configuration {
            url: given.required("url")?,
            token: given.token()?,
            pool: given.value("pool").unwrap_or_else(|| "Default".to_owned()),
            agent: given.value("agent"),
            work: given.value("work").unwrap_or_else(|| "_work".to_owned()),
            replace: given.flag("replace"),
            accept_tee_eula: given.flag("acceptteeeula"),
        })),
        "remove" => Ok(Command::Remove { token: given.token()? }),
        "run" => Ok(Command::Run { once: given.flag("once") }),
        other => Err(AgentError::Usage(format!("\"{other}\" is none of configure, run and remove"))),
    }
}

struct Given<'a> {
    given: BTreeMap<String, String>,
    environment: &'a BTreeMap<String, String>,
}

impl Given<'_> {
    fn value(&self, name: &str) -> Option<String> {
        let variable = || self.environment.get(&format!("{INPUT}{}", name.to_uppercase()));
        self.given.get(name).or_else(variable).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    fn required(&self, name: &str) -> Result<String, AgentError> {
        let missing = || AgentError::Usage(format!("--{name} (or {INPUT}{}) is missing", name.to_uppercase()));
        self.value(name).ok_or_else(missing)
    }

    fn flag(&self, name: &str) -> bool {
        self.value(name).is_some_and(|value| matches!(value.to_lowercase().as_str(), "true" | "1" | "y" | "yes"))
    }

    fn token(&self) -> Result<SecretString, AgentError> {
        match self.value("auth") {
            Some(auth) if !auth.eq_ignore_ascii_case("pat") => {
                Err(AgentError::Usage(format!("--auth {auth} is not known here; it is PAT")))
            }
            _ => self.required("token").map(SecretString::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn parsed(line: &str, environment: &[(&str, &str)]) -> Result<Command, String> {
        let environment = environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        parse(line.split(' ').map(str::to_owned).collect(), &environment).map_err(|error| error.to_string())
    }

    #[test]
    fn what_the_start_script_passes_is_understood() {
        let line = "configure --unattended --agent a-1 --url http://x/o --auth PAT --pool Linux --work /azp/_work \
                    --replace --acceptTeeEula";
        let command = parsed(line, &[("VSTS_AGENT_INPUT_TOKEN", "secret\n")]).unwrap();
        let Command::Configure(configuration) = command else { panic!("{command:?}") };
        assert_eq!(configuration.agent.as_deref(), Some("a-1"));
        assert_eq!(configuration.work, "/azp/_work");
        assert_eq!(configuration.token.expose_secret(), "secret");
        assert!(configuration.replace && configuration.accept_tee_eula);
        assert!(!format!("{configuration:?}").contains("secret"));
    }

    #[test]
    fn once_may_come_as_an_argument_or_as_a_variable() {
        let once = |line, environment: &[(&str, &str)]| match parsed(line, environment) {
            Ok(Command::Run { once }) => once,
            other => panic!("{other:?}"),
        };
        assert!(!once("run", &[]));
        assert!(once("run --once", &[]));
        assert!(once("run", &[("VSTS_AGENT_INPUT_ONCE", "true")]));
        assert!(!once("run", &[("VSTS_AGENT_INPUT_ONCE", "false")]));
    }

    #[test]
    fn what_makes_no_sense_is_an_error_that_names_it() {
        for (line, part) in [
            ("configure --url http://x", "VSTS_AGENT_INPUT_TOKEN"),
            ("configure --token t", "--url"),
            ("configure --url", "--url needs a value"),
            ("run --twice", "--twice"),
            ("remove --unattended --auth SP --token t", "SP"),
            ("dance", "dance"),
        ] {
            let error = parsed(line, &[]).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
