//! The manifests of an install: those in the folder `manifests/`, with what was asked for filled in. They are changed as
//! data and never as text, so that nothing a person gives can become YAML of its own.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::known_kind;

/// The files, in the order in which they are applied.
const MANIFESTS: &[&str] = &[
    include_str!("../../manifests/serviceaccount.yaml"),
    include_str!("../../manifests/role.yaml"),
    include_str!("../../manifests/rolebinding.yaml"),
    include_str!("../../manifests/config.yaml"),
    include_str!("../../manifests/networkpolicy.yaml"),
    include_str!("../../manifests/poddisruptionbudget.yaml"),
    include_str!("../../manifests/poddisruptionbudget-agents.yaml"),
    include_str!("../../manifests/deployment.yaml"),
];

/// What the Deployment and nearly everything else is called.
pub const NAME: &str = "kubectl-ado";
/// The ConfigMap that holds the configuration and the Job templates beside it.
pub const CONFIG_MAP: &str = "kubectl-ado-config";
/// Where it is mounted.
pub const CONFIG_FOLDER: &str = "/etc/kubectl-ado";
/// The configuration's key in it.
pub const CONFIG_FILE: &str = "ado.yaml";
/// The Secret with the token, where nobody brings one.
pub const TOKEN_SECRET: &str = "kubectl-ado-token";
/// The token's key in it.
pub const TOKEN_KEY: &str = "token";
/// The ConfigMap's annotation that lists what was applied, as JSON.
pub const INVENTORY: &str = "kubectl-ado/inventory";

/// The Deployment's annotation that keeps the resources which flags asked for, as JSON.
pub const RESOURCES: &str = "kubectl-ado/resources";

/// The ServiceAccount's annotation that tells workload identity whose client id it is.
pub const CLIENT_ID: &str = "azure.workload.identity/client-id";
/// The pods' label that asks for workload identity.
const USE_WORKLOAD_IDENTITY: &str = "azure.workload.identity/use";

/// What the manifests leave open.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// Where the orchestrator lives.
    pub namespace: String,
    /// Where the agents live.
    pub agents_namespace: String,
    /// The orchestrator's image; the manifests' own if unset.
    pub image: Option<String>,
    /// How many orchestrators; the manifests' own number if unset.
    pub replicas: Option<i32>,
    /// The `limits` and `requests` of the orchestrator that were asked for, over the manifests' own.
    pub resources: BTreeMap<String, BTreeMap<String, String>>,
    /// The Secret with the token, and its key. `None`: it signs in with Entra, and nothing is mounted.
    pub secret: Option<(String, String)>,
    /// The identity of Entra that it signs in as by workload identity, without a token.
    pub entra_client_id: Option<String>,
    /// `ado.yaml` and the Job templates beside it.
    pub files: BTreeMap<String, String>,
    /// What goes along with a Job template. The orchestrator has to see that it is there.
    pub documents: Vec<Value>,
}

/// The objects of an install but for its namespace, its token and what goes along with Job templates, in the order in
/// which they are applied.
///
/// # Errors
///
/// A manifest is not as it should be, which a test sees to.
pub fn render(parts: &Parts) -> Result<Vec<Value>, String> {
    MANIFESTS
        .iter()
        .map(|text| serde_yaml::from_str(text).map_err(|error| error.to_string()))
        .map(|manifest| {
            let mut object: Value = manifest?;
            let kind = object["kind"].as_str().unwrap_or_default().to_owned();
            let of_agents = object["metadata"]["labels"]["app.kubernetes.io/component"] == "agent";
            let apart = of_agents || matches!(kind.as_str(), "Role" | "RoleBinding");
            let namespace = if apart { &parts.agents_namespace } else { &parts.namespace };
            object["metadata"]["namespace"] = namespace.clone().into();
            match kind.as_str() {
                "Role" => add_rules(&mut object, parts),
                "RoleBinding" => object["subjects"][0]["namespace"] = parts.namespace.clone().into(),
                "ConfigMap" => object["data"] = json!(parts.files),
                "ServiceAccount" => {
                    if let Some(client_id) = parts.entra_client_id.as_ref().filter(|_| parts.secret.is_none()) {
                        object["metadata"]["annotations"] = json!({ CLIENT_ID: client_id });
                    }
                }
                "Deployment" => deployment(&mut object, parts)?,
                _ => {}
            }
            Ok(object)
        })
        .collect()
}

/// A namespace that there is no need to know more of.
#[must_use]
pub fn namespace_object(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": NAME}}})
}

/// The Secret with a token.
#[must_use]
pub fn token_secret(namespace: &str, token: &str) -> Value {
    let labels = json!({
        "app.kubernetes.io/name": NAME, "app.kubernetes.io/component": "orchestrator", "app.kubernetes.io/part-of": NAME,
    });
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": TOKEN_SECRET, "namespace": namespace, "labels": labels},
        "stringData": {TOKEN_KEY: token},
    })
}

/// The orchestrator looks whether the documents of its Job templates are there. It may look at these and at no others,
/// and at no Secret.
fn add_rules(role: &mut Value, parts: &Parts) {
    let Some(rules) = role["rules"].as_array_mut() else { return };
    for document in &parts.documents {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (version, kind) = (text(&document["apiVersion"]), text(&document["kind"]));
        match known_kind(&version, &kind) {
            Some((resource, true)) if kind != "Secret" => rules.push(json!({
                "apiGroups": [resource.group], "resources": [resource.plural],
                "resourceNames": [document["metadata"]["name"]], "verbs": ["get"],
            })),
            _ => {}
        }
    }
}

fn deployment(object: &mut Value, parts: &Parts) -> Result<(), String> {
    if let Some(replicas) = parts.replicas {
        object["spec"]["replicas"] = replicas.into();
    }
    let pod = &mut object["spec"]["template"]["spec"];
    let container = &mut pod["containers"][0];
    if let Some(image) = &parts.image {
        container["image"] = image.clone().into();
    }
    for (kind, amounts) in &parts.resources {
        for (name, amount) in amounts {
            container["resources"][kind.as_str()][name.as_str()] = amount.as_str().into();
        }
    }
    if !parts.resources.is_empty() {
        object["metadata"]["annotations"] = json!({ RESOURCES: json!(parts.resources).to_string() });
    }
    let pod = &mut object["spec"]["template"]["spec"];
    let container = &mut pod["containers"][0];
    if parts.agents_namespace != parts.namespace {
        let variables = container["env"].as_array_mut().ok_or("the Deployment has no variables")?;
        let variable = variables.iter_mut().find(|variable| variable["name"] == "JOB_NAMESPACE");
        *variable.ok_or("the Deployment has no JOB_NAMESPACE")? =
            json!({"name": "JOB_NAMESPACE", "value": parts.agents_namespace});
    }
    let Some((secret, key)) = &parts.secret else {
        return without_token(object, parts.entra_client_id.is_some());
    };
    let volumes = pod["volumes"].as_array_mut().ok_or("the Deployment has no volumes")?;
    let volume =
        volumes.iter_mut().find(|volume| volume["name"] == "token").ok_or("there is no volume for the token")?;
    volume["secret"]["secretName"] = secret.clone().into();
    if key != TOKEN_KEY {
        volume["secret"]["items"] = json!([{"key": key, "path": TOKEN_KEY}]);
    }
    Ok(())
}

/// Takes out what brings the token, and asks for the identity that is had in its place.
fn without_token(deployment: &mut Value, by_workload_identity: bool) -> Result<(), String> {
    let template = &mut deployment["spec"]["template"];
    if by_workload_identity {
        template["metadata"]["labels"][USE_WORKLOAD_IDENTITY] = "true".into();
    }
    let pod = &mut template["spec"];
    for (list, name) in
        [("/volumes", "token"), ("/containers/0/volumeMounts", "token"), ("/containers/0/env", "ORG_PAT_FILE")]
    {
        let entries = pod.pointer_mut(list).and_then(Value::as_array_mut).ok_or("the Deployment mounts no token")?;
        entries.retain(|entry| entry["name"] != name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> Parts {
        Parts {
            namespace: "ado".into(),
            agents_namespace: "agents".into(),
            secret: Some(("mine".into(), "pat".into())),
            ..Parts::default()
        }
    }

    fn of_kind(objects: &[Value], kind: &str) -> Value {
        objects.iter().find(|object| object["kind"] == kind).unwrap().clone()
    }

    #[test]
    fn rights_go_where_the_agents_are_and_to_the_account_where_the_orchestrator_is() {
        let objects = render(&parts()).unwrap();
        assert_eq!(of_kind(&objects, "Role")["metadata"]["namespace"], "agents");
        let budgets = objects.iter().filter(|object| object["kind"] == "PodDisruptionBudget");
        let places: Vec<_> =
            budgets.map(|budget| [&budget["metadata"]["name"], &budget["metadata"]["namespace"]]).collect();
        assert_eq!(places, [["kubectl-ado", "ado"], ["kubectl-ado-busy-agents", "agents"]]);
        let binding = of_kind(&objects, "RoleBinding");
        assert_eq!(
            (&binding["metadata"]["namespace"], &binding["subjects"][0]["namespace"]),
            (&json!("agents"), &json!("ado"))
        );
        let deployment = of_kind(&objects, "Deployment");
        assert_eq!(deployment["metadata"]["namespace"], "ado");
        let text = deployment.to_string();
        assert!(text.contains(r#"{"name":"JOB_NAMESPACE","value":"agents"}"#), "{text}");
        assert!(text.contains(r#""items":[{"key":"pat","path":"token"}]"#), "{text}");
    }

    #[test]
    fn with_entra_nothing_of_a_token_is_mounted_and_workload_identity_is_asked_for() {
        let client_id = Some("01234567-89ab-cdef-0123-456789abcdef".to_owned());
        let objects = render(&Parts { secret: None, entra_client_id: client_id.clone(), ..parts() }).unwrap();
        let text = of_kind(&objects, "Deployment").to_string();
        assert!(!text.contains("ORG_PAT") && !text.contains("secret") && !text.contains(TOKEN_SECRET), "{text}");
        let pod = &of_kind(&objects, "Deployment")["spec"]["template"];
        assert_eq!(pod["metadata"]["labels"][USE_WORKLOAD_IDENTITY], "true");
        assert_eq!(pod["spec"]["volumes"].as_array().unwrap().len(), 1, "the configuration stays");
        let account = of_kind(&objects, "ServiceAccount");
        assert_eq!(account["metadata"]["annotations"][CLIENT_ID].as_str(), client_id.as_deref());

        let with_token = render(&Parts { entra_client_id: client_id, ..parts() }).unwrap();
        let text = json!(with_token).to_string();
        assert!(!text.contains("azure.workload.identity"), "a token is asked for: {text}");
    }

    #[test]
    fn what_a_person_gives_stays_a_value() {
        let evil = "x\n        privileged: true # {{";
        let parts =
            Parts { image: Some(evil.into()), files: [("ado.yaml".to_owned(), evil.to_owned())].into(), ..parts() };
        let objects = render(&parts).unwrap();
        assert_eq!(of_kind(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["image"], evil);
        assert_eq!(of_kind(&objects, "ConfigMap")["data"]["ado.yaml"], evil);
    }

    #[test]
    fn the_orchestrator_may_see_the_documents_of_a_template_but_no_secret() {
        let document = |kind: &str| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}});
        let documents = vec![document("PersistentVolumeClaim"), document("Secret"), document("PersistentVolume")];
        let plain = of_kind(&render(&parts()).unwrap(), "Role")["rules"].as_array().unwrap().len();
        let role = of_kind(&render(&Parts { documents, ..parts() }).unwrap(), "Role");
        let rules = role["rules"].as_array().unwrap();
        assert_eq!(rules.len(), plain + 1);
        assert_eq!(rules[plain]["resourceNames"], json!(["x"]));
        assert_eq!(rules[plain]["resources"], json!(["persistentvolumeclaims"]));
    }
}
