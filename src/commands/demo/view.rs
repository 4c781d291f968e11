//! The demo's live view: a table that is redrawn on a terminal, and elsewhere a plain line for each change.

use std::{convert::Infallible, io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{Instant, sleep};

use crate::{
    output::{age, table},
    sandbox::{Phase, Sandbox, State},
};

/// Fast enough to look alive, slow enough to cost nothing.
const REDRAW: Duration = Duration::from_millis(200);

pub(super) struct View<'a> {
    sandbox: &'a Sandbox,
    pools: &'a [(String, i64)],
    began: Instant,
}

/// How one pool stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Standing {
    queued: usize,
    running: usize,
    finished: usize,
    agents: usize,
}

impl<'a> View<'a> {
    pub(super) fn new(sandbox: &'a Sandbox, pools: &'a [(String, i64)]) -> Self {
        Self { sandbox, pools, began: Instant::now() }
    }

    /// Shows how things stand until it is dropped.
    pub(super) async fn run(&self) -> Infallible {
        let terminal = std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        if terminal { self.redraw().await } else { self.tell().await }
    }

    async fn redraw(&self) -> Infallible {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        let _clear = ClearOnDrop(&bar);
        loop {
            let standings = self.standings();
            let rows = self.pools.iter().zip(&standings).map(|((name, _), standing)| {
                let Standing { queued, running, finished, agents } = *standing;
                [name.clone(), queued.to_string(), running.to_string(), finished.to_string(), agents.to_string()]
            });
            let head = ["POOL", "QUEUED", "RUNNING", "FINISHED", "AGENTS"];
            bar.set_message(format!("{}after {}", table(head, rows), age(self.began.elapsed())));
            sleep(REDRAW).await;
        }
    }

    async fn tell(&self) -> Infallible {
        let mut told = Vec::new();
        loop {
            let standings = self.standings();
            if standings != told {
                for ((name, _), standing) in self.pools.iter().zip(&standings) {
                    let Standing { queued, running, finished, agents } = standing;
                    let seconds = self.began.elapsed().as_secs_f32();
                    let line = format!(
                        "{seconds:5.1}s  {name}: {queued} queued, {running} running, {finished} finished, {agents} agents\n"
                    );
                    // Nobody reads along: nothing to be done about it.
                    let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
                }
                told = standings;
            }
            // At most one block of lines a second, and none while nothing changes.
            sleep(Duration::from_secs(1)).await;
        }
    }

    fn standings(&self) -> Vec<Standing> {
        self.sandbox.see(|state| self.pools.iter().map(|(_, pool)| standing(state, *pool)).collect())
    }
}

fn standing(state: &State, pool: i64) -> Standing {
    let mut standing = Standing::default();
    for request in state.requests().filter(|request| request.pool == pool) {
        match request.phase() {
            Phase::Queued | Phase::Assigned => standing.queued += 1,
            Phase::Received => standing.running += 1,
            Phase::Finished => standing.finished += 1,
        }
    }
    let agents = state.history().filter(|agent| agent.pool == pool);
    standing.agents = agents.filter(|agent| agent.online_at.is_some() && agent.removed_at.is_none()).count();
    standing
}

/// The view goes when it is no longer true.
struct ClearOnDrop<'a>(&'a ProgressBar);

impl Drop for ClearOnDrop<'_> {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
