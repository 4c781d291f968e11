//! What we asked of a host and have not yet seen there.
//!
//! A host that is watched tells of our own doings a little late. Until then they are expected, as Kubernetes' own Job
//! controller does it: what we started counts as a run, what we stopped does not. An expectation ends when it is seen
//! to be fulfilled, or after a time, lest something that went away unseen be expected for good.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;

use super::{Held, Progress, Run, RunPhase, StartRun};

/// After this time what was asked for is no longer expected, whatever became of it.
const PATIENCE: Duration = Duration::from_secs(300);

/// The same for a start of which it is not known whether it took effect. A watch that works shows it much sooner, and
/// while it is expected it is not tried again. A watch may also be silent, so that the host is asked before it is given up.
const DOUBT: Duration = Duration::from_secs(3);

/// What we asked of a host and have not yet seen there. Every call may be repeated without harm.
#[derive(Clone, Debug, Default)]
pub struct Expectations {
    starts: HashMap<String, ExpectedStart>,
    stops: HashMap<String, Done>,
    equipped: HashMap<String, Done>,
}

#[derive(Clone, Debug)]
struct ExpectedStart {
    run: StartRun,
    asked_at: Timestamp,
    /// When it was created by the host's clock, once the host has said so. An older run of that name is another one.
    created_at: Option<Timestamp>,
    /// Who makes it ready, once it is there.
    held: Option<Held>,
    /// Whether an attempt may have worked of which nothing is known.
    in_doubt: bool,
    until: Timestamp,
}

/// What was done to a run that is there: it was stopped, or made ready.
#[derive(Clone, Debug)]
struct Done {
    /// It is the one that was created then. A later one of that name is another one.
    created_at: Timestamp,
    until: Timestamp,
}

impl Expectations {
    /// A run is about to be asked for. To be called before the host is asked: whatever becomes of the call, the run
    /// may be there from now on.
    pub fn starting(&mut self, run: &StartRun, now: Timestamp) {
        let until = now + PATIENCE;
        let expected =
            || ExpectedStart { run: run.clone(), asked_at: now, created_at: None, held: None, in_doubt: false, until };
        let start = self.starts.entry(run.name.clone()).or_insert_with(expected);
        if start.created_at.is_none() {
            start.until = until;
        }
    }

    /// The host has it, since `created_at` by its clock, held or not. That it has been seen already is fine.
    pub fn started(&mut self, name: &str, created_at: Timestamp, held: Option<Held>) {
        if self.stops.get(name).is_some_and(|stop| stop.created_at <= created_at) {
            self.stops.remove(name);
        }
        if let Some(start) = self.starts.get_mut(name) {
            start.created_at = Some(created_at);
            start.held = held;
            start.in_doubt = false;
            start.until = start.until.max(start.asked_at + PATIENCE);
        }
    }

    /// The run that was created then is ready: it is held no longer, though it may be seen so for a while.
    pub fn equipped(&mut self, name: &str, created_at: Timestamp, now: Timestamp) {
        self.equipped.insert(name.to_owned(), Done { created_at, until: now + PATIENCE });
    }

    /// Nobody knows whether the start took effect.
    pub fn in_doubt(&mut self, name: &str, now: Timestamp) {
        if let Some(start) = self.starts.get_mut(name).filter(|start| start.created_at.is_none()) {
            start.in_doubt = true;
            start.until = start.until.min(now + DOUBT);
        }
    }

    /// Starts that have been in doubt for long enough, so that the host has to be asked for them: what is there is
    /// [started](Self::started), and what is not is given up by the next [merge](Self::merge).
    #[must_use]
    pub fn doubts(&self, now: Timestamp) -> Vec<String> {
        let due = |start: &&ExpectedStart| start.in_doubt && start.created_at.is_none() && now >= start.until;
        self.starts.values().filter(due).map(|start| start.run.name.clone()).collect()
    }

    /// The host was asked for it, and gave no answer.
    pub fn still_in_doubt(&mut self, name: &str, now: Timestamp) {
        if let Some(start) = self.starts.get_mut(name).filter(|start| start.in_doubt) {
            start.until = (now + DOUBT).min(start.asked_at + PATIENCE);
        }
    }

    /// The host said no: nothing was started. An earlier start of that name that may have worked is expected all the
    /// same.
    pub fn refused(&mut self, name: &str, now: Timestamp) {
        match self.starts.get(name) {
            Some(start) if start.in_doubt => self.in_doubt(name, now),
            Some(start) if start.created_at.is_none() => drop(self.starts.remove(name)),
            _ => {}
        }
    }

    /// The host has stopped the run that was created then.
    pub fn stopped(&mut self, name: &str, created_at: Timestamp, now: Timestamp) {
        if self.starts.get(name).and_then(|start| start.created_at).is_some_and(|at| at <= created_at) {
            self.starts.remove(name);
        }
        self.stops.insert(name.to_owned(), Done { created_at, until: now + PATIENCE });
    }

    /// Whether a start of that name is expected.
    #[must_use]
    pub fn expects(&self, name: &str) -> bool {
        self.starts.contains_key(name)
    }

    /// The run of that name as it is expected.
    #[must_use]
    pub fn expected(&self, name: &str) -> Option<Run> {
        self.starts.get(name).map(ExpectedStart::as_run)
    }

    /// Adds what is expected to what is observed, takes away what was stopped, and forgets what is fulfilled.
    #[must_use]
    pub fn merge(&mut self, observed: Vec<Run>, now: Timestamp) -> Vec<Run> {
        self.starts.retain(|_, start| now < start.until);
        self.stops.retain(|_, stop| now < stop.until);
        self.equipped.retain(|_, equipped| now < equipped.until);
        if self.starts.is_empty() && self.stops.is_empty() && self.equipped.is_empty() {
            return observed;
        }
        let mut gone = std::mem::take(&mut self.stops);
        let mut runs = Vec::with_capacity(observed.len() + self.starts.len());
        for mut run in observed {
            if let Some((name, stop)) =
                gone.remove_entry(&run.name).filter(|(_, stop)| run.created_at <= stop.created_at)
            {
                self.stops.insert(name, stop);
                continue;
            }
            if let Some(start) = self.starts.get(&run.name) {
                if start.created_at.is_some_and(|created_at| run.created_at < created_at) {
                    // Its namesake from before, which had to be gone for the new one to be made.
                    continue;
                }
                self.starts.remove(&run.name);
            }
            self.make_ready(&mut run);
            runs.push(run);
        }
        for start in self.starts.values() {
            let mut run = start.as_run();
            if self.equipped.get(&run.name).is_some_and(|equipped| equipped.created_at == run.created_at) {
                run.held = None;
            }
            runs.push(run);
        }
        runs
    }

    /// A run that is seen as held is held no longer if we have made it ready; once it is seen so, that is forgotten.
    fn make_ready(&mut self, run: &mut Run) {
        let Some(equipped) = self.equipped.get(&run.name) else { return };
        if run.held.is_some() && equipped.created_at == run.created_at {
            run.held = None;
        } else if equipped.created_at <= run.created_at {
            self.equipped.remove(&run.name);
        }
    }
}

impl ExpectedStart {
    fn as_run(&self) -> Run {
        let StartRun { name, pool, template, purpose, attempt, revision, recipe } = self.run.clone();
        Run {
            name,
            pool,
            template,
            purpose,
            attempt,
            created_at: self.created_at.unwrap_or(self.asked_at),
            phase: RunPhase::Live,
            revision,
            progress: Progress::Pending,
            progress_since: None,
            runs_since: None,
            trouble: None,
            agent_ended_at: None,
            recipe,
            held: self.held.clone(),
            was_busy: false,
            lease: None,
        }
    }
}

#[cfg(test)]
mod tests;
