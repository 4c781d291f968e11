//! What really became of each run: when it was made, came online, took its job, did it, ended, was deleted, and by whom.
//! This is the truth that the orchestrator's deeds and words are compared with.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::time::Instant;

use crate::weather::Weather;

/// The life of one run.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) name: String,
    pub(crate) pool: String,
    /// The job request that it was made for, unless it is a warm one.
    pub(crate) request: Option<i64>,
    pub(crate) made: Instant,
    pub(crate) online: Option<Instant>,
    /// When its agent received a job request.
    pub(crate) received: Option<Instant>,
    /// When its agent had done its job.
    pub(crate) done: Option<Instant>,
    /// When its container ended.
    pub(crate) ended: Option<Instant>,
    pub(crate) failed: bool,
    /// When its Job was gone.
    pub(crate) gone: Option<Instant>,
    /// Whether a queue of the cluster keeps its Job suspended.
    pub(crate) queued: bool,
    /// Whether its Job was gone once and is back, since the API server was restored from a backup.
    is_back: bool,
}

impl Life {
    /// Whether it may still take a job request.
    pub(crate) fn is_supply(&self) -> bool {
        self.received.is_none() && !self.is_over()
    }

    /// Whether it occupies a place among the live runs.
    pub(crate) fn is_over(&self) -> bool {
        self.done.is_some() || self.ended.is_some() || self.gone.is_some()
    }

    fn is_busy(&self) -> bool {
        self.received.is_some() && !self.is_over()
    }
}

/// What a run may count on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promises {
    pub(crate) start_timeout: Duration,
    pub(crate) keep_finished: Duration,
    /// Whether no single call shows how things were a while ago.
    pub(crate) is_shown_the_present: bool,
}

/// Why a Job is gone, where we did not ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    /// Its TTL was over.
    Expired,
    /// The API server lost it when it was restored from a backup.
    Lost,
}

#[derive(Default)]
struct Notes {
    lives: BTreeMap<String, Life>,
    departing: BTreeMap<String, Departure>,
    wrongs: Vec<String>,
    told: BTreeSet<String>,
}

/// All runs. Those who hold it hold the same ones.
#[derive(Clone)]
pub(crate) struct History {
    notes: Arc<Mutex<Notes>>,
    weather: Weather,
    /// Nobody is judged by promises that were not made.
    promises: Option<Promises>,
    begun: Instant,
}

impl History {
    pub(crate) fn new(weather: Weather, promises: Option<Promises>) -> Self {
        Self { notes: Arc::default(), weather, promises, begun: Instant::now() }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap()
    }

    /// An invariant does not hold. Each is told once by its first words.
    pub(crate) fn wrong(&self, invariant: &str, what: impl AsRef<str>) {
        let at = self.begun.elapsed().as_secs();
        let mut notes = self.notes();
        if notes.told.insert(format!("{invariant} {}", what.as_ref().split(':').next().unwrap_or_default())) {
            notes.wrongs.push(format!("{invariant} (after {at} s): {}", what.as_ref()));
        }
    }

    /// The invariants that did not hold, in the order of time.
    pub(crate) fn wrongs(&self) -> Vec<String> {
        self.notes().wrongs.clone()
    }

    pub(crate) fn see<T>(&self, look: impl FnOnce(&BTreeMap<String, Life>) -> T) -> T {
        look(&self.notes().lives)
    }

    /// A Job was made. `is_assigned` tells whether the agent of a name has a job request by now, be it unknown to the agent.
    pub(crate) fn made(
        &self,
        uid: &str,
        name: &str,
        pool: &str,
        request: Option<i64>,
        is_assigned: impl Fn(&str) -> bool,
    ) {
        let mut notes = self.notes();
        let is_back = notes.lives.contains_key(uid);
        let life = Life {
            name: name.to_owned(),
            pool: pool.to_owned(),
            request,
            made: Instant::now(),
            online: None,
            received: None,
            done: None,
            ended: None,
            failed: false,
            gone: None,
            queued: false,
            is_back,
        };
        let is_twin = |other: &&Life| other.request == request && other.pool == pool && other.is_supply();
        let twin = notes.lives.values().find(|other| is_twin(other) && !other.is_back && !is_assigned(&other.name));
        let twin = twin.map(|twin| twin.name.clone());
        notes.lives.insert(uid.to_owned(), life);
        drop(notes);
        if let (Some(twin), Some(request), true) = (twin, request, self.promises.is_some() && !is_back) {
            self.wrong("never two", format!("two live runs for one request: {name} beside {twin} for {request}"));
        }
    }

    fn change(&self, uid: &str, change: impl FnOnce(&mut Life)) {
        if let Some(life) = self.notes().lives.get_mut(uid) {
            change(life);
        }
    }

    pub(crate) fn online(&self, uid: &str) {
        self.change(uid, |life| life.online = Some(Instant::now()));
    }

    pub(crate) fn received(&self, uid: &str) {
        self.change(uid, |life| life.received = Some(Instant::now()));
    }

    pub(crate) fn done(&self, uid: &str) {
        self.change(uid, |life| life.done = Some(Instant::now()));
    }

    pub(crate) fn ended(&self, uid: &str, failed: bool) {
        self.change(uid, |life| (life.ended, life.failed) = (Some(Instant::now()), failed));
    }

    pub(crate) fn queued(&self, uid: &str, queued: bool) {
        self.change(uid, |life| life.queued = queued);
    }

    /// The Job of a run is about to go, and nobody asked us.
    pub(crate) fn departs(&self, uid: &str, why: Departure) {
        self.notes().departing.insert(uid.to_owned(), why);
    }

    /// It did not go.
    pub(crate) fn stays(&self, uid: &str) {
        self.notes().departing.remove(uid);
    }

    /// The Job of a run is gone. `waits` tells whether a job request waits still.
    pub(crate) fn gone(&self, uid: &str, waits: impl FnOnce(i64) -> bool) {
        let mut notes = self.notes();
        let departure = notes.departing.remove(uid);
        let Some(life) = notes.lives.get_mut(uid) else { return };
        let before = life.clone();
        life.gone = Some(Instant::now());
        drop(notes);
        if departure.is_none()
            && let Some(promises) = self.promises
            && let Some(wrong) = self.unspared(&before, promises, waits)
        {
            self.wrong("spared", wrong);
        }
    }

    /// What is wrong with ending this run at this moment.
    fn unspared(&self, life: &Life, promises: Promises, waits: impl FnOnce(i64) -> bool) -> Option<String> {
        let (now, name) = (Instant::now(), &life.name);
        let age = (now - life.made).as_secs();
        if life.is_busy() {
            return Some(format!("a run was ended while its agent had a job: {name}, {age} s old"));
        }
        if let Some(done) = life.done.filter(|done| now < *done + promises.keep_finished && !life.failed) {
            let ago = (now - done).as_secs();
            return Some(format!("a run that ended well was not kept: {name} had done its job {ago} s before"));
        }
        let is_needed = life.is_supply() && life.request.is_some_and(waits);
        if life.queued && is_needed {
            return Some(format!("a run lost its place in its queue: {name}, {age} s old"));
        }
        let lied = self.weather.lied(&life.pool, now - Duration::from_secs(120));
        // The API server's stamps are in whole seconds.
        let is_young = now + Duration::from_secs(2) < life.made + promises.start_timeout && life.online.is_none();
        if is_needed && is_young && promises.is_shown_the_present && !lied {
            return Some(format!(
                "a run was ended before its startTimeout: {name}, {age} s old, and its request waits"
            ));
        }
        None
    }

    /// The pool's runs that failed, each with the moment.
    pub(crate) fn failures(&self, pool: &str) -> Vec<Instant> {
        let failed = |life: &&Life| life.pool == pool && life.failed;
        self.see(|lives| lives.values().filter(failed).filter_map(|life| life.ended).collect())
    }
}
