//! What the status document says of one run: for hosts that are no cluster, which tells of its Jobs itself.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Code, Progress, Purpose, RequestId, Run, RunPhase, verdict_report::shortened};

/// More runs than these of one pool make nobody wiser.
const MOST_RUNS: usize = 300;

/// Hosts' messages are of any length.
const LONGEST_MESSAGE: usize = 500;

/// One run: an agent as its host tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunReport {
    /// Its name, which is its agent's.
    pub name: String,
    /// The agent template it was made from.
    pub template: String,
    /// The job request that it was started for; absent for a warm agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// Counts the tries for one purpose, from 1.
    pub attempt: u32,
    /// How far it has come.
    pub state: RunState,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// The code of what keeps it from starting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// What keeps it from starting, or how it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How far a run has come, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunState {
    /// It has no place yet.
    Pending,
    /// It has one, and its agent does not run yet.
    Starting,
    /// Its agent runs.
    Running,
    /// It ended well.
    Succeeded,
    /// It ended badly.
    Failed,
}

/// The runs of a pool: the live ones first, then the latest.
#[must_use]
pub fn run_reports(runs: &[Run]) -> Vec<RunReport> {
    let mut reports: Vec<RunReport> = runs.iter().map(RunReport::of).collect();
    reports.sort_by_key(|report| (report.ended_at.is_some(), std::cmp::Reverse(report.created_at)));
    reports.truncate(MOST_RUNS);
    reports
}

impl RunReport {
    fn of(run: &Run) -> Self {
        let (state, ended_at, failure) = match &run.phase {
            RunPhase::Succeeded(at) => (RunState::Succeeded, Some(*at), None),
            RunPhase::Failed(at, reason) => (RunState::Failed, Some(*at), Some(reason.as_str())),
            RunPhase::Live => match run.progress {
                Progress::Queued | Progress::Pending => (RunState::Pending, None, None),
                Progress::Placed => (RunState::Starting, None, None),
                Progress::Running | Progress::Ended => (RunState::Running, None, None),
            },
        };
        let trouble = run.trouble.as_ref().filter(|_| run.is_live());
        let message = failure.or(trouble.map(|trouble| trouble.message.as_str()));
        Self {
            name: run.name.clone(),
            template: run.template.clone(),
            request: match run.purpose {
                Purpose::Request(id) => Some(id),
                Purpose::Slot(_) => None,
            },
            attempt: run.attempt,
            state,
            created_at: run.created_at,
            ended_at,
            code: trouble.map(|trouble| trouble.kind.code()),
            message: message.map(|message| shortened(message, LONGEST_MESSAGE)),
        }
    }
}
