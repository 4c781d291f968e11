//! What the watches have told so far: the Jobs and pods of our installation, small, and whether that can be trusted.
//!
//! A view that is not complete yet, or of which nobody knows whether it still holds, is never taken for the truth:
//! [`View::standing`] says so, and then nothing is decided.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::de::DeserializeOwned;
use tokio::{sync::watch, time::Instant};

use super::{slim_job::KeptJob, slim_pod::KeptPod};
use crate::{
    core::{Progress, Trouble},
    hosts::HostError,
};

/// How long a watch may be without a sign of life until what it told counts as stale. A watch that works gives one at
/// least every [`super::feed::WATCH_SECONDS`].
const STALE: Duration = Duration::from_secs(30);

/// A kind of object that is watched: what is read of it becomes what is kept of it.
pub(super) trait Slim: DeserializeOwned + Clone + Send + 'static {
    /// What is kept.
    type Kept: PartialEq + Send;
    /// How a sentence calls them.
    const WHAT: &'static str;
    /// Their path in a namespace.
    fn path(namespace: &str) -> String;
    fn name(&self) -> &str;
    /// The resource version, from which a watch goes on.
    fn version(&self) -> &str;
    fn keep(self, organization: &str) -> Self::Kept;
    fn table(state: &mut State) -> &mut Table<Self::Kept>;
    /// It has left its table; this is what has to be remembered, or forgotten with it.
    fn has_gone(kept: Self::Kept, state: &mut State);
}

/// What the watches have told so far.
#[derive(Debug)]
pub(super) struct View {
    pub(super) namespace: String,
    pub(super) organization: String,
    state: Mutex<State>,
    /// Counts the changes.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) jobs: Table<KeptJob>,
    pub(super) pods: Table<KeptPod>,
    /// By the uid of the Job: how a pod of it that is gone ended badly.
    pub(super) ends: HashMap<String, End>,
    /// By the uid of a Job or pod: what Events say keeps it.
    pub(super) warnings: HashMap<String, Trouble>,
}

/// How a pod ended badly.
#[derive(Debug)]
pub(super) struct End {
    pub(super) failure: String,
    pub(super) progress: Progress,
}

/// All objects of a kind, by name.
#[derive(Debug)]
pub(super) struct Table<K> {
    pub(super) items: HashMap<String, Entry<K>>,
    health: Health,
}

#[derive(Debug)]
pub(super) struct Entry<K> {
    pub(super) kept: K,
    /// Since when it is as it is, as far as we have seen.
    pub(super) since: Instant,
}

#[derive(Debug, Default)]
struct Health {
    /// When the watch last gave a sign of life after a complete list. `None` before the first one.
    confirmed: Option<Instant>,
    /// What has gone wrong since.
    trouble: Option<HostError>,
}

/// Whether a view can be trusted.
pub(super) enum Standing {
    /// It holds.
    Fresh,
    /// The first list is on its way.
    Awaited,
    /// It cannot be trusted, and this is why.
    Broken(HostError),
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self { items: HashMap::new(), health: Health::default() }
    }
}

impl View {
    pub(super) fn new(namespace: &str, organization: &str) -> Self {
        let (namespace, organization) = (namespace.to_owned(), organization.to_owned());
        Self { namespace, organization, state: Mutex::default(), changes: watch::Sender::new(0) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of changes so far.
    pub(super) fn version(&self) -> u64 {
        *self.changes.borrow()
    }

    /// Waits until there were more changes than these.
    pub(super) async fn changed_since(&self, version: u64) {
        // The sender lives as long as we do, so there is no error.
        let _ = self.changes.subscribe().wait_for(|&current| current != version).await;
    }

    pub(super) fn has_changed(&self) {
        self.changes.send_modify(|version| *version += 1);
    }

    /// Whether both watches can be trusted; the worse of the two.
    pub(super) fn standing(&self) -> Standing {
        let state = self.state();
        let now = Instant::now();
        let jobs = state.jobs.health.standing("Jobs", &self.namespace, now);
        let pods = state.pods.health.standing("pods", &self.namespace, now);
        match (jobs, pods) {
            (Standing::Broken(error), _) | (_, Standing::Broken(error)) => Standing::Broken(error),
            (Standing::Awaited, _) | (_, Standing::Awaited) => Standing::Awaited,
            (Standing::Fresh, Standing::Fresh) => Standing::Fresh,
        }
    }

    /// A complete list takes the place of all that was known.
    pub(super) fn replace<T: Slim>(&self, listed: HashMap<String, T::Kept>) {
        let mut state = self.state();
        let now = Instant::now();
        let mut old = std::mem::take(&mut T::table(&mut state).items);
        let mut changed = old.len() != listed.len();
        let items = listed.into_iter().map(|(name, kept)| {
            let entry = match old.remove(&name).filter(|known| known.kept == kept) {
                Some(known) => known,
                None => {
                    changed = true;
                    Entry { kept, since: now }
                }
            };
            (name, entry)
        });
        let items = items.collect();
        T::table(&mut state).items = items;
        for Entry { kept, .. } in old.into_values() {
            T::has_gone(kept, &mut state);
        }
        drop(state);
        if changed {
            self.has_changed();
        }
    }

    /// An object is new or has changed.
    pub(super) fn apply<T: Slim>(&self, object: T) {
        let name = object.name().to_owned();
        let kept = object.keep(&self.organization);
        let mut state = self.state();
        let items = &mut T::table(&mut state).items;
        if items.get(&name).is_some_and(|known| known.kept == kept) {
            return;
        }
        items.insert(name, Entry { kept, since: Instant::now() });
        drop(state);
        self.has_changed();
    }

    /// An object is gone.
    pub(super) fn remove<T: Slim>(&self, name: &str) {
        let mut state = self.state();
        let Some(Entry { kept, .. }) = T::table(&mut state).items.remove(name) else { return };
        T::has_gone(kept, &mut state);
        drop(state);
        self.has_changed();
    }

    /// The list is complete and the watch is alive.
    pub(super) fn is_alive<T: Slim>(&self) {
        let now = Instant::now();
        let mut state = self.state();
        let health = &mut T::table(&mut state).health;
        let was_well = matches!(health.standing("", "", now), Standing::Fresh);
        *health = Health { confirmed: Some(now), trouble: None };
        drop(state);
        if !was_well {
            self.has_changed();
        }
    }

    /// Listing or watching failed.
    pub(super) fn is_failing<T: Slim>(&self, trouble: HostError) {
        let known = T::table(&mut self.state()).health.trouble.replace(trouble);
        if known.is_none() {
            self.has_changed();
        }
    }
}

impl Health {
    fn standing(&self, what: &str, namespace: &str, now: Instant) -> Standing {
        match (&self.trouble, self.confirmed) {
            // What does not pass by itself (a missing right) is told at once, a broken connection when it lasts.
            (Some(trouble), _) if !matches!(trouble, HostError::Unavailable(_)) => Standing::Broken(trouble.clone()),
            (Some(trouble), None) => Standing::Broken(trouble.clone()),
            (None, None) => Standing::Awaited,
            (trouble, Some(confirmed)) if now.duration_since(confirmed) > STALE => {
                let seconds = STALE.as_secs();
                let why = trouble.as_ref().map(|trouble| format!(": {trouble}")).unwrap_or_default();
                let message = format!(
                    "the watch of the {what} in namespace \"{namespace}\" has told nothing for more than {seconds} s{why}"
                );
                Standing::Broken(HostError::Unavailable(message))
            }
            (_, Some(_)) => Standing::Fresh,
        }
    }
}
