//! Azure DevOps' own side: the sandbox's state machine on this schedule's clock, and how it was a while ago.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use kubectl_ado::{
    azure_devops::Error,
    sandbox::{AgentSpec, Rules, State},
};
use tokio::time::{Instant, sleep};

use crate::{
    clock,
    versions::{Versions, Waiter},
};

/// How far back it is remembered.
const MEMORY: Duration = Duration::from_secs(10);

/// The organization. All who hold it hold the same one.
#[derive(Clone)]
pub(crate) struct Organization(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// How it was from each of these moments on.
    past: Mutex<VecDeque<(Instant, Arc<State>)>>,
    versions: Versions,
    names: Mutex<Names>,
}

/// What the pools are called by now. The state machine knows no renaming, so that it is done here.
#[derive(Default)]
struct Names {
    /// The numbers of the pools by name; those that are gone are not among them.
    numbers: BTreeMap<String, i64>,
    /// Pools that have been deleted.
    deleted: BTreeSet<i64>,
}

impl Organization {
    /// An organization with these pools. Each has an offline agent, without which Azure DevOps fails every job at once.
    pub(crate) fn with_pools(pools: &[String]) -> Self {
        let state = State::new(Rules::default());
        let past = Mutex::new([(Instant::now(), Arc::new(state.clone()))].into());
        let versions = Versions::default();
        let shared = Shared { state: Mutex::new(state), past, versions, names: Mutex::default() };
        let organization = Self(Arc::new(shared));
        for pool in pools {
            organization.add_pool(pool, pool);
        }
        organization
    }

    /// A new pool; `state_name` is what the state machine calls it.
    fn add_pool(&self, name: &str, state_name: &str) {
        let number = self.change(|state, now| {
            let id = state.add_pool(state_name.into(), now).unwrap();
            state.register(id, AgentSpec::named("placeholder").disabled(), now).unwrap();
            id
        });
        self.0.names.lock().unwrap().numbers.insert(name.to_owned(), number);
    }

    /// Renames a pool and makes a new one of its old name.
    pub(crate) fn rename_and_make_anew(&self, name: &str) {
        let old = format!("{name} (old)");
        {
            let numbers = &mut self.0.names.lock().unwrap().numbers;
            let number = numbers.remove(name).unwrap();
            numbers.insert(old, number);
        }
        self.add_pool(name, &format!("{name} (anew)"));
    }

    /// Deletes a pool and makes a new one of its name. What the old one had is seen by nobody any more.
    pub(crate) fn delete_and_make_anew(&self, name: &str) {
        {
            let names = &mut *self.0.names.lock().unwrap();
            let number = names.numbers.remove(name).unwrap();
            names.deleted.insert(number);
        }
        self.add_pool(name, &format!("{name} (anew)"));
    }

    /// The number of the pool of this name, as it is called by now.
    pub(crate) fn pool_named(&self, name: &str) -> Option<i64> {
        self.0.names.lock().unwrap().numbers.get(name).copied()
    }

    /// What a pool is called by now; one that is gone has no name.
    pub(crate) fn name_of(&self, number: i64) -> String {
        let names = self.0.names.lock().unwrap();
        names.numbers.iter().find(|(_, known)| **known == number).map(|(name, _)| name.clone()).unwrap_or_default()
    }

    /// Whether a pool has not been deleted.
    pub(crate) fn exists(&self, number: i64) -> Result<(), Error> {
        let is_deleted = self.0.names.lock().unwrap().deleted.contains(&number);
        if is_deleted { Err(Error::NotFound(format!("Pool {number} does not exist."))) } else { Ok(()) }
    }

    /// Lets its own deadlines pass. To be run beside everything else.
    pub(crate) async fn age(self) {
        loop {
            sleep(Duration::from_secs(1)).await;
            self.change(State::advance);
        }
    }

    /// Does something to it, at this moment.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State, Timestamp) -> T) -> T {
        let mut state = self.0.state.lock().unwrap();
        let before = state.version();
        let result = change(&mut state, clock::now());
        if state.version() != before {
            let now = Instant::now();
            let mut past = self.0.past.lock().unwrap();
            past.push_back((now, Arc::new(state.clone())));
            while past.get(1).is_some_and(|(at, _)| *at + MEMORY < now) {
                past.pop_front();
            }
            self.0.versions.announce(state.version());
        }
        result
    }

    /// Looks at it as it is.
    pub(crate) fn see<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        self.change(State::advance);
        look(&self.0.state.lock().unwrap())
    }

    /// Looks at it as it was.
    pub(crate) fn see_past<T>(&self, age: Duration, look: impl FnOnce(&State) -> T) -> T {
        let moment = Instant::now() - age;
        let past = self.0.past.lock().unwrap();
        let later = past.partition_point(|(at, _)| *at <= moment);
        look(&past[later.saturating_sub(1)].1)
    }

    /// Waits for changes.
    pub(crate) fn waiter(&self) -> Waiter {
        self.0.versions.waiter()
    }
}

/// Whether an agent is registered, and with this key.
pub(crate) fn has_key(state: &State, pool: i64, agent: i64, key: &str) -> bool {
    let known = state.agent(pool, agent).ok().and_then(|agent| agent.authorization.as_ref());
    known.is_some_and(|known| known.public_key.modulus == key.as_bytes())
}
