//! Runs that were asked for and that a listing made before does not show. They count, exactly once, so that limits hold and
//! nothing is started twice while calls are in flight.

use std::collections::{BTreeMap, HashMap};

use super::calls::Family;
use crate::core::{Run, is_same_name};

/// What calls have done or are doing, by the number of the listing that it came out in.
#[derive(Debug, Default)]
pub(super) struct Expected {
    /// By name: the run, and the listing in which its call came out; `None` while it is in flight.
    runs: BTreeMap<String, (Run, Option<u64>)>,
    /// When calls for an object last came out.
    came_out: HashMap<(usize, Family, String), u64>,
}

impl Expected {
    /// A call begins after which the run may be there.
    pub(super) fn begins(&mut self, run: Run) {
        self.runs.insert(run.name.clone(), (run, None));
    }

    /// Such a call came out while this listing was the latest. `may_be_there` unless the host said no.
    pub(super) fn ended(&mut self, name: &str, may_be_there: bool, listing: u64) {
        if !may_be_there {
            self.runs.remove(name);
        } else if let Some((_, out)) = self.runs.get_mut(name) {
            *out = Some(listing);
        }
    }

    /// A call for an object came out while this listing was the latest.
    pub(super) fn touched(&mut self, pool: usize, family: Family, object: &str, listing: u64) {
        if family != Family::Question {
            self.came_out.insert((pool, family, object.to_owned()), listing);
        }
    }

    /// Whether what was decided from a listing knows how the last call for an object came out.
    pub(super) fn is_current(&self, pool: usize, family: Family, object: &str, listing: u64) -> bool {
        self.came_out.get(&(pool, family, object.to_owned())).is_none_or(|out| *out < listing)
    }

    /// Adds the runs of a pool that its listing does not show yet.
    pub(super) fn merge(&self, pool: &str, runs: &mut Vec<Run>, listing: u64) {
        let missing =
            self.missing(runs, listing).filter(|run| is_same_name(&run.pool, pool)).cloned().collect::<Vec<_>>();
        runs.extend(missing);
    }

    /// The runs that a listing does not show yet.
    pub(super) fn missing<'a>(&'a self, runs: &'a [Run], listing: u64) -> impl Iterator<Item = &'a Run> {
        let expected = self.runs.values().filter(move |(_, out)| out.is_none_or(|out| out >= listing));
        expected.map(|(run, _)| run).filter(|run| !runs.iter().any(|seen| seen.name == run.name))
    }

    /// Forgets what every listing shows that is still to be decided from.
    pub(super) fn forget(&mut self, oldest_listing: u64) {
        self.runs.retain(|_, (_, out)| out.is_none_or(|out| out >= oldest_listing));
        self.came_out.retain(|_, out| *out >= oldest_listing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{Purpose, Recipe, StartRun};

    fn run(name: &str) -> Run {
        let start = StartRun {
            name: name.to_owned(),
            pool: "A".to_owned(),
            template: "default".to_owned(),
            purpose: Purpose::Slot(0),
            attempt: 1,
            revision: String::new(),
            recipe: Recipe::default(),
        };
        start.expected(jiff::Timestamp::UNIX_EPOCH)
    }

    fn merged(expected: &Expected, seen: &[&str], listing: u64) -> Vec<String> {
        let mut runs: Vec<Run> = seen.iter().map(|name| run(name)).collect();
        expected.merge("A", &mut runs, listing);
        runs.into_iter().map(|run| run.name).collect()
    }

    #[test]
    fn a_start_counts_once_from_its_beginning_until_a_listing_made_after_its_end() {
        let mut expected = Expected::default();
        expected.begins(run("a"));
        assert_eq!(merged(&expected, &[], 1), ["a"]);
        assert_eq!(merged(&expected, &["a"], 1), ["a"]);
        expected.ended("a", true, 2);
        assert_eq!(merged(&expected, &[], 1), ["a"], "a poll that was sent before shows it not");
        assert_eq!(merged(&expected, &[], 2), ["a"]);
        assert!(merged(&expected, &[], 3).is_empty(), "the host knows");
        expected.begins(run("b"));
        expected.ended("b", false, 3);
        assert!(merged(&expected, &[], 3).is_empty(), "it was refused");
    }

    #[test]
    fn what_was_decided_before_a_call_came_out_is_not_done_again() {
        let mut expected = Expected::default();
        expected.touched(0, Family::Registration, "a", 4);
        assert!(!expected.is_current(0, Family::Registration, "a", 4));
        assert!(expected.is_current(0, Family::Registration, "a", 5) && expected.is_current(0, Family::Run, "a", 4));
        expected.forget(5);
        assert!(expected.is_current(0, Family::Registration, "a", 4));
    }
}
