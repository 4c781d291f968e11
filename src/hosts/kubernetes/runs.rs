//! From what the watches told to runs: each Job joined to its pod and to what Events say of it.

use std::collections::{BTreeSet, HashMap};

use super::{
    slim_job::KeptJob,
    slim_pod::KeptPod,
    view::{State, View},
};
use crate::core::{Progress, Run, RunPhase};

/// What the view holds.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The runs of our installation and organization.
    pub(super) runs: Vec<Run>,
    /// Failed Jobs.
    pub(super) failed: Vec<FailedJob>,
    /// The Secrets that Jobs of the installation mount, ended ones included.
    pub(super) mounted: BTreeSet<String>,
}

/// A failed Job, which has to be kept for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FailedJob {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) ttl: Option<i32>,
    /// Whether the TTL is ours rather than the template's.
    pub(super) managed_ttl: bool,
}

impl View {
    /// All runs, as the view knows them.
    pub(super) fn listing(&self) -> Listing {
        let state = self.state();
        let mut pods: HashMap<&str, &KeptPod> = HashMap::new();
        for pod in state.pods.items.values().map(|entry| &entry.kept) {
            // A Job of several pods is told by the one that goes on, or the latest.
            let rank = |pod: &KeptPod| (!pod.has_ended, pod.created_at);
            let known = pods.entry(pod.job.as_str()).or_insert(pod);
            if rank(pod) > rank(known) {
                *known = pod;
            }
        }
        let mut listing = Listing::default();
        for (name, entry) in &state.jobs.items {
            let job = &entry.kept;
            listing.mounted.extend(job.token_secret.clone());
            let Some(run) = job.run.clone() else { continue };
            if matches!(run.phase, RunPhase::Failed(..)) {
                let (name, uid) = (name.clone(), job.uid.clone());
                listing.failed.push(FailedJob { name, uid, ttl: job.ttl, managed_ttl: job.managed_ttl });
            }
            listing.runs.push(join(run, job, pods.get(job.uid.as_str()).copied(), &state));
        }
        listing.failed.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        listing
    }

    /// The uid of a Job, and its run as far as the Job alone tells.
    pub(super) fn job(&self, name: &str) -> Option<(String, Run)> {
        let state = self.state();
        let job = &state.jobs.items.get(name)?.kept;
        Some((job.uid.clone(), job.run.clone()?))
    }
}

fn join(mut run: Run, job: &KeptJob, pod: Option<&KeptPod>, state: &State) -> Run {
    let end = state.ends.get(&job.uid);
    match &mut run.phase {
        RunPhase::Live => match pod {
            Some(pod) => {
                run.progress = if pod.has_ended { Progress::Ended } else { pod.progress };
                // A pod may be another one's successor. One that runs has had its place before.
                run.progress_since = pod.placed_at.or(run.progress_since.max(Some(pod.created_at)));
                run.was_busy = pod.is_busy;
                run.runs_since = pod.runs_since;
                run.agent_ended_at = pod.agent_ended_at;
                let warning = state.warnings.get(&pod.uid).filter(|_| pod.progress < Progress::Running);
                run.trouble = pod.trouble.as_ref().or(warning).cloned();
            }
            None => run.trouble = state.warnings.get(&job.uid).cloned(),
        },
        RunPhase::Succeeded(_) => run.progress = Progress::Running,
        RunPhase::Failed(_, reason) => {
            let progress = pod.map(|pod| pod.progress).or(end.map(|end| end.progress));
            run.progress = progress.unwrap_or(Progress::Pending);
            let words = pod.and_then(|pod| pod.failure.as_ref()).or(end.map(|end| &end.failure));
            // A pod that its Job ended says only that it was killed.
            let own = job.failure.as_deref().filter(|own| *own != "DeadlineExceeded");
            if let (Some(words), Some(own)) = (words, own) {
                *reason = if own.is_empty() { words.clone() } else { format!("{words} ({own})") };
            }
        }
    }
    run
}
