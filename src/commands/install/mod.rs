//! `install`: from values to running pods. A second run is an upgrade, and the same run twice changes nothing.
//!
//! `options` is what can be asked for, `existing` what is there already, `settings` the configuration that comes of both,
//! `plan` the objects; `preflight` makes the checks of `check --pre`, `trial` the API server, `apply` changes it and `wait` sees the pods come.

mod apply;
mod ask;
mod beside;
mod existing;
mod guards;
mod moves;
mod options;
mod plan;
mod preflight;
mod print;
mod settings;
mod template_secrets;
mod token;
mod trial;
mod wait;

use super::{Exit, Failure};
pub(super) use ask::{can_ask, confirm};
pub(super) use options::{DryRun, Options, Purpose, duration};

/// Install the orchestrator into a cluster, or change an install
///
/// Asks on a terminal for what no flag says. A second run shows what it changes; what flags do not name stays as it is.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    options: Options,
}

impl Args {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        run(self.options, Purpose::Install).await
    }
}

/// `install` and `upgrade`: the second one wants something to be there.
pub(super) async fn run(options: Options, purpose: Purpose) -> Result<Exit, Failure> {
    if options.dry_run == DryRun::Client {
        let namespace = options.cluster.asked_namespace();
        let namespace = namespace.unwrap_or_else(|| super::cluster_flags::DEFAULT_NAMESPACE.to_owned());
        let settings = settings::settle(&options, &namespace, &existing::Existing::default())?;
        let plan = plan::offline(&options, &namespace, settings)?;
        print::rendered(&options, &plan)?;
        return Ok(Exit::Done);
    }
    let cluster = options.cluster.open()?;
    let existing = existing::look(&options, &cluster, purpose).await?;
    guards::no_downgrade(&options, &existing)?;
    let namespace = existing.namespace.clone();
    let settings = settings::settle(&options, &namespace, &existing)?;
    let token = token::find(&options, &cluster, &namespace, &existing, &settings).await?;
    if !options.skip_checks {
        preflight::check(&options, &cluster, &settings, &token, &existing).await?;
    }
    let plan = plan::online(&options, &namespace, settings, &token, &existing)?;
    guards::same_organization(&existing, &plan)?;
    moves::wind_up(&cluster, &existing, &plan).await?;
    guards::owned_by_nobody(&options, &cluster, &plan).await?;
    guards::alone_with_agents(&cluster, &plan).await?;
    let Some(mut applied) = apply::apply(&options, &cluster, &plan, &existing).await? else {
        return Ok(Exit::Done);
    };
    applied.undone.extend(wait::unretire(&cluster, &plan).await);
    let exit = if options.wait { wait::until_it_works(&options, &cluster, &plan, &applied).await? } else { Exit::Done };
    if applied.undone.is_empty() { Ok(exit) } else { Err(Failure { exit: Exit::Failed, causes: applied.undone }) }
}

/// One line of progress. Nobody is left to tell when standard error is closed.
pub(super) fn say(line: impl AsRef<str>) {
    let text = format!("{}\n", line.as_ref());
    let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
}
