//! Has the cluster try an object without keeping it: validation, admission, quotas, and the rules against giving away
//! rights that one does not have, which access reviews know nothing of.

use kube::api::{DynamicObject, PostParams};
use serde_json::Value;

use super::{Apply, Cluster, ClusterError, ErrorKind, FIELD_MANAGER, ObjectRef};

/// Applies an object as `install` would, and keeps nothing.
///
/// # Errors
///
/// What the cluster would say for real.
pub async fn dry_run_apply(cluster: &Cluster, namespace: &str, object: &Value) -> Result<(), ClusterError> {
    let mut placed = object.clone();
    placed["metadata"]["namespace"] = namespace.into();
    cluster.apply(&placed, Apply { dry_run: true, force: true }).await.map(|_| ())
}

/// Creates an object, and keeps nothing.
///
/// # Errors
///
/// What the cluster would say for real.
pub async fn dry_run_create(cluster: &Cluster, namespace: &str, object: &Value) -> Result<(), ClusterError> {
    let reference = ObjectRef { namespace: namespace.to_owned(), ..ObjectRef::of(object) };
    let what = format!("create the {} (dry run)", reference.long());
    let object: DynamicObject = serde_json::from_value(object.clone()).map_err(|error| ClusterError {
        kind: ErrorKind::Invalid,
        message: format!("cannot {what}: {error}"),
        fix: None,
    })?;
    let parameters = PostParams { dry_run: true, field_manager: Some(FIELD_MANAGER.to_owned()) };
    let api = cluster.api(&reference).await?;
    cluster.call(&what, api.create(&parameters, &object)).await.map(|_| ())
}
