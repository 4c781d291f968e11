//! Where a person's token comes from: a file, standard input, the environment or a hidden prompt; never a flag's value,
//! which every process of the machine could read.

use std::{
    io::{IsTerminal, Read},
    path::{Path, PathBuf},
};

use super::{Exit, Failure};
use crate::config::TokenSource;

/// The variables that hold a token, the first one first. The second is that of the Azure CLI's extension.
const VARIABLES: [&str; 2] = ["ADO_PAT", "AZURE_DEVOPS_EXT_PAT"];

/// What is read of standard input at most; no token is longer.
const LONGEST: u64 = 64 * 1024;

/// The flag for a token.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct TokenFlags {
    /// The file with the token; - is standard input [default: $ADO_PAT]
    #[arg(long, value_name = "FILE")]
    pub(super) pat_file: Option<PathBuf>,
}

impl TokenFlags {
    /// The token that was given by flag or environment.
    pub(super) fn given(&self) -> Result<Option<TokenSource>, Failure> {
        let wrong = |message: String| Failure::new(Exit::Usage, message, None);
        if let Some(file) = &self.pat_file {
            if file == Path::new("-") {
                let mut text = String::new();
                std::io::stdin()
                    .take(LONGEST)
                    .read_to_string(&mut text)
                    .map_err(|error| wrong(format!("standard input cannot be read: {error}")))?;
                return TokenSource::of_text(&text).map(Some).map_err(wrong);
            }
            let source = TokenSource::File(file.clone());
            source.current().map_err(wrong)?;
            return Ok(Some(source));
        }
        let set = VARIABLES
            .iter()
            .find_map(|name| Some((name, std::env::var(name).ok().filter(|text| !text.trim().is_empty())?)));
        let Some((name, text)) = set else { return Ok(None) };
        TokenSource::of_text(&text).map(Some).map_err(|what| wrong(format!("{name}: {what}")))
    }

    /// The token that was given, else asked for on the terminal.
    pub(super) fn given_or_asked(&self) -> Result<TokenSource, Failure> {
        if let Some(given) = self.given()? {
            return Ok(given);
        }
        let missing = || {
            let fix = "give it with --pat-file FILE (- is standard input), in ADO_PAT, or at the prompt of a terminal";
            Failure::new(Exit::Usage, "there is no token", Some(fix.to_owned()))
        };
        if !std::io::stdin().is_terminal() {
            return Err(missing());
        }
        let text = dialoguer::Password::new()
            .with_prompt("Token for Azure DevOps (not shown)")
            .interact()
            .map_err(|_| missing())?;
        TokenSource::of_text(&text).map_err(|message| Failure::new(Exit::Usage, message, None))
    }
}
