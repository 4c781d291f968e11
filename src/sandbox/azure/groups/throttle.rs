//! How often one may call: Resource Manager's token buckets, one set for each principal, and the container service's
//! own count of creations and deletions.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;

use super::{AzureRules, Bucket, Refusal};

/// Which bucket a call is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sort {
    /// GET.
    Read,
    /// PUT and POST.
    Write,
    /// DELETE.
    Delete,
}

impl Sort {
    /// The header that says what is left.
    #[must_use]
    pub fn header(self) -> &'static str {
        match self {
            Self::Read => "x-ms-ratelimit-remaining-subscription-reads",
            Self::Write => "x-ms-ratelimit-remaining-subscription-writes",
            Self::Delete => "x-ms-ratelimit-remaining-subscription-deletes",
        }
    }

    fn bucket(self, rules: &AzureRules) -> Bucket {
        match self {
            Self::Read => rules.reads,
            Self::Write => rules.writes,
            Self::Delete => rules.deletes,
        }
    }
}

/// How full the buckets are.
#[derive(Clone, Debug, Default)]
pub(super) struct Throttle {
    levels: HashMap<(String, Sort), (f64, Timestamp)>,
    created: Vec<Timestamp>,
    deleted: Vec<Timestamp>,
}

impl Throttle {
    /// Takes one call from a principal's bucket and says how many are left.
    pub(super) fn take(
        &mut self,
        rules: &AzureRules,
        principal: &str,
        sort: Sort,
        now: Timestamp,
    ) -> Result<u32, Refusal> {
        let Bucket { capacity, per_second } = sort.bucket(rules);
        let full = f64::from(capacity);
        let (level, at) = self.levels.entry((principal.to_owned(), sort)).or_insert((full, now));
        let passed = now.duration_since(*at).as_secs_f64().max(0.0);
        *level = full.min(*level + passed * per_second);
        *at = now;
        if *level < 1.0 {
            let seconds = if per_second > 0.0 { ((1.0 - *level) / per_second).ceil() } else { 60.0 };
            let what = format!("number of {} for subscription exceeded the limit", sort.header());
            return Err(Refusal::too_many(&what, (seconds as u64).max(1)));
        }
        *level -= 1.0;
        Ok(*level as u32)
    }

    /// Counts a creation, unless there were too many of late.
    pub(super) fn create(&mut self, rules: &AzureRules, now: Timestamp) -> Result<(), Refusal> {
        note(&mut self.created, rules, now, "container group creations")
    }

    /// Counts a deletion, unless there were too many of late.
    pub(super) fn delete(&mut self, rules: &AzureRules, now: Timestamp) -> Result<(), Refusal> {
        note(&mut self.deleted, rules, now, "container group deletions")
    }
}

fn note(moments: &mut Vec<Timestamp>, rules: &AzureRules, now: Timestamp, what: &str) -> Result<(), Refusal> {
    let age = |moment: &Timestamp| Duration::try_from(now.duration_since(*moment)).unwrap_or_default();
    let longest = rules.writes_within.iter().map(|(_, span)| *span).max().unwrap_or_default();
    moments.retain(|moment| age(moment) < longest);
    for (limit, span) in &rules.writes_within {
        let mut recent = moments.iter().filter(|moment| age(moment) < *span);
        let oldest = recent.next().copied();
        if recent.count() + usize::from(oldest.is_some()) >= *limit as usize {
            let wait = oldest.map_or(*span, |oldest| span.saturating_sub(age(&oldest)));
            let what = format!("{what} exceed {limit} within {} seconds", span.as_secs());
            return Err(Refusal::too_many(&what, wait.as_secs().max(1)));
        }
    }
    moments.push(now);
    Ok(())
}
