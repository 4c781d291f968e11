//! Who acts, where several orchestrators serve the same pools: the loop around [`crate::core::Election`].
//!
//! The election spares work and calls. It is not what makes things right: two who act at once meet at the names of what
//! they make. That is why an orchestrator that may not touch Leases says so and works without one.

use std::{convert::Infallible, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tracing::{info, warn};

use super::Metrics;
use crate::{
    cluster::{ClusterError, ErrorKind, LeaseStore},
    core::{Election, LeaseStep, LeaseTiming, Moment},
};

/// How often an orchestrator that may not touch Leases looks whether it may now.
const WITHOUT_RIGHTS: Duration = Duration::from_secs(30);

/// Releasing the Lease must not hold up the end for longer; without it, others wait for one term.
const RELEASE: Duration = Duration::from_secs(5);

/// Whether we may act. Cheap to ask and to clone.
#[derive(Clone, Debug)]
pub struct Leadership(watch::Receiver<Standing>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Somebody else acts, or we do not know yet.
    Following,
    /// We act until then, by both clocks: the first one stands still while a machine sleeps, the second one jumps.
    Leading { until: Instant, clock: Timestamp },
    /// There is no election.
    Unopposed,
    /// Nobody shares the host.
    Alone,
}

impl Standing {
    fn may_act(self) -> bool {
        match self {
            Self::Following => false,
            Self::Leading { until, clock } => Instant::now() < until && Timestamp::now() < clock,
            Self::Unopposed | Self::Alone => true,
        }
    }
}

impl Leadership {
    /// No election: a single pass, beside which there may be another one.
    #[must_use]
    pub fn none() -> Self {
        Self(watch::channel(Standing::Unopposed).1)
    }

    /// No election, because nobody shares the host.
    #[must_use]
    pub fn alone() -> Self {
        Self(watch::channel(Standing::Alone).1)
    }

    /// Whether whoever acted before is known to have stopped.
    #[must_use]
    pub fn is_elected(&self) -> bool {
        matches!(*self.0.borrow(), Standing::Leading { .. } | Standing::Alone)
    }

    /// One that begins to lead when it is told to.
    #[cfg(test)]
    pub(super) fn to_come() -> (impl Fn(), Self) {
        let (standing, leadership) = watch::channel(Standing::Following);
        let lead = move || {
            standing.send_replace(Standing::Unopposed);
        };
        (lead, Self(leadership))
    }

    /// Whether we may act at this very moment: we lead, and the last renewal is fresh. To be asked before each action.
    #[must_use]
    pub fn may_act(&self) -> bool {
        self.0.borrow().may_act()
    }

    /// Waits until we may act; returns at once if we may.
    pub async fn until_may_act(&self) {
        let mut standing = self.0.clone();
        if standing.wait_for(|standing| standing.may_act()).await.is_err() {
            // Nobody keeps the Lease any more, so that we never may again.
            std::future::pending::<()>().await;
        }
    }
}

/// Takes part in the election and keeps the Lease while it is ours.
pub struct Candidate<L> {
    store: L,
    election: Election,
    timing: LeaseTiming,
    /// When our [`Moment`]s began.
    began: Instant,
    /// The wall clock when the last renewal was sent.
    clock: Timestamp,
    standing: watch::Sender<Standing>,
    metrics: Arc<Metrics>,
    /// We may not touch Leases.
    barred: bool,
    told: Told,
    trouble: Option<ErrorKind>,
}

/// What was last said, so that it is not said again.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Unopposed,
    Leading,
    Lapsed,
    Following(String),
}

impl<L: LeaseStore> Candidate<L> {
    /// A candidate, and what tells whether it may act. `me` must be nobody else's name: see [`identity`].
    pub fn new(store: L, me: String, timing: LeaseTiming, metrics: Arc<Metrics>) -> (Self, Leadership) {
        let (standing, leadership) = watch::channel(Standing::Following);
        metrics.leads(false);
        let candidate = Self {
            store,
            election: Election::new(me, timing),
            timing,
            began: Instant::now(),
            clock: Timestamp::UNIX_EPOCH,
            standing,
            metrics,
            barred: false,
            told: Told::Nothing,
            trouble: None,
        };
        (candidate, Leadership(leadership))
    }

    /// Takes part for as long as some work takes, and releases the Lease after it.
    pub async fn keep_during<T>(mut self, work: impl Future<Output = T>) -> T {
        let done = self.keep_while(work).await;
        self.release().await;
        done
    }

    /// Takes part for as long as some work takes, after which the Lease is still ours.
    pub(super) async fn keep_while<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            never = self.keep() => match never {},
            done = work => done,
        }
    }

    async fn keep(&mut self) -> Infallible {
        loop {
            match self.election.step(self.now()) {
                LeaseStep::Wait(until) => sleep_until(self.began + until).await,
                LeaseStep::Look => self.look().await,
                LeaseStep::Create | LeaseStep::Renew | LeaseStep::TakeOver => self.write().await,
            }
            self.tell();
        }
    }

    /// Gives the Lease away, if it is ours, so that another one takes over at its next look. Nothing may be done in its
    /// name any more when this is called. A write of [`Candidate::keep`] that was cut off may still land.
    pub(super) async fn release(mut self) {
        self.standing.send_replace(Standing::Following);
        self.metrics.leads(false);
        let releasing = async {
            while let Ok(lease) = self.store.get().await {
                self.election.saw(lease, self.now());
                let Some((version, record)) = self.election.resign() else { return };
                match self.store.put(Some(&version), &record).await {
                    Ok(_) => return info!("released the lease"),
                    Err(error) if error.kind == ErrorKind::Conflict => {}
                    Err(error) => return warn!("another orchestrator takes over only after a while: {error}"),
                }
            }
        };
        if tokio::time::timeout(RELEASE, releasing).await.is_err() {
            warn!("the lease was not released in time; another orchestrator takes over only after a while");
        }
    }

    fn now(&self) -> Moment {
        self.began.elapsed()
    }

    async fn look(&mut self) {
        match self.store.get().await {
            Ok(lease) => {
                let now = self.now();
                self.election.saw(lease, now);
                // Where there is something to write, only writing shows whether we may.
                if matches!(self.election.step(now), LeaseStep::Wait(_)) {
                    self.works();
                }
            }
            Err(error) => self.failed(&error),
        }
    }

    async fn write(&mut self) {
        let (sent, clock) = (self.now(), Timestamp::now());
        let version = self.election.observed().and_then(|seen| seen.version.clone());
        match self.store.put(version.as_deref(), &self.election.claim(clock)).await {
            Ok(view) => {
                self.election.wrote(view, sent, self.now());
                self.clock = clock;
                self.works();
            }
            Err(error) => self.failed(&error),
        }
    }

    fn works(&mut self) {
        if std::mem::take(&mut self.barred) {
            info!("taking part in the election again");
        }
        if self.trouble.take().is_some() {
            info!("the lease can be read and written again");
        }
    }

    fn failed(&mut self, error: &ClusterError) {
        let mut wait = self.timing.look;
        match error.kind {
            // Somebody was faster.
            ErrorKind::Conflict | ErrorKind::AlreadyExists => {}
            ErrorKind::Forbidden | ErrorKind::Quota => {
                if !std::mem::replace(&mut self.barred, true) {
                    let fix = error.fix.as_deref();
                    warn!(fix, "working without leader election, which is safe but may do some things twice: {error}");
                }
                wait = WITHOUT_RIGHTS;
            }
            kind => {
                if self.trouble.replace(kind) != Some(kind) {
                    warn!(fix = error.fix.as_deref(), "{error}");
                }
            }
        }
        // Between half of it and all of it, so that candidates who failed together do not try again together.
        self.election.failed(self.now() + wait.mul_f64(0.5 + fastrand::f64() / 2.0));
    }

    /// Tells the loop, the metrics and the log how we stand.
    fn tell(&mut self) {
        let until = self.election.may_act_until().filter(|&until| self.now() < until);
        let standing = match until {
            _ if self.barred => Standing::Unopposed,
            Some(until) => Standing::Leading { until: self.began + until, clock: self.clock + self.timing.act },
            None => Standing::Following,
        };
        self.standing.send_if_modified(|known| std::mem::replace(known, standing) != standing);
        self.metrics.leads(standing != Standing::Following);

        let holder = self.election.observed().and_then(|seen| seen.record.holder.clone());
        let told = match (standing, holder.filter(|holder| holder != self.election.me())) {
            (Standing::Unopposed | Standing::Alone, _) => Told::Unopposed,
            (Standing::Leading { .. }, _) => Told::Leading,
            (Standing::Following, Some(leader)) => Told::Following(leader),
            (Standing::Following, None) if self.told == Told::Leading => Told::Lapsed,
            (Standing::Following, None) => return,
        };
        if self.told != told {
            match &told {
                Told::Leading => info!(me = self.election.me(), "leading"),
                Told::Lapsed => warn!("not acting any more: the lease could not be renewed in time"),
                Told::Following(leader) => info!(leader, "following another orchestrator"),
                Told::Nothing | Told::Unopposed => {}
            }
            self.told = told;
        }
    }
}

/// A name for a candidate that nobody else has: the machine's, which is the pod's, and something random, so that a
/// container that is started again in its pod does not take itself for the one before.
#[must_use]
pub fn identity() -> String {
    let known = |name: Option<String>| name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    let machine = known(std::env::var("HOSTNAME").ok())
        .or_else(|| known(std::fs::read_to_string("/proc/sys/kernel/hostname").ok()))
        .or_else(|| known(std::env::var("COMPUTERNAME").ok()))
        .unwrap_or_else(|| "orchestrator".to_owned());
    let random: String = (0..8).map(|_| fastrand::alphanumeric().to_ascii_lowercase()).collect();
    format!("{machine}_{random}")
}

#[cfg(test)]
mod tests;
