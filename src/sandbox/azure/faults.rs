//! What can go wrong on the way to Azure and back, and with groups, switched on by a test or by a flag.
//!
//! As text: `KIND[=VALUE][@PART-OF-THE-CALL][*TIMES]`, where the part is looked for in `METHOD /path?query`, regardless of
//! case: `latency=2s`, `429=30s@containerGroups*3`, `lose-reply@PUT*1`, `stuck*1`.

use std::{str::FromStr, time::Duration};

use super::groups::{Fate, Refusal};
use crate::sandbox::switched::{self, Trouble, Value};

/// Something that goes wrong on the way to Azure and back, or with a group.
pub type AzureFault = switched::Fault<AzureFaultKind>;

/// The ways in which things go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AzureFaultKind {
    /// `latency`: the answer takes this long; whatever else is switched on happens then.
    Latency(Duration),
    /// `drop`: the connection is closed before anything is done.
    Dropped,
    /// `lose-reply`: the call is done, and the connection is closed instead of an answer.
    LostReply,
    /// `401`.
    Unauthorized,
    /// `403`.
    Forbidden,
    /// `409`: the group is in transition.
    Transitioning,
    /// `429`, with `Retry-After`.
    Throttled(Duration),
    /// `500`.
    ServerError,
    /// `503`.
    Unavailable,
    /// `quota`: there is no room for the group that is put.
    Quota,
    /// `stuck`: the group that is put stays Pending for ever. Befalls new groups alone, as the next two.
    Stuck,
    /// `unpullable`: the image of the group that is put cannot be pulled.
    Unpullable,
    /// `fail`: the operation that creates the group fails.
    Fail,
}

impl AzureFaultKind {
    /// The fault for all calls, for good.
    #[must_use]
    pub fn always(self) -> AzureFault {
        AzureFault::always(self)
    }

    /// The fault for so many calls.
    #[must_use]
    pub fn times(self, times: u32) -> AzureFault {
        AzureFault { times: Some(times), ..self.always() }
    }

    /// What it makes of the group that is put.
    pub(super) fn fate(self) -> Fate {
        match self {
            Self::Stuck => Fate::Stuck,
            Self::Unpullable => Fate::Unpullable,
            Self::Fail => Fate::Fail,
            _ => Fate::Run,
        }
    }

    /// What comes instead of doing the call, which is about the group of this name if about one.
    pub(super) fn refusal(self, name: &str) -> Option<Refusal> {
        Some(match self {
            Self::Forbidden => Refusal::new(403, "AuthorizationFailed", "The client does not have authorization."),
            Self::Transitioning => Refusal::transitioning(name),
            Self::Throttled(time) => Refusal::too_many("a fault is switched on", time.as_secs()),
            Self::ServerError => Refusal::new(500, "InternalServerError", "Encountered internal server error."),
            Self::Unavailable => Refusal::new(503, "ServerTimeout", "The request timed out. Please try again later."),
            Self::Quota => Refusal::quota(409, "ContainerGroups", "here", 0.0, 0.0, 1.0),
            _ => return None,
        })
    }
}

/// A text that names no fault.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "\"{0}\" is no fault; it is KIND[=VALUE][@PART][*TIMES] with one of the kinds latency=TIME, drop, lose-reply, 401, \
     403, 409, 429[=TIME], 500, 503, quota, stuck, unpullable, fail"
)]
pub struct AzureFaultError(String);

impl Trouble for AzureFaultKind {
    fn latency(self) -> Option<Duration> {
        match self {
            Self::Latency(time) => Some(time),
            _ => None,
        }
    }

    fn befalls(self, call: &str) -> bool {
        let is_group = call.starts_with("put ") && call.contains("/containergroups/");
        let is_of_groups = matches!(self, Self::Quota) || self.fate() != Fate::Run;
        is_group || !is_of_groups
    }

    fn of_text(kind: &str, value: Value<'_>) -> Option<Self> {
        Some(match kind {
            "latency" => Self::Latency(value.time(None)?),
            "429" => Self::Throttled(value.time(Some(Duration::from_secs(10)))?),
            _ if value.is_there() => return None,
            "drop" => Self::Dropped,
            "lose-reply" => Self::LostReply,
            "401" => Self::Unauthorized,
            "403" => Self::Forbidden,
            "409" => Self::Transitioning,
            "500" => Self::ServerError,
            "503" => Self::Unavailable,
            "quota" => Self::Quota,
            "stuck" => Self::Stuck,
            "unpullable" => Self::Unpullable,
            "fail" => Self::Fail,
            _ => return None,
        })
    }
}

impl FromStr for AzureFault {
    type Err = AzureFaultError;

    fn from_str(text: &str) -> Result<Self, AzureFaultError> {
        switched::read(text).ok_or_else(|| AzureFaultError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_read_and_strikes_the_calls_it_is_for() {
        let mut faults = switched::Faults::default();
        for text in ["latency=2s@GET", "stuck*1", "lose-reply@put*1", "429=30s"] {
            faults.add(text.parse().unwrap());
        }
        let group = "PUT /subscriptions/s/resourceGroups/g/providers/x/containerGroups/n?api-version=1";
        assert_eq!(faults.strike(group), (Duration::ZERO, Some(AzureFaultKind::Stuck)));
        assert_eq!(faults.strike(group), (Duration::ZERO, Some(AzureFaultKind::LostReply)));
        let throttled = Some(AzureFaultKind::Throttled(Duration::from_secs(30)));
        assert_eq!(faults.strike("GET /"), (Duration::from_secs(2), throttled));
    }

    #[test]
    fn what_is_no_fault_is_an_error_that_lists_them() {
        for text in ["", "418", "latency", "500=3", "stuck*many"] {
            assert!(text.parse::<AzureFault>().unwrap_err().to_string().contains("unpullable"), "{text}");
        }
    }
}
