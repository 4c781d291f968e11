//! `completion`: scripts for shells, and what kubectl asks for through `kubectl_complete-ado`.
//!
//! kubectl completes plugins by running that program with the words that were typed, the last one possibly empty. Each line
//! of the answer is a candidate, with a tab and what it is; the last one is a directive (4: no files).

mod candidates;

use std::{
    collections::BTreeSet,
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{CommandFactory, FromArgMatches};
use clap_complete::{Shell, generate};
use k8s_openapi::api::{batch::v1::Job, core::v1::Namespace};
use kube::{Api, api::ListParams};

use super::{Exit, Failure, check::newest_report, cluster_flags::ClusterFlags};
use crate::{
    cluster::{Cluster, contexts},
    output::harmless,
};
use candidates::{Candidates, Kind, candidates};

/// Somebody waits with a finger on the tab key.
const PATIENCE: Duration = Duration::from_secs(2);

/// kubectl's directive not to offer files.
const NO_FILES: &str = ":4";

/// The program that kubectl looks for on the PATH.
const SHIM: &str = "kubectl_complete-ado";
const SHIM_TEXT: &str = "#!/bin/sh\nexec kubectl-ado __complete \"$@\"\n";

/// Print completion scripts, or make kubectl complete `kubectl ado`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  # kubectl's own completion, for `kubectl ado …` (once kubectl completion is set up)
  kubectl ado completion install-shim
  # The program itself, for `kubectl-ado …`
  source <(kubectl-ado completion bash)")]
pub(super) struct Args {
    #[command(subcommand)]
    command: CompletionCommand,
}

#[derive(Debug, clap::Subcommand)]
enum CompletionCommand {
    /// Print the script for bash
    Bash,
    /// Print the script for zsh
    Zsh,
    /// Print the script for fish
    Fish,
    /// Print the script for PowerShell
    Powershell,
    /// Write the program that kubectl asks, kubectl_complete-ado
    InstallShim {
        /// A folder on the PATH [default: the first one that can be written]
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// Answer kubectl, which asks what may be typed next
#[derive(Debug, clap::Args)]
pub(super) struct CompleteArgs {
    /// The words after `kubectl ado`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "WORD")]
    words: Vec<String>,
}

impl Args {
    #[allow(clippy::unused_async, reason = "one of the family of commands")]
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let shell = match self.command {
            CompletionCommand::Bash => Shell::Bash,
            CompletionCommand::Zsh => Shell::Zsh,
            CompletionCommand::Fish => Shell::Fish,
            CompletionCommand::Powershell => Shell::PowerShell,
            CompletionCommand::InstallShim { dir } => return install_shim(dir.as_deref()),
        };
        // clap_complete panics where it cannot write, so it writes into memory.
        let mut script = Vec::new();
        generate(shell, &mut super::Cli::command(), "kubectl-ado", &mut script);
        std::io::stdout().lock().write_all(&script)?;
        Ok(Exit::Done)
    }
}

fn install_shim(dir: Option<&Path>) -> Result<Exit, Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = match dir {
        Some(dir) => vec![dir.to_owned()],
        None => std::env::split_paths(&path).filter(|folder| folder.is_absolute()).collect(),
    };
    let mut why = "PATH is empty".to_owned();
    for folder in folders {
        let target = folder.join(SHIM);
        match write_program(&target) {
            Ok(()) => {
                writeln!(std::io::stdout().lock(), "wrote {}", target.display())?;
                return Ok(Exit::Done);
            }
            Err(error) => why = format!("{}: {error}", target.display()),
        }
    }
    let fix = "name a folder on your PATH that you may write to with --dir, such as ~/.local/bin";
    Err(Failure::new(Exit::Failed, format!("{SHIM} cannot be written: {why}"), Some(fix.to_owned())))
}

fn write_program(target: &Path) -> std::io::Result<()> {
    std::fs::write(target, SHIM_TEXT)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(target, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

impl CompleteArgs {
    /// Never fails: what cannot be had is no candidate.
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let known = match candidates(&super::Cli::command(), &self.words) {
            Candidates::Known(known) => known,
            Candidates::Values { kind, before, typed } => {
                let found = tokio::time::timeout(PATIENCE, values(kind, &flags(&self.words))).await;
                let found: BTreeSet<String> = found.unwrap_or_default().into_iter().collect();
                let fits = found.into_iter().filter(|value| value.starts_with(&typed));
                fits.map(|value| (format!("{before}{value}"), String::new())).collect()
            }
        };
        let mut out = std::io::stdout().lock();
        for (name, about) in known {
            let name = harmless(&name);
            if about.is_empty() { writeln!(out, "{name}")? } else { writeln!(out, "{name}\t{}", harmless(&about))? }
        }
        writeln!(out, "{NO_FILES}")?;
        Ok(Exit::Done)
    }
}

/// The cluster's flags among the words that are there so far, whatever else is.
fn flags(words: &[String]) -> ClusterFlags {
    let parser = <ClusterFlags as clap::Args>::augment_args(clap::Command::new("complete")).ignore_errors(true);
    // All but the one that is being typed, and of the others only those that are flags of the cluster.
    let typed = words.len().saturating_sub(1);
    let mut kept = vec!["complete".to_owned()];
    let mut words = words[..typed].iter().peekable();
    while let Some(word) = words.next() {
        let name = word.split('=').next().unwrap_or_default();
        let is_ours = parser.get_arguments().any(|argument| {
            argument.get_long().is_some_and(|long| name == format!("--{long}"))
                || argument.get_short().is_some_and(|short| name == format!("-{short}"))
        });
        if is_ours {
            kept.push(word.clone());
            kept.extend(words.next_if(|_| !word.contains('=')).cloned());
        }
    }
    let matches = parser.try_get_matches_from(kept);
    let flags = matches.ok().and_then(|matches| ClusterFlags::from_arg_matches(&matches).ok()).unwrap_or_default();
    ClusterFlags { request_timeout: Some(PATIENCE), ..flags }
}

async fn values(kind: Kind, flags: &ClusterFlags) -> Vec<String> {
    if kind == Kind::Contexts {
        return contexts(flags.kubeconfig.as_deref());
    }
    let Ok(cluster) = flags.open() else { return Vec::new() };
    match kind {
        Kind::Contexts => Vec::new(),
        Kind::Namespaces => namespaces(&cluster).await,
        Kind::Pools => pools(&cluster, flags).await,
        Kind::Jobs => jobs(&cluster, flags).await,
        Kind::PoolsAndJobs => {
            let mut both = pools(&cluster, flags).await;
            both.extend(jobs(&cluster, flags).await);
            both
        }
    }
}

async fn namespaces(cluster: &Cluster) -> Vec<String> {
    let api: Api<Namespace> = Api::all(cluster.client.clone());
    let found = cluster.call("list the namespaces", api.list_metadata(&ListParams::default())).await;
    found.map(|found| found.items.into_iter().filter_map(|one| one.metadata.name).collect()).unwrap_or_default()
}

async fn pools(cluster: &Cluster, flags: &ClusterFlags) -> Vec<String> {
    let Ok(install) = flags.installed(cluster).await else { return Vec::new() };
    let report = newest_report(cluster, &install.agents_namespace).await.ok().flatten();
    report.map(|report| report.pools.into_iter().map(|pool| pool.name).collect()).unwrap_or_default()
}

async fn jobs(cluster: &Cluster, flags: &ClusterFlags) -> Vec<String> {
    let Ok(install) = flags.installed(cluster).await else { return Vec::new() };
    let api: Api<Job> = Api::namespaced(cluster.client.clone(), &install.agents_namespace);
    let ours = ListParams::default().labels("app.kubernetes.io/managed-by=kubectl-ado");
    let found = cluster.call("list the Jobs", api.list_metadata(&ours)).await;
    found.map(|found| found.items.into_iter().filter_map(|one| one.metadata.name).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_of_the_cluster_are_found_among_words_that_are_not_finished() {
        let words = ["jobs", "-o", "wide", "--kubeconfig", "/k", "--context=c", "-n", "ado", "--pool", ""];
        let flags = flags(&words.map(str::to_owned));
        assert_eq!(flags.kubeconfig.as_deref(), Some(Path::new("/k")));
        assert_eq!((flags.context.as_deref(), flags.namespace.as_deref()), (Some("c"), Some("ado")));
        assert_eq!(flags.request_timeout, Some(PATIENCE));
    }
}
