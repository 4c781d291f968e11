//! Questions, on a terminal only.

use std::io::IsTerminal;

use dialoguer::{Confirm, Input, Password};
use secrecy::SecretString;

use super::super::{Exit, Failure};

/// Whether there is somebody to ask.
pub(in super::super) fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// A line of text.
pub(super) fn text(prompt: &str) -> Result<String, Failure> {
    Input::new().with_prompt(prompt).interact_text().map_err(interrupted)
}

/// A line of text that is not shown.
pub(super) fn hidden(prompt: &str) -> Result<SecretString, Failure> {
    Password::new().with_prompt(prompt).interact().map(SecretString::from).map_err(interrupted)
}

/// Yes or no; no is meant if nothing is said.
pub(in super::super) fn confirm(prompt: &str) -> Result<bool, Failure> {
    Confirm::new().with_prompt(prompt).default(false).interact().map_err(interrupted)
}

fn interrupted(error: dialoguer::Error) -> Failure {
    let dialoguer::Error::IO(error) = error;
    match error.kind() {
        std::io::ErrorKind::Interrupted => Failure { exit: Exit::Interrupted, causes: Vec::new() },
        _ => Failure::new(Exit::Failed, format!("cannot ask: {error}"), None),
    }
}
