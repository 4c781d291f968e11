//! What can go wrong on the way to Azure DevOps and back, switched on by a test or by a flag.
//!
//! As text: `KIND[=VALUE][@PART-OF-THE-CALL][*TIMES]`, where the part is looked for in `METHOD /path?query`:
//! `latency=2s`, `429=30s@jobrequests*3`, `500@POST*1`.

use std::{fmt, str::FromStr, time::Duration};

use super::switched::{self, Trouble, Value};

/// Something that goes wrong on the way to Azure DevOps and back.
pub type Fault = switched::Fault<FaultKind>;

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
        Fault::always(self)
    }

    /// The fault for so many calls.
    #[must_use]
    pub fn times(self, times: u32) -> Fault {
        Fault { times: Some(times), ..self.always() }
    }
}

/// A text that names no fault.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "\"{0}\" is no fault; it is KIND[=VALUE][@PART][*TIMES] with one of the kinds latency=TIME, sign-in, 302, 401, 403, \
     404, 409, session-conflict, invalid-client, 429[=TIME], retry-after=TIME, 500, cut-off, drop, lose-reply"
)]
pub struct FaultError(String);

impl Trouble for FaultKind {
    fn latency(self) -> Option<Duration> {
        match self {
            Self::Latency(time) => Some(time),
            _ => None,
        }
    }

    fn befalls(self, call: &str) -> bool {
        let path = call.split('?').next().unwrap_or_default();
        match self {
            Self::SessionConflict => path.starts_with("post ") && path.ends_with("/sessions"),
            Self::InvalidClient => path.contains("/oauth2/token"),
            _ => true,
        }
    }

    fn of_text(kind: &str, value: Value<'_>) -> Option<Self> {
        Some(match kind {
            "latency" => Self::Latency(value.time(None)?),
            "429" => Self::Throttled(value.time(Some(Duration::from_secs(10)))?),
            "retry-after" => Self::RetryAfter(value.time(None)?),
            _ if value.is_there() => return None,
            "sign-in" | "203" => Self::SignInPage,
            "302" => Self::Redirect,
            "401" => Self::Unauthorized,
            "403" => Self::Forbidden,
            "404" => Self::NotFound,
            "409" => Self::Conflict,
            "session-conflict" => Self::SessionConflict,
            "invalid-client" => Self::InvalidClient,
            "500" => Self::ServerError,
            "cut-off" => Self::CutOff,
            "drop" => Self::Dropped,
            "lose-reply" => Self::LostReply,
            _ => return None,
        })
    }
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        switched::read(text).ok_or_else(|| FaultError(text.to_owned()))
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
        let mut faults = switched::Faults::default();
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
