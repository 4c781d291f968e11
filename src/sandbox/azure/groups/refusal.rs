//! Why Azure Resource Manager does not do what it is asked, with its own status and code. Clients go by the code.

/// A call that is refused: what stands in the body's `error`.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The code by which clients tell it.
    pub code: &'static str,
    /// What people read.
    pub message: String,
    /// How long to wait before asking again, in seconds.
    pub retry_after: Option<u64>,
}

impl Refusal {
    pub(in crate::sandbox::azure) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None }
    }

    /// The body is not of the published shape, as the deserializer says it.
    pub(in crate::sandbox::azure) fn content(what: &str) -> Self {
        let message = format!("The request content was invalid and could not be deserialized: '{what}'.");
        Self::new(400, "InvalidRequestContent", message)
    }

    pub(super) fn not_found(resource_group: &str, name: &str) -> Self {
        let message = format!(
            "The Resource 'Microsoft.ContainerInstance/containerGroups/{name}' under resource group \
             '{resource_group}' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix"
        );
        Self::new(404, "ResourceNotFound", message)
    }

    pub(in crate::sandbox::azure) fn transitioning(name: &str) -> Self {
        let message = format!("The container group '{name}' is still transitioning, please retry later.");
        Self::new(409, "ContainerGroupTransitioning", message)
    }

    pub(in crate::sandbox::azure) fn quota(
        status: u16,
        quota: &str,
        region: &str,
        limit: f64,
        usage: f64,
        requested: f64,
    ) -> Self {
        let message = format!(
            "Resource type 'Microsoft.ContainerInstance/containerGroups' container group quota '{quota}' exceeded in \
             region '{region}'. Limit: '{limit}', Usage: '{usage}' Requested: '{requested}'."
        );
        Self::new(status, "ContainerGroupQuotaReached", message)
    }

    pub(in crate::sandbox::azure) fn too_many(what: &str, seconds: u64) -> Self {
        let message = format!("The request is being throttled: {what}. Please try again after '{seconds}' seconds.");
        Self { retry_after: Some(seconds), ..Self::new(429, "TooManyRequests", message) }
    }
}
