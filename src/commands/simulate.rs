//! `simulate`: how many agents each policy starts for a queue, and how long jobs wait, in virtual time.

use std::{io::Write, path::PathBuf, time::Duration};

use jiff::SignedDuration;

use super::{Exit, Failure};
use crate::{
    output::table,
    simulation::{self, Figures, Settings, Workload, read_trace},
};

/// More often than this is a slip of the unit.
const SHORTEST_POLL: Duration = Duration::from_millis(100);

/// Nothing in this world takes longer.
const LONGEST: Duration = Duration::from_hours(24);

/// Compare this planner with the published algorithms of others, in virtual time
///
/// Plays a queue of pipeline jobs through with each policy, against the same stand-in for Azure DevOps that `demo` uses,
/// in virtual time: nothing is contacted and nothing waits. The pool has been used before, so Azure DevOps accepts the
/// jobs; an agent is online after the cold start, takes one job and goes. Every policy looks first when the simulation
/// begins. It ends 15 minutes after the last job, so that idle agents show; if jobs wait and for an hour no job comes, is
/// received or ends, it ends too, and they are UNSERVED.
///
/// STARTED: agents that were started. SURPLUS: those that never received a job. IDLE: how long agents were online without
/// a job, in seconds, all together. PEAK: the most agents at once. WAIT: from queued to received by an agent, in seconds.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The queue: A 20 jobs at once; B 20 jobs, and 20 more 120 s later; C one job each 20 s, 60 times; D 100 jobs at
    /// once. A job takes 300 s
    #[arg(long, value_enum, default_value_t, ignore_case = true, value_name = "A|B|C|D", hide_possible_values = true)]
    scenario: Scenario,
    /// A queue of your own, as JSON lines: {"time": 12.5, "demands": ["docker"], "duration": 300}
    ///
    /// `time`: seconds from the beginning, or RFC 3339; `demands` may be left out; `duration`: seconds, or a text such as
    /// "5m". Agents offer what the jobs demand; demands that contradict each other get an agent template each.
    #[arg(long, value_name = "FILE", conflicts_with = "scenario")]
    trace: Option<PathBuf>,
    /// From a Job's creation until its agent is online
    #[arg(long, default_value = "40s", value_name = "TIME", value_parser = duration, allow_hyphen_values = true)]
    cold_start: Duration,
    /// From a Job's creation until its pod is Running
    #[arg(long, default_value = "15s", value_name = "TIME", value_parser = duration, allow_hyphen_values = true)]
    pod_start: Duration,
    /// How often every policy looks [default: 1s for this planner, for the others what their authors chose]
    #[arg(long, value_name = "TIME", value_parser = poll, allow_hyphen_values = true)]
    poll: Option<Duration>,
    /// What chance draws from: which agents die, and which jobs are cancelled
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// The most agents at once, for the policies that know such a limit [default: no maximum]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_agents: Option<u32>,
    /// When the policy's process restarts and loses its memory, from the beginning; several with commas
    #[arg(long, value_name = "TIME", value_delimiter = ',', value_parser = duration, allow_hyphen_values = true)]
    restart_at: Vec<Duration>,
    /// The share of agents that die before they are online, 0 to 1
    #[arg(long, default_value = "0", value_name = "SHARE", value_parser = share, allow_hyphen_values = true)]
    failure_rate: f64,
    /// The share of jobs that are cancelled within twice the cold start, 0 to 1
    #[arg(long, default_value = "0", value_name = "SHARE", value_parser = share, allow_hyphen_values = true)]
    cancel_rate: f64,
    /// Print it as a table or for machines
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
#[value(rename_all = "verbatim")]
enum Scenario {
    #[default]
    A,
    B,
    C,
    D,
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Format {
    #[default]
    Table,
    Json,
}

impl Args {
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        if self.cold_start < self.pod_start {
            let message = format!(
                "--cold-start {:?} is less than --pod-start {:?}: both count from the Job's creation, and an agent is \
                 online only after its pod is Running",
                self.cold_start, self.pod_start
            );
            return Err(Failure::new(
                Exit::Usage,
                message,
                Some("give both, --cold-start not below --pod-start".into()),
            ));
        }
        let settings = Settings {
            cold_start: self.cold_start,
            pod_start: self.pod_start,
            poll: self.poll,
            seed: self.seed,
            max_agents: self.max_agents,
            restarts: self.restart_at.clone(),
            failure_rate: self.failure_rate,
            cancel_rate: self.cancel_rate,
        };
        let figures = simulation::simulate(&self.workload()?, &settings)
            .map_err(|refusal| Failure::new(Exit::Failed, format!("the simulation failed: {refusal}"), None))?;
        self.print(&figures)?;
        Ok(Exit::Done)
    }

    fn workload(&self) -> Result<Workload, Failure> {
        let Some(file) = &self.trace else {
            return Ok(Workload::scenario(match self.scenario {
                Scenario::A => simulation::Scenario::A,
                Scenario::B => simulation::Scenario::B,
                Scenario::C => simulation::Scenario::C,
                Scenario::D => simulation::Scenario::D,
            }));
        };
        let wrong = |problem: &dyn std::fmt::Display| {
            let example = r#"each line is a job, such as {"time": 12.5, "demands": ["docker"], "duration": 300}"#;
            Failure::new(Exit::Usage, format!("--trace {}: {problem}", file.display()), Some(example.to_owned()))
        };
        let text = std::fs::read_to_string(file).map_err(|error| {
            Failure::new(Exit::Usage, format!("--trace {} cannot be read: {error}", file.display()), None)
        })?;
        read_trace(&text).map_err(|error| wrong(&error))
    }

    fn print(&self, figures: &[Figures]) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        match self.output {
            Format::Json => {
                serde_json::to_writer_pretty(&mut out, figures).map_err(std::io::Error::from)?;
                writeln!(out)?;
            }
            Format::Table => out.write_all(as_table(figures).as_bytes())?,
        }
        Ok(())
    }
}

/// The columns that are zero in an undisturbed world are only there if one of them is not.
fn as_table(figures: &[Figures]) -> String {
    let main = ["POLICY", "JOBS", "STARTED", "SURPLUS", "IDLE", "PEAK", "WAIT-P50", "WAIT-P95", "WAIT-MAX"];
    let row = |figures: &Figures| {
        let wait = |which: fn(&simulation::Waits) -> f64| match &figures.wait_seconds {
            Some(waits) => format!("{:.0}", which(waits)),
            None => "-".to_owned(),
        };
        [
            figures.policy.to_owned(),
            figures.jobs.to_string(),
            figures.agents_started.to_string(),
            figures.surplus.to_string(),
            format!("{:.0}", figures.idle_agent_seconds),
            figures.peak_agents.to_string(),
            wait(|waits| waits.p50),
            wait(|waits| waits.p95),
            wait(|waits| waits.max),
        ]
    };
    let troubles = |figures: &Figures| [figures.failed_starts, figures.cancelled, figures.unserved];
    if figures.iter().all(|figures| troubles(figures) == [0; 3]) {
        return table(main, figures.iter().map(row));
    }
    let [a, b, c, d, e, f, g, h, i] = main;
    let head = [a, b, c, d, e, f, g, h, i, "FAILED", "CANCELLED", "UNSERVED"];
    let rows = figures.iter().map(|figures| {
        let [a, b, c, d, e, f, g, h, i] = row(figures);
        let [failed, cancelled, unserved] = troubles(figures).map(|count| count.to_string());
        [a, b, c, d, e, f, g, h, i, failed, cancelled, unserved]
    });
    table(head, rows)
}

/// A time with its unit, such as `40s` or `1m30s`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "it has to be a time with its unit, such as 40s or 1m30s, from 0s to 24h".to_owned();
    let signed: SignedDuration = text.trim().parse().map_err(|_| wrong())?;
    Duration::try_from(signed).ok().filter(|duration| *duration <= LONGEST).ok_or_else(wrong)
}

fn poll(text: &str) -> Result<Duration, String> {
    let interval = duration(text).ok().filter(|interval| *interval >= SHORTEST_POLL);
    interval.ok_or_else(|| "it has to be a time with its unit, such as 1s or 500ms, from 100ms to 24h".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.trim().parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "it has to be a number from 0 to 1, such as 0.1".to_owned())
}
