//! `uninstall`: takes an install back, agents and registrations included, and says what it could not.
//!
//! `belongings` finds what is ours, `retire` has the orchestrator tidy up in Azure DevOps while it still can, `remove`
//! deletes. `elsewhere` gives up an installation that has no cluster.

mod belongings;
mod elsewhere;
mod remove;
mod retire;

use std::{io::Write, path::PathBuf, time::Duration};

use super::{
    Exit, Failure,
    cluster_flags::{CLUSTER_FLAGS, ClusterFlags},
    install::{DryRun, can_ask, confirm, duration, say},
};
use crate::core::Code;
use belongings::Belongings;

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
        let busy = ours.busy();
        if busy > 0 && !self.drain && !self.force {
            let message = match ours.knows_busy() {
                true => format!("{busy} agents are at work"),
                false => format!("{busy} agents may be at work: the orchestrator does not say"),
            };
            let fix = "--drain waits for them; --force ends them and fails their pipeline jobs".to_owned();
            return Err(Failure::new(Exit::Failed, message, Some(fix)));
        }
        if !self.yes && !confirm("Remove all of this?")? {
            return Err(Failure::new(Exit::Failed, "nothing was changed", None));
        }
        let left_registered = retire::retire(&cluster, &ours, self.force, self.timeout).await?;
        let mut failure = remove::all(&cluster, &ours, self.timeout).await?;
        if self.delete_namespace {
            failure.causes.extend(remove::namespaces(&cluster, &ours, self.timeout).await);
        }
        failure.causes.extend(left_registered);
        if failure.causes.is_empty() { Ok(Exit::Done) } else { Err(failure) }
    }

    /// Says what will go.
    fn list(&self, ours: &Belongings) {
        say(format!("this goes from namespace {}:", ours.places().join(" and ")));
        for reference in ours.references() {
            say(format!("  {reference}"));
        }
        let live = ours.live_jobs();
        if live > 0 {
            say(format!("  of these, {live} Jobs of agents that have not ended"));
        }
        for (pool, agent) in ours.registered() {
            say(format!("  agent {agent} of the agent pool \"{pool}\" in Azure DevOps"));
        }
        if self.delete_namespace {
            say(format!("  and the namespace {} with all that is in it", ours.namespace));
        }
    }
}
