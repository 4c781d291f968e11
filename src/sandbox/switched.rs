//! What all faults have in common, whatever goes wrong: which calls they befall, how often, and how they are written.
//!
//! As text: `KIND[=VALUE][@PART-OF-THE-CALL][*TIMES]`, where the part is looked for in `METHOD /path?query`, regardless of
//! case.

use std::time::Duration;

use jiff::SignedDuration;

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault<K> {
    /// What.
    pub kind: K,
    /// Only calls whose `METHOD /path?query` contains this, regardless of case.
    pub part: Option<String>,
    /// Only so many times.
    pub times: Option<u32>,
}

impl<K> Fault<K> {
    /// The fault for all calls, for good.
    pub(super) fn always(kind: K) -> Self {
        Self { kind, part: None, times: None }
    }

    /// The same fault only for calls whose `METHOD /path?query` contains this.
    #[must_use]
    pub fn on(mut self, part: impl Into<String>) -> Self {
        self.part = Some(part.into());
        self
    }
}

/// The ways in which things go wrong somewhere.
pub(super) trait Trouble: Copy {
    /// How late it makes an answer, if that is all it does.
    fn latency(self) -> Option<Duration>;

    /// Whether it can befall this call, `METHOD /path?query` in lower case.
    fn befalls(self, call: &str) -> bool;

    /// The one that is written so.
    fn of_text(kind: &str, value: Value<'_>) -> Option<Self>;
}

/// What stands behind the `=`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a>(Option<&'a str>);

impl<'a> Value<'a> {
    pub(super) fn is_there(self) -> bool {
        self.0.is_some()
    }

    pub(super) fn text(self) -> Option<&'a str> {
        self.0
    }

    /// It as a time.
    pub(super) fn time(self, default: Option<Duration>) -> Option<Duration> {
        match self.0 {
            Some(value) => value.parse::<SignedDuration>().ok()?.try_into().ok(),
            None => default,
        }
    }
}

/// Reads a fault; nothing if it is none.
pub(super) fn read<K: Trouble>(text: &str) -> Option<Fault<K>> {
    let (rest, times) = match text.trim().rsplit_once('*') {
        Some((rest, times)) => (rest, Some(times.trim().parse().ok()?)),
        None => (text.trim(), None),
    };
    let (kind, part) = rest.split_once('@').map_or((rest, None), |(kind, part)| (kind, Some(part.to_owned())));
    let (kind, value) = kind.split_once('=').map_or((kind, None), |(kind, value)| (kind, Some(value)));
    Some(Fault { kind: K::of_text(kind, Value(value))?, part, times })
}

/// The faults that are switched on. Latencies add up; of the others the first that applies happens.
#[derive(Debug)]
pub(super) struct Faults<K>(Vec<Fault<K>>);

impl<K> Default for Faults<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Trouble> Faults<K> {
    pub(super) fn add(&mut self, fault: Fault<K>) {
        self.0.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// What goes wrong with this call: how late it is, and what else.
    pub(super) fn strike(&mut self, call: &str) -> (Duration, Option<K>) {
        let call = call.to_lowercase();
        let mut latency = Duration::ZERO;
        let mut struck = None;
        for fault in &mut self.0 {
            let applies = fault.part.as_ref().is_none_or(|part| call.contains(&part.to_lowercase()));
            if !applies || !fault.kind.befalls(&call) || fault.times == Some(0) {
                continue;
            }
            match fault.kind.latency() {
                Some(time) => latency += time,
                None if struck.is_some() => continue,
                None => struck = Some(fault.kind),
            }
            fault.times = fault.times.map(|times| times - 1);
        }
        self.0.retain(|fault| fault.times != Some(0));
        (latency, struck)
    }
}
