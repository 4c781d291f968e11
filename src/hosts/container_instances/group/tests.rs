//! Groups as they are made, from nothing and from templates.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::*;
use crate::{
    config::{AzureEnvironment, Registration},
    core::{Purpose, Recipe, RequestId},
    hosts::AgentFiles,
};

const IDENTITY: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i";

struct Scene {
    aci: AciConfig,
    agent: AgentSpec,
    way: Way,
    password: Option<&'static str>,
}

impl Scene {
    fn new(template: &str) -> Self {
        let parsed = GroupTemplate::parse(Path::new("group.yaml"), template);
        let container_group = (!template.is_empty()).then(|| parsed.unwrap());
        let aci = AciConfig {
            subscription_id: "s".to_owned(),
            resource_group: "g".to_owned(),
            tenant_id: "t".to_owned(),
            region: "westeurope".to_owned(),
            environment: AzureEnvironment::Public,
            cpu: 2.0,
            memory_gb: 4.0,
            subnet_id: None,
            identity: None,
            registry: None,
            resource_manager_url: None,
            max_lifetime: std::time::Duration::from_secs(3600),
        };
        let agent = AgentSpec {
            image: None,
            os: Os::Linux,
            job_template: None,
            container_group,
            host_settings: String::new(),
            registration: Registration::Auto,
        };
        Self { aci, agent, way: Way::default(), password: None }
    }

    fn make(&self, grant: Grant<'_>) -> MadeGroup {
        let run = StartRun {
            name: "agent-job-a-b".to_owned(),
            pool: "Linux Builds".to_owned(),
            template: "default".to_owned(),
            purpose: Purpose::Request(RequestId(1)),
            attempt: 1,
            revision: "r".to_owned(),
            recipe: Recipe::Token,
        };
        let settings = GroupSettings {
            installation: &Installation::new("blue"),
            organization: "https://dev.azure.com/contoso",
            aci: &self.aci,
            agent: &self.agent,
            tags: [("managed-by".to_owned(), json!("kubectl-ado"))].into_iter().collect(),
            grant,
            registry_password: self.password,
            way: &self.way,
        };
        make_group(&run, &settings).unwrap()
    }

    fn with_token(&self) -> MadeGroup {
        self.make(Grant::Token(&"s3cr3t-token".into()))
    }
}

fn variable<'a>(made: &'a MadeGroup, container: usize, name: &str) -> Option<&'a Value> {
    let list = &made.body["properties"]["containers"][container]["properties"]["environmentVariables"];
    list.as_array()?.iter().find(|variable| variable["name"] == name)
}

#[test]
fn without_a_template_there_is_one_container_of_ours_that_never_starts_again() {
    let made = Scene::new("").with_token();
    let expected = json!({
        "location": "westeurope",
        "tags": {"managed-by": "kubectl-ado"},
        "properties": {
            "restartPolicy": "Never",
            "osType": "Linux",
            "containers": [{"name": "agent", "properties": {
                "image": DEFAULT_AGENT_IMAGE,
                "resources": {"requests": {"cpu": 2.0, "memoryInGB": 4.0}},
                "environmentVariables": [
                    {"name": "AZP_URL", "value": "https://dev.azure.com/contoso"},
                    {"name": "AZP_POOL", "value": "Linux Builds"},
                    {"name": "AZP_AGENT_NAME", "value": "agent-job-a-b"},
                    {"name": "KUBECTL_ADO_INSTALLATION", "value": "blue"},
                    {"name": "VSTS_AGENT_INPUT_ONCE", "value": "true"},
                    {"name": "AZP_TOKEN_FILE", "value": "/run/secrets/kubectl-ado/token"},
                ],
                "volumeMounts": [{"name": "kubectl-ado-agent", "mountPath": "/run/secrets/kubectl-ado", "readOnly": true}],
            }}],
            "volumes": [{"name": "kubectl-ado-agent", "secret": {"token": STANDARD.encode("s3cr3t-token")}}],
        },
    });
    assert_eq!(made.body, expected);
    assert_eq!(made.warnings, [""; 0]);
    assert!((cores(&made.body) - 2.0).abs() < f64::EPSILON);
}

#[test]
fn a_just_in_time_agent_has_its_files_and_no_token() {
    let files = AgentFiles::from([(".agent", "{}".into()), (".credentials", "x".into())]);
    let made = Scene::new("").make(Grant::Files(&files));
    assert_eq!(made.body["properties"]["volumes"][0]["secret"], json!({".agent": "e30=", ".credentials": "eA=="}));
    assert_eq!(variable(&made, 0, "AZP_AGENT_FILES").unwrap()["value"], "/run/secrets/kubectl-ado-agent");
    assert_eq!(variable(&made, 0, "KUBECTL_ADO_REGISTRATION").unwrap()["value"], "just-in-time");
    assert!(variable(&made, 0, "AZP_TOKEN_FILE").is_none());
}

#[test]
fn windows_and_foreign_images_get_the_token_as_a_secure_variable() {
    for (os, image) in [(Os::Windows, "contoso.azurecr.io/agent:1"), (Os::Linux, "contoso.azurecr.io/agent:1")] {
        let mut scene = Scene::new("");
        (scene.agent.os, scene.agent.image) = (os, Some(image.to_owned()));
        let made = scene.with_token();
        assert_eq!(variable(&made, 0, "AZP_TOKEN"), Some(&json!({"name": "AZP_TOKEN", "secureValue": "s3cr3t-token"})));
        assert!(made.body["properties"]["volumes"].is_null());
        assert_eq!(made.body["properties"]["osType"], os_type(os));
    }
}

#[test]
fn what_is_the_owner_s_stays_and_what_is_ours_wins() {
    let template = r#"
name: mine
apiVersion: 2019-12-01
location: eastus
tags: {team: builds, Managed-By: terraform}
zones: ["1"]
properties:
  priority: Spot
  restartPolicy: Always
  newToUs: {a: 1}
  containers:
  - name: cache
    properties:
      image: redis
      environmentVariables: [{name: AZP_TOKEN, value: plain}]
  - name: agent
    properties:
      image: contoso.azurecr.io/agent:2
      resources: {requests: {cpu: 4}}
      environmentVariables:
      - {name: AZP_POOL, value: Other}
      - {name: AZP_TOKEN, secureValue: theirs}
      - {name: MINE, secureValue: kept}
      volumeMounts: [{name: share, mountPath: /run/secrets/kubectl-ado/}]
  volumes:
  - {name: kubectl-ado-agent, emptyDir: {}}
"#;
    let made = Scene::new(template).with_token();
    let properties = &made.body["properties"];
    assert_eq!(
        (&made.body["zones"], &properties["newToUs"], &properties["priority"]),
        (&json!(["1"]), &json!({"a": 1}), &json!("Spot"))
    );
    assert_eq!(made.body["tags"], json!({"team": "builds", "managed-by": "kubectl-ado"}));
    assert_eq!((&made.body["location"], &properties["restartPolicy"]), (&json!("westeurope"), &json!("Never")));
    assert!(made.body.get("name").is_none() && made.body.get("apiVersion").is_none());
    let agent = &properties["containers"][1]["properties"];
    assert_eq!(agent["resources"]["requests"], json!({"cpu": 4, "memoryInGB": 4.0}));
    assert_eq!(variable(&made, 1, "AZP_POOL").unwrap()["value"], "Linux Builds");
    assert_eq!(variable(&made, 1, "MINE").unwrap()["secureValue"], "kept");
    assert_eq!(variable(&made, 1, "AZP_TOKEN"), Some(&json!({"name": "AZP_TOKEN", "secureValue": "s3cr3t-token"})));
    assert!(variable(&made, 0, "AZP_TOKEN").is_none());
    let said = made.warnings.join("\n");
    for word in [
        "group.yaml",
        "location eastus",
        "restartPolicy Always",
        "of container \"cache\" is plain text",
        "of container \"agent\" is left out",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(!said.contains("theirs"));
}

#[test]
fn volumes_and_folders_of_the_template_are_not_in_the_way() {
    let template = "properties:\n  containers:\n  - name: a\n    properties:\n      volumeMounts: [{name: v, mountPath: /run/secrets/kubectl-ado/}]\n  volumes: [{name: kubectl-ado-agent, emptyDir: {}}]\n";
    let made = Scene::new(template).with_token();
    let path = "/run/secrets/kubectl-ado-2";
    assert_eq!(variable(&made, 0, "AZP_TOKEN_FILE").unwrap()["value"], format!("{path}/token"));
    let mount = json!({"name": "kubectl-ado-agent-2", "mountPath": path, "readOnly": true});
    assert_eq!(made.body["properties"]["containers"][0]["properties"]["volumeMounts"][1], mount);
}

#[test]
fn identity_registry_and_subnet_come_from_the_settings() {
    let mut scene = Scene::new("identity: {type: SystemAssigned}\nproperties: {}");
    scene.aci.subnet_id = Some("/subnets/a".to_owned());
    scene.aci.registry = Some(Registry {
        server: "contoso.azurecr.io".to_owned(),
        secret: RegistrySecret::Identity(IDENTITY.to_owned()),
    });
    let made = scene.with_token();
    let mut ids = serde_json::Map::new();
    ids.insert(IDENTITY.to_owned(), json!({}));
    assert_eq!(made.body["identity"], json!({"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": ids}));
    assert_eq!(made.body["properties"]["subnetIds"], json!([{"id": "/subnets/a"}]));
    let entry = json!([{"server": "contoso.azurecr.io", "identity": IDENTITY}]);
    assert_eq!(made.body["properties"]["imageRegistryCredentials"], entry);

    let mut scene = Scene::new("");
    scene.password = Some("s3cr3t-password");
    let secret = RegistrySecret::Password { username: "u".to_owned(), file: "f".into() };
    scene.aci.registry = Some(Registry { server: "r.example".to_owned(), secret });
    let entry = json!([{"server": "r.example", "username": "u", "password": "s3cr3t-password"}]);
    assert_eq!(scene.with_token().body["properties"]["imageRegistryCredentials"], entry);
}

#[test]
fn a_proxy_and_private_certificates_reach_the_agent() {
    let mut scene = Scene::new("");
    scene.way.proxy = Some("http://proxy:3128".to_owned());
    scene.way.authorities = Some("-----BEGIN".to_owned());
    let made = scene.with_token();
    assert_eq!(variable(&made, 0, "VSTS_HTTP_PROXY").unwrap()["value"], "http://proxy:3128");
    assert_eq!(variable(&made, 0, "AZP_CA_FILE").unwrap()["value"], "/run/secrets/kubectl-ado/ca.pem");
    assert_eq!(made.body["properties"]["volumes"][0]["secret"]["ca.pem"], STANDARD.encode("-----BEGIN"));
}

#[test]
fn what_has_the_wrong_type_is_named_by_its_path() {
    let scene = Scene::new("location: 4\nproperties:\n  containers:\n  - name: a\n");
    let settings_tags = serde_json::Map::new();
    let error = {
        let run = StartRun {
            name: "n".to_owned(),
            pool: "p".to_owned(),
            template: "t".to_owned(),
            purpose: Purpose::Slot(0),
            attempt: 1,
            revision: String::new(),
            recipe: Recipe::Token,
        };
        let settings = GroupSettings {
            installation: &Installation::new("blue"),
            organization: "o",
            aci: &scene.aci,
            agent: &scene.agent,
            tags: settings_tags,
            grant: Grant::Files(&AgentFiles::new()),
            registry_password: None,
            way: &scene.way,
        };
        make_group(&run, &settings).unwrap_err()
    };
    assert_eq!(error.to_string(), "location has to be a string, not a number");
}
