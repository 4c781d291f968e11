//! `config`: what is in force and where it comes from, one setting changed, a file checked.

mod diff;
mod set;

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use serde::Serialize;
use serde_json::Value;

use super::{Exit, Failure, cluster_flags::ClusterFlags, installed::Installed};
use crate::{
    config::{Config, ConfigErrors, Environment, Setting, tree},
    core::{API_VERSION, Code},
    output::{table, write_json, write_yaml},
};

/// View, set and validate the configuration
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, clap::Subcommand)]
enum ConfigCommand {
    View(ViewArgs),
    Set(set::SetArgs),
    Validate(ValidateArgs),
}

/// Show the configuration that is in force, and where each value comes from
#[derive(Debug, clap::Args)]
struct ViewArgs {
    /// For machines; the values as one document of the shape of ado.yaml
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<MachineFormat>,
    #[command(flatten)]
    cluster: ClusterFlags,
}

/// Check an ado.yaml as the orchestrator would, without a cluster
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What only the orchestrator's machine has (the token's file, a Job template outside of the file's folder) is not looked
at. Exit code 3: the file is not valid.

Examples:
  kubectl ado config validate -f ado.yaml
  kubectl ado config view -o yaml")]
struct ValidateArgs {
    /// The file; - is standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE", default_value = "-")]
    file: PathBuf,
    /// For machines
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<MachineFormat>,
}

/// Forms for machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum MachineFormat {
    /// JSON
    Json,
    /// YAML
    Yaml,
}

impl MachineFormat {
    pub(super) fn write(self, document: &impl Serialize) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        match self {
            Self::Json => write_json(&mut out, document)?,
            Self::Yaml => write_yaml(&mut out, document)?,
        }
        Ok(out.flush()?)
    }
}

impl Args {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        match self.command {
            ConfigCommand::View(args) => args.run().await,
            ConfigCommand::Set(args) => args.run().await,
            ConfigCommand::Validate(args) => args.run(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ViewDocument {
    api_version: &'static str,
    kind: &'static str,
    namespace: String,
    config: Value,
    sources: BTreeMap<String, String>,
    warnings: Vec<String>,
}

impl ViewArgs {
    async fn run(self) -> Result<Exit, Failure> {
        let cluster = self.cluster.open()?;
        let install = self.cluster.installed(&cluster).await?;
        let installed = Installed::read(&cluster, &install).await?;
        let (config, settings) = match installed.config() {
            Ok(both) => both,
            Err(errors) => return show_errors(&errors, self.output),
        };
        if let Some(format) = self.output {
            let sources = settings.iter().map(|one| (one.path.to_string(), one.source.clone())).collect();
            format.write(&ViewDocument {
                api_version: API_VERSION,
                kind: "ConfigView",
                namespace: install.namespace,
                config: tree(&settings),
                sources,
                warnings: config.warnings,
            })?;
            return Ok(Exit::Done);
        }
        warn(&config.warnings)?;
        let mut out = std::io::stdout().lock();
        write!(out, "{}", table(["PATH", "VALUE", "SOURCE"], settings.iter().map(row)))?;
        Ok(Exit::Done)
    }
}

fn row(setting: &Setting) -> [String; 3] {
    let value = match &setting.value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    [setting.path.to_string(), crate::output::harmless(&value), setting.source.clone()]
}

fn warn(warnings: &[String]) -> std::io::Result<()> {
    let mut err = std::io::stderr().lock();
    warnings.iter().try_for_each(|warning| writeln!(err, "warning: {warning}"))
}

/// What `config validate` and `template validate` say for machines.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Validation {
    pub(super) api_version: &'static str,
    pub(super) kind: &'static str,
    pub(super) valid: bool,
    pub(super) errors: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
}

/// One thing that is wrong or odd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Problem {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<Code>,
    pub(super) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fix: Option<String>,
}

impl Validation {
    /// What is wrong, or odd.
    pub(super) fn new(kind: &'static str, errors: Vec<Problem>, warnings: Vec<Problem>) -> Self {
        Self { api_version: API_VERSION, kind, valid: errors.is_empty(), errors, warnings }
    }

    /// Errors and warnings, the answer last; for machines as a document on standard output.
    pub(super) fn show(&self, what: &str, output: Option<MachineFormat>) -> Result<Exit, Failure> {
        if let Some(format) = output {
            format.write(self)?;
        } else {
            let mut err = std::io::stderr().lock();
            let warnings = self.warnings.iter().map(|problem| ("warning", problem));
            for (word, Problem { code, message, fix }) in
                self.errors.iter().map(|problem| ("error", problem)).chain(warnings)
            {
                let code = code.map(|code| format!("{code} ")).unwrap_or_default();
                writeln!(err, "{word}: {code}{message}")?;
                if let Some(fix) = fix {
                    writeln!(err, "fix: {fix}")?;
                }
            }
            if self.valid {
                writeln!(std::io::stdout().lock(), "{what} is valid")?;
            }
        }
        Ok(if self.valid { Exit::Done } else { Exit::Bad })
    }
}

/// Errors of a configuration as problems.
pub(super) fn problems(errors: &ConfigErrors) -> Vec<Problem> {
    let problem = |error: &crate::config::ConfigError| Problem {
        code: None,
        message: error.message.clone(),
        fix: error.fix.clone(),
    };
    errors.0.iter().map(problem).collect()
}

/// Warnings as problems.
pub(super) fn oddities(warnings: &[String]) -> Vec<Problem> {
    warnings.iter().map(|message| Problem { code: None, message: message.clone(), fix: None }).collect()
}

fn show_errors(errors: &ConfigErrors, output: Option<MachineFormat>) -> Result<Exit, Failure> {
    Validation::new("ConfigValidation", problems(errors), Vec::new()).show("the configuration", output)
}

/// The text of a file, or of standard input for `-`, and the name for messages.
pub(super) fn read_file(file: &Path) -> Result<(String, PathBuf), Failure> {
    let wrong =
        |name: &str, error: std::io::Error| Failure::new(Exit::Usage, format!("{name} cannot be read: {error}"), None);
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(|error| wrong("standard input", error))?;
        return Ok((text, PathBuf::from("<stdin>")));
    }
    let text = std::fs::read_to_string(file).map_err(|error| wrong(&file.display().to_string(), error))?;
    Ok((text, file.to_owned()))
}

impl ValidateArgs {
    fn run(self) -> Result<Exit, Failure> {
        let (text, name) = read_file(&self.file)?;
        let folder = self.file.parent().filter(|_| self.file != Path::new("-")).unwrap_or(Path::new(""));
        match Config::of_text(&Environment::of_this_process(), &text, &name, folder) {
            Ok((config, _)) => {
                let validation = Validation::new("ConfigValidation", Vec::new(), oddities(&config.warnings));
                validation.show(&name.display().to_string(), self.output)
            }
            Err(errors) => show_errors(&errors, self.output),
        }
    }
}
