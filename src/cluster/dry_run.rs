//! Has the cluster try an object without keeping it: validation, admission, quotas, and the rules against giving away
//! rights that one does not have, which access reviews know nothing of.

use kube::{
    Api,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
};
use serde_json::Value;

use super::{Cluster, ClusterError, ErrorKind};

/// Kind and plural of what is tried.
const PLURALS: &[(&str, &str)] =
    &[("NetworkPolicy", "networkpolicies"), ("PodDisruptionBudget", "poddisruptionbudgets"), ("Ingress", "ingresses")];

fn api(cluster: &Cluster, namespace: &str, object: &Value) -> Result<(Api<DynamicObject>, String), ClusterError> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = text("/apiVersion").split_once('/').unwrap_or(("", text("/apiVersion")));
    let kind = text("/kind");
    if kind.is_empty() || version.is_empty() {
        let message = "the object has no apiVersion or kind".to_owned();
        return Err(ClusterError { kind: ErrorKind::Invalid, message, fix: None });
    }
    let gvk = GroupVersionKind::gvk(group, version, kind);
    let known = PLURALS.iter().find(|(name, _)| *name == kind).map(|(_, plural)| (*plural).to_owned());
    let plural = known.unwrap_or_else(|| format!("{}s", kind.to_lowercase()));
    let resource = ApiResource::from_gvk_with_plural(&gvk, &plural);
    let api = Api::namespaced_with(cluster.client.clone(), namespace, &resource);
    Ok((api, format!("{} {}", kind, text("/metadata/name"))))
}

/// Applies an object as `install` would, and keeps nothing.
///
/// # Errors
///
/// What the cluster would say for real.
pub async fn dry_run_apply(cluster: &Cluster, namespace: &str, object: &Value) -> Result<(), ClusterError> {
    let (api, what) = api(cluster, namespace, object)?;
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let parameters = PatchParams { dry_run: true, force: true, ..PatchParams::apply("kubectl-ado") };
    let patch = Patch::Apply(object);
    let call = api.patch(name, &parameters, &patch);
    cluster.call(&format!("apply {what} (dry run)"), call).await.map(|_| ())
}

/// Creates an object, and keeps nothing.
///
/// # Errors
///
/// What the cluster would say for real.
pub async fn dry_run_create(cluster: &Cluster, namespace: &str, object: &Value) -> Result<(), ClusterError> {
    let (api, what) = api(cluster, namespace, object)?;
    let what = format!("create {what} (dry run)");
    let object: DynamicObject = serde_json::from_value(object.clone()).map_err(|error| ClusterError {
        kind: ErrorKind::Invalid,
        message: format!("cannot {what}: {error}"),
        fix: None,
    })?;
    let parameters = PostParams { dry_run: true, field_manager: Some("kubectl-ado".to_owned()) };
    cluster.call(&what, api.create(&parameters, &object)).await.map(|_| ())
}
