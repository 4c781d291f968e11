//! What the server's tasks share: the state behind a lock, and a signal for each change of it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch};

use super::{grants::Grants, lists::PastLists, plans::Plans};
use crate::sandbox::{FaultKind, package::Package, served::lock, settings::Settings, state::State, switched::Faults};

/// Knows the user that a token is of.
type Who = dyn Fn(&str) -> Option<String> + Send + Sync;

/// Who of Entra's identities are users of the organization.
#[derive(Clone)]
struct Users(Arc<Who>);

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Users")
    }
}

/// One sandbox, behind all its connections and handles.
#[derive(Debug)]
pub(in crate::sandbox) struct Shared {
    pub(in crate::sandbox) settings: Settings,
    pub(in crate::sandbox) package: Package,
    state: Mutex<State>,
    faults: Mutex<Faults<FaultKind>>,
    calls: Mutex<BTreeMap<String, u64>>,
    grants: Mutex<Grants>,
    past_lists: Mutex<PastLists>,
    plans: Mutex<Plans>,
    clock_ahead: Mutex<SignedDuration>,
    users: Mutex<Option<Users>>,
    /// The state's version; whoever waits for a change subscribes.
    changed: watch::Sender<u64>,
    /// The state's alarm has come nearer.
    alarmed: Notify,
}

impl Shared {
    pub(in crate::sandbox) fn new(settings: Settings, package: Package) -> Self {
        Self {
            state: Mutex::new(State::new(settings.rules.clone())),
            clock_ahead: Mutex::new(settings.clock_ahead),
            settings,
            package,
            faults: Mutex::default(),
            calls: Mutex::default(),
            grants: Mutex::default(),
            past_lists: Mutex::default(),
            plans: Mutex::default(),
            users: Mutex::default(),
            changed: watch::Sender::new(0),
            alarmed: Notify::new(),
        }
    }

    /// The time by the organization's clock.
    pub(in crate::sandbox) fn now(&self) -> Timestamp {
        Timestamp::now().saturating_add(*lock(&self.clock_ahead)).unwrap_or(Timestamp::MAX)
    }

    /// Sets the organization's clock to be this far ahead of this machine's.
    pub(in crate::sandbox) fn set_clock_ahead(&self, ahead: SignedDuration) {
        *lock(&self.clock_ahead) = ahead;
        self.alarmed.notify_one();
    }

    /// Does something with the state at this moment, and tells everybody who waits if it changed.
    pub(in crate::sandbox) fn with<T>(&self, act: impl FnOnce(&mut State, Timestamp) -> T) -> T {
        let mut state = lock(&self.state);
        let (version, alarm) = (state.version(), state.next_alarm());
        let result = act(&mut state, self.now());
        if state.version() != version {
            self.changed.send_replace(state.version());
        }
        if state.next_alarm().is_some_and(|next| alarm.is_none_or(|before| next < before)) {
            self.alarmed.notify_one();
        }
        result
    }

    /// Looks at the state as it is now.
    pub(in crate::sandbox) fn see<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        self.with(|state, now| {
            state.advance(now);
            look(state)
        })
    }

    pub(in crate::sandbox) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(in crate::sandbox) fn faults(&self) -> MutexGuard<'_, Faults<FaultKind>> {
        lock(&self.faults)
    }

    pub(super) fn past_lists(&self) -> MutexGuard<'_, PastLists> {
        lock(&self.past_lists)
    }

    pub(super) fn plans(&self) -> MutexGuard<'_, Plans> {
        lock(&self.plans)
    }

    pub(in crate::sandbox) fn grants(&self) -> MutexGuard<'_, Grants> {
        lock(&self.grants)
    }

    /// From now on whoever this function names by a token is a user.
    pub(in crate::sandbox) fn set_users(&self, who: impl Fn(&str) -> Option<String> + Send + Sync + 'static) {
        *lock(&self.users) = Some(Users(Arc::new(who)));
    }

    /// The user that a token of Entra is of.
    pub(in crate::sandbox) fn user(&self, token: &str) -> Option<String> {
        let users = lock(&self.users).clone()?;
        (users.0)(token)
    }

    pub(in crate::sandbox) fn count_call(&self, route: String) {
        *lock(&self.calls).entry(route).or_default() += 1;
    }

    pub(in crate::sandbox) fn calls(&self) -> BTreeMap<String, u64> {
        lock(&self.calls).clone()
    }

    /// Lets the time pass, for as long as the sandbox lives: what lapses does so when it is due, not when somebody
    /// happens to look.
    pub(in crate::sandbox) async fn keep_time(&self) {
        loop {
            let alarm = self.see(State::next_alarm);
            match alarm {
                Some(alarm) => {
                    let left = alarm.duration_since(self.now()).max(SignedDuration::from_millis(1));
                    tokio::select! {
                        () = tokio::time::sleep(left.unsigned_abs()) => {}
                        () = self.alarmed.notified() => {}
                    }
                }
                None => self.alarmed.notified().await,
            }
        }
    }
}
