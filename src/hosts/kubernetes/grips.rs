//! Which runs this process is making ready, and how it knows them. It spares a look at each Job between its creation and
//! its start; what is not here is looked up.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::Instant;

use super::slim_job::SlimJob;

/// After this time somebody else may have claimed a run (the planner lets them after a minute), so that nothing is begun
/// then that cannot be undone.
const HOLDS: Duration = Duration::from_secs(45);

/// After this time nobody asks for it any more.
const FORGOTTEN: Duration = Duration::from_secs(300);

/// A held run that is ours to make ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Grip {
    /// The uid of its Job.
    pub(super) uid: String,
    /// When the Job was made.
    pub(super) created_at: Timestamp,
    /// The Job's mark, as we wrote it last.
    pub(super) mark: String,
    /// Whether its suspension is somebody else's business.
    pub(super) own_suspend: bool,
    /// Not later than the mark was written.
    pub(super) since: Instant,
    /// Whether its files may have been put there before.
    pub(super) tried: bool,
}

impl Grip {
    /// What a Job tells, if it is held.
    pub(super) fn of(job: &SlimJob, since: Instant) -> Option<Self> {
        Some(Self {
            uid: job.uid().to_owned(),
            created_at: job.created_at(),
            mark: job.mark()?.to_owned(),
            own_suspend: job.is_suspended_by_others(),
            since,
            tried: false,
        })
    }

    /// Whether nobody else can have claimed it yet.
    pub(super) fn holds(&self) -> bool {
        self.since.elapsed() < HOLDS
    }
}

/// All of them, by the names of their runs.
#[derive(Debug, Default)]
pub(super) struct Grips(Mutex<HashMap<String, Grip>>);

impl Grips {
    fn all(&self) -> MutexGuard<'_, HashMap<String, Grip>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A Job that we have made is ours, if it is held.
    pub(super) fn take(&self, name: &str, job: &SlimJob, since: Instant) {
        if let Some(grip) = Grip::of(job, since) {
            self.insert(name, grip);
        }
    }

    pub(super) fn insert(&self, name: &str, grip: Grip) {
        let mut all = self.all();
        all.retain(|_, known| known.since.elapsed() < FORGOTTEN);
        all.insert(name.to_owned(), grip);
    }

    pub(super) fn get(&self, name: &str) -> Option<Grip> {
        self.all().get(name).cloned()
    }

    pub(super) fn let_go(&self, name: &str) {
        self.all().remove(name);
    }
}
