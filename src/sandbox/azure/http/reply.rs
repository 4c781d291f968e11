//! Answers: JSON, and errors as Resource Manager wraps them.

use http_body_util::Full;
use hyper::{
    HeaderMap, Response, StatusCode,
    body::Bytes,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use serde_json::{Value, json};

use crate::sandbox::azure::groups::Refusal;

#[derive(Debug)]
pub(super) struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Reply {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        let mut reply = Self::empty(status);
        reply.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        reply.body = body.to_string().into();
        reply
    }

    pub(super) fn empty(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, headers: HeaderMap::new(), body: Bytes::new() }
    }

    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// After how many seconds to ask again, if that is to be said.
    pub(super) fn retrying_after(self, seconds: Option<u64>) -> Self {
        match seconds {
            Some(seconds) => self.with("retry-after", &seconds.to_string()),
            None => self,
        }
    }

    pub(super) fn status(&self) -> u16 {
        self.status.as_u16()
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

impl From<Refusal> for Reply {
    fn from(Refusal { status, code, message, retry_after }: Refusal) -> Self {
        Self::json(status, &json!({ "error": { "code": code, "message": message } })).retrying_after(retry_after)
    }
}
