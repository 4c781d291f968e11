//! `resume`: an end to a pause, and to an uninstall that was not finished.

use jiff::Timestamp;

use super::{
    Exit, Failure,
    cluster_flags::ClusterFlags,
    install::say,
    observed::{Ask, AskFlags, Asked, DryRun, or_interrupted},
};
use crate::core::{ALL_POOLS, Control};

/// Start new agents again in a pool that is paused
///
/// --all also takes back an uninstall that was interrupted, or that still waits.
/// Needs the right to get, create and update ConfigMaps in the agents' namespace.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    ask: AskFlags,
    #[command(flatten)]
    cluster: ClusterFlags,
}

impl Args {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        or_interrupted(self.resume()).await
    }

    async fn resume(&self) -> Result<Exit, Failure> {
        let ask = Ask::open(&self.ask, &self.cluster).await?;
        let asked = ask.pools()?;
        let now = Timestamp::now();
        let known = ask.names(&Asked::All);
        let (before, after) = ask.change(|control| resume_in(control, &asked, &known, now)).await?;
        if after.retire {
            let message = "kubectl-ado is being uninstalled, and starts no agents in any pool";
            let fix = "kubectl ado resume --all takes the uninstall back".to_owned();
            return Err(Failure::new(Exit::Failed, message, Some(fix)));
        }
        if before.retire && self.ask.dry_run == DryRun::None {
            say("the uninstall is taken back");
        }
        let names = ask.names(&asked);
        let lines = names.iter().map(|name| {
            let was_paused = before.retire || before.pause(name, now).is_some();
            (name.clone(), if was_paused { "resumed" } else { "unchanged" }.to_owned())
        });
        let mut lines: Vec<_> = lines.collect();
        if lines.is_empty() {
            let done = if before == after { "unchanged" } else { "resumed" };
            lines.push((ALL_POOLS.to_owned(), done.to_owned()));
        }
        ask.say(&lines)?;
        ask.until_shown(&names, &after).await
    }
}

/// Ends pauses. Where all pools are paused by one word and some are resumed, the others are paused by their names from
/// then on.
fn resume_in(control: &mut Control, asked: &Asked, known: &[String], now: Timestamp) {
    control.pools.retain(|_, pause| pause.holds(now));
    let Asked::Pools(names) = asked else {
        control.pools.clear();
        control.retire = false;
        return;
    };
    let is_named = |pool: &str| names.iter().any(|name| name.to_lowercase() == pool.to_lowercase());
    if let Some(all) = control.pools.remove(ALL_POOLS) {
        for pool in known {
            control.pools.entry(pool.clone()).or_insert_with(|| all.clone());
        }
    }
    control.pools.retain(|pool, _| !is_named(pool));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Pause;

    #[test]
    fn one_of_all_paused_pools_can_be_resumed() {
        let now = "2026-01-31T12:00:00Z".parse().unwrap();
        let mut control = Control { pools: [(ALL_POOLS.to_owned(), Pause::default())].into(), retire: true };
        let known = ["linux".to_owned(), "gpu".to_owned()];
        resume_in(&mut control, &Asked::Pools(vec!["Linux".into()]), &known, now);
        assert!(control.pause("linux", now).is_none() && control.pause("gpu", now).is_some() && control.retire);
        resume_in(&mut control, &Asked::All, &known, now);
        assert!(control.pools.is_empty() && !control.retire, "an uninstall ends with all pauses");
    }
}
