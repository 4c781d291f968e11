//! Answers: JSON, errors as Azure DevOps wraps them, sign-in pages.

use http_body_util::Full;
use hyper::{
    HeaderMap, Response, StatusCode,
    body::Bytes,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use serde_json::{Value, json};

use crate::sandbox::state::Refusal;

#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Reply {
    fn new(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, headers, body: body.into() }
    }

    pub(super) fn json(body: &Value) -> Self {
        Self::new(200, "application/json; charset=utf-8; api-version=7.1", body.to_string())
    }

    /// A list as Azure DevOps writes them.
    pub(super) fn list(values: Vec<Value>) -> Self {
        let mut list = json!({ "count": values.len() });
        list["value"] = Value::Array(values);
        Self::json(&list)
    }

    pub(super) fn empty(status: u16) -> Self {
        let mut reply = Self::new(status, "application/json", Bytes::new());
        reply.headers.clear();
        reply
    }

    pub(super) fn file(bytes: Bytes) -> Self {
        Self::new(200, "application/octet-stream", bytes)
    }

    pub(super) fn zip(bytes: Vec<u8>) -> Self {
        Self::new(200, "application/zip", bytes)
    }

    pub(super) fn html(status: u16, title: &str) -> Self {
        let page = format!(
            "<!DOCTYPE html>\r\n<html lang=\"en-US\"><head><title>{title}</title></head>\
             <body><h1>{title}</h1><form action=\"/_signin\" method=\"post\"></form></body></html>\r\n"
        );
        Self::new(status, "text/html; charset=utf-8", page)
    }

    /// An error in the wrapping that Azure DevOps puts around its exceptions.
    pub(super) fn error(status: u16, type_key: &str, message: &str) -> Self {
        let space = "Microsoft.TeamFoundation.DistributedTask.WebApi";
        let body = json!({
            "$id": "1",
            "innerException": null,
            "message": message,
            "typeName": format!("{space}.{type_key}, {space}"),
            "typeKey": type_key,
            "errorCode": 0,
            "eventId": 3000,
        });
        Self::json(&body).with_status(status)
    }

    /// Whoever it is may not do this.
    pub(super) fn access_denied(who: &str, pool: &str) -> Self {
        let message = format!(
            "Access denied. {who} needs Manage permissions for pool {pool} to perform the action. For more information, \
             contact the Azure DevOps Server administrator."
        );
        Self::error(403, "AccessDeniedException", &message)
    }

    pub(super) fn with_status(mut self, status: u16) -> Self {
        self.status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        self
    }

    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.append(HeaderName::from_static(name), value);
        }
        self
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        Self::error(refusal.status(), refusal.type_key(), &refusal.to_string())
    }
}
