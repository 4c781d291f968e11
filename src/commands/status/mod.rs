//! `status`: how the orchestrator and its pools stand, once, all the time (`-w`), or until they stand well (`--for`).

mod changes;
mod screen;
mod view;

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use jiff::Timestamp;

use changes::changes;
use screen::Screen;
use view::view;

use super::{
    Exit, Failure,
    observed::{InstallStatus, LOOK_AGAIN, Source, StatusFlags, one_pool, or_interrupted},
};
use crate::output::{Paint, columns, has_cursor, write_json, write_yaml};

/// Show how the orchestrator and its agent pools stand
///
/// The exit code is 3 where something that should work does not. Needs the right to list Deployments, and in the agents'
/// namespace ConfigMaps and Leases; what may not be read is said, and the rest is shown. Secrets are never read.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only this agent pool
    #[arg(value_name = "POOL")]
    pool: Option<String>,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Form,
    /// Go on: redraw on a terminal, else print a line for each change
    #[arg(short, long, conflicts_with = "wait_for")]
    watch: bool,
    /// Wait until nothing that should work fails, or until no job waits, starts or runs as well
    #[arg(long = "for", value_enum, value_name = "healthy|idle")]
    wait_for: Option<Goal>,
    /// How long --for waits
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration, requires = "wait_for")]
    timeout: Duration,
    #[command(flatten)]
    from: StatusFlags,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// For people
    #[default]
    Table,
    /// With templates, conditions and names
    Wide,
    /// For machines
    Json,
    /// For machines and people
    Yaml,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Goal {
    Healthy,
    Idle,
}

/// A time such as `30s` or `5m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let span: jiff::SignedDuration = text.parse().map_err(|_| "write it as 30s, 5m or 2h".to_owned())?;
    Duration::try_from(span).map_err(|_| "it cannot be negative".to_owned())
}

impl Args {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        or_interrupted(self.show()).await
    }

    async fn show(&self) -> Result<Exit, Failure> {
        let source = self.from.open()?;
        if self.watch {
            return self.watch(&source).await;
        }
        if let Some(goal) = self.wait_for {
            return self.wait(&source, goal).await;
        }
        let status = self.look(&source).await?;
        self.print(&status)?;
        Ok(exit(&status))
    }

    async fn look(&self, source: &Source<'_>) -> Result<InstallStatus, Failure> {
        let status = source.look().await?;
        match &self.pool {
            // Where no pool is known, that is what there is to say.
            Some(pool) if !status.pools.is_empty() => one_pool(status, pool),
            Some(_) | None => Ok(status),
        }
    }

    fn print(&self, status: &InstallStatus) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match self.output {
            Form::Json => write_json(&mut out, status)?,
            Form::Yaml => write_yaml(&mut out, status)?,
            Form::Table | Form::Wide => out.write_all(self.text(status).as_bytes())?,
        }
        out.flush()
    }

    fn text(&self, status: &InstallStatus) -> String {
        view(status, self.output == Form::Wide, Timestamp::now(), Paint::stdout(), columns())
    }

    async fn watch(&self, source: &Source<'_>) -> Result<Exit, Failure> {
        let is_table = matches!(self.output, Form::Table | Form::Wide);
        let mut screen = (is_table && has_cursor()).then(Screen::default);
        let mut before: Option<InstallStatus> = None;
        let mut trouble = String::new();
        loop {
            let looked = self.look(source).await;
            let mut out = io::stdout().lock();
            match (looked, &mut screen) {
                (Ok(status), Some(screen)) => {
                    screen.draw(&mut out, &self.text(&status))?;
                    before = Some(status);
                }
                (Ok(status), None) if is_table => {
                    for line in changes(before.as_ref(), &status) {
                        writeln!(out, "{:.0} {line}", Timestamp::now())?;
                    }
                    before = Some(status);
                    trouble.clear();
                }
                (Ok(status), None) => {
                    if before.as_ref().is_none_or(|before| !changes(Some(before), &status).is_empty()) {
                        // One document a line where lines are what is read.
                        match self.output {
                            Form::Json => {
                                serde_json::to_writer(&mut out, &status).map_err(io::Error::from)?;
                                writeln!(out)?;
                            }
                            _ => {
                                writeln!(out, "---")?;
                                write_yaml(&mut out, &status)?;
                            }
                        }
                        before = Some(status);
                    }
                }
                // Before anything was seen, an error is the answer.
                (Err(failure), _) if before.is_none() => return Err(failure),
                (Err(failure), Some(screen)) => screen.draw(&mut out, &failure.to_string())?,
                (Err(failure), None) => {
                    let said = failure.to_string();
                    if said != trouble {
                        let _ = io::stderr().write_all(said.as_bytes());
                        trouble = said;
                    }
                }
            }
            out.flush()?;
            drop(out);
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn wait(&self, source: &Source<'_>, goal: Goal) -> Result<Exit, Failure> {
        let deadline = Instant::now() + self.timeout;
        let mut said = String::new();
        loop {
            let looked = self.look(source).await;
            let missing = match &looked {
                Ok(status) => missing(status, goal),
                // It may come back, and there is time.
                Err(failure) if failure.exit == Exit::Failed => Some(failure.to_string().trim_end().to_owned()),
                Err(_) => return looked.map(|_| Exit::Failed),
            };
            let (Some(missing), left) = (missing, deadline.saturating_duration_since(Instant::now())) else {
                if let Ok(status) = &looked {
                    self.print(status)?;
                }
                return Ok(Exit::Done);
            };
            if left.is_zero() {
                if let Ok(status) = &looked {
                    self.print(status)?;
                }
                let goal = if goal == Goal::Healthy { "healthy" } else { "idle" };
                let message =
                    format!("not {goal} within {}: {}", crate::output::age(self.timeout), first_line(&missing));
                return Err(Failure::new(Exit::TimedOut, message, None));
            }
            if missing != said {
                let _ = writeln!(io::stderr(), "waiting: {}", first_line(&missing));
                said = missing;
            }
            tokio::time::sleep(LOOK_AGAIN.min(left)).await;
        }
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim_start_matches("error: ")
}

/// What keeps it from standing as it should.
fn missing(status: &InstallStatus, goal: Goal) -> Option<String> {
    if !status.healthy {
        let first = status.findings.first();
        return Some(
            first.map_or("degraded".to_owned(), |found| format!("{} {}", found.finding.code, found.finding.message)),
        );
    }
    if goal == Goal::Idle && !status.is_idle() {
        let sum = |count: fn(&crate::core::PoolReport) -> u32| status.pools.iter().map(count).sum::<u32>();
        let (queued, starting, busy) = (sum(|pool| pool.queued), sum(|pool| pool.starting), sum(|pool| pool.busy));
        return Some(format!("{queued} queued, {starting} starting, {busy} busy"));
    }
    None
}

fn exit(status: &InstallStatus) -> Exit {
    if status.healthy { Exit::Done } else { Exit::Bad }
}
