//! A few keys kept ready: one takes a core some 100 ms, and the loop's thread has none to spare.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::available_parallelism,
};

use tokio::{sync::Semaphore, task::spawn_blocking};

use super::{AgentKey, KeyError};

/// Keys that are ready before anybody asks. Private keys in memory; no more of them than a small burst needs.
const READY: usize = 8;

/// Makes keys on other threads, and has some ready from the first one on.
#[derive(Clone, Debug)]
pub(in crate::azure_devops) struct KeyStock {
    ready: Arc<Mutex<VecDeque<AgentKey>>>,
    /// One place for each core: more at once would only make each of them slower.
    makers: Arc<Semaphore>,
    refilling: Arc<AtomicBool>,
}

impl Default for KeyStock {
    fn default() -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self { ready: Arc::default(), makers: Arc::new(Semaphore::new(cores)), refilling: Arc::default() }
    }
}

impl KeyStock {
    /// A key that nobody else gets.
    ///
    /// # Errors
    ///
    /// The system has no random numbers to give.
    pub(super) async fn take(&self) -> Result<AgentKey, KeyError> {
        let ready = self.ready().pop_front();
        let key = match ready {
            Some(key) => Ok(key),
            None => self.make().await,
        };
        self.refill();
        key
    }

    async fn make(&self) -> Result<AgentKey, KeyError> {
        let place = Arc::clone(&self.makers).acquire_owned().await;
        let made = spawn_blocking(move || {
            let _place = place;
            AgentKey::generate()
        });
        made.await.map_err(|error| KeyError::new(format!("the work on it broke off: {error}")))?
    }

    /// Makes what is missing, one after the other, while nobody waits for a key of their own: whoever does comes first.
    fn refill(&self) {
        if self.refilling.swap(true, Ordering::Relaxed) {
            return;
        }
        let Self { ready, makers, refilling } = self.clone();
        spawn_blocking(move || {
            let missing = || READY > ready.lock().unwrap_or_else(PoisonError::into_inner).len();
            while missing()
                && let Ok(_place) = makers.try_acquire()
            {
                let Ok(key) = AgentKey::generate() else { break };
                ready.lock().unwrap_or_else(PoisonError::into_inner).push_back(key);
            }
            refilling.store(false, Ordering::Relaxed);
        });
    }

    fn ready(&self) -> std::sync::MutexGuard<'_, VecDeque<AgentKey>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
