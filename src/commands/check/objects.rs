//! What `install` applies, as far as it can be tried before there is a configuration: the objects of `manifests/`.

use serde_json::{Value, json};

use crate::cluster::Right;

const MANIFESTS: [&str; 4] = [
    include_str!("../../../manifests/serviceaccount.yaml"),
    include_str!("../../../manifests/role.yaml"),
    include_str!("../../../manifests/rolebinding.yaml"),
    include_str!("../../../manifests/deployment.yaml"),
];

/// The objects of `manifests/` and what goes with them.
pub(super) fn objects() -> Vec<Value> {
    let mut objects: Vec<Value> = MANIFESTS.iter().filter_map(|text| serde_yaml::from_str(text).ok()).collect();
    let named = |kind: &str, name: &str| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}});
    objects.push(named("ConfigMap", "kubectl-ado-config"));
    objects.push(named("Secret", "kubectl-ado-token"));
    objects
}

/// The rights that applying them takes.
pub(super) fn install_rights() -> Vec<Right> {
    let resources = [
        ("", "serviceaccounts"),
        ("", "configmaps"),
        ("", "secrets"),
        ("apps", "deployments"),
        ("rbac.authorization.k8s.io", "roles"),
        ("rbac.authorization.k8s.io", "rolebindings"),
        ("policy", "poddisruptionbudgets"),
        ("networking.k8s.io", "networkpolicies"),
    ];
    let verbs = |(group, resource): (&str, &str)| ["create", "patch"].map(|verb| Right::new(verb, group, resource));
    resources.into_iter().flat_map(verbs).collect()
}

/// The rights that the orchestrator's Role gives it.
pub(super) fn orchestrator_rights() -> Vec<Right> {
    let role: Value = serde_yaml::from_str(MANIFESTS[1]).unwrap_or_default();
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|text| Some(text.as_str()?.to_owned())).collect()
    };
    let mut rights = Vec::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                rights.extend(texts(&rule["verbs"]).iter().map(|verb| Right::new(verb, &group, &resource)));
            }
        }
    }
    rights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifests_are_read_and_the_role_is_not_empty() {
        assert_eq!(objects().len(), 6);
        let rights = orchestrator_rights();
        assert!(rights.contains(&Right::new("create", "batch", "jobs")) && rights.len() > 10, "{rights:?}");
    }
}
