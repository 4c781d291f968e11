//! What the fake API server says when it does not do what it is asked, in the real one's words.

use serde_json::{Value, json};

use super::resource::Resource;

/// An answer that is no success.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) details: Option<Value>,
}

impl Problem {
    fn about(code: u16, reason: &'static str, resource: &Resource, name: &str, message: String) -> Self {
        let mut details = json!({"kind": resource.plural});
        if !name.is_empty() {
            details["name"] = json!(name);
        }
        if !resource.group.is_empty() {
            details["group"] = json!(resource.group);
        }
        Self { code, reason, message, details: Some(details) }
    }

    pub(crate) fn not_found(resource: &Resource, name: &str) -> Self {
        Self::about(404, "NotFound", resource, name, format!("{} \"{name}\" not found", resource.qualified()))
    }

    pub(crate) fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", resource.qualified());
        Self::about(409, "AlreadyExists", resource, name, message)
    }

    pub(crate) fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource.qualified());
        Self::about(409, "Conflict", resource, name, message)
    }

    /// What a deletion requires of the object does not hold. The real one names the kind here, not the resource.
    pub(crate) fn precondition(resource: &Resource, name: &str, why: &str) -> Self {
        let mut problem = Self::conflict(resource, name, why);
        if let Some(details) = &mut problem.details {
            details["kind"] = json!(resource.kind);
        }
        problem
    }

    pub(crate) fn modified(resource: &Resource, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    /// `cause` is a kind of cause, a field and what is wrong with it.
    pub(crate) fn invalid(resource: &Resource, name: &str, cause: (&str, &str, &str)) -> Self {
        let (kind, field, why) = cause;
        let full = if resource.group.is_empty() { String::new() } else { format!(".{}", resource.group) };
        let message = format!("{}{full} \"{name}\" is invalid: {field}: {why}", resource.kind);
        let mut problem = Self::about(422, "Invalid", resource, name, message);
        if let Some(details) = &mut problem.details {
            details["kind"] = json!(resource.kind);
            details["causes"] = json!([{"reason": kind, "message": why, "field": field}]);
        }
        problem
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self { code: 400, reason: "BadRequest", message: message.into(), details: None }
    }

    /// As the real one: for a new object that has a version already, an error of its own.
    pub(crate) fn has_a_version() -> Self {
        let message = "resourceVersion should not be set on objects to be created".to_owned();
        Self { code: 500, reason: "", message, details: None }
    }

    /// A JSON patch with an operation that does not apply, such as a test that fails.
    pub(crate) fn unpatchable(_why: String) -> Self {
        let message = "the server rejected our request due to an error in our request".to_owned();
        Self { code: 422, reason: "Invalid", message, details: Some(json!({})) }
    }

    pub(crate) fn not_acceptable() -> Self {
        let message = "only the following media types are accepted: application/json".to_owned();
        Self { code: 406, reason: "NotAcceptable", message, details: None }
    }

    pub(crate) fn quota(resource: &Resource, name: &str) -> Self {
        let message = format!(
            "{} \"{name}\" is forbidden: exceeded quota: agents, requested: count/jobs.batch=1, used: \
             count/jobs.batch=9, limited: count/jobs.batch=9",
            resource.qualified()
        );
        Self::about(403, "Forbidden", resource, name, message)
    }

    pub(crate) fn expired(what: &str) -> Self {
        Self { code: 410, reason: "Expired", message: what.to_owned(), details: None }
    }

    pub(crate) fn no_such_path() -> Self {
        let message = "the server could not find the requested resource".to_owned();
        Self { code: 404, reason: "NotFound", message, details: Some(json!({})) }
    }

    pub(crate) fn timeout() -> Self {
        let message = "Timeout: request did not complete within the allotted duration".to_owned();
        Self { code: 504, reason: "Timeout", message, details: Some(json!({})) }
    }

    pub(crate) fn too_many_requests() -> Self {
        let message = "the server has received too many requests and has asked us to try again later".to_owned();
        Self { code: 429, reason: "TooManyRequests", message, details: Some(json!({"retryAfterSeconds": 1})) }
    }

    pub(crate) fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message,
        });
        if !self.reason.is_empty() {
            status["reason"] = json!(self.reason);
        }
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        status["code"] = json!(self.code);
        status
    }
}
