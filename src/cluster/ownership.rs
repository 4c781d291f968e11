//! Who manages an object, where that is somebody who would undo a change made by hand.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Argo CD, Flux or Helm, with the name of what it manages it by; `None` where nobody of them does.
#[must_use]
pub fn owner(metadata: &ObjectMeta) -> Option<String> {
    let label = |key: &str| metadata.labels.as_ref()?.get(key).cloned();
    let annotation = |key: &str| metadata.annotations.as_ref()?.get(key).cloned();
    if let Some(id) = annotation("argocd.argoproj.io/tracking-id") {
        let application = id.split(':').next().unwrap_or_default();
        return Some(format!("Argo CD (application {application})"));
    }
    if let Some(application) = label("argocd.argoproj.io/instance") {
        return Some(format!("Argo CD (application {application})"));
    }
    if let Some(name) = label("kustomize.toolkit.fluxcd.io/name") {
        return Some(format!("Flux (Kustomization {name})"));
    }
    if let Some(name) = label("helm.toolkit.fluxcd.io/name") {
        return Some(format!("Flux (HelmRelease {name})"));
    }
    let by_helm = label("app.kubernetes.io/managed-by").is_some_and(|by| by == "Helm");
    let release = annotation("meta.helm.sh/release-name");
    (by_helm || release.is_some())
        .then(|| format!("Helm (release {})", release.unwrap_or_else(|| "unknown".to_owned())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn those_who_would_undo_a_change_are_known_by_their_marks() {
        for (metadata, expected) in [
            (json!({}), None),
            (json!({"labels": {"app.kubernetes.io/managed-by": "kubectl-ado"}}), None),
            (
                json!({"annotations": {"argocd.argoproj.io/tracking-id": "ado:/ConfigMap:a/b"}}),
                Some("Argo CD (application ado)"),
            ),
            (json!({"labels": {"argocd.argoproj.io/instance": "ado"}}), Some("Argo CD (application ado)")),
            (json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "infra"}}), Some("Flux (Kustomization infra)")),
            (json!({"labels": {"helm.toolkit.fluxcd.io/name": "ado"}}), Some("Flux (HelmRelease ado)")),
            (
                json!({"labels": {"app.kubernetes.io/managed-by": "Helm"}, "annotations": {"meta.helm.sh/release-name": "r"}}),
                Some("Helm (release r)"),
            ),
        ] {
            let metadata: ObjectMeta = serde_json::from_value(metadata).unwrap();
            assert_eq!(owner(&metadata).as_deref(), expected);
        }
    }
}
