//! What can go wrong on the way to Azure DevOps and back, switched on by a test or by a flag.
//!
//! As text: `KIND[=VALUE][@PART-OF-THE-CALL][*TIMES]`, where the part is looked for in `METHOD /path?query`:
//! `latency=2s`, `429=30s@jobrequests*3`, `500@POST*1`.

use std::{fmt, str::FromStr, time::Duration};

use jiff::SignedDuration;

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// Only calls whose `METHOD /path?query` contains this, regardless of case.
    pub part: Option<String>,
    /// Only so many times.
    pub times: Option<u32>,
}

/// The ways in which things go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The answer takes this long; whatever else is switched on happens then.
    Latency(Duration),
    /// `sign-in`: 203 and the HTML of a sign-in page, whatever the client asked for.
    SignInPage,
    /// `302`: a redirect to the sign-in page.
    Redirect,
    /// `401`.
    Unauthorized,
    /// `403`.
    Forbidden,
    /// `404`.
    NotFound,
    /// `409`.
    Conflict,
    /// `session-conflict`: an agent that opens a session is told that it has one already. Strikes no other calls.
    SessionConflict,
    /// `invalid-client`: the token endpoint does not know the agent that signs in. Strikes no other calls.
    InvalidClient,
    /// `429`: throttled, with `Retry-After` and the `X-RateLimit` headers.
    Throttled(Duration),
    /// `retry-after`: the call is done, and a `Retry-After` asks to wait before the next one.
    RetryAfter(Duration),
    /// `500`.
    ServerError,
    /// `cut-off`: the call is done, and half of the JSON comes back.
    CutOff,
    /// `drop`: the connection is closed before anything is done.
    Dropped,
    /// `lose-reply`: the call is done, and the connection is closed instead of an answer.
    LostReply,
}

impl FaultKind {
    /// The fault for all calls, for good.
    #[must_use]
    pub fn always(self) -> Fault {
        Fault { kind: self, part: None, times: None }
    }

    /// Whether it can befall this call, `METHOD /path?query` in lower case.
    fn befalls(self, call: &str) -> bool {
        let path = call.split('?').next().unwrap_or_default();
        match self {
            Self::SessionConflict => path.starts_with("post ") && path.ends_with("/sessions"),
            Self::InvalidClient => path.contains("/oauth2/token"),
            _ => true,
        }
    }

    /// The fault for so many calls.
    #[must_use]
    pub fn times(self, times: u32) -> Fault {
        Fault { times: Some(times), ..self.always() }
    }
}

impl Fault {
    /// The same fault only for calls whose `METHOD /path?query` contains this.
    #[must_use]
    pub fn on(mut self, part: impl Into<String>) -> Self {
        self.part = Some(part.into());
        self
    }
}

/// A text that names no fault.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "\"{0}\" is no fault; it is KIND[=VALUE][@PART][*TIMES] with one of the kinds latency=TIME, sign-in, 302, 401, 403, \
     404, 409, session-conflict, invalid-client, 429[=TIME], retry-after=TIME, 500, cut-off, drop, lose-reply"
)]
pub struct FaultError(String);

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let error = || FaultError(text.to_owned());
        let (rest, times) = match text.trim().rsplit_once('*') {
            Some((rest, times)) => (rest, Some(times.trim().parse().map_err(|_| error())?)),
            None => (text.trim(), None),
        };
        let (kind, part) = rest.split_once('@').map_or((rest, None), |(kind, part)| (kind, Some(part.to_owned())));
        let (kind, value) = kind.split_once('=').map_or((kind, None), |(kind, value)| (kind, Some(value)));
        let time = |default: Option<Duration>| match value {
            Some(value) => value.parse::<SignedDuration>().ok().and_then(|time| time.try_into().ok()).ok_or_else(error),
            None => default.ok_or_else(error),
        };
        let kind = match kind {
            "latency" => FaultKind::Latency(time(None)?),
            "429" => FaultKind::Throttled(time(Some(Duration::from_secs(10)))?),
            "retry-after" => FaultKind::RetryAfter(time(None)?),
            _ if value.is_some() => return Err(error()),
            "sign-in" | "203" => FaultKind::SignInPage,
            "302" => FaultKind::Redirect,
            "401" => FaultKind::Unauthorized,
            "403" => FaultKind::Forbidden,
            "404" => FaultKind::NotFound,
            "409" => FaultKind::Conflict,
            "session-conflict" => FaultKind::SessionConflict,
            "invalid-client" => FaultKind::InvalidClient,
            "500" => FaultKind::ServerError,
            "cut-off" => FaultKind::CutOff,
            "drop" => FaultKind::Dropped,
            "lose-reply" => FaultKind::LostReply,
            _ => return Err(error()),
        };
        Ok(Self { kind, part, times })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |time: Duration| format!("{}s", time.as_secs_f64());
        let kind = match self.kind {
            FaultKind::Latency(time) => format!("latency={}", seconds(time)),
            FaultKind::Throttled(time) => format!("429={}", seconds(time)),
            FaultKind::RetryAfter(time) => format!("retry-after={}", seconds(time)),
            FaultKind::SignInPage => "sign-in".to_owned(),
            FaultKind::Redirect => "302".to_owned(),
            FaultKind::Unauthorized => "401".to_owned(),
            FaultKind::Forbidden => "403".to_owned(),
            FaultKind::NotFound => "404".to_owned(),
            FaultKind::Conflict => "409".to_owned(),
            FaultKind::SessionConflict => "session-conflict".to_owned(),
            FaultKind::InvalidClient => "invalid-client".to_owned(),
            FaultKind::ServerError => "500".to_owned(),
            FaultKind::CutOff => "cut-off".to_owned(),
            FaultKind::Dropped => "drop".to_owned(),
            FaultKind::LostReply => "lose-reply".to_owned(),
        };
        f.write_str(&kind)?;
        if let Some(part) = &self.part {
            write!(f, "@{part}")?;
        }
        match self.times {
            Some(times) => write!(f, "*{times}"),
            None => Ok(()),
        }
    }
}

/// The faults that are switched on. Latencies add up; of the others the first that applies happens.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// What goes wrong with this call: how late it is, and what else.
    pub(super) fn strike(&mut self, call: &str) -> (Duration, Option<FaultKind>) {
        let call = call.to_lowercase();
        let mut latency = Duration::ZERO;
        let mut struck = None;
        for fault in &mut self.0 {
            let applies = fault.part.as_ref().is_none_or(|part| call.contains(&part.to_lowercase()));
            if !applies || !fault.kind.befalls(&call) || fault.times == Some(0) {
                continue;
            }
            match fault.kind {
                FaultKind::Latency(time) => latency += time,
                _ if struck.is_some() => continue,
                kind => struck = Some(kind),
            }
            fault.times = fault.times.map(|times| times - 1);
        }
        self.0.retain(|fault| fault.times != Some(0));
        (latency, struck)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_read_as_it_is_written() {
        for text in [
            "latency=2.5s",
            "429=30s@jobrequests*3",
            "500@POST*1",
            "sign-in",
            "302@pools?poolName",
            "401",
            "403",
            "404",
            "409@sessions",
            "session-conflict*2",
            "invalid-client",
            "retry-after=5s",
            "cut-off*2",
            "drop",
            "lose-reply@PUT",
        ] {
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
        }
        assert_eq!("429".parse::<Fault>().unwrap().kind, FaultKind::Throttled(Duration::from_secs(10)));
    }

    #[test]
    fn what_is_no_fault_is_an_error_that_lists_them() {
        for text in ["", "418", "latency", "latency=soon", "500=3", "500*many", "retry-after=-1s"] {
            let error = text.parse::<Fault>().unwrap_err().to_string();
            assert!(error.contains("lose-reply"), "{text}: {error}");
        }
    }

    #[test]
    fn a_fault_strikes_the_calls_it_is_for_as_often_as_it_should() {
        let mut faults = Faults::default();
        faults.add(FaultKind::Latency(Duration::from_secs(1)).always());
        faults.add(FaultKind::ServerError.times(1).on("jobrequests"));
        faults.add(FaultKind::InvalidClient.always());
        faults.add(FaultKind::SessionConflict.always());
        faults.add(FaultKind::Conflict.always().on("post"));
        let late = Duration::from_secs(1);
        assert_eq!(faults.strike("GET /o/_apis/pools"), (late, None));
        assert_eq!(faults.strike("POST /o/_apis/jobrequests"), (late, Some(FaultKind::ServerError)));
        assert_eq!(faults.strike("POST /o/_apis/jobrequests"), (late, Some(FaultKind::Conflict)));
        assert_eq!(faults.strike("POST /o/_apis/OAuth2/token/1?x"), (late, Some(FaultKind::InvalidClient)));
        assert_eq!(faults.strike("POST /o/_apis/pools/1/sessions?v=1"), (late, Some(FaultKind::SessionConflict)));
        assert_eq!(faults.strike("DELETE /o/_apis/pools/1/sessions/2"), (late, None));
    }
}
