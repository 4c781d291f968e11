//! One stand-in, behind all its connections and handles.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch};

use super::{
    entra::{Tenant, Tokens},
    faults::AzureFaultKind,
    groups::Groups,
    processes::Processes,
    settings::AzureSettings,
};
use crate::sandbox::{served::lock, switched::Faults};

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: AzureSettings,
    pub(super) tokens: Tokens,
    pub(super) processes: Processes,
    groups: Mutex<Groups>,
    tenant: Mutex<Tenant>,
    faults: Mutex<Faults<AzureFaultKind>>,
    calls: Mutex<BTreeMap<String, u64>>,
    answers: Mutex<BTreeMap<u16, u64>>,
    /// The version of what there is; whoever waits for a change subscribes.
    changed: watch::Sender<u64>,
    /// Something is due earlier than before.
    alarmed: Notify,
}

impl Shared {
    pub(super) fn new(settings: AzureSettings) -> io::Result<Self> {
        let tokens = Tokens::default();
        let tenant = Tenant {
            id: settings.tenant.clone(),
            lifetime: settings.token_lifetime,
            audiences: settings.audiences.clone(),
            applications: settings.applications.clone(),
            tokens: tokens.clone(),
        };
        Ok(Self {
            groups: Mutex::new(Groups::new(settings.subscription.clone(), settings.rules.clone())),
            tenant: Mutex::new(tenant),
            tokens,
            processes: Processes::new(&settings.entry_point)?,
            settings,
            faults: Mutex::default(),
            calls: Mutex::default(),
            answers: Mutex::default(),
            changed: watch::Sender::new(0),
            alarmed: Notify::new(),
        })
    }

    /// Does something with the groups at this moment, starts and ends what has to be, and tells everybody who waits.
    pub(super) fn with<T>(self: &Arc<Self>, act: impl FnOnce(&mut Groups, Timestamp) -> T) -> T {
        let mut groups = lock(&self.groups);
        let (version, alarm) = (groups.version(), groups.next_alarm());
        let result = act(&mut groups, Timestamp::now());
        // Under the lock, so that nobody is stopped before being started.
        for order in groups.take_orders() {
            self.processes.carry_out(self, order, groups.rules().grace);
        }
        if groups.version() != version {
            self.changed.send_replace(groups.version());
        }
        if groups.next_alarm().is_some_and(|next| alarm.is_none_or(|before| next < before)) {
            self.alarmed.notify_one();
        }
        result
    }

    /// Looks at the groups as they are now.
    pub(super) fn see<T>(self: &Arc<Self>, look: impl FnOnce(&Groups) -> T) -> T {
        self.with(|groups, now| {
            groups.advance(now);
            look(groups)
        })
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(super) fn tenant(&self) -> MutexGuard<'_, Tenant> {
        lock(&self.tenant)
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, Faults<AzureFaultKind>> {
        lock(&self.faults)
    }

    pub(super) fn count_call(&self, route: impl Into<String>) {
        *lock(&self.calls).entry(route.into()).or_default() += 1;
    }

    pub(super) fn calls(&self) -> BTreeMap<String, u64> {
        lock(&self.calls).clone()
    }

    pub(super) fn count_answer(&self, status: u16) {
        *lock(&self.answers).entry(status).or_default() += 1;
    }

    pub(super) fn answers(&self) -> BTreeMap<u16, u64> {
        lock(&self.answers).clone()
    }

    /// Lets the time pass, for as long as the stand-in lives.
    pub(super) async fn keep_time(self: Arc<Self>) {
        loop {
            match self.see(Groups::next_alarm) {
                Some(alarm) => {
                    let left = alarm.duration_since(Timestamp::now()).max(SignedDuration::from_millis(1));
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
