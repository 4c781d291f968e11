//! What the cluster holds of an install, and whether that is what should be there.

use std::collections::BTreeMap;

use kube::{
    Api, Client,
    api::{DynamicObject, ListParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::Value;

/// Kind, namespace and name.
pub(crate) type Key = (String, String, String);

const KINDS: [(&str, &str, &str, &str); 10] = [
    ("apps", "v1", "Deployment", "deployments"),
    ("batch", "v1", "Job", "jobs"),
    ("", "v1", "ConfigMap", "configmaps"),
    ("", "v1", "Secret", "secrets"),
    ("", "v1", "ServiceAccount", "serviceaccounts"),
    ("rbac.authorization.k8s.io", "v1", "Role", "roles"),
    ("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"),
    ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
    ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    ("coordination.k8s.io", "v1", "Lease", "leases"),
];

/// All that lies in these namespaces and does not come with every namespace.
pub(crate) async fn look(client: &Client, namespaces: &[String]) -> BTreeMap<Key, Value> {
    let mut found = BTreeMap::new();
    for namespace in namespaces {
        for (group, version, kind, plural) in KINDS {
            let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
            let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
            for object in api.list(&ListParams::default()).await.unwrap() {
                let name = object.metadata.name.clone().unwrap();
                if (kind, name.as_str()) == ("ServiceAccount", "default") || name == "kube-root-ca.crt" {
                    continue;
                }
                let mut object = serde_json::to_value(&object).unwrap();
                let metadata = object["metadata"].as_object_mut().unwrap();
                for field in ["managedFields", "resourceVersion", "generation", "creationTimestamp"] {
                    metadata.remove(field);
                }
                if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
                    annotations.remove("deployment.kubernetes.io/revision");
                }
                object.as_object_mut().unwrap().remove("status");
                // Items of a list do not say what they are.
                object["apiVersion"] =
                    if group.is_empty() { version.into() } else { format!("{group}/{version}").into() };
                object["kind"] = kind.into();
                found.insert((kind.to_owned(), namespace.clone(), name), object);
            }
        }
    }
    found
}

/// Where `found` lacks something of `wanted`. Lists have to be of one length; what the API server adds to a map is its own.
pub(crate) fn lacking(wanted: &Value, found: &Value, at: &str) -> Option<String> {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(_)) => {
            wanted.iter().find_map(|(key, value)| lacking(value, &found[key], &format!("{at}.{key}")))
        }
        (Value::Array(wanted), Value::Array(list)) if wanted.len() == list.len() => wanted
            .iter()
            .zip(list)
            .enumerate()
            .find_map(|(index, (wanted, found))| lacking(wanted, found, &format!("{at}[{index}]"))),
        (wanted, found) if wanted == found => None,
        // Empty ones are left out by the API server.
        (Value::Object(map), Value::Null) if map.is_empty() => None,
        (Value::Array(list), Value::Null) if list.is_empty() => None,
        (wanted, found) => Some(format!("{at} is {found} and should be {wanted}")),
    }
}
