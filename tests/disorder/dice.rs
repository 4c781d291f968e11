//! Chance that can be repeated: everything that is drawn in a schedule comes from its seed.

use std::{
    ops::RangeInclusive,
    sync::{Arc, Mutex},
    time::Duration,
};

/// Draws by turns. Each part of a schedule has dice of its own, so that a draw more in one does not change the others.
#[derive(Clone, Debug)]
pub(crate) struct Dice(Arc<Mutex<fastrand::Rng>>);

impl Dice {
    pub(crate) fn of(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))))
    }

    /// Other dice, which depend on these and on nothing that is drawn later.
    pub(crate) fn fork(&self) -> Self {
        Self::of(self.0.lock().unwrap().u64(..))
    }

    pub(crate) fn chance(&self, probability: f64) -> bool {
        self.0.lock().unwrap().f64() < probability
    }

    pub(crate) fn number(&self, range: RangeInclusive<u64>) -> u64 {
        self.0.lock().unwrap().u64(range)
    }

    pub(crate) fn pick<T: Copy>(&self, from: &[T]) -> T {
        from[self.0.lock().unwrap().usize(..from.len())]
    }

    /// A time in milliseconds.
    pub(crate) fn time(&self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.number(range))
    }
}
