//! `uninstall --config`: gives up an installation that has no cluster, by its configuration.

use std::{io::Write, path::Path};

use super::{
    super::{Exit, Failure, serve::refused},
    Args, DryRun, confirm, say,
};
use crate::{
    config::{Config, Environment},
    orchestrator::{Holding, Retirement, ServeError},
};

/// Gives up all that this configuration has made.
pub(super) async fn uninstall(args: &Args, path: Option<&Path>) -> Result<Exit, Failure> {
    let config = Config::load(&Environment::of_this_process(), path).map_err(refused)?;
    let retirement = Retirement::of(config).await.map_err(failed)?;
    let holdings = retirement.look().await.map_err(failed)?;
    if holdings.iter().all(Holding::is_nothing) {
        say(format!("nothing of this installation is in {}", retirement.place()));
        return Ok(Exit::Done);
    }
    let (goes, stays): (Vec<_>, Vec<_>) =
        holdings.iter().filter(|holding| !holding.is_nothing()).partition(|holding| holding.served || args.force);
    if !goes.is_empty() {
        say(format!("this goes from {} and from Azure DevOps:", retirement.place()));
    }
    goes.iter().for_each(|holding| say(format!("  {}", in_words(holding))));
    if !stays.is_empty() {
        say("this is of no pool of this configuration, and stays without --force, which ends its agents too:");
        stays.iter().for_each(|holding| say(format!("  {}", in_words(holding))));
    }
    if args.dry_run != DryRun::None {
        return Ok(Exit::Done);
    }
    let busy: usize = goes.iter().map(|holding| holding.busy.len()).sum();
    if busy > 0 && !args.drain && !args.force {
        let fix = "--drain waits for them; --force ends them and fails their pipeline jobs".to_owned();
        return Err(Failure::new(Exit::Failed, format!("{busy} agents are at work"), Some(fix)));
    }
    say("an orchestrator that still runs has to be stopped first: it makes anew what goes");
    if !args.yes && !confirm("Remove all of this?")? {
        return Err(Failure::new(Exit::Failed, "nothing was changed", None));
    }
    let left =
        retirement.go(args.force, args.timeout, |what| say(format!("waiting for {what}"))).await.map_err(failed)?;
    let left: Vec<_> = left.iter().filter(|holding| !holding.is_nothing()).collect();
    if left.is_empty() {
        writeln!(std::io::stdout(), "nothing of this installation is left in {}", retirement.place())?;
        // A quiet one looks at its registrations once a minute: nobody waits here to see that.
        say("should its placeholder be back in a minute, an orchestrator still runs: stop it, and repeat this");
        return Ok(Exit::Done);
    }
    let is_busy = left.iter().any(|holding| holding.served && !holding.busy.is_empty());
    let causes = left
        .iter()
        .map(|holding| (format!("still there: {}", in_words(holding)), Some(way_out(holding, args.force).to_owned())));
    let exit = if is_busy { Exit::TimedOut } else { Exit::Failed };
    Err(Failure { exit, causes: causes.collect() })
}

/// What to do about what has stayed.
fn way_out(Holding { served, remains, busy, .. }: &Holding, force: bool) -> &'static str {
    if !served && force {
        "it is being deleted, or Azure refuses that: repeat this"
    } else if !served {
        "another configuration of this installation serves it, or none any more: uninstall with that one, or --force"
    } else if !busy.is_empty() && !force {
        "a longer --timeout, or --force"
    } else if remains.registrations == 0 || remains.runs + remains.placeholders > 0 {
        "an orchestrator that still serves this pool makes anew what goes: stop it, and repeat this, with a longer --timeout"
    } else {
        "Azure DevOps lets go of agents that were ended at work after some minutes: repeat this then, or delete them under \
         Organization settings > Agent pools"
    }
}

fn in_words(holding: &Holding) -> String {
    let Holding { pool, remains, ended, busy, .. } = holding;
    let at_work = if busy.is_empty() { String::new() } else { format!(" ({} at work)", busy.len()) };
    format!("pool \"{pool}\": {remains}{at_work}, {ended} that have ended")
}

fn failed(error: ServeError) -> Failure {
    Failure::new(Exit::Failed, error.message, error.fix)
}
