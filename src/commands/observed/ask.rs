//! Asking the orchestrator for something by the control document, and seeing that it does it: `pause` and `resume`.

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{document::InstallStatus, look::look, reported::unknown_pool};
use crate::{
    cluster::{Cluster, NAME, change_control},
    commands::{Exit, Failure, cluster_flags::ClusterFlags},
    core::{Control, Pause},
    output::harmless,
};

/// The orchestrator reads every five seconds and writes at most that often.
const SHOWN_WITHIN: Duration = Duration::from_secs(15);

/// Times between two looks at whether it has done so.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The flags of commands that ask for something.
#[derive(Clone, Debug, clap::Args)]
pub(in crate::commands) struct AskFlags {
    /// The agent pools
    #[arg(value_name = "POOL")]
    pub(in crate::commands) pools: Vec<String>,
    /// All agent pools, those that are configured later too
    #[arg(long, conflicts_with = "pools")]
    pub(in crate::commands) all: bool,
    /// Only say what would be done
    #[arg(long, value_enum, value_name = "client|server", default_value_t, num_args = 0..=1, default_missing_value = "client")]
    pub(in crate::commands) dry_run: DryRun,
    /// Wait up to 15s until the orchestrator shows it
    #[arg(long, value_name = "true|false", default_value_t = true, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(in crate::commands) wait: bool,
}

/// `--dry-run`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::commands) enum DryRun {
    /// Do it
    #[default]
    None,
    /// Write nothing
    Client,
    /// Have the API server check it, and write nothing
    Server,
}

/// Which pools something is asked for.
pub(in crate::commands) enum Asked {
    /// These, as the orchestrator calls them.
    Pools(Vec<String>),
    /// All of them.
    All,
}

/// An orchestrator that can be asked.
pub(in crate::commands) struct Ask<'a> {
    flags: &'a AskFlags,
    cluster_flags: &'a ClusterFlags,
    cluster: Cluster,
    /// How it stands.
    pub(in crate::commands) status: InstallStatus,
    lease: String,
}

impl<'a> Ask<'a> {
    /// Finds it.
    pub(in crate::commands) async fn open(
        flags: &'a AskFlags,
        cluster_flags: &'a ClusterFlags,
    ) -> Result<Self, Failure> {
        let cluster = cluster_flags.open()?;
        let status = look(cluster_flags, &cluster).await?;
        let of_control = match &status.orchestrator.lease {
            None => of_control(&cluster, &status.agents_namespace).await?,
            Some(_) => None,
        };
        let Some(lease) = status.orchestrator.lease.clone().or(of_control) else {
            let first = status.findings.first().map(|found| &found.finding);
            let why = first.map(|finding| format!(": {} {}", finding.code, finding.message)).unwrap_or_default();
            let message = format!("nobody knows yet where the orchestrator can be asked{why}");
            return Err(Failure::new(Exit::Failed, message, Some("kubectl ado status shows how it stands".to_owned())));
        };
        Ok(Self { flags, cluster_flags, cluster, status, lease })
    }

    /// The pools that are asked for; those that nobody serves are an error.
    pub(in crate::commands) fn pools(&self) -> Result<Asked, Failure> {
        if self.flags.all {
            return Ok(Asked::All);
        }
        if self.flags.pools.is_empty() {
            let message = format!("name one or more pools, or --all; the pools: {}", self.status.pool_names());
            return Err(Failure::new(Exit::Usage, message, None));
        }
        let named = self.flags.pools.iter().map(|name| match self.status.pool(name) {
            Some(pool) => Ok(pool.name.clone()),
            // Nothing can be said against a name while nobody knows the pools.
            None if self.status.pools.is_empty() => Ok(name.clone()),
            None => Err(unknown_pool(&self.status, name)),
        });
        named.collect::<Result<_, _>>().map(Asked::Pools)
    }

    /// Writes the change, and gives the documents before and after it.
    pub(in crate::commands) async fn change(
        &self,
        mut change: impl FnMut(&mut Control),
    ) -> Result<(Control, Control), Failure> {
        let mut before = Control::default();
        let mut noted = |control: &mut Control| {
            before = control.clone();
            // A dry run on this side asks for nothing, so that nothing is written.
            if self.flags.dry_run != DryRun::Client {
                change(control);
            }
        };
        let dry_run = self.flags.dry_run == DryRun::Server;
        let namespace = &self.status.agents_namespace;
        let mut after = change_control(&self.cluster, namespace, &self.lease, dry_run, &mut noted).await?;
        if self.flags.dry_run == DryRun::Client {
            change(&mut after);
        }
        Ok((before, after))
    }

    /// One line for each pool: what was done to it.
    pub(in crate::commands) fn say(&self, lines: &[(String, String)]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let suffix = match self.flags.dry_run {
            DryRun::None => "",
            DryRun::Client => " (dry run)",
            DryRun::Server => " (server dry run)",
        };
        for (pool, done) in lines {
            writeln!(out, "pool/{} {}{suffix}", harmless(pool), harmless(done))?;
        }
        out.flush()
    }

    /// Waits until the orchestrator shows these pools as they were asked to be.
    pub(in crate::commands) async fn until_shown(&self, pools: &[String], control: &Control) -> Result<Exit, Failure> {
        if self.flags.dry_run != DryRun::None || !self.flags.wait {
            return Ok(Exit::Done);
        }
        let deadline = Instant::now() + SHOWN_WITHIN;
        loop {
            let status = look(self.cluster_flags, &self.cluster).await;
            let is_shown = |pool: &String| {
                let asked = control.retire || control.pause(pool, Timestamp::now()).is_some();
                let shown = status.as_ref().ok().and_then(|status| status.pool(pool));
                shown.is_some_and(|pool| pool.paused.is_some() == asked)
            };
            if pools.iter().all(is_shown) {
                return Ok(Exit::Done);
            }
            if Instant::now() >= deadline || self.status.stale {
                let note = "note: it is written; the orchestrator has not shown it yet and applies it when it leads";
                let _ = writeln!(io::stderr(), "{note}");
                return Ok(Exit::Done);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// The names of these pools, of all known ones where all are asked for.
    pub(in crate::commands) fn names(&self, asked: &Asked) -> Vec<String> {
        match asked {
            Asked::Pools(names) => names.clone(),
            Asked::All => self.status.pools.iter().map(|pool| pool.name.clone()).collect(),
        }
    }
}

/// A Lease whose control document is the one that is there. Where no orchestrator has reported yet, an uninstall has written
/// one all the same, and only `resume --all` takes that back.
async fn of_control(cluster: &Cluster, namespace: &str) -> Result<Option<String>, Failure> {
    let labels = format!("app.kubernetes.io/name={NAME},app.kubernetes.io/component=control");
    let found = cluster.list("v1", "ConfigMap", namespace, &labels).await?;
    let [map] = found.as_slice() else { return Ok(None) };
    let installation = map["metadata"]["name"].as_str().and_then(|name| name.strip_suffix("-control"));
    Ok(installation.map(|installation| format!("{installation}-unknown")))
}

/// A pause in a few words.
pub(in crate::commands) fn in_words(pause: &Pause) -> String {
    let until = pause.until.map(|until| format!(" until {until:.0}")).unwrap_or_default();
    let reason = pause.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("{until}{reason}")
}
