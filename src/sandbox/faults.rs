//! What can go wrong on the way to Azure DevOps and back, switched on by a test or by a flag.
//!
//! As text: `KIND[=VALUE][@PART-OF-THE-CALL][*TIMES]`, where the part is looked for in `METHOD /path?query`:
//! `latency=2s`, `429=30s@jobrequests*3`, `500@POST*1`, `half-list@jobrequests`, `stale-list=10s@agents`.

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
    /// `late-reply`: the call is done at once, and its answer comes this much later.
    LateReply(Duration),
    /// `empty-list`: a list of pools, agents or job requests has no elements. Like all faults of lists it comes with the
    /// status 200 and strikes no other calls.
    EmptyList,
    /// `half-list`: every second element of a list is left out, from the first on.
    HalfList,
    /// `short-list`: so many elements are left out of a list, from the first on.
    ShortList(u32),
    /// `doubled-list`: each element of a list comes twice.
    DoubledList,
    /// `misshapen-list`: this field of each element of a list is of a type that nobody expects.
    MisshapenList(ListField),
    /// `stale-list`: a list is answered as it was this long ago. What is remembered of lists goes back two minutes.
    StaleList(Duration),
    /// `read-only`: 403 for changes of pools and agents, as for a token that may only read. Strikes no calls of agents for
    /// their own work.
    ReadOnly,
    /// `out-of-sight`: what is asked for is not visible for the token: lists are empty, all else is not found. Strikes no
    /// calls of agents for their own work.
    OutOfSight,
}

/// A field of an element of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListField {
    /// `id`: the number of the element, which job requests call `requestId`.
    #[default]
    Id,
    /// `name` of a pool or an agent.
    Name,
    /// `status` of an agent.
    Status,
    /// `enabled` of an agent.
    Enabled,
    /// `assignedRequest` of an agent.
    AssignedRequest,
    /// `reservedAgent` of a job request.
    ReservedAgent,
    /// `receiveTime` of a job request.
    ReceiveTime,
    /// The element itself is a text.
    Element,
}

impl ListField {
    const ALL: [Self; 8] = [
        Self::Id,
        Self::Name,
        Self::Status,
        Self::Enabled,
        Self::AssignedRequest,
        Self::ReservedAgent,
        Self::ReceiveTime,
        Self::Element,
    ];

    /// Its name in a fault's text, which for all but [`Self::Element`] is its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Name => "name",
            Self::Status => "status",
            Self::Enabled => "enabled",
            Self::AssignedRequest => "assignedRequest",
            Self::ReservedAgent => "reservedAgent",
            Self::ReceiveTime => "receiveTime",
            Self::Element => "element",
        }
    }
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
     404, 409, session-conflict, invalid-client, 429[=TIME], retry-after=TIME, 500, cut-off, drop, lose-reply, \
     late-reply=TIME, empty-list, half-list, short-list=N, doubled-list, misshapen-list[=FIELD], stale-list=TIME, \
     read-only, out-of-sight"
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
            Self::EmptyList
            | Self::HalfList
            | Self::ShortList(_)
            | Self::DoubledList
            | Self::MisshapenList(_)
            | Self::StaleList(_) => is_list(path),
            Self::ReadOnly => is_for_managers(path) && !path.starts_with("get "),
            Self::OutOfSight => is_for_managers(path),
            _ => true,
        }
    }

    fn of_text(kind: &str, value: Value<'_>) -> Option<Self> {
        Some(match kind {
            "latency" => Self::Latency(value.time(None)?),
            "429" => Self::Throttled(value.time(Some(Duration::from_secs(10)))?),
            "retry-after" => Self::RetryAfter(value.time(None)?),
            "late-reply" => Self::LateReply(value.time(None)?),
            "stale-list" => Self::StaleList(value.time(None)?),
            "short-list" => Self::ShortList(value.text()?.parse().ok()?),
            "misshapen-list" => Self::MisshapenList(match value.text() {
                Some(name) => ListField::ALL.into_iter().find(|field| field.name().eq_ignore_ascii_case(name))?,
                None => ListField::default(),
            }),
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
            "empty-list" => Self::EmptyList,
            "half-list" => Self::HalfList,
            "doubled-list" => Self::DoubledList,
            "read-only" => Self::ReadOnly,
            "out-of-sight" => Self::OutOfSight,
            _ => return None,
        })
    }
}

/// Whether a call, `METHOD /path` in lower case, asks for a list of pools, agents or job requests.
pub(super) fn is_list(path: &str) -> bool {
    path.starts_with("get ") && ["/pools", "/agents", "/jobrequests"].iter().any(|end| path.ends_with(end))
}

/// Whether a call is about pools, and not one by which an agent does its own work.
fn is_for_managers(path: &str) -> bool {
    let is_agents_own = ["/sessions", "/messages", "/jobrequests/"].iter().any(|part| path.contains(part));
    path.contains("/distributedtask/pools") && !is_agents_own
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
            FaultKind::LateReply(time) => format!("late-reply={}", seconds(time)),
            FaultKind::EmptyList => "empty-list".to_owned(),
            FaultKind::HalfList => "half-list".to_owned(),
            FaultKind::ShortList(count) => format!("short-list={count}"),
            FaultKind::DoubledList => "doubled-list".to_owned(),
            FaultKind::MisshapenList(field) => format!("misshapen-list={}", field.name()),
            FaultKind::StaleList(time) => format!("stale-list={}", seconds(time)),
            FaultKind::ReadOnly => "read-only".to_owned(),
            FaultKind::OutOfSight => "out-of-sight".to_owned(),
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
            "late-reply=30s@GET",
            "empty-list@jobrequests*2",
            "half-list",
            "short-list=3@pools/11/agents",
            "doubled-list",
            "misshapen-list=assignedRequest",
            "stale-list=10s@agents",
            "read-only",
            "out-of-sight@pools/11",
        ] {
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
        }
        assert_eq!("429".parse::<Fault>().unwrap().kind, FaultKind::Throttled(Duration::from_secs(10)));
        assert_eq!("misshapen-list".parse::<Fault>().unwrap().kind, FaultKind::MisshapenList(ListField::Id));
    }

    #[test]
    fn what_is_no_fault_is_an_error_that_lists_them() {
        for text in [
            "",
            "418",
            "latency",
            "latency=soon",
            "500=3",
            "500*many",
            "retry-after=-1s",
            "short-list",
            "empty-list=3",
            "misshapen-list=colour",
        ] {
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

    #[test]
    fn faults_of_lists_and_of_rights_strike_no_other_calls() {
        let strikes = |kind: FaultKind, call: &str| {
            let mut faults = switched::Faults::default();
            faults.add(kind.always());
            faults.strike(call).1.is_some()
        };
        let of = |rest: &str| rest.replace(" ", " /o/_apis/distributedtask/");
        for (call, list, read_only, out_of_sight) in [
            ("GET pools?poolName=x", true, false, true),
            ("GET pools/11/agents?includeCapabilities=true", true, false, true),
            ("GET pools/11/jobrequests?completedRequestCount=0", true, false, true),
            ("GET pools/11/agents/3", false, false, true),
            ("PATCH pools/11/agents/3", false, true, true),
            ("PATCH pools/11", false, true, true),
            ("PATCH pools/11/jobrequests/3?lockToken=x", false, false, false),
            ("POST pools/11/sessions", false, false, false),
            ("GET pools/11/messages?sessionId=x", false, false, false),
            ("GET resourceusage", false, false, false),
        ] {
            let call = of(call);
            assert_eq!(strikes(FaultKind::EmptyList, &call), list, "{call}");
            assert_eq!(strikes(FaultKind::StaleList(Duration::from_secs(1)), &call), list, "{call}");
            assert_eq!(strikes(FaultKind::ReadOnly, &call), read_only, "{call}");
            assert_eq!(strikes(FaultKind::OutOfSight, &call), out_of_sight, "{call}");
        }
    }
}
