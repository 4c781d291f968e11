//! What is known of groups between two looks at Azure, and what only this process knows: runs that wait for the files of their
//! agent, and ended ones whose groups are gone already.

mod known;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use jiff::Timestamp;
use reqwest::Url;
use tokio::time::Instant;

pub(super) use known::{Known, Log};

use super::{
    observe::Seen,
    tags::{FORMER_GRACE, Former},
};
use crate::{
    core::{Expectations, Held, LONGEST_BACK_OFF, Progress, Retention, Run, RunPhase, StartRun},
    hosts::HostError,
};

/// After its job an agent is gone within this time, or it hangs.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// Looks in one pass, besides those at groups that nobody has looked at yet.
const LOOKS: usize = 8;

/// Looks at groups that nobody has looked at yet, in one pass.
const FIRST_LOOKS: usize = 64;

/// After this time nobody asks any more what became of an operation, and at most this often.
const OPERATION: Duration = Duration::from_secs(300);
const OPERATION_ASKED: Duration = Duration::from_secs(4);

/// Ended runs are remembered at least so long, lest their registrations outlive them.
const SHORTEST_MEMORY: Duration = Duration::from_secs(180);

/// The end of a group of pools that we do not serve is somebody else's business for so long.
const NOT_SERVED: Duration = Duration::from_secs(900);

/// A run that waits for its files, without a group.
#[derive(Clone, Debug)]
pub(super) struct HeldRun {
    pub(super) run: StartRun,
    pub(super) held: Held,
    /// When it was let through as far as the quota goes.
    pub(super) passed: Instant,
}

/// What Azure goes on doing after it has taken a group.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) url: Url,
    pub(super) created_at: Timestamp,
    begun: Instant,
    asked: Instant,
}

/// Something to put away.
#[derive(Clone, Debug)]
pub(super) struct Chore {
    pub(super) seen: Seen,
    pub(super) log: Log,
    pub(super) what: What,
}

/// What is to be done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Its log is kept; it stays as the memory of its failure.
    KeepLog,
    /// It has ended, and goes.
    Ended,
    /// Its time is up, and it goes.
    Overdue,
}

#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) expectations: Expectations,
    pub(super) groups: BTreeMap<String, Known>,
    pub(super) held: BTreeMap<String, HeldRun>,
    /// Groups that other installations made, by their names.
    former: BTreeMap<String, Former>,
    /// When the deletion of one of these was asked for.
    former_deleted: BTreeMap<String, Instant>,
    ended: BTreeMap<String, Run>,
    busy: BTreeSet<String>,
    operations: HashMap<String, Operation>,
    pub(super) listed_at: Option<Instant>,
    retention: Retention,
}

impl Ledger {
    pub(super) fn new(retention: Retention) -> Self {
        Self {
            expectations: Expectations::default(),
            groups: BTreeMap::new(),
            held: BTreeMap::new(),
            former: BTreeMap::new(),
            former_deleted: BTreeMap::new(),
            ended: BTreeMap::new(),
            busy: BTreeSet::new(),
            operations: HashMap::new(),
            listed_at: None,
            retention,
        }
    }

    /// Takes note of a list that was asked for at `begun`. Returns how many groups are gone since the last one.
    pub(super) fn listed(&mut self, list: Vec<Seen>, begun: Instant) -> usize {
        let mut before = std::mem::take(&mut self.groups);
        for seen in list {
            let name = seen.run.name.clone();
            let known = before.remove(&name).filter(|known| known.seen.run.created_at == seen.run.created_at);
            self.operations.remove(&name);
            let known = match known {
                Some(known) => known.listed(seen),
                None => Known::new(seen, begun),
            };
            self.groups.insert(name, known);
        }
        let mut gone = 0;
        for (name, known) in before {
            if known.since > begun {
                // It was made while the list was written.
                self.groups.insert(name, known);
                continue;
            }
            gone += 1;
            if known.seen.run.phase != RunPhase::Live {
                self.remember(known.seen.run);
            }
        }
        self.listed_at = Some(begun);
        gone
    }

    /// Takes note of the groups of other installations. Gives those that are new.
    pub(super) fn listed_former(&mut self, list: Vec<Former>) -> Vec<Former> {
        let new = list.iter().filter(|former| !self.former.contains_key(&former.name)).cloned().collect();
        self.former = list.into_iter().map(|former| (former.name.clone(), former)).collect();
        new
    }

    /// The groups of other installations that nobody has deleted in time. Each is given again only after a while.
    pub(super) fn given_up(&mut self, now: Timestamp) -> Vec<Former> {
        self.former_deleted.retain(|name, at| self.former.contains_key(name) && at.elapsed() < OPERATION);
        let late = self.former.values().filter(|former| now >= former.deadline + FORMER_GRACE);
        let due: Vec<Former> = late.filter(|former| !self.former_deleted.contains_key(&former.name)).cloned().collect();
        self.former_deleted.extend(due.iter().map(|former| (former.name.clone(), Instant::now())));
        due
    }

    /// Takes note of a look at one group; `None` if it is gone.
    pub(super) fn looked(&mut self, name: &str, seen: Option<Seen>) {
        let now = Instant::now();
        let Some(seen) = seen else {
            self.groups.remove(name);
            return;
        };
        self.operations.remove(name);
        let known = self.groups.entry(name.to_owned()).or_insert_with(|| Known::new(seen.clone(), now));
        known.looked_at = Some(now);
        known.seen = seen;
    }

    /// Which groups to look at now, the most urgent first. `slower` stretches the times between two looks.
    pub(super) fn to_look_at(&self, slower: u32) -> Vec<String> {
        let now = Instant::now();
        let mut first = Vec::new();
        let mut due = Vec::new();
        for (name, known) in &self.groups {
            if known.is_going() || known.has_ended() {
                continue;
            }
            let Some(looked_at) = known.looked_at else {
                first.push(name.clone());
                continue;
            };
            let age = now.saturating_duration_since(looked_at);
            let wanted = known.look_after(now) * slower;
            if age >= wanted {
                // How often it would have been looked at by now.
                due.push((age.as_millis() / wanted.as_millis().max(1), name.clone()));
            }
        }
        due.sort_unstable_by(|one, other| other.cmp(one));
        first.truncate(FIRST_LOOKS);
        first.extend(due.into_iter().take(LOOKS).map(|(_, name)| name));
        first
    }

    /// Whose agents have a job. One that has none any more is about to end.
    pub(super) fn busy(&mut self, names: &BTreeSet<String>) {
        let until = Instant::now() + ENDS_WITHIN;
        for name in self.busy.difference(names) {
            if let Some(known) = self.groups.get_mut(name) {
                known.ending_until = Some(until);
            }
        }
        self.busy.clone_from(names);
    }

    /// All runs as they are or are expected to be.
    pub(super) fn runs(&mut self, now: Timestamp) -> Vec<Run> {
        let retention = self.retention;
        self.ended.retain(|_, run| now < ended_at(run) + memory(run, retention));
        let there = self.groups.values().filter(|known| !known.is_going());
        let there: Vec<Run> = there.map(|known| known.seen.run.clone()).collect();
        let mut runs = self.expectations.merge(there, now);
        runs.extend(self.held.values().map(HeldRun::as_run));
        let taken: BTreeSet<String> = runs.iter().map(|run| run.name.clone()).collect();
        runs.extend(self.ended.values().filter(|run| !taken.contains(&run.name)).cloned());
        runs
    }

    /// An ended run whose group is gone or going stays known.
    pub(super) fn remember(&mut self, run: Run) {
        if run.phase != RunPhase::Live {
            self.ended.insert(run.name.clone(), run);
        }
    }

    /// Whether an ended run of that name is remembered, or a group of it goes.
    pub(super) fn is_going(&self, name: &str) -> bool {
        self.groups.get(name).is_some_and(Known::is_going)
    }

    /// Azure has taken the deletion of a group.
    pub(super) fn deleted(&mut self, name: &str, created_at: Timestamp, now: Timestamp) {
        if let Some(known) = self.groups.get_mut(name) {
            known.deleted_at = Some(Instant::now());
            known.refused = None;
        }
        self.operations.remove(name);
        self.expectations.stopped(name, created_at, now);
    }

    /// Azure has refused the deletion of a group.
    pub(super) fn not_deleted(&mut self, name: &str, why: Option<HostError>) {
        if let Some(known) = self.groups.get_mut(name) {
            known.not_deleted(why);
        }
    }

    /// Why a group stays whose deletion was refused, until it is gone: also while nobody tries again.
    pub(super) fn lasting_refusal(&self) -> Option<HostError> {
        self.groups.values().filter(|known| !known.is_going()).find_map(|known| known.refused.clone())
    }

    /// A look at a group has failed; the others come first now.
    pub(super) fn not_looked(&mut self, name: &str) {
        if let Some(known) = self.groups.get_mut(name) {
            known.looked_at = Some(Instant::now());
        }
    }

    /// Azure has taken a group and goes on with it.
    pub(super) fn goes_on(&mut self, name: &str, url: Url, created_at: Timestamp) {
        let now = Instant::now();
        self.operations.insert(name.to_owned(), Operation { url, created_at, begun: now, asked: now });
    }

    /// Operations of groups that no list has shown: they may have failed.
    pub(super) fn operations_to_ask(&mut self) -> Vec<(String, Operation)> {
        let now = Instant::now();
        self.operations.retain(|_, operation| now < operation.begun + OPERATION);
        let due =
            self.operations.iter_mut().filter(|(_, operation)| now >= operation.asked + OPERATION_ASKED).take(LOOKS);
        due.map(|(name, operation)| {
            operation.asked = now;
            (name.clone(), operation.clone())
        })
        .collect()
    }

    /// The operation has failed, and there is no group.
    pub(super) fn came_to_nothing(&mut self, name: &str, created_at: Timestamp, why: Option<String>, now: Timestamp) {
        self.operations.remove(name);
        if let (Some(why), Some(run)) = (why, self.expectations.expected(name)) {
            self.remember(Run { phase: RunPhase::Failed(now, why), progress: Progress::Ended, ..run });
        }
        self.expectations.stopped(name, created_at, now);
    }

    /// What is to be put away, what costs most first. `short`: there is no room for other groups. `serves` says which pools
    /// are ours to serve.
    pub(super) fn chores(&self, short: bool, serves: impl Fn(&str) -> bool, now: Timestamp) -> Vec<Chore> {
        let chore = |known: &Known| {
            let run = &known.seen.run;
            let overdue = now >= known.seen.deadline;
            let past = |time: Duration| now >= ended_at(run) + time;
            let what = match &run.phase {
                _ if known.is_going() || !known.may_be_deleted() => return None,
                RunPhase::Live if overdue => What::Overdue,
                RunPhase::Live => return None,
                // Whoever serves its pool may be at it, and learn from it.
                _ if !serves(&run.pool) && !overdue => past(NOT_SERVED).then_some(What::Ended)?,
                RunPhase::Succeeded(_) => What::Ended,
                RunPhase::Failed(..) if short || overdue || past(LONGEST_BACK_OFF) => What::Ended,
                RunPhase::Failed(..) if known.log != Log::Kept => What::KeepLog,
                RunPhase::Failed(..) => return None,
            };
            Some(Chore { seen: known.seen.clone(), log: known.log, what })
        };
        let mut chores: Vec<Chore> = self.groups.values().filter_map(chore).collect();
        chores.sort_by_key(|chore| chore.what != What::Overdue);
        chores
    }
}

impl HeldRun {
    fn as_run(&self) -> Run {
        Run { held: Some(self.held.clone()), ..self.run.expected(self.held.since) }
    }
}

fn ended_at(run: &Run) -> Timestamp {
    match &run.phase {
        RunPhase::Live => run.created_at,
        RunPhase::Succeeded(at) | RunPhase::Failed(at, _) => *at,
    }
}

fn memory(run: &Run, retention: Retention) -> Duration {
    match &run.phase {
        RunPhase::Failed(..) => retention.failed.max(LONGEST_BACK_OFF),
        RunPhase::Live | RunPhase::Succeeded(_) => retention.finished.max(SHORTEST_MEMORY),
    }
}
