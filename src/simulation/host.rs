//! The virtual host's own books: which runs there are and how far each has come. What runs do, `world` says.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use jiff::Timestamp;

use super::events::Serial;
use crate::core::{Run, RunPhase, StartRun};

/// How long ended runs stay, as Jobs do by their TTL.
const KEEP_FINISHED: Duration = Duration::from_mins(10);
const KEEP_FAILED: Duration = Duration::from_hours(24);

/// A run with what the host knows of it and no scaler sees.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) serial: Serial,
    pub(super) run: Run,
    pub(super) agent: Option<Online>,
}

/// A run's agent since it came online.
#[derive(Debug)]
pub(super) struct Online {
    /// Its number in the pool.
    pub(super) id: i64,
    pub(super) session: String,
    pub(super) since: Timestamp,
    /// The request that it has received.
    pub(super) request: Option<i64>,
}

/// All runs that have not expired, in the order of their creation.
#[derive(Debug, Default)]
pub(super) struct Host {
    runs: Vec<Tracked>,
    names: HashMap<String, Serial>,
    /// Ended runs by the moment at which they disappear.
    expiries: BTreeSet<(Timestamp, Serial)>,
    created: Serial,
    /// Counts the changes.
    version: u64,
}

impl Host {
    pub(super) fn runs(&self) -> &[Tracked] {
        &self.runs
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// A new run, unless there is one of its name: then nothing happens, as with Jobs.
    pub(super) fn create(&mut self, start: &StartRun, now: Timestamp) -> Option<Serial> {
        if self.names.contains_key(&start.name) {
            return None;
        }
        self.version += 1;
        let serial = self.created;
        self.created += 1;
        self.names.insert(start.name.clone(), serial);
        self.runs.push(Tracked { serial, run: start.expected(now), agent: None });
        Some(serial)
    }

    /// A run that is live.
    pub(super) fn live(&self, serial: Serial) -> Option<&Tracked> {
        Some(&self.runs[self.index(serial)?]).filter(|tracked| tracked.run.is_live())
    }

    /// The same, to be changed.
    pub(super) fn live_mut(&mut self, serial: Serial) -> Option<&mut Tracked> {
        let index = self.index(serial)?;
        self.version += 1;
        Some(&mut self.runs[index]).filter(|tracked| tracked.run.is_live())
    }

    /// The agent of a live run, if it is online.
    pub(super) fn agent(&self, serial: Serial) -> Option<&Online> {
        self.live(serial)?.agent.as_ref()
    }

    fn index(&self, serial: Serial) -> Option<usize> {
        self.runs.binary_search_by_key(&serial, |tracked| tracked.serial).ok()
    }

    pub(super) fn named(&self, name: &str) -> Option<Serial> {
        self.names.get(name).copied()
    }

    /// Notes how a run has ended; it stays to be looked at.
    pub(super) fn end(&mut self, serial: Serial, phase: RunPhase) {
        let (ended_at, keep) = match phase {
            RunPhase::Succeeded(at) => (at, KEEP_FINISHED),
            RunPhase::Failed(at, _) => (at, KEEP_FAILED),
            RunPhase::Live => return,
        };
        if let Some(tracked) = self.live_mut(serial) {
            tracked.run.phase = phase;
            self.expiries.insert((ended_at + keep, serial));
        }
    }

    /// Deletes a run.
    pub(super) fn delete(&mut self, serial: Serial) {
        if let Some(index) = self.index(serial) {
            self.version += 1;
            let tracked = self.runs.remove(index);
            self.names.remove(&tracked.run.name);
        }
    }

    /// Lets ended runs disappear whose time is over.
    pub(super) fn expire(&mut self, now: Timestamp) {
        let mut expired = BTreeSet::new();
        while let Some(&(moment, serial)) = self.expiries.first()
            && moment <= now
        {
            self.expiries.pop_first();
            expired.insert(serial);
        }
        if expired.is_empty() {
            return;
        }
        self.version += 1;
        let names = &mut self.names;
        self.runs.retain(|tracked| {
            let stays = !expired.contains(&tracked.serial);
            if !stays {
                names.remove(&tracked.run.name);
            }
            stays
        });
    }
}
