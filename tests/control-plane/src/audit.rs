//! Who asked the API server for what, from its audit log: the proof of least privilege.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Deserialize;

/// Metadata of every request but those of the control plane to itself, which are many and tell nothing.
pub(crate) const POLICY: &str = r#"{
  "apiVersion": "audit.k8s.io/v1",
  "kind": "Policy",
  "omitStages": ["RequestReceived"],
  "rules": [
    {"level": "None", "users": ["system:apiserver", "system:kube-controller-manager"]},
    {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
    {"level": "Metadata"}
  ]
}
"#;

/// One request that the API server answered, or, for a watch, began to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// `admin`, or `system:serviceaccount:NAMESPACE:NAME`. Under impersonation, the one who is played.
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// The API group, empty for the core group.
    pub group: String,
    /// In the plural (`jobs`); empty for what is not a resource, such as `/version`.
    pub resource: String,
    /// `status`, `log`, `token`, …, or empty.
    pub subresource: String,
    /// Empty for what is cluster-scoped.
    pub namespace: String,
    /// Empty for a list, a watch of many, and a create.
    pub name: String,
    /// Path and query of the request.
    pub uri: String,
    /// The HTTP status of the answer.
    pub code: u16,
    /// When the request came, by the API server's clock.
    pub received_at: Timestamp,
    /// When it was answered.
    pub answered_at: Timestamp,
}

/// The events in the order of their answers. A watch counts once, from its first answer on.
pub(crate) fn read(log: &Path) -> Result<Vec<AuditEvent>> {
    let text = std::fs::read_to_string(log).with_context(|| format!("cannot read {}", log.display()))?;
    let mut seen = HashSet::new();
    let mut events = Vec::new();
    // What follows the last line end is still being written.
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let record: Record = serde_json::from_str(line).context("an audit event is not as expected")?;
        if seen.insert(record.audit_id.clone()) {
            events.push(record.into());
        }
    }
    Ok(events)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    #[serde(rename = "auditID")]
    audit_id: String,
    verb: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    user: User,
    impersonated_user: Option<User>,
    #[serde(default)]
    object_ref: Reference,
    #[serde(default)]
    response_status: Status,
    request_received_timestamp: Timestamp,
    stage_timestamp: Timestamp,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Reference {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize, Default)]
struct Status {
    #[serde(default)]
    code: u16,
}

impl From<Record> for AuditEvent {
    fn from(record: Record) -> Self {
        let object = record.object_ref;
        Self {
            user: record.impersonated_user.unwrap_or(record.user).username,
            verb: record.verb,
            group: object.api_group,
            resource: object.resource,
            subresource: object.subresource,
            namespace: object.namespace,
            name: object.name,
            uri: record.request_uri,
            code: record.response_status.code,
            received_at: record.request_received_timestamp,
            answered_at: record.stage_timestamp,
        }
    }
}
