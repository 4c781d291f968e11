//! What goes wrong, and when: one fault at a time, chosen by a seed, with a pause after each.

use std::time::Duration;

use fastrand::Rng;
use kubectl_ado::sandbox::{Fault, Sandbox};

/// So long after its end a fault may still show: an answer is on its way, a back-off has not run out.
pub(crate) const ECHO: Duration = Duration::from_secs(8);

/// What a fault is, for what may be told because of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A list of agents or of pools is wrong, at status 200.
    Lists,
    /// A list of job requests is wrong, at status 200.
    Requests,
    Slow,
    Errors,
    Throttled,
    ReadOnly,
}

struct Choice {
    kind: Kind,
    texts: &'static [&'static str],
    seconds: std::ops::RangeInclusive<u64>,
}

const CHOICES: [Choice; 15] = [
    Choice { kind: Kind::Lists, texts: &["empty-list@/agents"], seconds: 4..=15 },
    Choice { kind: Kind::Requests, texts: &["empty-list@/jobrequests"], seconds: 4..=15 },
    Choice { kind: Kind::Requests, texts: &["empty-list@/agents", "empty-list@/jobrequests"], seconds: 4..=15 },
    Choice { kind: Kind::Lists, texts: &["half-list@/agents"], seconds: 4..=15 },
    Choice { kind: Kind::Requests, texts: &["half-list@/jobrequests"], seconds: 4..=15 },
    Choice { kind: Kind::Requests, texts: &["short-list=1@/agents", "short-list=2@/jobrequests"], seconds: 4..=15 },
    Choice { kind: Kind::Requests, texts: &["doubled-list"], seconds: 4..=15 },
    Choice { kind: Kind::Requests, texts: &["misshapen-list@/jobrequests"], seconds: 4..=15 },
    Choice { kind: Kind::Lists, texts: &["misshapen-list=assignedRequest@/agents"], seconds: 4..=15 },
    Choice { kind: Kind::Requests, texts: &["stale-list=8s"], seconds: 4..=15 },
    Choice { kind: Kind::Slow, texts: &["latency=5200ms@resourceusage"], seconds: 5..=20 },
    Choice { kind: Kind::Slow, texts: &["latency=30s@DELETE", "latency=3s@/agents"], seconds: 5..=20 },
    Choice { kind: Kind::Errors, texts: &["500@/jobrequests", "cut-off@/agents", "lose-reply@DELETE"], seconds: 3..=8 },
    Choice { kind: Kind::Throttled, texts: &["429=3s@/jobrequests*4"], seconds: 3..=8 },
    Choice { kind: Kind::ReadOnly, texts: &["read-only"], seconds: 30..=40 },
];

/// A fault that is or was switched on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Active {
    pub(crate) kind: Kind,
    pub(crate) from: Duration,
    pub(crate) until: Duration,
}

#[derive(Default)]
pub(crate) struct Faults {
    rng: Rng,
    /// All so far, the last one last.
    past: Vec<Active>,
    is_on: bool,
    next: Duration,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        // Until then serve comes up.
        Self { rng: Rng::with_seed(seed), next: Duration::from_secs(20), ..Self::default() }
    }

    /// Switches on or off what is due. Says what was switched on.
    pub(crate) fn step(&mut self, sandbox: &Sandbox, now: Duration) -> Option<String> {
        if now < self.next {
            return None;
        }
        if std::mem::take(&mut self.is_on) {
            sandbox.clear_faults();
            self.next = now + Duration::from_secs(self.rng.u64(15..=40));
            return None;
        }
        let Choice { kind, texts, seconds } = &CHOICES[self.rng.usize(..CHOICES.len())];
        self.next = now + Duration::from_secs(self.rng.u64(seconds.clone()));
        self.is_on = true;
        self.past.push(Active { kind: *kind, from: now, until: self.next });
        for text in *texts {
            sandbox.inject(text.parse::<Fault>().unwrap());
        }
        Some(texts.join(" "))
    }

    pub(crate) fn end(&mut self, sandbox: &Sandbox, now: Duration) {
        sandbox.clear_faults();
        if let Some(last) = self.past.last_mut().filter(|_| self.is_on) {
            last.until = now;
        }
        self.is_on = false;
        self.next = Duration::MAX;
    }

    pub(crate) fn count(&self) -> usize {
        self.past.len()
    }

    /// Whether nothing is wrong now, nor was a moment ago.
    pub(crate) fn is_calm(&self, now: Duration) -> bool {
        !self.is_on && self.past.last().is_none_or(|last| last.until + ECHO < now)
    }

    /// The one that is switched on now.
    pub(crate) fn current(&self) -> Option<Active> {
        self.past.last().copied().filter(|_| self.is_on)
    }

    /// Whether a fault of these kinds was on within the last `window`.
    pub(crate) fn was_there(&self, kinds: &[Kind], window: Duration, now: Duration) -> bool {
        let recent = self.past.iter().rev().take_while(|past| past.until + window >= now);
        recent.filter(|past| past.from <= now).any(|past| kinds.contains(&past.kind))
    }
}

#[test]
fn all_texts_are_faults() {
    for text in CHOICES.iter().flat_map(|choice| choice.texts) {
        text.parse::<Fault>().unwrap();
    }
}
