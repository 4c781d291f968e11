//! `version`: which one this is.

use std::io::Write;

use super::{Exit, Failure};

/// Print the version of this program
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print it for machines
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Json,
    Yaml,
}

impl Args {
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        let version = env!("CARGO_PKG_VERSION");
        let mut out = std::io::stdout().lock();
        match self.output {
            None => writeln!(out, "kubectl-ado {version}")?,
            Some(Format::Json) => writeln!(out, "{}", serde_json::json!({ "clientVersion": version }))?,
            Some(Format::Yaml) => writeln!(out, "clientVersion: \"{version}\"")?,
        }
        Ok(Exit::Done)
    }
}
