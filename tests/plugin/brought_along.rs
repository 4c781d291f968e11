//! `install` brings all that its configuration names, or changes nothing, and shows and stores nothing that is secret.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{place::Place, world::eventually};

const JOB: &str = "\
apiVersion: batch/v1
kind: Job
metadata: {name: custom-job}
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
      - {name: agent, image: registry.example/agent:1}
";

/// The first example of README, with a Secret.
const SECRETS: &str = "\
apiVersion: batch/v1
kind: Job
metadata: {name: custom-job}
spec:
  template:
    spec:
      restartPolicy: Never
      imagePullSecrets: [{name: registry}]
      containers:
      - name: agent
        image: registry.example/agent:1
        env: [{name: AZP_TOKEN, value: TOKEN-IN-CLEAR}]
---
apiVersion: v1
kind: Secret
metadata: {name: registry}
stringData: {password: PASSWORD-IN-CLEAR}
";

fn write(place: &Place, name: &str, text: &str) {
    std::fs::write(place.folder.path().join(name), text).unwrap();
}

fn config_map(place: &Place) -> BTreeMap<String, String> {
    serde_json::from_value(place.get("configmap/kubectl-ado-config")["data"].clone()).unwrap()
}

const UNWATCHED: [&str; 3] = ["--skip-checks", "--wait=false", "-y"];

fn install(place: &Place, arguments: &[&str]) -> crate::place::Said {
    place.install(&[&UNWATCHED, arguments].concat())
}

fn install_file(place: &Place, arguments: &[&str]) -> crate::place::Said {
    let all = ["install", "-n", place.name(), "-f", "ado.yaml", "--pat-file", "pat"];
    place.ado(&[&all[..], &UNWATCHED, arguments].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_the_configuration_names_come_along_or_are_missed_before_anything_is_changed() {
    let place = Place::new("brought").await;
    write(&place, "job.yaml", JOB);
    install(&place, &["--template", "job.yaml"]).ends(0);
    let text = config_map(&place)["ado.yaml"].clone();

    // The file that `--template` named in ado.yaml is in the install alone.
    write(&place, "ado.yaml", &format!("{text}limits: {{maxAgents: 7}}\n"));
    install_file(&place, &[]).ends(0).tells(&["job-template.yaml is not beside the file that is given"]);
    let files = config_map(&place);
    assert_eq!(files.get("job-template.yaml").map(String::as_str), Some(JOB));
    assert!(files["ado.yaml"].contains("maxAgents: 7"));

    // One beside the file comes along, certificates too.
    let certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    write(&place, "ca.pem", certificate);
    write(&place, "job-template.yaml", &JOB.replace("agent:1", "agent:2"));
    let organization = format!("organization: {{url: {}, caFile: ca.pem}}\n", place.sandbox.url());
    let pools = "pools: [{name: Linux}]\njobTemplate: job-template.yaml\n";
    write(&place, "ado.yaml", &format!("{organization}{pools}"));
    install_file(&place, &[]).ends(0);
    let files = config_map(&place);
    assert_eq!(files.get("ca.pem").map(String::as_str), Some(certificate));
    assert!(files["job-template.yaml"].contains("agent:2"));

    // One that is nowhere is an error, and nothing is changed.
    let before = place.all();
    for (organization, pools, key) in [
        (&organization.replace("ca.pem", "other.pem"), pools, "organization.caFile names other.pem"),
        (&organization, &*pools.replace("job-template", "other"), "jobTemplate names other.yaml"),
    ] {
        write(&place, "ado.yaml", &format!("{organization}{pools}"));
        install_file(&place, &[]).ends(2).tells(&[key, "the orchestrator could not start", "fix: put the file there"]);
        assert_eq!(place.all(), before);
    }
    // A file that is no certificate is one, too.
    write(&place, "ca.pem", "nothing");
    write(&place, "ado.yaml", &format!("{organization}{pools}"));
    install_file(&place, &[]).ends(2).tells(&["holds no certificate"]);
    assert_eq!(place.all(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_beside_the_configuration_is_the_token() {
    let place = Place::new("token-beside").await;
    let organization = format!("organization: {{url: {}, tokenFile: ./pat}}\n", place.sandbox.url());
    write(&place, "ado.yaml", &format!("{organization}pools: [{{name: Linux}}]\n"));
    let all = ["install", "-n", place.name(), "-f", "ado.yaml"];
    place.ado(&[&all[..], &UNWATCHED].concat()).ends(0).tells(&["the token is that of organization.tokenFile"]);
    assert!(place.all().contains_key("Secret/kubectl-ado-token"));
    assert!(!config_map(&place)["ado.yaml"].contains("tokenFile"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_secret_in_a_job_template_is_neither_stored_nor_shown() {
    let place = Place::new("secrets").await;
    write(&place, "job.yaml", JOB);
    install(&place, &["--template", "job.yaml"]).ends(0);
    write(&place, "job.yaml", SECRETS);
    let assert_hidden = |text: &str| assert!(!text.contains("IN-CLEAR") && !text.contains("SU4tQ0xFQVI"), "{text}");

    for arguments in [&["--dry-run=server"][..], &["-o", "yaml", "--dry-run=server"], &["-o", "json"]] {
        let said = install(&place, &[&["--template", "job.yaml"], arguments].concat()).ends(0);
        assert_hidden(&said.out);
        assert_hidden(&said.err);
    }
    let said = place.ado_as(
        None,
        &[
            "install",
            "-n",
            "x",
            "--org",
            "https://dev.azure.com/x",
            "--pool",
            "p",
            "--template",
            "job.yaml",
            "--dry-run=client",
            "-o",
            "yaml",
        ],
    );
    assert_hidden(&said.ends(0).out);
    assert_hidden(&json!(config_map(&place)).to_string());
    assert_eq!(place.get("secret/registry")["data"]["password"], "UEFTU1dPUkQtSU4tQ0xFQVI=");
    install(&place, &[]).ends(0);
    assert_eq!(place.get("secret/registry")["data"]["password"], "UEFTU1dPUkQtSU4tQ0xFQVI=");

    // One that an earlier version stored is cleaned by the next install, and not shown either.
    let patch = json!({"data": {"job-template.yaml": SECRETS}}).to_string();
    place.plane.kubectl(&["patch", "configmap", "kubectl-ado-config", "-n", place.name(), "-p", &patch]).unwrap();
    let said = install(&place, &["--force-conflicts"]).ends(0);
    assert_hidden(&said.err);
    assert_hidden(&json!(config_map(&place)).to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_install_elsewhere_is_not_taken_for_the_one_that_is_meant() {
    let place = Place::new("elsewhere").await;
    install(&place, &[]).ends(0);
    let before = place.all();
    let other = ["install", "--org", "https://dev.azure.com/other-team", "--pool", "TheirPool", "--pat-file", "pat"];
    let said = place.ado(&[&other[..], &UNWATCHED].concat()).ends(2);
    assert!(said.err.contains("fix: ") && said.err.contains("-n"), "{}", said.err);
    assert_eq!(place.all(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_version_is_not_taken_back_unless_that_is_asked_for() {
    let place = Place::new("newer-version").await;
    install(&place, &[]).ends(0);
    place
        .plane
        .kubectl(&["label", "deployment", "kubectl-ado", "-n", place.name(), "app.kubernetes.io/version=99.0.0"])
        .unwrap();
    let before = place.all();
    let upgrade = |more: &[&str]| {
        place.ado(&[&["upgrade", "-n", place.name(), "--max-agents", "9"], &UNWATCHED[..], more].concat())
    };
    upgrade(&[]).ends(2).tells(&["runs version 99.0.0", "ADO506", "fix: kubectl krew upgrade ado"]);
    assert_eq!(place.all(), before);
    upgrade(&["--allow-downgrade"]).ends(0).tells(&["which is older"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_refuses_the_orchestrator_s_pod_is_told_before_anything_is_applied() {
    let place = Place::new("quota").await;
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": {"limits.cpu": "4"}}});
    place.plane.apply(place.name(), &quota.to_string()).unwrap();
    eventually("the quota is counted", || place.get("resourcequota/q")["status"]["hard"]["limits.cpu"] == "4").await;
    let refused = install(&place, &[]).ends(1);
    refused.tells(&["the orchestrator's pod is refused", "must specify limits.cpu", "--limits cpu=500m"]);
    assert_eq!(place.all(), BTreeMap::new());
    install(&place, &["--limits", "cpu=500m"]).ends(0);
    let limits = |place: &Place| -> Value {
        place.get("deployment/kubectl-ado")["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"].clone()
    };
    assert_eq!(limits(&place), json!({"cpu": "500m", "memory": "64Mi"}));
    let again = install(&place, &[]).ends(0);
    assert!(!again.out.contains("configured"), "what flags asked for stays: {}", again.out);
    assert_eq!(limits(&place)["cpu"], "500m");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_out_of_use_goes_also_where_secrets_may_not_be_read() {
    let place = Place::new("prune").await;
    install(&place, &[]).ends(0);
    let namespace = place.name();
    place.plane.kubectl(&["create", "secret", "generic", "mine", "-n", namespace, "--from-literal=pat=x"]).unwrap();
    let all = json!({"apiGroups": ["*"], "verbs": ["*"], "resources": [
        "configmaps", "deployments", "events", "jobs", "leases", "namespaces", "networkpolicies", "poddisruptionbudgets",
        "pods", "replicasets", "rolebindings", "roles", "serviceaccounts"]});
    let secrets = |verbs: &[&str]| json!({"apiGroups": [""], "resources": ["secrets"], "verbs": verbs});
    let role = |verbs: &[&str]| {
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "writer"},
            "rules": [all, secrets(verbs)]});
        place.plane.apply(place.name(), &role.to_string()).unwrap();
    };
    role(&["create", "patch"]);
    let person = place.person(None).await;
    let account = format!("--serviceaccount={namespace}:person");
    place.plane.kubectl(&["create", "rolebinding", "writer", "-n", namespace, "--role=writer", &account]).unwrap();
    let upgrade = || {
        let all = ["upgrade", "-n", place.name(), "--existing-secret", "mine:pat"];
        place.ado_as(Some(person.clone()), &[&all[..], &UNWATCHED].concat())
    };
    // It may not be deleted: that is said, and it is tried again the next time.
    let said = upgrade();
    assert_eq!(said.code, Some(1), "{said:#?}");
    assert!(said.err.contains("is out of use, and stays"), "{said:#?}");
    assert!(place.all().contains_key("Secret/kubectl-ado-token"));
    role(&["create", "patch", "delete"]);
    let said = upgrade().ends(0);
    assert!(said.out.contains("secret/kubectl-ado-token pruned"), "{said:#?}");
    assert!(!place.all().contains_key("Secret/kubectl-ado-token"));
    assert!(!upgrade().ends(0).out.contains("pruned"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_is_refused_while_agents_of_before_work_and_names_what_stays() {
    let place = Place::new("moves").await;
    let other = place.plane.namespace("moved-to").await;
    install(&place, &[]).ends(0);
    crate::uninstall::job(&place, "agent-job-1");
    let before = place.all();
    for arguments in [["--agents-namespace", other.name()], ["--org", "https://dev.azure.com/renamed"]] {
        let all = ["upgrade", "-n", place.name()];
        let said = place.ado(&[&all[..], &UNWATCHED, &arguments].concat()).ends(1);
        said.tells(&["1 agents of before still work: nothing was changed", "fix: kubectl ado uninstall"]);
        assert_eq!(place.all(), before);
    }
    place.plane.kubectl(&["delete", "job", "agent-job-1", "-n", place.name()]).unwrap();
    let all = ["upgrade", "-n", place.name(), "--org", "https://dev.azure.com/renamed"];
    let said = place.ado(&[&all[..], &UNWATCHED].concat()).ends(0);
    said.tells(&["the organization changes from", "Secret \"agents-token\"", "fix: kubectl ado uninstall"]);
}
