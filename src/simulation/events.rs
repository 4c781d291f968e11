//! What is going to happen, in order. This is all the time there is: nothing waits, the next event is simply taken.

use std::{cmp::Reverse, collections::BinaryHeap};

use jiff::Timestamp;

/// The number of a run, counted from 0 in the order of their creation.
pub(super) type Serial = usize;

/// What happens. Events of one moment happen in the order of this list, and of the numbers in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// An agent has done its job.
    JobDone(Serial),
    /// A pod has found its place.
    Placed(Serial),
    /// A pod is Running.
    PodRuns(Serial),
    /// A run dies before its agent is online.
    Dies(Serial),
    /// An agent comes online.
    Online(Serial),
    /// A job of the workload is queued.
    Arrives(usize),
    /// A job of the workload is cancelled.
    Cancelled(usize),
    /// The scaler's process restarts.
    Restart,
    /// The scaler looks.
    Poll,
}

/// The events to come.
#[derive(Default)]
pub(super) struct Events(BinaryHeap<Reverse<(Timestamp, Event)>>);

impl Events {
    pub(super) fn add(&mut self, moment: Timestamp, event: Event) {
        self.0.push(Reverse((moment, event)));
    }

    /// Takes the next event, unless it happens after the deadline.
    pub(super) fn next_until(&mut self, deadline: Option<Timestamp>) -> Option<(Timestamp, Event)> {
        let Reverse((moment, _)) = self.0.peek()?;
        if deadline.is_some_and(|deadline| *moment > deadline) {
            return None;
        }
        self.0.pop().map(|Reverse(next)| next)
    }
}
