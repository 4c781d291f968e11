//! What an object is to the API server: by which path it is reached, and whether it lives in a namespace. The kinds that
//! are met every day are known; others are asked for.

use kube::{
    Client,
    api::ApiResource,
    core::GroupVersionKind,
    discovery::{Scope, pinned_kind},
};

use super::{ErrorKind, call};

/// Kinds that need no discovery: group, version, kind, plural, whether they live in a namespace.
const KNOWN: &[(&str, &str, &str, &str, bool)] = &[
    ("", "v1", "PersistentVolume", "persistentvolumes", false),
    ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", true),
    ("", "v1", "ConfigMap", "configmaps", true),
    ("", "v1", "Secret", "secrets", true),
    ("", "v1", "ServiceAccount", "serviceaccounts", true),
    ("", "v1", "Pod", "pods", true),
    ("", "v1", "Service", "services", true),
    ("", "v1", "Namespace", "namespaces", false),
    ("", "v1", "LimitRange", "limitranges", true),
    ("", "v1", "ResourceQuota", "resourcequotas", true),
    ("apps", "v1", "Deployment", "deployments", true),
    ("batch", "v1", "Job", "jobs", true),
    ("coordination.k8s.io", "v1", "Lease", "leases", true),
    ("storage.k8s.io", "v1", "StorageClass", "storageclasses", false),
    ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", true),
    ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", true),
    ("rbac.authorization.k8s.io", "v1", "Role", "roles", true),
    ("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings", true),
];

/// A kind that needs no discovery, and whether it lives in a namespace.
#[must_use]
pub fn known_kind(api_version: &str, kind: &str) -> Option<(ApiResource, bool)> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let is_it = |known: &&(&str, &str, &str, &str, bool)| (known.0, known.1, known.2) == (group, version, kind);
    let (.., plural, namespaced) = KNOWN.iter().find(is_it)?;
    Some((ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural), *namespaced))
}

/// How a kind is reached, and whether it lives in a namespace.
///
/// # Errors
///
/// The cluster does not know it, or does not say; in words.
pub async fn resolve_kind(client: &Client, api_version: &str, kind: &str) -> Result<(ApiResource, bool), String> {
    if let Some(known) = known_kind(api_version, kind) {
        return Ok(known);
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let gvk = GroupVersionKind::gvk(group, version, kind);
    let unknown = || format!("the cluster knows no {kind} of {api_version}; what defines it has to be installed first");
    let what = format!("find out what a {kind} ({api_version}) is");
    let found = call(&what, async {
        match pinned_kind(client, &gvk).await {
            Err(kube::Error::Discovery(_)) => Ok(None),
            other => other.map(Some),
        }
    })
    .await;
    match found {
        Ok(Some((resource, capabilities))) => Ok((resource, capabilities.scope == Scope::Namespaced)),
        Ok(None) => Err(unknown()),
        Err(error) if error.kind == ErrorKind::NotFound => Err(unknown()),
        Err(error) => Err(error.message),
    }
}
