//! `check`: everything that has to hold for agents to come, each with the line that mends it. No check ends the others.

mod azure;
mod azure_devops;
mod cluster;
mod dry_runs;
mod elsewhere;
mod entra;
mod job;
mod just_in_time;
mod objects;
mod orchestrator;
mod result;
mod rights;
mod show;
mod status;

use std::{io::Write, path::PathBuf};

use jiff::Timestamp;

use super::{
    Exit, Failure,
    cluster_flags::{ClusterFlags, DEFAULT_NAMESPACE},
    installed::{self, Installed},
    token_input::TokenFlags,
};
use crate::{
    azure::{OrganizationToken, SetupError},
    cluster::{Account, Cluster, Install, find_installs},
    config::{Authentication, Config, TokenSource},
    output::{write_json, write_yaml},
};
use job::{agents_namespace, default_config, read_config};

pub(super) use azure_devops::{Target, azure_devops};
pub(super) use cluster::{ClusterTarget, cluster};
pub(super) use dry_runs::{Fields, try_job};
pub(super) use job::job_of;
pub(super) use result::{CheckResult, Outcome, Summary};
pub(super) use show::table;
pub(super) use status::newest_report;

/// Check Azure DevOps, the cluster (or Azure) and the install, and say what to mend
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  # Before an install
  kubectl ado check --pre --org https://dev.azure.com/contoso --pool Linux --pat-file token.txt
  # The install that is there; Azure DevOps as its orchestrator sees it
  kubectl ado check
  # The same, and Azure DevOps as it looks from here
  kubectl ado check --pat-file token.txt
  # Also whether the organization carries just-in-time agents, step by step
  kubectl ado check --deep --pat-file token.txt

Exit codes: 0 all is well, 3 a check failed (see --fail-on), 2 wrong usage, 1 it could not be checked.")]
pub(super) struct Args {
    /// Check what an install needs, before there is one
    #[arg(long)]
    pre: bool,
    /// The organization's URL [default: that of the install, of -f, or of the environment where HOST_TYPE is aci or local]
    #[arg(long, value_name = "URL")]
    org: Option<String>,
    /// The agent pools, separated by commas [default: as for --org]
    #[arg(long = "pool", value_name = "POOL", value_delimiter = ',')]
    pools: Vec<String>,
    #[command(flatten)]
    token: TokenFlags,
    /// Certificate authorities to trust beside the system's (PEM)
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The ado.yaml that is to be installed
    #[arg(short = 'f', long = "filename", value_name = "FILE", requires = "pre")]
    file: Option<PathBuf>,
    /// Also try in each agent pool whether agents can be registered just in time: registers an agent, signs in as it, and
    /// removes it. Needs a token
    #[arg(long)]
    deep: bool,
    /// How results are shown
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    /// What makes the exit code 3
    #[arg(long, value_enum, default_value_t, value_name = "SEVERITY")]
    fail_on: FailOn,
    #[command(flatten)]
    cluster: ClusterFlags,
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Format {
    /// All checks, for people
    #[default]
    Table,
    /// Only those that need somebody
    Short,
    /// For machines
    Json,
    /// For machines and people
    Yaml,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum FailOn {
    /// A check that failed
    #[default]
    Error,
    /// Also a warning
    Warning,
    /// Nothing
    Never,
}

impl FailOn {
    fn exit(self, results: &[CheckResult]) -> Exit {
        let least = match self {
            Self::Error => Outcome::Error,
            Self::Warning => Outcome::Warning,
            Self::Never => return Exit::Done,
        };
        if results.iter().any(|result| result.outcome >= least) { Exit::Bad } else { Exit::Done }
    }
}

impl Args {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let results = if self.pre { self.before().await? } else { self.after().await? };
        let mut out = std::io::stdout().lock();
        match self.output {
            Format::Table => show::table(&mut out, &results)?,
            Format::Short => show::short(&mut out, &results)?,
            Format::Json => write_json(&mut out, &result::Document::of(&results))?,
            Format::Yaml => write_yaml(&mut out, &result::Document::of(&results))?,
        }
        out.flush()?;
        Ok(self.fail_on.exit(&results))
    }

    /// `is_known` says that there is one without.
    fn token(&self, is_known: bool) -> Result<Option<TokenSource>, Failure> {
        let token = self.token.given()?;
        if self.deep && token.is_none() && !is_known {
            let fix = "give one with --pat-file FILE (- is standard input) or ADO_PAT; where Entra signs in, add --pre -f ado.yaml";
            return Err(Failure::new(Exit::Usage, "--deep needs a token: it registers an agent", Some(fix.to_owned())));
        }
        Ok(token)
    }

    /// Before an install: what was given by flags or file, and the cluster.
    async fn before(&self) -> Result<Vec<CheckResult>, Failure> {
        let config = self.file.as_deref().map(read_config).transpose()?;
        if let Some((config, token)) = elsewhere::config(self, config.as_ref())? {
            return elsewhere::check(self, &config, token).await;
        }
        let url = self.org.clone().or_else(|| config.as_ref().map(|config| config.organization.url.clone()));
        let Some(url) = url else {
            let fix = "name it with --org https://dev.azure.com/ORGANIZATION, or with -f ado.yaml";
            return Err(Failure::new(Exit::Usage, "which organization?", Some(fix.to_owned())));
        };
        let of_file = || config.iter().flat_map(|config| &config.pools).map(|pool| pool.name.clone()).collect();
        // As the orchestrator would where this runs.
        let signs_in_here = match &config {
            Some(config) if matches!(config.organization.authentication, Authentication::Entra) => {
                let refused =
                    |error: SetupError| Failure::new(Exit::Usage, error.to_string(), Some(error.fix().into()));
                Some(OrganizationToken::of(config).map_err(refused)?)
            }
            _ => None,
        };
        let pools = if self.pools.is_empty() { of_file() } else { self.pools.clone() };
        let ca_file = self.ca_file.clone().or_else(|| config.as_ref().and_then(|config| config.ca_file.clone()));
        let given = self.token(signs_in_here.is_some())?.map(OrganizationToken::from);
        let token = given.or(signs_in_here);
        let target =
            Target { url, pools, token, by_entra: false, ca_file, before: true, deep: self.deep, in_cluster: true };

        let cluster = match self.cluster.open() {
            Ok(cluster) => cluster,
            Err(failure) => {
                let mut results = azure_devops(&target).await;
                results.extend(failure.causes.iter().map(|(message, fix)| cluster::none(message, fix.as_deref())));
                return Ok(results);
            }
        };
        let namespace = self.cluster.asked_namespace().unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
        let config = match config {
            Some(config) => Ok(config),
            None => default_config(&target.url, &target.pools),
        };
        let agents = config.as_ref().ok().and_then(agents_namespace).unwrap_or(&namespace).to_owned();
        let job = config.map_err(|failure| failure.to_string()).and_then(|config| job_of(&config, &agents));
        let of_cluster = ClusterTarget {
            cluster: &cluster,
            flags: &self.cluster,
            namespace: &namespace,
            agents_namespace: &agents,
            account: Account { namespace: namespace.clone(), name: installed::ACCOUNT.to_owned() },
            installed: false,
            by_install: false,
            job,
        };
        Ok(before_install(&target, &of_cluster).await)
    }

    /// The install that is there.
    async fn after(&self) -> Result<Vec<CheckResult>, Failure> {
        let cluster = self.cluster.open()?;
        let now = Timestamp::now();
        let token = self.token(false)?;
        let asked = self.cluster.asked_namespace();
        let found = match &asked {
            Some(namespace) => {
                find_installs(&cluster, Some(namespace)).await.map(|mut found| (found.pop(), namespace.clone()))
            }
            None => match self.cluster.find(&cluster).await {
                Ok(found) => Ok((found.install, found.namespace)),
                Err(failure) if failure.exit == Exit::Usage => return Err(failure),
                Err(_) => match find_installs(&cluster, Some(DEFAULT_NAMESPACE)).await {
                    Ok(mut found) => Ok((found.pop(), DEFAULT_NAMESPACE.to_owned())),
                    Err(error) => Err(error),
                },
            },
        };
        let namespace = asked.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
        match found {
            Ok((Some(install), _)) => self.look_at(&cluster, &install, token, now).await,
            Ok((None, namespace)) => self.without_install(&cluster, &namespace, token, None).await,
            Err(error) => self.without_install(&cluster, &namespace, token, Some(error)).await,
        }
    }

    /// Azure DevOps from here where there is a token and it is known what to ask for.
    async fn as_seen_here(&self, config: Option<&Config>, token: Option<TokenSource>) -> Option<Vec<CheckResult>> {
        let token = token?;
        let url = self.org.clone().or_else(|| config.map(|config| config.organization.url.clone()))?;
        let pools = match config {
            Some(config) if self.pools.is_empty() => config.pools.iter().map(|pool| pool.name.clone()).collect(),
            _ => self.pools.clone(),
        };
        let target = Target {
            url,
            pools,
            token: Some(token.into()),
            by_entra: false,
            ca_file: self.ca_file.clone(),
            before: false,
            deep: self.deep,
            in_cluster: true,
        };
        Some(azure_devops(&target).await)
    }

    async fn look_at(
        &self,
        cluster: &Cluster,
        install: &Install,
        token: Option<TokenSource>,
        now: Timestamp,
    ) -> Result<Vec<CheckResult>, Failure> {
        let installed = Installed::read(cluster, install).await;
        let checked = installed.as_ref().ok().map(Installed::config);
        let config = checked.as_ref().and_then(|checked| checked.as_ref().ok()).map(|(config, _)| config);
        let report = newest_report(cluster, &install.agents_namespace).await;
        let mut results = match self.as_seen_here(config, token).await {
            Some(results) => results,
            None => {
                let without = match &report {
                    Err(error) => error.message.clone(),
                    Ok(_) => "the orchestrator has written no status".to_owned(),
                };
                status::azure_devops(report.as_ref().ok().and_then(Option::as_ref), &without, now)
            }
        };
        let job = match (config, &installed) {
            (Some(config), _) => job_of(config, &install.agents_namespace),
            (None, Err(failure)) => Err(failure.causes.first().map(|(message, _)| message.clone()).unwrap_or_default()),
            (None, Ok(_)) => Err("the configuration has to be valid first".to_owned()),
        };
        let target = ClusterTarget {
            cluster,
            flags: &self.cluster,
            namespace: &install.namespace,
            agents_namespace: &install.agents_namespace,
            account: installed::account(install),
            installed: true,
            by_install: false,
            job,
        };
        results.extend(self::cluster(&target).await.0);
        let errors = checked.and_then(Result::err);
        let installed = installed
            .map(|installed| (installed, errors))
            .map_err(|failure| failure.causes.first().map(|(message, _)| message.clone()).unwrap_or_default());
        results.extend(orchestrator::orchestrator(cluster, install, &installed, &report, now).await);
        results.extend(status::registrations(report.as_ref().ok().and_then(Option::as_ref)));
        Ok(results)
    }

    async fn without_install(
        &self,
        cluster: &Cluster,
        namespace: &str,
        token: Option<TokenSource>,
        error: Option<crate::cluster::ClusterError>,
    ) -> Result<Vec<CheckResult>, Failure> {
        let mut results = match self.as_seen_here(None, token).await {
            Some(results) => results,
            None => status::azure_devops(None, "there is no install to ask", Timestamp::now()),
        };
        let target = ClusterTarget {
            cluster,
            flags: &self.cluster,
            namespace,
            agents_namespace: namespace,
            account: Account { namespace: namespace.to_owned(), name: installed::ACCOUNT.to_owned() },
            installed: false,
            by_install: false,
            job: Err("there is no configuration".to_owned()),
        };
        let (of_cluster, answers) = self::cluster(&target).await;
        results.extend(of_cluster);
        results.extend(orchestrator::missing(namespace, error.as_ref().filter(|_| answers)));
        if !answers && let Some(missing) = results.iter_mut().find(|result| result.check == "installed") {
            missing.outcome = Outcome::Skipped;
            missing.code = None;
            missing.fix = None;
            missing.message = "installed: the cluster has to answer first".to_owned();
        }
        Ok(results)
    }
}

/// All that has to hold before an install: what `check --pre` shows, and `install` looks at first.
pub(super) async fn before_install(target: &Target, cluster: &ClusterTarget<'_>) -> Vec<CheckResult> {
    let mut results = azure_devops(target).await;
    results.extend(self::cluster(cluster).await.0);
    results
}

/// Azure DevOps as the orchestrator's status has it.
pub(super) fn from_status(report: Option<&crate::core::Report>, now: Timestamp) -> Vec<CheckResult> {
    status::azure_devops(report, "the orchestrator has written no status", now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Code;

    #[test]
    fn the_exit_code_is_3_from_the_severity_that_was_asked_for() {
        let check = result::Check(result::Section::Cluster, "x");
        let (well, warned, failed) = (check.ok(""), check.warn(Code::Throttled, ""), check.fail(Code::Forbidden, ""));
        let both = [well.clone(), warned];
        assert_eq!(FailOn::Error.exit(&both), Exit::Done);
        assert_eq!(FailOn::Warning.exit(&both), Exit::Bad);
        assert_eq!(FailOn::Error.exit(&[well, failed.clone()]), Exit::Bad);
        assert_eq!(FailOn::Never.exit(&[failed]), Exit::Done);
    }

    #[test]
    fn a_job_can_be_made_from_flags_alone() {
        let config = default_config("https://dev.azure.com/contoso", &["Linux".to_owned()]).unwrap();
        let job = job_of(&config, "ado").unwrap();
        assert_eq!(job["metadata"]["namespace"], "ado");
    }
}
