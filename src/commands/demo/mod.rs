//! `demo`: the whole thing at work, with no cluster and no Azure DevOps organization.
//!
//! The sandbox stands in for Azure DevOps, and the local host for a cluster, or another sandbox for Azure. Everything
//! between them is the real thing: the orchestrator, its REST client, `start.sh`, and agents that are processes of their
//! own.

mod morning;
mod place;
mod summary;
mod view;

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;

use self::{
    morning::Morning,
    place::{HostName, Place},
    summary::Summary,
    view::View,
};
use super::{
    Exit, Failure,
    signals::{self, Caught},
};
use crate::{
    orchestrator::{Stopper, serve, stop_pair},
    sandbox::{AgentSpec, Sandbox, Settings, State},
};

/// The pools of the demo's organization.
const POOLS: [&str; 2] = ["Linux Builds", "Deployments"];

/// Agents that ended take a moment to deregister and to be noticed.
const WINDING_DOWN: Duration = Duration::from_secs(60);

/// See it work: a busy morning of pipeline jobs, served by agents on this machine
///
/// Starts a stand-in for Azure DevOps and the orchestrator in one process, queues pipeline jobs (a burst, a trickle, one
/// that is cancelled while it runs, one with a demand that no agent satisfies) and shows how agents come and go. With
/// `--host aci` the agents run in container groups of a stand-in for Azure: no account, no bill. Needs bash, curl, tar and
/// sed; contacts nothing but this machine; leaves nothing behind.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How many pipeline jobs to queue, 4 to 1000
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u16).range(4..=1000))]
    jobs: u16,
    /// The most agents at once, 1 to 100
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    max_agents: u16,
    /// Another seed is another morning
    #[arg(long, default_value_t = 1, value_name = "S")]
    seed: u64,
    /// Where agents run
    #[arg(long, value_enum, default_value_t, value_name = "HOST")]
    host: HostName,
    /// Print the summary for machines
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Json,
}

impl Args {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let Self { jobs, max_agents, seed, host, output } = self;
        let folder = tempfile::Builder::new()
            .prefix("kubectl-ado-demo-")
            .tempdir()
            .context("cannot make a folder for the agents; set TMPDIR to one that can be written")?;
        let sandbox = Sandbox::start(SocketAddr::from(([127, 0, 0, 1], 0)), Settings::default())
            .context("cannot start the stand-in for Azure DevOps")?;
        let pools = open_pools(&sandbox)?;
        let (place, config) = Place::open(host, &sandbox, folder.path(), max_agents)?;

        let (stopper, stop) = stop_pair();
        let caught = Caught::default();
        let view = View::new(&sandbox, &pools);
        let morning = Morning::new(usize::from(jobs), seed);
        let played = {
            let play = async {
                morning.play(&sandbox, &pools).await?;
                wait_for_the_last_agents(&sandbox, &place).await;
                stopper.stop();
                Ok::<(), Failure>(())
            };
            // Whoever is interrupted waits for no job any more.
            let interrupted = stop.clone();
            let play = async {
                tokio::select! {
                    biased;
                    played = stopping_on_failure(play, &stopper) => played,
                    () = interrupted.wanted() => Ok(()),
                }
            };
            let orchestrator = async {
                let served = serve(config, None, stop).await;
                stopper.stop();
                served
            };
            tokio::select! {
                both = async { tokio::join!(orchestrator, play) } => {
                    let (served, played) = both;
                    served.map_err(|error| Failure::new(Exit::Failed, error.message, error.fix)).and(played)
                }
                never = view.run() => match never {},
                signals = signals::watch(&stopper, &caught) => Err(signals.map_or_else(Failure::from, |never| match never {})),
            }
        };
        let left_running = place.clear_away(&sandbox).await?;
        folder.close().context("the demo's folder could not be removed")?;
        if let Some(exit) = caught.exit() {
            return Ok(exit);
        }
        played?;

        let summary = Summary::of(&sandbox, left_running, place.groups());
        summary.print(matches!(output, Some(Format::Json)))?;
        Ok(if summary.is_good() { Exit::Done } else { Exit::Bad })
    }
}

/// A play that fails must not leave the orchestrator waiting for its end.
async fn stopping_on_failure<T>(
    play: impl Future<Output = Result<T, Failure>>,
    stopper: &Stopper,
) -> Result<T, Failure> {
    let played = play.await;
    stopper.stop();
    played
}

/// Pools that have been used before, each with one offline agent of the image: without one, Azure DevOps fails every
/// job at once.
fn open_pools(sandbox: &Sandbox) -> Result<Vec<(String, i64)>, Failure> {
    let mut pools = Vec::new();
    for name in POOLS {
        let id = sandbox.add_pool(name).context("cannot make a pool")?;
        let placeholder = AgentSpec::named("placeholder").with("bash", "/bin/bash").disabled();
        sandbox.add_agent(id, placeholder).context("cannot register a placeholder agent")?;
        pools.push((name.to_owned(), id));
    }
    Ok(pools)
}

/// Agents that have done their job deregister themselves, or are, and then their processes end.
async fn wait_for_the_last_agents(sandbox: &Sandbox, place: &Place) {
    let gone = |state: &State| state.history().all(|agent| agent.online_at.is_none() || agent.removed_at.is_some());
    sandbox.until(WINDING_DOWN, gone).await;
    place.wait_until_all_ended(WINDING_DOWN).await;
}
