//! Whose an object is, where a program keeps it as a repository or a chart says: whatever is changed by hand there is
//! undone sooner or later.

use serde_json::Value;

/// The program that owns the object, with the name of what it owns it by: `Helm release "agents"`.
#[must_use]
pub fn owner(object: &Value) -> Option<String> {
    let metadata = &object["metadata"];
    let label = |name: &str| metadata["labels"][name].as_str();
    let annotation = |name: &str| metadata["annotations"][name].as_str();
    if let Some(release) = annotation("meta.helm.sh/release-name")
        && label("app.kubernetes.io/managed-by") == Some("Helm")
    {
        return Some(format!("Helm release \"{release}\""));
    }
    if let Some(release) = label("helm.toolkit.fluxcd.io/name") {
        return Some(format!("Flux HelmRelease \"{release}\""));
    }
    if let Some(kustomization) = label("kustomize.toolkit.fluxcd.io/name") {
        return Some(format!("Flux Kustomization \"{kustomization}\""));
    }
    // APP:GROUP/KIND:NAMESPACE/NAME
    if let Some(tracking) = annotation("argocd.argoproj.io/tracking-id") {
        let application = tracking.split(':').next().unwrap_or(tracking);
        return Some(format!("Argo CD application \"{application}\""));
    }
    if let Some(application) = label("argocd.argoproj.io/instance") {
        return Some(format!("Argo CD application \"{application}\""));
    }
    // Argo CD's default label is one that others use as well.
    let by_argo = |entry: &Value| entry["manager"].as_str().is_some_and(|manager| manager.starts_with("argocd"));
    let applied_by_argo = metadata["managedFields"].as_array().is_some_and(|entries| entries.iter().any(by_argo));
    match label("app.kubernetes.io/instance") {
        Some(application) if applied_by_argo => Some(format!("Argo CD application \"{application}\"")),
        _ => None,
    }
}

/// Whether we applied the object.
#[must_use]
pub fn applied_by_us(object: &Value) -> bool {
    let ours = |entry: &Value| entry["manager"] == super::FIELD_MANAGER && entry["operation"] == "Apply";
    object["metadata"]["managedFields"].as_array().is_some_and(|entries| entries.iter().any(ours))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(metadata: &Value) -> Option<String> {
        owner(&json!({ "metadata": metadata }))
    }

    #[test]
    fn each_owner_is_known_by_its_marks_and_nobody_by_a_label_alone_that_many_use() {
        let helm = json!({"labels": {"app.kubernetes.io/managed-by": "Helm"}, "annotations": {"meta.helm.sh/release-name": "ado"}});
        assert_eq!(of(&helm).unwrap(), "Helm release \"ado\"");
        let argo = json!({"annotations": {"argocd.argoproj.io/tracking-id": "ci:apps/Deployment:ado/kubectl-ado"}});
        assert_eq!(of(&argo).unwrap(), "Argo CD application \"ci\"");
        let by_label = json!({"labels": {"app.kubernetes.io/instance": "ci"}, "managedFields": [{"manager": "argocd-controller"}]});
        assert_eq!(of(&by_label).unwrap(), "Argo CD application \"ci\"");
        assert_eq!(
            of(&json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "ci"}})).unwrap(),
            "Flux Kustomization \"ci\""
        );
        assert_eq!(of(&json!({"labels": {"helm.toolkit.fluxcd.io/name": "ci"}})).unwrap(), "Flux HelmRelease \"ci\"");
        assert_eq!(of(&json!({"labels": {"app.kubernetes.io/instance": "ci"}})), None);
        assert_eq!(of(&json!({"labels": {"app.kubernetes.io/managed-by": "Helm"}})), None);
        assert_eq!(of(&json!({})), None);
    }
}
