//! `template validate`: strictly and without a cluster; with `--server` the API server is asked as well, as the account
//! that will create the Jobs.

use std::path::{Path, PathBuf};

use super::{
    super::{
        Exit, Failure,
        check::{Fields, try_job},
        cluster_flags::ClusterFlags,
        config::{MachineFormat, Problem, Validation, oddities, problems, read_file},
        installed,
    },
    render::{config_of, kubernetes, rendered},
};
use crate::{
    cluster::{Account, ErrorKind},
    config::JobTemplate,
    core::{Code, Installation, Purpose, RequestId, short_hash},
};

/// Check a Job template: every field, with line and column
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit code 3: it is not valid.

Examples:
  kubectl ado template validate -f job.yaml
  # Also ask the API server, as the orchestrator's account; nothing is created
  kubectl ado template validate -f job.yaml --server")]
pub(super) struct ValidateArgs {
    /// The Job template; - is standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE", default_value = "-")]
    file: PathBuf,
    /// Have the API server try the Job as well
    #[arg(long)]
    server: bool,
    /// For machines
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<MachineFormat>,
    #[command(flatten)]
    cluster: ClusterFlags,
}

impl ValidateArgs {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let (text, name) = read_file(&self.file)?;
        let strictly = JobTemplate::parse_strictly(&name, &text);
        if !self.server {
            return match strictly {
                Ok(template) => self.show(&name, Vec::new(), oddities(&template.warnings)),
                Err(errors) => self.show(&name, problems(&errors), Vec::new()),
            };
        }
        // Which fields there are, the cluster knows better than we do.
        let template = match JobTemplate::parse_for_server(&name, &text) {
            Ok(template) => template,
            Err(errors) => return self.show(&name, problems(&errors), Vec::new()),
        };
        let mut warnings = oddities(&template.warnings);
        let mut errors = Vec::new();
        // Standard input has been read: the text goes on as a file.
        let copy = tempfile::NamedTempFile::new()?;
        std::fs::write(copy.path(), &text)?;
        match self.ask_the_server(copy.path()).await? {
            Asked::Taken(who) => warnings.extend(who),
            Asked::Refused(problem) => {
                // Ours have the line and the column.
                errors.extend(strictly.err().iter().flat_map(problems));
                errors.push(problem);
            }
        }
        self.show(&name, errors, warnings)
    }

    fn show(&self, name: &Path, errors: Vec<Problem>, warnings: Vec<Problem>) -> Result<Exit, Failure> {
        let validation = Validation::new("TemplateValidation", errors, warnings);
        validation.show(&name.display().to_string(), self.output)
    }

    async fn ask_the_server(&self, file: &Path) -> Result<Asked, Failure> {
        let cluster = self.cluster.open()?;
        let found = self.cluster.find(&cluster).await?;
        let (namespace, account, installed) = match &found.install {
            Some(install) => (install.agents_namespace.clone(), installed::account(install), true),
            None => {
                let account = Account { namespace: found.namespace.clone(), name: installed::ACCOUNT.to_owned() };
                (found.namespace.clone(), account, false)
            }
        };
        let config = config_of(file, None)?;
        let settings = kubernetes(&config, &namespace)?;
        let installation = Installation::new(short_hash(&["validate"], 16));
        let purpose = Purpose::Request(RequestId(0));
        let made = rendered(&config, &settings, &installation, None, None, purpose)?;
        let (outcome, who) =
            try_job(&cluster, &self.cluster, &account, installed, &namespace, &made.job, Fields::Checked).await;
        let as_you = who.starts_with("as you").then(|| Problem {
            code: None,
            message: format!("the dry run was made {who}"),
            fix: None,
        });
        Ok(match outcome {
            Ok(()) => Asked::Taken(as_you),
            Err(error) if as_you.is_some() && error.message.contains("cannot create resource") => {
                let message = "the API server cannot be asked: you may neither impersonate the orchestrator's account nor create Jobs";
                let fix = "have the Role that `kubectl ado permissions template validate -o yaml` prints given to you";
                return Err(Failure::new(Exit::Failed, message, Some(fix.to_owned())));
            }
            Err(error) if !matches!(error.kind, ErrorKind::Invalid | ErrorKind::Forbidden | ErrorKind::Quota) => {
                return Err(error.into());
            }
            Err(error) => {
                let code =
                    if error.kind == ErrorKind::Invalid { Code::TemplateRefused } else { Code::OrchestratorForbidden };
                let code = if error.kind == ErrorKind::Quota { Code::QuotaUsedUp } else { code };
                Asked::Refused(Problem {
                    code: Some(code),
                    message: format!("{} ({who})", error.message),
                    fix: error.fix,
                })
            }
        })
    }
}

/// What the API server says.
enum Asked {
    Taken(Option<Problem>),
    Refused(Problem),
}
