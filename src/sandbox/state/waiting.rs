//! The queue: requests without an agent, in the order in which they are served. Those that are alike stand in one
//! lane, so that a thousand requests that nobody can serve just now cost no more than one.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use jiff::Timestamp;

use super::{Request, licence::is_private};
use crate::core::Demand;

/// A waiting request's place in the queue of the organization; the smallest is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    bumped: Reverse<u64>,
    priority: Reverse<i64>,
    queued_at: Timestamp,
    pub(super) id: i64,
}

impl Turn {
    fn of(request: &Request) -> Self {
        Self {
            bumped: Reverse(request.bumped),
            priority: Reverse(request.job.priority),
            queued_at: request.queued_at,
            id: request.id,
        }
    }
}

/// What requests have in common that can or cannot be served alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lane {
    pub(super) pool: i64,
    pub(super) private: bool,
    pub(super) demands: Vec<Demand>,
}

impl Lane {
    fn of(request: &Request) -> Self {
        Self { pool: request.pool, private: is_private(&request.job.parallelism_tag), demands: request.demands.clone() }
    }
}

/// All waiting requests. No lane is empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting(BTreeMap<Lane, BTreeSet<Turn>>);

impl Waiting {
    pub(super) fn insert(&mut self, request: &Request) {
        self.0.entry(Lane::of(request)).or_default().insert(Turn::of(request));
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, request: &Request) -> bool {
        let lane = Lane::of(request);
        let Some(turns) = self.0.get_mut(&lane) else { return false };
        let was_there = turns.remove(&Turn::of(request));
        if turns.is_empty() {
            self.0.remove(&lane);
        }
        was_there
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn lanes(&self) -> impl Iterator<Item = (&Lane, impl Iterator<Item = Turn>)> {
        self.0.iter().map(|(lane, turns)| (lane, turns.iter().copied()))
    }

    #[cfg(test)]
    pub(super) fn contains(&self, request: &Request) -> bool {
        self.0.get(&Lane::of(request)).is_some_and(|turns| turns.contains(&Turn::of(request)))
    }
}
