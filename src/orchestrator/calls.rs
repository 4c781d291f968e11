//! Calls in flight. Each kind of call has a bound of its own in each pool, so that none waits for another one, and what is
//! in flight for an object is not begun a second time.

use std::{
    collections::{BTreeMap, HashMap},
    pin::Pin,
};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::time::Instant;

/// The place of what concerns no single pool.
pub(super) const ALL_POOLS: usize = usize::MAX;

/// The most starts in flight over all pools, roughly: more makes no API server faster, only its queue longer.
const STARTS_OVER_ALL: usize = 64;

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Looks at a pool.
    Poll,
    /// Looks once more at the job requests that starts were decided for.
    SecondLook,
    /// Asks for the pool's number by its name.
    PoolNumber,
    /// Starts a run.
    Start,
    /// Makes a run ready that was made before.
    Equip,
    /// Ends a run.
    Stop,
    /// Disables an agent.
    Disable,
    /// Registers a placeholder.
    Register,
    /// Changes a placeholder.
    Update,
    /// Removes a registration.
    Deregister,
    /// Tries whether the organization supports just-in-time agents.
    Trial,
    /// Looks at the Leases of other orchestrators.
    Leases,
    /// Asks for the organization's parallel jobs.
    ParallelJobs,
    /// Marks busy agents.
    MarkBusy,
    /// Puts away what ended runs left.
    Tidy,
}

/// What must not be touched by two calls at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Family {
    Run,
    Registration,
    /// Nothing is changed.
    Question,
}

impl Kind {
    /// One word for metrics and findings.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Poll => "poll",
            Self::SecondLook => "second_look",
            Self::PoolNumber => "pool_number",
            Self::Start => "start",
            Self::Equip => "equip",
            Self::Stop => "stop",
            Self::Disable => "disable",
            Self::Register => "register",
            Self::Update => "update",
            Self::Deregister => "deregister",
            Self::Trial => "trial",
            Self::Leases => "leases",
            Self::ParallelJobs => "parallel_jobs",
            Self::MarkBusy => "mark_busy",
            Self::Tidy => "tidy",
        }
    }

    pub(super) fn family(self) -> Family {
        match self {
            Self::Start | Self::Equip | Self::Stop => Family::Run,
            Self::Disable | Self::Register | Self::Update | Self::Deregister | Self::Trial => Family::Registration,
            Self::Poll
            | Self::SecondLook
            | Self::PoolNumber
            | Self::Leases
            | Self::ParallelJobs
            | Self::MarkBusy
            | Self::Tidy => Family::Question,
        }
    }

    /// Whether whoever stops gives it time to end. A trial may be cut off: it is made anew.
    pub(super) fn is_awaited_at_the_end(self) -> bool {
        self.family() != Family::Question && self != Self::Trial
    }

    /// How many may be in flight at once in one of so many pools.
    fn most(self, pools: usize) -> usize {
        match self {
            Self::Start | Self::Equip => (STARTS_OVER_ALL / pools.max(1)).clamp(4, 16),
            // A second job on a busy agent is what must not happen: these go first, and many at once.
            Self::Stop | Self::Disable => 16,
            Self::Register | Self::Update | Self::Deregister => 4,
            _ => 1,
        }
    }
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Call {
    /// The pool's place in the policy, or [`ALL_POOLS`].
    pub(super) pool: usize,
    pub(super) kind: Kind,
    /// The run or agent that it concerns; empty where it concerns none.
    pub(super) object: String,
}

type InFlight<'a, T> = Pin<Box<dyn Future<Output = (Call, T)> + 'a>>;

/// All calls in flight.
pub(super) struct Calls<'a, T> {
    futures: FuturesUnordered<InFlight<'a, T>>,
    /// Since when.
    since: BTreeMap<Call, Instant>,
    counts: HashMap<(usize, Kind), usize>,
    pools: usize,
}

impl<'a, T: 'a> Calls<'a, T> {
    pub(super) fn new(pools: usize) -> Self {
        Self { futures: FuturesUnordered::new(), since: BTreeMap::new(), counts: HashMap::new(), pools }
    }

    /// Whether one more of this kind may begin in this pool.
    pub(super) fn has_room(&self, pool: usize, kind: Kind) -> bool {
        self.counts.get(&(pool, kind)).is_none_or(|count| *count < kind.most(self.pools))
    }

    /// Whether a call of this kind is in flight in this pool.
    pub(super) fn has(&self, pool: usize, kind: Kind) -> bool {
        self.counts.get(&(pool, kind)).is_some_and(|count| *count > 0)
    }

    /// Whether something is in flight for this object that a call of this kind must not meet.
    pub(super) fn touches(&self, pool: usize, kind: Kind, object: &str) -> bool {
        let family = kind.family();
        ALL.iter()
            .filter(|other| other.family() == family && self.has(pool, **other))
            .any(|&kind| self.since.contains_key(&Call { pool, kind, object: object.to_owned() }))
    }

    /// Begins a call.
    pub(super) fn begin(&mut self, call: Call, future: impl Future<Output = T> + 'a) {
        *self.counts.entry((call.pool, call.kind)).or_default() += 1;
        self.since.insert(call.clone(), Instant::now());
        self.futures.push(Box::pin(async move { (call, future.await) }));
    }

    /// The next call that comes out, with the moment when it was begun. `None` while none is in flight.
    pub(super) async fn next(&mut self) -> Option<(Call, T, Instant)> {
        let (call, outcome) = self.futures.next().await?;
        let since = self.since.remove(&call).unwrap_or_else(Instant::now);
        if let Some(count) = self.counts.get_mut(&(call.pool, call.kind)) {
            *count = count.saturating_sub(1);
        }
        Some((call, outcome, since))
    }

    /// All calls in flight, and since when.
    pub(super) fn in_flight(&self) -> impl Iterator<Item = (&Call, Instant)> {
        self.since.iter().map(|(call, since)| (call, *since))
    }
}

/// All kinds.
pub(super) const ALL: [Kind; 15] = [
    Kind::Poll,
    Kind::SecondLook,
    Kind::PoolNumber,
    Kind::Start,
    Kind::Equip,
    Kind::Stop,
    Kind::Disable,
    Kind::Register,
    Kind::Update,
    Kind::Deregister,
    Kind::Trial,
    Kind::Leases,
    Kind::ParallelJobs,
    Kind::MarkBusy,
    Kind::Tidy,
];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn call(kind: Kind, object: &str) -> Call {
        Call { pool: 0, kind, object: object.to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_hangs_takes_no_room_from_another_kind_or_pool() {
        let mut calls = Calls::new(1);
        for number in 0..4 {
            assert!(calls.has_room(0, Kind::Deregister));
            calls.begin(call(Kind::Deregister, &number.to_string()), std::future::pending::<()>());
        }
        assert!(!calls.has_room(0, Kind::Deregister));
        assert!(
            calls.has_room(1, Kind::Deregister) && calls.has_room(0, Kind::Disable) && calls.has_room(0, Kind::Start)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_is_being_started_is_neither_started_nor_stopped_until_that_came_out() {
        let mut calls = Calls::new(1);
        calls.begin(call(Kind::Start, "a"), tokio::time::sleep(Duration::from_secs(5)));
        for kind in [Kind::Start, Kind::Equip, Kind::Stop] {
            assert!(calls.touches(0, kind, "a") && !calls.touches(0, kind, "b"));
        }
        assert!(!calls.touches(0, Kind::Disable, "a"));
        assert_eq!(calls.next().await.map(|(call, ..)| call), Some(call(Kind::Start, "a")));
        assert!(!calls.touches(0, Kind::Stop, "a"));
    }
}
