//! Leases of other orchestrators of this installation, as far as looks show whether somebody still renews them.
//!
//! A pool that left the configuration while no orchestrator ran is known only by the runs that are left in it. Each names the
//! Lease that it was started under. While somebody renews that Lease, the pool is served by another orchestrator in this
//! namespace, and nothing in it is ours to end.

use std::{collections::BTreeMap, time::Duration};

use super::{LeaseView, Moment};

/// A Lease that has not changed for so long is given up: an orchestrator that is updated, or moved to another node, is back by
/// then.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(300);

/// What looks at Leases have shown. It is lost with the process, and then the time begins anew.
#[derive(Clone, Debug, Default)]
pub struct LeaseWatch {
    seen: BTreeMap<String, Seen>,
}

#[derive(Clone, Debug)]
struct Seen {
    /// `None` where there is no such Lease.
    version: Option<String>,
    since: Moment,
    looked_at: Moment,
}

impl LeaseWatch {
    /// A Lease was looked at; `None` if it is not there.
    pub fn saw(&mut self, name: &str, lease: Option<&LeaseView>, now: Moment) {
        let version = lease.map(|lease| lease.version.clone());
        let same = self.seen.get(name).filter(|seen| seen.version == version);
        let since = same.map_or(now, |seen| seen.since);
        self.seen.insert(name.to_owned(), Seen { version, since, looked_at: now });
    }

    /// Whether nobody has renewed the Lease for long, by the last look at it. A Lease that nobody looked at is not given up.
    #[must_use]
    pub fn is_given_up(&self, name: &str) -> bool {
        self.seen.get(name).is_some_and(|seen| seen.looked_at.saturating_sub(seen.since) >= GIVEN_UP_AFTER)
    }

    /// Forgets the Leases that no run names any more.
    pub fn keep(&mut self, is_named: impl Fn(&str) -> bool) {
        self.seen.retain(|name, _| is_named(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::LeaseRecord;

    fn lease(version: &str) -> LeaseView {
        LeaseView { version: version.to_owned(), record: LeaseRecord::default() }
    }

    fn looks(versions: &[(u64, Option<&str>)]) -> bool {
        let mut watch = LeaseWatch::default();
        for (second, version) in versions {
            watch.saw("a", version.map(lease).as_ref(), Duration::from_secs(*second));
        }
        watch.is_given_up("a")
    }

    #[test]
    fn a_lease_is_given_up_when_looks_over_five_minutes_show_the_same() {
        assert!(looks(&[(10, Some("1")), (100, Some("1")), (310, Some("1"))]));
        assert!(looks(&[(10, None), (310, None)]), "one that is gone counts as one that nobody renews");
        assert!(!looks(&[(10, Some("1")), (309, Some("1"))]));
        assert!(!looks(&[(400, Some("1"))]), "a single look shows nothing");
        assert!(!looks(&[]));
    }

    #[test]
    fn a_lease_that_is_renewed_made_or_deleted_meanwhile_is_watched_anew() {
        assert!(!looks(&[(0, Some("1")), (200, Some("2")), (400, Some("2"))]));
        assert!(!looks(&[(0, None), (200, Some("1")), (400, Some("1"))]));
        assert!(!looks(&[(0, Some("1")), (200, None), (400, None)]));
        assert!(looks(&[(0, Some("1")), (200, Some("2")), (500, Some("2"))]));
    }

    #[test]
    fn a_lease_that_no_run_names_is_forgotten() {
        let mut watch = LeaseWatch::default();
        watch.saw("a", None, Duration::ZERO);
        watch.keep(|name| name == "b");
        watch.saw("a", None, Duration::from_secs(1_000));
        assert!(!watch.is_given_up("a"));
    }
}
