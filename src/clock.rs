//! The time by the clock of a server, as its answers tell it.
//!
//! An age is never computed from two clocks: a stamp that a server made is compared with the time by that server's clock.
//! Each answer over HTTP has a `Date`, whole seconds; how long the answer took bounds what has passed since. Between
//! answers the time goes on by our own monotonic clock, which nobody sets.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp, fmt::rfc2822::DateTimeParser};
use tokio::time::Instant;

/// How much slower or faster one machine's clock may run than another's: 200 parts in a million, twice what is usual.
const DRIFT: f64 = 0.0002;

/// A `Date` has no fractions.
const RESOLUTION: Duration = Duration::from_secs(1);

/// The clock of a server. Clones are the same clock. Until an answer was seen it is our own.
#[derive(Clone, Debug, Default)]
pub struct ServerClock(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// Our own clock at some moment: from there on nobody sets it.
    own: (Timestamp, Instant),
    reading: Option<Reading>,
    /// Whether answers change nothing.
    is_set: bool,
}

impl Default for State {
    fn default() -> Self {
        Self { own: (Timestamp::now(), Instant::now()), reading: None, is_set: false }
    }
}

/// At a moment of our monotonic clock the server's clock showed something between these.
#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Instant,
    low: Timestamp,
    high: Timestamp,
}

impl Reading {
    /// The same at another, later moment.
    fn at(self, at: Instant) -> Self {
        let passed = at.saturating_duration_since(self.at);
        let drift = passed.mul_f64(DRIFT);
        let low = self.low.saturating_add(passed.saturating_sub(drift)).unwrap_or(self.low);
        let high = self.high.saturating_add(passed + drift).unwrap_or(self.high);
        Self { at, low, high }
    }

    fn middle(self) -> Timestamp {
        self.low.saturating_add(self.high.duration_since(self.low) / 2).unwrap_or(self.low)
    }
}

impl ServerClock {
    /// A clock that shows this now, whatever answers say: for tests, and for whoever makes time pass as they like.
    #[must_use]
    pub fn set_to(now: Timestamp) -> Self {
        let reading = Reading { at: Instant::now(), low: now, high: now };
        Self(Arc::new(Mutex::new(State { reading: Some(reading), is_set: true, ..State::default() })))
    }

    /// An answer has just come to a question that was sent then. `date` is its header `Date`.
    pub fn note(&self, date: Option<&str>, sent: Instant) {
        let Some(date) = date.and_then(|date| DateTimeParser::new().parse_timestamp(date).ok()) else { return };
        let at = Instant::now();
        let Ok(high) = date.saturating_add(RESOLUTION + at.saturating_duration_since(sent)) else { return };
        let seen = Reading { at, low: date, high };
        let mut state = self.state();
        if state.is_set {
            return;
        }
        let known = state.reading.map(|known| known.at(at));
        let both = known.map(|known| Reading { at, low: known.low.max(seen.low), high: known.high.min(seen.high) });
        // Where they contradict each other, the server's clock was set, or ours stood still while the machine slept.
        state.reading = Some(both.filter(|both| both.low <= both.high).unwrap_or(seen));
    }

    /// The time by this clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let state = self.state();
        match state.reading {
            Some(reading) => reading.at(Instant::now()).middle(),
            None => state.own.0.saturating_add(state.own.1.elapsed()).unwrap_or(state.own.0),
        }
    }

    /// By how much it is ahead of this machine's clock (behind it, where negative); zero where that cannot be told. `None`
    /// until an answer was seen.
    #[must_use]
    pub fn ahead(&self) -> Option<SignedDuration> {
        let reading = self.state().reading?.at(Instant::now());
        let own = Timestamp::now();
        let surely = own < reading.low || own > reading.high;
        Some(if surely { reading.middle().duration_since(own) } else { SignedDuration::ZERO })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Sun, 29 Nov 2026 12:00:00 GMT";

    fn moment(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn is_near(one: Timestamp, other: Timestamp, milliseconds: i64) -> bool {
        one.duration_since(other).abs() <= SignedDuration::from_millis(milliseconds)
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_goes_on_by_the_last_answers_and_no_setting_of_our_clock() {
        let clock = ServerClock::default();
        assert!(is_near(clock.now(), Timestamp::now(), 2000) && clock.ahead().is_none(), "our own at first");
        clock.note(Some(DATE), Instant::now());
        assert!(is_near(clock.now(), moment("2026-11-29T12:00:00.5Z"), 500));
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert!(is_near(clock.now(), moment("2026-11-29T13:00:00.5Z"), 1500), "{}", clock.now());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_says_less_and_many_say_more() {
        let clock = ServerClock::default();
        let sent = Instant::now();
        tokio::time::advance(Duration::from_secs(10)).await;
        clock.note(Some(DATE), sent);
        // It may have been stamped when we asked, or just now.
        assert!(is_near(clock.now(), moment("2026-11-29T12:00:05.5Z"), 100), "{}", clock.now());
        clock.note(Some("Sun, 29 Nov 2026 12:00:08 GMT"), Instant::now());
        assert!(is_near(clock.now(), moment("2026-11-29T12:00:08.5Z"), 500), "{}", clock.now());
        // A quick one narrows it down; a slow one that agrees changes nothing.
        clock.note(Some("Sun, 29 Nov 2026 12:00:00 GMT"), Instant::now() - Duration::from_secs(10));
        assert!(is_near(clock.now(), moment("2026-11-29T12:00:08.5Z"), 500), "{}", clock.now());
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_whose_clock_was_set_is_followed_at_once() {
        let clock = ServerClock::default();
        clock.note(Some(DATE), Instant::now());
        clock.note(Some("Sun, 29 Nov 2026 09:00:00 GMT"), Instant::now());
        assert!(is_near(clock.now(), moment("2026-11-29T09:00:00.5Z"), 500));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_date_changes_nothing() {
        let clock = ServerClock::default();
        for odd in [None, Some(""), Some("yesterday"), Some("1767225600")] {
            clock.note(odd, Instant::now());
            assert_eq!(clock.ahead(), None, "{odd:?}");
        }
        let set = ServerClock::set_to(moment("2030-01-01T00:00:00Z"));
        set.note(Some(DATE), Instant::now());
        assert!(is_near(set.now(), moment("2030-01-01T00:00:00Z"), 100));
    }

    #[tokio::test]
    async fn a_clock_that_differs_says_by_how_much_and_one_that_does_not_says_nothing() {
        let said = |ahead: SignedDuration| {
            let clock = ServerClock::default();
            let date = Timestamp::now() + ahead;
            clock.note(
                Some(&jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&date).unwrap()),
                Instant::now(),
            );
            clock.ahead().unwrap().as_secs()
        };
        assert_eq!(said(SignedDuration::ZERO), 0);
        assert!((598..=602).contains(&said(SignedDuration::from_mins(10))));
        assert!((-602..=-598).contains(&said(SignedDuration::from_mins(-10))));
    }
}
