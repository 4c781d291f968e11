//! Why somebody does not get a token, as Entra says it: OAuth's error, and a number with AADSTS before it.

use jiff::Timestamp;
use serde_json::{Value, json};

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sandbox::azure) struct Refused {
    pub(in crate::sandbox::azure) status: u16,
    error: &'static str,
    number: u32,
    description: String,
}

impl Refused {
    pub(super) fn new(status: u16, error: &'static str, number: u32, description: impl Into<String>) -> Self {
        Self { status, error, number, description: description.into() }
    }

    /// The client did not prove that it is the one.
    pub(super) fn client(number: u32, description: &str) -> Self {
        Self::new(401, "invalid_client", number, description)
    }

    pub(super) fn missing(field: &str) -> Self {
        let description = format!("The request body must contain the following parameter: '{field}'.");
        Self::new(400, "invalid_request", 900_144, description)
    }

    pub(in crate::sandbox::azure) fn body(&self, now: Timestamp) -> Value {
        let Self { error, number, description, .. } = self;
        let id = "00000000-0000-4000-8000-00000000aad5";
        let time = now.strftime("%Y-%m-%d %H:%M:%SZ");
        json!({
            "error": error,
            "error_description":
                format!("AADSTS{number}: {description} Trace ID: {id} Correlation ID: {id} Timestamp: {time}"),
            "error_codes": [number],
            "timestamp": time.to_string(),
            "trace_id": id,
            "correlation_id": id,
            "error_uri": format!("https://login.microsoftonline.com/error?code={number}"),
        })
    }
}
