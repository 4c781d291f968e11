//! One group that is there: what was seen of it, when, and what was done about it.

use std::time::Duration;

use tokio::time::Instant;

use super::super::observe::Seen;
use crate::{
    core::{Progress, RunPhase},
    hosts::HostError,
};

/// How old a look may be: at a group whose agent runs, at one that is on its way up, and at one whose job has ended.
const RUNNING: Duration = Duration::from_secs(15);
const STARTING: Duration = Duration::from_secs(4);
const ENDING: Duration = Duration::from_secs(1);

/// The wait after a deletion that was refused; it doubles each time, up to the longest. Azure grants 300 deletions an hour.
const DELETE_AGAIN: Duration = Duration::from_secs(5);
const LONGEST_DELETE_AGAIN: Duration = Duration::from_secs(300);

/// When a deletion that did not come about is asked for again.
const DELETION: Duration = Duration::from_secs(300);

/// A group that is there.
#[derive(Clone, Debug)]
pub(in crate::hosts::container_instances) struct Known {
    pub(in crate::hosts::container_instances) seen: Seen,
    /// Since when it is known.
    pub(super) since: Instant,
    pub(super) looked_at: Option<Instant>,
    /// Until when its end is near.
    pub(super) ending_until: Option<Instant>,
    /// When we deleted it.
    pub(super) deleted_at: Option<Instant>,
    /// When it may be deleted after that was refused, and the wait until then.
    not_before: Option<(Instant, Duration)>,
    /// Why Azure refused its deletion, where that does not pass by itself.
    pub(super) refused: Option<HostError>,
    pub(in crate::hosts::container_instances) log: Log,
}

/// What became of its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::hosts::container_instances) enum Log {
    Unread,
    /// It was asked for first at this moment, and is asked for again.
    Tried(Instant),
    Kept,
}

impl Known {
    pub(super) fn new(mut seen: Seen, since: Instant) -> Self {
        let looked_at = seen.in_full.then_some(since);
        // A group that a list calls failed is looked at for the reason before it counts as that.
        if !seen.in_full {
            seen.run.phase = RunPhase::Live;
        }
        Self {
            seen,
            since,
            looked_at,
            ending_until: None,
            deleted_at: None,
            not_before: None,
            refused: None,
            log: Log::Unread,
        }
    }

    /// A list tells how far its provisioning is; what a look has told stays.
    pub(super) fn listed(mut self, seen: Seen) -> Self {
        if seen.in_full {
            self.looked_at = Some(Instant::now());
            self.seen = seen;
        } else {
            if self.seen.provisioning != seen.provisioning && !self.has_ended() {
                self.looked_at = None;
            }
            self.seen.provisioning = seen.provisioning;
        }
        self
    }

    pub(super) fn has_ended(&self) -> bool {
        self.seen.in_full && self.seen.run.phase != RunPhase::Live
    }

    /// Whether it is being deleted, and that is no longer in doubt.
    pub(in crate::hosts::container_instances) fn is_going(&self) -> bool {
        self.seen.is_going() || self.deleted_at.is_some_and(|at| at.elapsed() < DELETION)
    }

    /// Whether its deletion was not refused a moment ago.
    pub(in crate::hosts::container_instances) fn may_be_deleted(&self) -> bool {
        self.not_before.is_none_or(|(moment, _)| Instant::now() >= moment)
    }

    /// Its deletion was refused.
    pub(super) fn not_deleted(&mut self, why: Option<HostError>) {
        self.refused = why.filter(|why| matches!(why, HostError::Refused { .. }));
        let wait = self.not_before.map_or(DELETE_AGAIN, |(_, wait)| (wait * 2).min(LONGEST_DELETE_AGAIN));
        self.not_before = Some((Instant::now() + wait, wait));
    }

    /// How old a look at it may be.
    pub(super) fn look_after(&self, now: Instant) -> Duration {
        match self.seen.run.progress {
            _ if self.ending_until.is_some_and(|until| now < until) => ENDING,
            Progress::Running => RUNNING,
            Progress::Queued | Progress::Pending | Progress::Placed | Progress::Ended => STARTING,
        }
    }
}
