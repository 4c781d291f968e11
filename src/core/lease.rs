//! Who acts, of several orchestrators for the same pools: an election over one Lease, without a clock or a call.
//!
//! Clocks are not compared. A holder that somebody else's Lease names is gone when *we* have seen the same record
//! for as long as it promises, by a clock of our own that never goes back; and a holder counts its own term from the
//! moment that it *sent* its last renewal, and ends it well before anybody may take over. So two of them believe at
//! the same moment that they may act only if one's clock runs half as fast again as the other's, or a Lease is
//! deleted under its holder. The semantics are those of client-go's `leaderelection`.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

/// A moment by a clock of our own that never goes back, as the time since some beginning of ours.
pub type Moment = Duration;

/// A holder of another version may promise itself longer terms than ours; longer than so many of ours is a mistake.
const LONGEST_PROMISE: u32 = 4;

/// The times of an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTiming {
    /// How long a record has to stay as it is before somebody else may take over.
    pub lease: Duration,
    /// How often the holder renews it.
    pub renew: Duration,
    /// How long after its last renewal the holder may act. Well under `lease`: what it has just begun must end.
    pub act: Duration,
    /// How often the others look.
    pub look: Duration,
}

impl LeaseTiming {
    /// What orchestrators use.
    pub const STANDARD: Self = Self {
        lease: Duration::from_secs(15),
        renew: Duration::from_secs(5),
        act: Duration::from_secs(10),
        look: Duration::from_secs(2),
    };
}

/// What a Lease says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseRecord {
    /// Who holds it; nobody after it was released.
    pub holder: Option<String>,
    /// When the holder took it, by the holder's clock.
    pub acquired_at: Option<Timestamp>,
    /// When the holder renewed it, by the holder's clock, in whole microseconds.
    pub renewed_at: Option<Timestamp>,
    /// The term that the holder promises itself.
    pub term: Option<Duration>,
    /// How often it has gone from one holder to another.
    pub transitions: u32,
}

/// A Lease as it was read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseView {
    /// Its `resourceVersion`: a write that names it succeeds only if nobody wrote in between.
    pub version: String,
    /// What it says.
    pub record: LeaseRecord,
}

/// A record, and since when we have seen it unchanged.
#[derive(Clone, Debug)]
pub struct ObservedLease {
    /// What it says; where the Lease was deleted, what it said.
    pub record: LeaseRecord,
    /// The version to write over; `None` where there is no such Lease.
    pub version: Option<String>,
    /// When we first saw this record.
    pub first_seen: Moment,
    /// When we last looked.
    pub looked_at: Moment,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseStep {
    /// Read the Lease.
    Look,
    /// There is none: create it with our record.
    Create,
    /// It is ours: write our record again.
    Renew,
    /// Its holder is gone, or released it: write our record over this version.
    TakeOver,
    /// Nothing before this moment.
    Wait(Moment),
}

/// Judges what is known of a Lease: `observed` is `None` before the first look, `renewed` when our last confirmed
/// renewal was sent.
fn evaluate(
    observed: Option<&ObservedLease>,
    renewed: Option<Moment>,
    me: &str,
    now: Moment,
    timing: &LeaseTiming,
) -> LeaseStep {
    let Some(observed) = observed else { return LeaseStep::Look };
    let holder = observed.record.holder.as_deref().filter(|holder| !holder.is_empty());
    let free_at = match holder {
        Some(holder) if holder == me && observed.version.is_some() => {
            let due = renewed.map_or(now, |sent| sent + timing.renew);
            return if now < due { LeaseStep::Wait(due) } else { LeaseStep::Renew };
        }
        // Deleted, it may still be believed in by its holder: that one shall be the one who makes it anew.
        Some(holder) if holder != me => {
            let promised = observed.record.term.unwrap_or_default();
            observed.first_seen + promised.clamp(timing.lease, timing.lease * LONGEST_PROMISE)
        }
        Some(_) | None => now,
    };
    let look_at = observed.looked_at + timing.look;
    match &observed.version {
        Some(_) if now >= free_at => LeaseStep::TakeOver,
        None if now >= free_at => LeaseStep::Create,
        _ if now >= look_at => LeaseStep::Look,
        _ => LeaseStep::Wait(free_at.min(look_at)),
    }
}

/// One candidate: what it knows of the Lease, and whether it may act.
#[derive(Clone, Debug)]
pub struct Election {
    me: String,
    timing: LeaseTiming,
    observed: Option<ObservedLease>,
    /// Whether the Lease may have changed since, by a write of ours whose fate is not known or by somebody else's.
    outdated: bool,
    renewed: Option<Moment>,
    not_before: Moment,
}

impl Election {
    /// A candidate that has not looked yet. `me` must be a name that nobody else has, in no other process and at no
    /// other time.
    #[must_use]
    pub fn new(me: impl Into<String>, timing: LeaseTiming) -> Self {
        let (observed, renewed) = (None, None);
        Self { me: me.into(), timing, observed, outdated: false, renewed, not_before: Moment::ZERO }
    }

    /// Our name.
    #[must_use]
    pub fn me(&self) -> &str {
        &self.me
    }

    /// What is to be done now.
    #[must_use]
    pub fn step(&self, now: Moment) -> LeaseStep {
        if now < self.not_before {
            return LeaseStep::Wait(self.not_before);
        }
        let observed = self.observed.as_ref().filter(|_| !self.outdated);
        evaluate(observed, self.renewed, &self.me, now, &self.timing)
    }

    /// Until when we may act; `None` if we do not hold the Lease.
    #[must_use]
    pub fn may_act_until(&self) -> Option<Moment> {
        self.renewed.map(|sent| sent + self.timing.act)
    }

    /// What is known of the Lease.
    #[must_use]
    pub fn observed(&self) -> Option<&ObservedLease> {
        self.observed.as_ref()
    }

    /// The record that [`LeaseStep::Create`], [`LeaseStep::Renew`] and [`LeaseStep::TakeOver`] write. `clock` is only
    /// for people to read.
    #[must_use]
    pub fn claim(&self, clock: Timestamp) -> LeaseRecord {
        let before = self.observed.as_ref().map(|observed| &observed.record);
        let last = before.and_then(|before| before.renewed_at);
        let mut renewed_at = Timestamp::from_microsecond(clock.as_microsecond()).unwrap_or(clock);
        // A clock that stands still must not make a renewal look like none.
        if last == Some(renewed_at) {
            renewed_at = renewed_at.checked_add(SignedDuration::from_micros(1)).unwrap_or(Timestamp::UNIX_EPOCH);
        }
        let ours = before.filter(|before| before.holder.as_ref() == Some(&self.me));
        LeaseRecord {
            holder: Some(self.me.clone()),
            acquired_at: ours.map_or(Some(renewed_at), |ours| ours.acquired_at),
            renewed_at: Some(renewed_at),
            term: Some(self.timing.lease),
            transitions: match (before, ours) {
                (_, Some(ours)) => ours.transitions,
                (Some(before), None) if last.is_some() => before.transitions.saturating_add(1),
                _ => 0,
            },
        }
    }

    /// The Lease was read; `now` is when the answer was there.
    pub fn saw(&mut self, lease: Option<LeaseView>, now: Moment) {
        self.outdated = false;
        let (version, record) = lease.map(|view| (view.version, view.record)).unzip();
        self.observed = Some(match (self.observed.take(), record) {
            // Deleted: its holder's promise still counts.
            (Some(known), None) => ObservedLease { version, looked_at: now, ..known },
            // Not by what it says: a wall clock that jumps may say the same twice.
            (Some(known), _) if known.version == version => ObservedLease { looked_at: now, ..known },
            (_, record) => {
                ObservedLease { record: record.unwrap_or_default(), version, first_seen: now, looked_at: now }
            }
        });
        let held = self.observed.as_ref().filter(|observed| observed.version.is_some());
        if held.is_none_or(|held| held.record.holder.as_ref() != Some(&self.me)) {
            self.renewed = None;
        }
    }

    /// Our record was written, as confirmed by the answer. `sent` is when the write was sent, `now` when the answer
    /// was there.
    pub fn wrote(&mut self, view: LeaseView, sent: Moment, now: Moment) {
        self.saw(Some(view), now);
        self.renewed = Some(sent);
    }

    /// A call failed, and nobody knows whether it took effect; or somebody was faster. Look again at `next`.
    pub fn failed(&mut self, next: Moment) {
        self.outdated = true;
        self.not_before = next;
    }

    /// We shall not act any more. Gives the record to write so that somebody else may at once, and the version to
    /// write it over; `None` if the Lease is not ours, as last seen.
    pub fn resign(&mut self) -> Option<(String, LeaseRecord)> {
        self.renewed = None;
        let observed = self.observed.as_ref()?;
        let version = observed.version.clone()?;
        let ours = observed.record.holder.as_ref() == Some(&self.me);
        ours.then(|| (version, LeaseRecord { holder: None, ..observed.record.clone() }))
    }
}
