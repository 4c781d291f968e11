//! How much of the identity's allowance is left, and how much more slowly one had better ask because of it.
//!
//! Azure DevOps counts what an identity uses up within five minutes, and tells the rest in its answers
//! (`X-RateLimit-Remaining` of `X-RateLimit-Limit`) when it is not far from delaying calls. Whoever slows down by then is
//! never delayed. Source: Microsoft's documentation of rate and usage limits.

use std::{sync::Mutex, time::Duration};

use jiff::Timestamp;
use reqwest::header::HeaderMap;
use tokio::time::Instant;

use super::throttle::{LONGEST_PAUSE, left_until_reset, number, text};

/// From this share of the allowance downwards the pace falls with what remains.
const AMPLE: f64 = 0.5;

/// The slowest pace. What it leads to is waited out; beyond it, the throttle's own pauses protect us.
const MOST: f64 = 8.0;

/// The allowance where an answer tells only the rest: what an identity has by the documentation.
const USUAL_LIMIT: f64 = 200.0;

/// How long a reading holds that has no end: the window that usage is counted in.
const WINDOW: Duration = Duration::from_secs(300);

/// What the answers said last.
#[derive(Debug, Default)]
pub(super) struct Allowance(Mutex<Option<Reading>>);

#[derive(Debug)]
struct Reading {
    /// What is used up: an identity has an allowance of each.
    resource: String,
    stretch: f64,
    until: Instant,
}

impl Allowance {
    /// Takes note of an answer. One that says nothing changes nothing, and the scarcest resource counts.
    pub(super) fn note(&self, headers: &HeaderMap) {
        let Some((stretch, span)) = reading(headers, Timestamp::now()) else { return };
        let resource = text(headers, "x-ratelimit-resource").unwrap_or_default().to_owned();
        let now = Instant::now();
        let Ok(mut current) = self.0.lock() else { return };
        let counts = current
            .as_ref()
            .is_none_or(|current| current.until <= now || current.resource == resource || current.stretch <= stretch);
        if counts {
            *current = Some(Reading { resource, stretch, until: now + span });
        }
    }

    /// By how much to stretch the time between two polls: from 1 to [`MOST`].
    pub(super) fn stretch(&self) -> f64 {
        let current = self.0.lock();
        let reading = current.as_ref().ok().and_then(|current| current.as_ref());
        reading.filter(|reading| reading.until > Instant::now()).map_or(1.0, |reading| reading.stretch)
    }
}

/// What an answer says, and for how long.
fn reading(headers: &HeaderMap, now: Timestamp) -> Option<(f64, Duration)> {
    let remaining = number(headers, "x-ratelimit-remaining")?;
    let limit = number(headers, "x-ratelimit-limit").filter(|limit| *limit > 0.0).unwrap_or(USUAL_LIMIT);
    let span = match number(headers, "x-ratelimit-reset") {
        Some(_) => left_until_reset(headers, now).unwrap_or_default(),
        None => WINDOW,
    };
    Some((stretch(remaining / limit), span.min(LONGEST_PAUSE)))
}

/// Half of what remains is used at half the pace, so that it is not used up.
fn stretch(share: f64) -> f64 {
    (AMPLE / share.max(AMPLE / MOST)).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let name = |name: &str| format!("x-ratelimit-{name}").parse::<reqwest::header::HeaderName>().unwrap();
        pairs.iter().map(|(of, value)| (name(of), value.parse().unwrap())).collect()
    }

    #[test]
    fn the_less_remains_the_more_the_polls_are_stretched() {
        for (remaining, limit, expected) in [
            ("200", "200", 1.0),
            ("500", "200", 1.0),
            ("100", "200", 1.0),
            ("80", "200", 1.25),
            ("50", "200", 2.0),
            ("25.0", "200", 4.0),
            ("12.5", "200", 8.0),
            ("1", "200", 8.0),
            ("0", "200", 8.0),
            ("-3", "200", 8.0),
            ("50", "0", 2.0),
            ("50", "much", 2.0),
            ("1000", "4000", 2.0),
        ] {
            let read = reading(&headers(&[("remaining", remaining), ("limit", limit)]), Timestamp::UNIX_EPOCH);
            assert_eq!(read, Some((expected, WINDOW)), "{remaining} of {limit}");
        }
    }

    #[test]
    fn a_reading_holds_until_the_reset() {
        let now = Timestamp::from_second(1_000).unwrap();
        let secs = Duration::from_secs;
        for (reset, expected) in [
            (None, WINDOW),
            (Some("soon"), WINDOW),
            (Some("1030"), secs(30)),
            (Some("1000"), secs(0)),
            (Some("7"), secs(0)),
            (Some("9999999999"), LONGEST_PAUSE),
            (Some("1e300"), LONGEST_PAUSE),
        ] {
            let pairs: Vec<_> = [("remaining", "50")].into_iter().chain(reset.map(|reset| ("reset", reset))).collect();
            assert_eq!(reading(&headers(&pairs), now), Some((2.0, expected)), "{reset:?}");
        }
    }

    #[test]
    fn an_answer_that_tells_no_rest_says_nothing() {
        for pairs in [&[][..], &[("limit", "200")], &[("remaining", "plenty")], &[("remaining", "NaN")]] {
            assert_eq!(reading(&headers(pairs), Timestamp::UNIX_EPOCH), None, "{pairs:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_scarcest_resource_counts_until_it_recovers_or_its_time_is_over() {
        let allowance = Allowance::default();
        let note = |resource: &str, remaining: &str| {
            allowance.note(&headers(&[("resource", resource), ("remaining", remaining), ("limit", "200")]));
            allowance.stretch()
        };
        assert_eq!(note("a", "190"), 1.0);
        assert_eq!(note("a", "25"), 4.0);
        assert_eq!(note("b", "50"), 4.0, "another one is less scarce");
        assert_eq!(note("b", "10"), 8.0);
        assert_eq!(note("a", "180"), 8.0, "the first one has recovered, the second has not");
        allowance.note(&HeaderMap::new());
        assert_eq!(allowance.stretch(), 8.0);
        assert_eq!(note("b", "50"), 2.0);
        tokio::time::advance(WINDOW).await;
        assert_eq!(allowance.stretch(), 1.0);
    }
}
