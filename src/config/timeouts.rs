//! How long the steps of a start may take: for all agents under `defaults`, and for one template of its own.

use std::{ops::RangeInclusive, time::Duration};

use super::{
    error::Problems,
    origin::{Found, prefer},
    reader::Map,
};
use crate::core::Timeouts;

/// Kubernetes takes a while for nodes and images; a day is no longer a start.
const STEP: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);

/// Others may want to hold a Job for long.
const QUEUE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(30 * 24);

/// What is said of them in one place.
#[derive(Clone, Default)]
pub(super) struct TimeoutSettings {
    pub(super) start: Option<Found<Duration>>,
    pub(super) pull: Option<Found<Duration>>,
    pub(super) schedule: Option<Found<Duration>>,
    pub(super) queue: Option<Found<Duration>>,
}

impl TimeoutSettings {
    pub(super) fn of_map(map: &Map<'_>) -> Self {
        let duration = |key: &str, range| map.get(key).and_then(|field| field.duration(range));
        Self {
            start: duration("startTimeout", STEP),
            pull: duration("pullTimeout", STEP),
            schedule: duration("scheduleTimeout", STEP),
            queue: duration("queueTimeout", QUEUE),
        }
    }

    pub(super) fn filled_by(self, other: Self, problems: &Problems) -> Self {
        Self {
            start: prefer(self.start, other.start, problems),
            pull: prefer(self.pull, other.pull, problems),
            schedule: prefer(self.schedule, other.schedule, problems),
            queue: prefer(self.queue, other.queue, problems),
        }
    }

    /// Each by its key.
    pub(super) fn all(&self) -> [(&'static str, Option<&Found<Duration>>); 4] {
        [
            ("startTimeout", self.start.as_ref()),
            ("pullTimeout", self.pull.as_ref()),
            ("scheduleTimeout", self.schedule.as_ref()),
            ("queueTimeout", self.queue.as_ref()),
        ]
    }

    /// What holds, where the rest is as `others` say.
    pub(super) fn over(&self, others: &Self) -> Timeouts {
        let value = |own: &Option<Found<Duration>>, other: &Option<Found<Duration>>| {
            own.as_ref().or(other.as_ref()).map(|found| found.value)
        };
        let least = Timeouts::of_start(value(&self.start, &others.start).unwrap_or(Timeouts::START));
        Timeouts {
            start: least.start,
            pull: value(&self.pull, &others.pull).unwrap_or(least.pull),
            schedule: value(&self.schedule, &others.schedule).unwrap_or(least.schedule),
            queue: value(&self.queue, &others.queue),
        }
    }
}
