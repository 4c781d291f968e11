//! Azure DevOps' wish to be left alone: taken from its answers, held to by every later call of the client.
//!
//! It first delays calls and then refuses them (429). `Retry-After` may come with a 200 as well. Source: Microsoft's
//! documentation of rate and usage limits.

use std::{sync::Mutex, time::Duration};

use jiff::Timestamp;
use reqwest::{
    StatusCode,
    header::{DATE, HeaderMap, RETRY_AFTER},
};
use tokio::time::Instant;

use super::Error;

/// The window that usage is counted in is five minutes; whoever asks for more than an hour's silence is mistaken.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// The pause after a 429 that does not say how long.
const UNSAID_PAUSE: Duration = Duration::from_secs(10);

/// Until when nothing may be sent.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<Option<Instant>>);

impl Throttle {
    /// Takes note of what an answer asks for, and says how long that is.
    pub(super) fn note(&self, status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
        let pause = asked_pause(status, headers, Timestamp::now())?;
        let until = Instant::now() + pause;
        if let Ok(mut current) = self.0.lock() {
            *current = (*current).max(Some(until));
        }
        Some(pause)
    }

    /// Waits until a request may be sent.
    ///
    /// # Errors
    ///
    /// [`Error::Throttled`] at once if that is not before the deadline.
    pub(super) async fn pass(&self, deadline: Instant) -> Result<(), Error> {
        // Another call's answer may prolong the pause meanwhile.
        while let Some(until) = self.until() {
            let now = Instant::now();
            if until <= now {
                break;
            }
            if until >= deadline {
                let left = until - now;
                return Err(Error::Throttled(left - Duration::from_nanos(u64::from(left.subsec_nanos() % 1_000_000))));
            }
            tokio::time::sleep_until(until).await;
        }
        Ok(())
    }

    fn until(&self) -> Option<Instant> {
        self.0.lock().map_or(None, |until| *until)
    }
}

/// How long an answer asks not to be asked again. `Retry-After` has the last word; without it, all used up means
/// until the reset, and a delayed answer means that one should slow down by as much.
fn asked_pause(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let pause = seconds(headers, RETRY_AFTER.as_str())
        .or_else(|| until_reset(headers, now).max(seconds(headers, "x-ratelimit-delay")))
        .filter(|pause| !pause.is_zero());
    let pause = if status == StatusCode::TOO_MANY_REQUESTS { pause.or(Some(UNSAID_PAUSE)) } else { pause };
    pause.map(|pause| pause.min(LONGEST_PAUSE))
}

fn until_reset(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    if number(headers, "x-ratelimit-remaining")? > 0.0 { None } else { left_until_reset(headers, now) }
}

/// The time until all that was used up is given back. None if that has passed, or is not told.
pub(super) fn left_until_reset(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let reset = number(headers, "x-ratelimit-reset")?;
    // By the server's own clock where it tells it, so that a wrong clock here does no harm.
    let date = text(headers, DATE.as_str()).and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
    let now = date.map_or(now, |date| date.timestamp());
    #[allow(clippy::cast_precision_loss)] // Seconds since 1970 are exact in an f64.
    let left = reset - now.as_second() as f64;
    (left > 0.0).then(|| duration(left)).flatten()
}

fn seconds(headers: &HeaderMap, name: &str) -> Option<Duration> {
    number(headers, name).and_then(duration)
}

/// None for a negative number. More than fits is as good as the longest pause.
fn duration(seconds: f64) -> Option<Duration> {
    if seconds < 0.0 { None } else { Some(Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_PAUSE)) }
}

/// A header that is a number.
pub(super) fn number(headers: &HeaderMap, name: &str) -> Option<f64> {
    text(headers, name)?.parse::<f64>().ok().filter(|number| number.is_finite())
}

/// A header that is text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(status: u16, pairs: &[(&'static str, &str)]) -> Option<Duration> {
        let headers = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        asked_pause(StatusCode::from_u16(status).unwrap(), &headers, Timestamp::from_second(1_000).unwrap())
    }

    #[test]
    fn headers_say_how_long_to_pause() {
        let secs = Duration::from_secs;
        let reset = |at| [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", at)];
        for (status, headers, expected) in [
            (200, &[][..], None),
            (200, &[("retry-after", "7")], Some(secs(7))),
            (503, &[("retry-after", " 1.5 ")], Some(Duration::from_millis(1500))),
            (200, &[("retry-after", "0")], None),
            (200, &[("retry-after", "soon")], None),
            (200, &[("retry-after", "-5")], None),
            (200, &[("retry-after", "NaN")], None),
            (200, &[("retry-after", "99999999")], Some(LONGEST_PAUSE)),
            (200, &[("retry-after", "1e300")], Some(LONGEST_PAUSE)),
            (429, &[], Some(UNSAID_PAUSE)),
            (429, &[("retry-after", "soon")], Some(UNSAID_PAUSE)),
            (429, &[("retry-after", "3")], Some(secs(3))),
            (200, &[("x-ratelimit-delay", "2.250")], Some(Duration::from_millis(2250))),
            (200, &reset("1030"), Some(secs(30))),
            (200, &reset("999"), None),
            (200, &reset("9999999999"), Some(LONGEST_PAUSE)),
            (200, &[("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", "1030")], None),
            (
                200,
                &[("retry-after", "5"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1300")],
                Some(secs(5)),
            ),
            (
                200,
                &[("retry-after", "?"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1030")],
                Some(secs(30)),
            ),
        ] {
            assert_eq!(pause(status, headers), expected, "{status} {headers:?}");
        }
    }

    #[test]
    fn a_reset_is_read_by_the_servers_clock() {
        let headers = [
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "946684799"),
            ("date", "Fri, 31 Dec 1999 23:59:39 GMT"),
        ];
        assert_eq!(pause(200, &headers), Some(Duration::from_secs(20)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_pause_is_waited_for_and_a_long_one_is_an_error() {
        let throttle = Throttle::default();
        let start = Instant::now();
        let deadline = start + Duration::from_secs(30);
        throttle.pass(deadline).await.unwrap();
        assert_eq!(start.elapsed(), Duration::ZERO);

        let headers = |seconds: &str| HeaderMap::from_iter([(RETRY_AFTER, seconds.parse().unwrap())]);
        throttle.note(StatusCode::OK, &headers("20"));
        throttle.note(StatusCode::OK, &headers("5"));
        throttle.pass(deadline).await.unwrap();
        assert!(start.elapsed() >= Duration::from_secs(20));

        throttle.note(StatusCode::OK, &headers("60"));
        let before = start.elapsed();
        assert_eq!(throttle.pass(deadline).await, Err(Error::Throttled(Duration::from_secs(60))));
        assert_eq!(start.elapsed(), before);
    }
}
