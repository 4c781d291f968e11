//! Why Resource Manager did not do what it was asked. Its codes tell more than its statuses.

use std::time::Duration;

use serde_json::Value;

use crate::azure::readable;

/// Why a call failed. Never holds a token; what Azure says is in one line.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ArmError {
    /// No answer: what was asked for may have been done.
    #[error("{0}")]
    Unreachable(String),
    /// Azure wants fewer calls of the kind: nothing was done. How long it wants to be left alone.
    #[error("Azure throttles {what}; they go on in {} s", .pause.as_secs())]
    Throttled {
        /// `reads`, `writes` or `deletions`.
        what: &'static str,
        /// For how long.
        pause: Duration,
    },
    /// Azure said no.
    #[error("{code}: {message} (HTTP {status})")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The code by which clients tell it: `ContainerGroupQuotaReached`.
        code: String,
        /// What people read.
        message: String,
    },
    /// No token for Azure.
    #[error("{message}")]
    Credential {
        /// What each link of the chain said, in one line.
        message: String,
        /// The line that mends it.
        fix: String,
        /// Whether there may be one a moment later.
        may_pass: bool,
    },
}

impl ArmError {
    /// What an answer that is no success says.
    pub(super) fn of_answer(status: u16, body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        // Some services leave the envelope out.
        let error = body.get("error").unwrap_or(&body);
        let text = |key: &str| error.get(key).and_then(Value::as_str).map(readable).filter(|text| !text.is_empty());
        Self::Refused {
            status,
            code: text("code").unwrap_or_else(|| "Unexplained".to_owned()),
            message: text("message").unwrap_or_else(|| "Azure gave no reason".to_owned()),
        }
    }

    /// Whether what was asked for is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Whether Azure gave this code, in any case of its letters.
    #[must_use]
    pub fn has_code(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { code, .. } if code.eq_ignore_ascii_case(wanted))
    }

    /// Whether it is sure that nothing was done. What breaks inside a server may break after the deed.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        match self {
            Self::Unreachable(_) => false,
            Self::Throttled { .. } | Self::Credential { .. } => true,
            Self::Refused { status, .. } => *status < 500 || self.is_quota(),
        }
    }

    /// Whether a quota is used up. It comes with various statuses and codes; its words are always the same.
    #[must_use]
    pub fn is_quota(&self) -> bool {
        let Self::Refused { status, code, message } = self else { return false };
        let (code, message) = (code.to_lowercase(), message.to_lowercase());
        let says_so = code.contains("quota") || (message.contains("quota") && message.contains("exceeded"));
        matches!(status, 400 | 403 | 409 | 503) && says_so
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, code: &str, message: &str) -> ArmError {
        let body = serde_json::json!({"error": {"code": code, "message": message}}).to_string();
        ArmError::of_answer(status, body.as_bytes())
    }

    #[test]
    fn quotas_are_known_by_code_or_words() {
        let words =
            "Resource type 'x' container group quota 'ContainerGroups' exceeded in region 'westeurope'. Limit: '100'";
        for (status, code, message, is_quota) in [
            (409, "ContainerGroupQuotaReached", "x", true),
            (503, "ServiceUnavailable", words, true),
            (409, "ServiceUnavailable", words, true),
            (503, "ServiceUnavailable", "The service is unavailable", false),
            (409, "ContainerGroupTransitioning", "still transitioning", false),
            (429, "TooManyRequests", words, false),
        ] {
            assert_eq!(answer(status, code, message).is_quota(), is_quota, "{code} {message}");
        }
    }

    #[test]
    fn what_breaks_inside_azure_may_have_been_done() {
        assert!(!answer(500, "InternalServerError", "x").is_certain());
        assert!(!answer(503, "ServiceUnavailable", "x").is_certain());
        assert!(answer(503, "ContainerGroupQuotaReached", "x").is_certain());
        assert!(answer(400, "InvalidResourceRequest", "x").is_certain());
        assert!(!ArmError::Unreachable("x".to_owned()).is_certain());
    }

    #[test]
    fn an_answer_without_the_envelope_is_read_too() {
        let error = ArmError::of_answer(404, br#"{"code": "ResourceNotFound", "message": "gone"}"#);
        assert_eq!(error.to_string(), "ResourceNotFound: gone (HTTP 404)");
        assert!(error.is_not_found() && error.has_code("resourcenotfound"));
        assert_eq!(ArmError::of_answer(502, b"<html>").to_string(), "Unexplained: Azure gave no reason (HTTP 502)");
    }
}
