//! Has the cluster try an object without keeping it: validation, admission, quotas, and the rules against giving away
//! rights that one does not have, which access reviews know nothing of.

use kube::{api::PostParams, core::Request};
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
    create(cluster, namespace, object, "").await
}

/// As [`dry_run_create`], where a field that the API server does not know is an error ([`ErrorKind::Invalid`]).
///
/// # Errors
///
/// What the cluster would say for real, and unknown fields.
pub async fn dry_run_create_strictly(cluster: &Cluster, namespace: &str, object: &Value) -> Result<(), ClusterError> {
    create(cluster, namespace, object, "&fieldValidation=Strict").await
}

async fn create(cluster: &Cluster, namespace: &str, object: &Value, more: &str) -> Result<(), ClusterError> {
    let reference = ObjectRef { namespace: namespace.to_owned(), ..ObjectRef::of(object) };
    let what = format!("create the {} (dry run)", reference.long());
    let unsendable = |error: &dyn std::fmt::Display| ClusterError {
        kind: ErrorKind::Invalid,
        message: format!("cannot {what}: {error}"),
        fix: None,
    };
    let parameters = PostParams { dry_run: true, field_manager: Some(FIELD_MANAGER.to_owned()) };
    let api = cluster.api(&reference).await?;
    // kube has no parameter for the strictness of a create.
    let mut request = Request::new(api.resource_url())
        .create(&parameters, object.to_string().into_bytes())
        .map_err(|error| unsendable(&error))?;
    *request.uri_mut() = format!("{}{more}", request.uri()).parse().map_err(|error| unsendable(&error))?;
    cluster.call(&what, cluster.client.request::<Value>(request)).await.map(|_| ())
}
