//! `uninstall`: takes an install back, agents and registrations included, and says what it could not.
//!
//! `belongings` finds what is ours, `look` sees what has changed, `run` does one step after the other as
//! [`crate::core::uninstall`] decides, `remove` deletes. `elsewhere` gives up an installation that has no cluster.

mod belongings;
mod elsewhere;
mod look;
mod remove;
mod run;
mod status;

use std::{io::Write, path::PathBuf, time::Duration};

use super::signals;
use super::{
    Exit, Failure,
    cluster_flags::{CLUSTER_FLAGS, ClusterFlags},
    install::{DryRun, can_ask, confirm, duration, say},
};
use crate::core::{Code, uninstall::Mode};
use belongings::Belongings;
pub(super) use belongings::{is_live, of_installation};
use run::Run;
pub(super) use status::{Registered, registered, statuses};

/// Remove an install from a cluster, and its placeholders and agents from Azure DevOps
///
/// Refuses while agents work, unless told what to do with them. The namespace stays unless asked for.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where no cluster is: the orchestrator's configuration, whose container groups or local agents are to go; without PATH
    /// the environment alone
    #[arg(long, value_name = "PATH", num_args = 0..=1, conflicts_with = "delete_namespace", conflicts_with_all = CLUSTER_FLAGS)]
    config: Option<Option<PathBuf>>,
    /// Wait until agents that work are done; no new ones are started
    #[arg(long, conflicts_with = "force")]
    drain: bool,
    /// End agents that work, and go on where the orchestrator cannot tidy up
    #[arg(long)]
    force: bool,
    /// How long to wait for agents and for the orchestrator
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    timeout: Duration,
    /// Delete the namespace, too
    #[arg(long)]
    delete_namespace: bool,
    /// Show what would go
    #[arg(long, value_enum, value_name = "MODE", default_value_t)]
    dry_run: DryRun,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    cluster: ClusterFlags,
}

impl Args {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let tries = self.dry_run != DryRun::None;
        if !tries && !self.yes && !can_ask() {
            let message = "nobody can be asked whether to go on";
            return Err(Failure::new(Exit::Usage, message, Some("-y goes on without asking".into())));
        }
        if let Some(path) = &self.config {
            return elsewhere::uninstall(&self, path.as_deref()).await;
        }
        let cluster = self.cluster.open()?;
        let found = self.cluster.find(&cluster).await?;
        let ours = belongings::find(&cluster, &found.namespace, found.install.as_ref()).await?;
        if ours.is_empty() {
            let message =
                format!("kubectl-ado is not installed in namespace \"{}\" ({})", found.namespace, Code::NotInstalled);
            return Err(Failure::new(Exit::Failed, message, Some("name its namespace with -n".into())));
        }
        ours.owned_by_nobody()?;
        self.list(&ours);
        if tries {
            let mut out = std::io::stdout().lock();
            let how = if self.dry_run == DryRun::Server { "server dry run" } else { "dry run" };
            if self.dry_run == DryRun::Server {
                remove::try_all(&cluster, &ours).await?;
            }
            for reference in ours.references() {
                writeln!(out, "{reference} deleted ({how})")?;
            }
            return Ok(Exit::Done);
        }
        let mut run = Run::new(&cluster, &ours, self.mode(), self.timeout);
        run.refuse().await?;
        if !self.yes && !confirm("Remove all of this?")? {
            return Err(Failure::new(Exit::Failed, "nothing was changed", None));
        }
        let work = async {
            let mut causes = run.go().await?;
            if self.delete_namespace {
                causes.extend(remove::namespaces(&cluster, &ours, self.force, self.timeout).await);
            }
            Ok(causes)
        };
        let result: Result<_, Failure> = tokio::select! {
            biased;
            signal = signals::caught() => match signal? {
                Exit::Terminated => Err(Failure { exit: Exit::Terminated, causes: Vec::new() }),
                _ => Err(Failure { exit: Exit::Interrupted, causes: Vec::new() }),
            },
            result = work => result,
        };
        match result {
            Ok(causes) if causes.is_empty() => Ok(Exit::Done),
            Ok(causes) => Err(Failure { exit: Exit::Failed, causes }),
            Err(mut failure) => {
                failure.causes.extend(run.put_back().await);
                Err(failure)
            }
        }
    }

    fn mode(&self) -> Mode {
        match (self.drain, self.force) {
            (_, true) => Mode::Force,
            (true, false) => Mode::Drain,
            (false, false) => Mode::Careful,
        }
    }

    /// Says what will go.
    fn list(&self, ours: &Belongings) {
        say(format!("this goes from namespace {}:", ours.places().join(" and ")));
        for reference in ours.references() {
            say(format!("  {reference}"));
        }
        let live = ours.live().count();
        if live > 0 {
            say(format!("  of these, {live} Jobs of agents that have not ended"));
        }
        for Registered { pool, agent, .. } in ours.registered() {
            say(format!("  agent {agent} of the agent pool \"{pool}\" in Azure DevOps"));
        }
        if self.delete_namespace {
            say(format!("  and the namespace {} with all that is in it", ours.namespace));
        }
    }
}
