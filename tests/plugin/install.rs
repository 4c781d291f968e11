//! `install` and `upgrade`: what is applied, by whom, and what is said where it cannot be.

use std::collections::BTreeMap;

use control_plane::pods;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use kubectl_ado::cluster::INSTALL_LABELS;
use serde_json::{Value, json};

use crate::{place::Place, world::project_file};

const MANIFESTS: [&str; 8] = [
    "serviceaccount",
    "role",
    "rolebinding",
    "config",
    "networkpolicy",
    "poddisruptionbudget",
    "poddisruptionbudget-agents",
    "deployment",
];

fn manifests() -> Vec<Value> {
    MANIFESTS
        .iter()
        .map(|name| serde_yaml::from_str(&project_file(&format!("manifests/{name}.yaml"))).unwrap())
        .collect()
}

fn folder() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_dry_run_needs_no_kubeconfig_and_kubectl_accepts_what_it_prints() {
    let place = Place::new("client-dry-run").await;
    let flags = ["--org", "https://dev.azure.com/contoso", "--pool", "Linux,Größe: ✓ #1", "--dry-run=client"];
    let run = |more: &[&str]| {
        let all = [&["install", "-n", place.name()][..], &flags, more].concat();
        place.ado_as(None, &all).ends(0)
    };
    let said = run(&["-o", "yaml"]);
    assert_eq!(said.err, "");
    assert!(said.out.contains("token: REPLACE-ME") && said.out.contains("kind: Namespace"), "{}", said.out);
    place.plane.apply(place.name(), &said.out).unwrap();
    let stored: Value =
        serde_yaml::from_str(place.get("configmap/kubectl-ado-config")["data"]["ado.yaml"].as_str().unwrap()).unwrap();
    assert_eq!(stored["pools"][1]["name"], "Größe: ✓ #1");
    let json: Value = serde_json::from_str(&run(&["-o", "json"]).out).unwrap();
    assert_eq!(json["items"].as_array().unwrap().len(), 10);
    let names = run(&["-o", "name", "--create-namespace=false"]).out;
    assert!(names.starts_with("secret/kubectl-ado-token\nserviceaccount/kubectl-ado\n"), "{names}");
    assert!(run(&[]).out.contains("deployment.apps/kubectl-ado created (dry run)\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manifests_are_what_install_renders() {
    let place = Place::new("manifests").await;
    let config = manifests().remove(3);
    std::fs::write(place.folder.path().join("ado.yaml"), config["data"]["ado.yaml"].as_str().unwrap()).unwrap();
    let arguments =
        ["install", "-n", "x", "-f", "ado.yaml", "--create-namespace=false", "--dry-run=client", "-o", "json"];
    let said = place.ado_as(None, &arguments).ends(0);
    let list: Value = serde_json::from_str(&said.out).unwrap();
    let rendered: Vec<_> =
        list["items"].as_array().unwrap().iter().filter(|it| it["kind"] != "Secret").cloned().collect();
    let mut written = manifests();
    for object in &mut written {
        object["metadata"]["namespace"] = json!("x");
        if object["kind"] == "RoleBinding" {
            object["subjects"][0]["namespace"] = json!("x");
        }
    }
    assert_eq!(rendered, written);
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_applies_the_folder_with_f_and_with_k() {
    let place = Place::new("folder").await;
    let applied = place.plane.kubectl(&["-n", place.name(), "apply", "-f", &folder()]).unwrap();
    assert_eq!(applied.lines().count(), MANIFESTS.len(), "{applied}");
    place.plane.kubectl(&["create", "namespace", "ado-system"]).unwrap();
    let applied = place.plane.kubectl(&["apply", "-k", &folder()]).unwrap();
    assert_eq!(applied.lines().count(), MANIFESTS.len(), "{applied}");
    place.plane.kubectl(&["delete", "-k", &folder(), "--wait=false"]).unwrap();
    let listed = project_file("manifests/Kustomization");
    for name in MANIFESTS {
        assert!(listed.contains(&format!("- {name}.yaml\n")), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_s_admin_installs_and_the_same_again_changes_nothing() {
    let place = Place::new("namespace-admin").await;
    let person = place.person(Some("admin")).await;
    let _kubelet = place.kubelet();
    let _orchestrator = place.orchestrator();

    let said = place.install_as(&person, &[]).ends(0);
    let verbs: Vec<_> = said.out.lines().collect();
    let expected = [
        "secret/kubectl-ado-token created",
        "serviceaccount/kubectl-ado created",
        "role.rbac.authorization.k8s.io/kubectl-ado created",
        "rolebinding.rbac.authorization.k8s.io/kubectl-ado created",
        "configmap/kubectl-ado-config created",
        "networkpolicy.networking.k8s.io/kubectl-ado created",
        "poddisruptionbudget.policy/kubectl-ado created",
        "poddisruptionbudget.policy/kubectl-ado-busy-agents created",
        "deployment.apps/kubectl-ado created",
    ];
    assert_eq!(verbs, expected, "{}", said.err);
    let said = said.tells(&["agent pool \"Linux\" exists", "kubectl-ado serves \"Linux\""]);
    assert!(!said.err.contains("changes:"), "{}", said.err);
    let secret = place.get("secret/kubectl-ado-token");
    use base64::{Engine, engine::general_purpose::STANDARD};
    assert_eq!(secret["data"]["token"], STANDARD.encode(place.sandbox.token()));

    for what in ["configmaps,events,deployments,pods,replicasets,roles", "secrets"] {
        let mut read = place.get(what);
        for object in read["items"].as_array_mut().unwrap().iter_mut().filter(|object| object["kind"] == "Secret") {
            object["data"] = json!({});
        }
        crate::world::assert_holds_no_token(&read.to_string(), place.sandbox.token(), what);
    }

    let installed = || {
        let mut all = place.all();
        all.retain(|name, _| !name.starts_with("ConfigMap/kubectl-ado-played"));
        all
    };
    let before = installed();
    for arguments in [&[][..], &["--dry-run=server"]] {
        let said = place.install_as(&person, arguments).ends(0);
        assert!(said.out.lines().all(|line| line.contains(" unchanged")), "{}", said.out);
        assert_eq!(said.out.lines().count(), expected.len());
        assert_eq!(installed(), before);
    }

    // What no flag says stays, and a changed flag changes exactly that.
    let upgrade = |arguments: &[&str]| {
        let all = [&["upgrade", "-n", place.name()][..], arguments].concat();
        place.ado_as(Some(person.clone()), &all)
    };
    let tried = upgrade(&["--max-agents", "7", "--dry-run=server"]).ends(0);
    let said = upgrade(&["--max-agents", "7"]).ends(0).tells(&["data.ado.yaml", "+   maxAgents: 7"]);
    assert_eq!(tried.out.replace(" (server dry run)", ""), said.out);
    let changed: Vec<_> = said.out.lines().filter(|line| !line.ends_with("unchanged")).collect();
    assert_eq!(changed, ["configmap/kubectl-ado-config configured"]);
    let mut after = installed();
    let mut before = before;
    after.remove("ConfigMap/kubectl-ado-config");
    before.remove("ConfigMap/kubectl-ado-config");
    assert_eq!(after, before);

    let said = upgrade(&["--replicas", "2", "--max-agents", "7"]).ends(0).tells(&["spec.replicas: 1 -> 2"]);
    assert!(said.out.contains("deployment.apps/kubectl-ado configured"), "{}", said.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_own_stays_theirs_until_it_is_taken_over() {
    let place = Place::new("conflict").await;
    place.install(&["--wait=false"]).ends(0);
    let patch = r#"{"spec":{"replicas":3}}"#;
    let arguments = ["patch", "deployment", "kubectl-ado", "-n", place.name(), "-p", patch, "--field-manager=scaler"];
    place.plane.kubectl(&arguments).unwrap();
    place.install(&["--wait=false"]).ends(0);
    assert_eq!(place.get("deployment/kubectl-ado")["spec"]["replicas"], 3);
    let before = place.all();
    place.install(&["--wait=false", "--replicas", "1", "--max-agents", "3"]).ends(1).tells(&[
        "conflict with \"scaler\"",
        ".spec.replicas",
        "fix: leave it to \"scaler\"",
        "--force-conflicts",
    ]);
    let mut after = place.all();
    after.retain(|name, _| before.contains_key(name));
    for (name, version) in &after {
        let moves = name.starts_with("Deployment") || name.starts_with("ReplicaSet") || name.starts_with("Pod");
        assert!(moves || before[name] == *version, "{name} was changed");
    }
    place.install(&["--wait=false", "--replicas", "1", "--force-conflicts"]).ends(0);
    assert_eq!(place.get("deployment/kubectl-ado")["spec"]["replicas"], 1);

    // Our own other commands are no strangers.
    let text = place.get("configmap/kubectl-ado-config")["data"]["ado.yaml"].as_str().unwrap().to_owned();
    let patch = json!({"data": {"ado.yaml": format!("{text}jobPrefix: ci-\n")}}).to_string();
    let arguments = ["patch", "configmap", "kubectl-ado-config", "-n", place.name(), "-p", &patch];
    place.plane.kubectl(&[&arguments[..], &["--field-manager=kubectl-ado"]].concat()).unwrap();
    place.install(&["--wait=false", "--max-agents", "9"]).ends(0);
    let text = place.get("configmap/kubectl-ado-config")["data"]["ado.yaml"].as_str().unwrap().to_owned();
    assert!(text.contains("jobPrefix: ci-\n") && text.contains("maxAgents: 9\n"), "{text}");

    // A new token is told of and not shown.
    std::fs::write(place.folder.path().join("new"), "a-new-token-of-somebody").unwrap();
    let upgrade = ["upgrade", "-n", place.name(), "--pat-file", "new", "--skip-checks", "--wait=false"];
    let said = place.ado(&upgrade).ends(0).tells(&["secret/kubectl-ado-token\n    data.token: *** -> ***"]);
    assert!(!format!("{said:?}").contains("a-new-token"), "{said:?}");
    let lines: Vec<_> = said.out.lines().filter(|line| !line.ends_with("unchanged")).collect();
    assert_eq!(lines, ["secret/kubectl-ado-token configured"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_used_any_more_is_pruned() {
    let place = Place::new("prune").await;
    place.install(&["--wait=false"]).ends(0);
    let arguments = ["create", "secret", "generic", "mine", "--from-file=pat=pat", "-n", place.name()];
    let path = format!("--from-file=pat={}", place.folder.path().join("pat").display());
    let arguments = arguments.map(|argument| if argument.starts_with("--from-file") { &path } else { argument });
    place.plane.kubectl(&arguments).unwrap();
    let upgrade = ["upgrade", "-n", place.name(), "--existing-secret", "mine:pat", "--wait=false"];
    let said = place.ado(&upgrade).ends(0);
    assert!(said.out.ends_with("secret/kubectl-ado-token pruned\n"), "{said:?}");
    let all = place.all();
    assert!(all.contains_key("Secret/mine") && !all.contains_key("Secret/kubectl-ado-token"), "{all:?}");
    let said = place.ado(&["upgrade", "-n", place.name(), "--wait=false"]).ends(0);
    assert!(said.out.lines().all(|line| line.ends_with("unchanged")), "{said:?}");

    place
        .ado(&["upgrade", "-n", place.name(), "--existing-secret", "mine:other", "--wait=false"])
        .ends(1)
        .tells(&["has no key \"other\"", "fix: kubectl -n"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_and_volumes_come_with_the_rights_of_the_person_who_installs() {
    let place = Place::new("apart").await;
    let (own, agents) = (format!("{}-own", place.name()), format!("{}-agents", place.name()));
    let template = project_file("tests/fixtures/original/job-with-volume.yaml");
    let volume = format!("cache-{}", place.name());
    std::fs::write(
        place.folder.path().join("job.yaml"),
        template.replace("name: nuget-cache\nspec", &format!("name: {volume}\nspec")),
    )
    .unwrap();
    let url = place.sandbox.url();
    let arguments = [
        "install",
        "-n",
        &own,
        "--agents-namespace",
        &agents,
        "--org",
        &url,
        "--pool",
        "Linux",
        "--pat-file",
        "pat",
        "--template",
        "job.yaml",
        "--wait=false",
    ];
    place
        .ado(&[&arguments[..], &["--create-namespace=false"]].concat())
        .ends(1)
        .tells(&["ADO307", "fix: kubectl create namespace"]);
    let said = place.ado(&[&arguments[..], &["--dry-run=server"]].concat()).ends(0);
    assert!(said.out.contains(&format!("namespace/{own} created (server dry run)")), "{said:?}");
    assert!(place.plane.kubectl(&["get", "namespace", &own]).is_err());
    let said = place.ado(&arguments).ends(0);
    for line in [
        format!("namespace/{own} created"),
        format!("namespace/{agents} created"),
        format!("persistentvolume/{volume} created"),
    ] {
        assert!(said.out.contains(&line), "{said:?}");
    }
    let get = |namespace: &str, what: &str| place.plane.kubectl(&["get", what, "-n", namespace, "-o", "json"]);
    assert!(get(&agents, "persistentvolumeclaim/nuget-cache-claim").is_ok());
    assert!(get(&agents, "role/kubectl-ado").is_ok() && get(&own, "role/kubectl-ado").is_err());
    let deployment = get(&own, "deployment/kubectl-ado").unwrap();
    let deployment: Value = serde_json::from_str(&deployment).unwrap();
    let variables = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
    assert!(variables.contains(&json!({"name": "JOB_NAMESPACE", "value": agents})), "{variables:?}");
    let again = place.ado(&["upgrade", "-n", &own, "--wait=false"]).ends(0);
    assert!(again.out.lines().all(|line| line.ends_with("unchanged")), "{again:?}");

    place
        .install(&["--agents-namespace", &agents, "--wait=false"])
        .ends(1)
        .tells(&[&format!("holds the agents of the install in namespace \"{own}\""), "fix: name another one"]);

    let removed = place.ado(&["uninstall", "-n", &own, "-y", "--delete-namespace"]);
    assert!(removed.out.contains(&format!("namespace/{agents} deleted")), "{removed:?}");
    assert!(place.plane.kubectl(&["get", "namespace", &own]).is_err());
    assert!(place.plane.kubectl(&["get", "persistentvolume", &volume]).is_ok(), "what holds data is left to its owner");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_is_answered_with_what_mends_it_and_nothing_is_applied() {
    let place = Place::new("mistakes").await;
    let url = place.sandbox.url();
    std::fs::write(place.folder.path().join("wrong"), "not-the-token-that-it-should-be").unwrap();
    std::fs::write(
        place.folder.path().join("bad.yaml"),
        "organization: {url: https://dev.azure.com/c}\npools:\n- nam: Linux\n",
    )
    .unwrap();
    std::fs::write(
        place.folder.path().join("job.yaml"),
        "apiVersion: batch/v1\nkind: Job\nspec:\n  template:\n    spec:\n      containers: 5\n",
    )
    .unwrap();
    let nowhere = format!("{url}/nowhere");
    let cases: [(&[&str], i32, &[&str]); 8] = [
        (&["--org", &nowhere, "--pool", "Linux", "--pat-file", "pat"], 1, &["ADO103", "fix: correct the URL"]),
        (
            &["--org", "http://127.0.0.1:1/x", "--pool", "Linux", "--pat-file", "pat"],
            1,
            &["ADO104", "fix: correct the URL"],
        ),
        (
            &["--org", &url, "--pool", "Linux", "--pat-file", "wrong"],
            1,
            &["ADO101", "fix: make a token with the scope"],
        ),
        (
            &["--org", &url, "--pool", "Linux,Linx,Lnx", "--pat-file", "pat"],
            1,
            &["\"Linx\"", "\"Lnx\"", "ADO201", "fix: compare the name"],
        ),
        (&["--org", &url, "--pool", "Linux", "--pat-file", "none"], 2, &["--pat-file: none cannot be read", "fix: "]),
        (&["--pat-file", "pat", "-f", "bad.yaml"], 2, &["bad.yaml:3:", "did you mean"]),
        (&["--org", &url, "--pool", "Linux", "--pat-file", "pat", "--template", "job.yaml"], 2, &["job.yaml:6:"]),
        (&[], 2, &["--org", "--pool", "--pat-file", "--existing-secret", "ADO_PAT"]),
    ];
    for (arguments, code, parts) in cases {
        place.ado(&[&["install", "-n", place.name()], arguments].concat()).ends(code).tells(parts);
    }
    let nobody = place.person(None).await;
    place.install_as(&nobody, &[]).ends(1).tells(&["forbidden", "fix: "]);
    let viewer = format!("--clusterrole={}", "view");
    let account = format!("--serviceaccount={}:person", place.name());
    place.plane.kubectl(&["create", "rolebinding", "person", "-n", place.name(), &viewer, &account]).unwrap();
    place.install_as(&nobody, &[]).ends(1).tells(&[
        "you may not apply an install",
        "ADO302",
        "fix: have the Role that `kubectl ado permissions install -o yaml` prints",
        "nothing was changed; --skip-checks",
    ]);
    place.install_as(&nobody, &["--skip-checks"]).ends(1).tells(&[
        "cannot apply the Deployment",
        "cannot patch resource",
        "fix: `kubectl ado permissions install`",
    ]);
    place.ado(&["upgrade", "-n", place.name()]).ends(1).tells(&["ADO501", "fix: kubectl ado install"]);
    assert_eq!(place.all(), BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_helm_or_argo_cd_own_is_printed_and_not_changed() {
    let place = Place::new("owned").await;
    place.install(&["--wait=false"]).ends(0);
    let name = place.name();
    for (mark, undo, who) in [
        (
            &["label", "app.kubernetes.io/managed-by=Helm"][..],
            &["label", "app.kubernetes.io/managed-by-"][..],
            "Helm release \"ci\" manages deployment.apps/kubectl-ado",
        ),
        (
            &["annotate", "argocd.argoproj.io/tracking-id=apps:apps/Deployment:x/kubectl-ado"],
            &["annotate", "argocd.argoproj.io/tracking-id-"],
            "Argo CD application \"apps\" manages deployment.apps/kubectl-ado",
        ),
    ] {
        let release = "meta.helm.sh/release-name=ci";
        place.plane.kubectl(&["annotate", "deployment", "kubectl-ado", "-n", name, release, "--overwrite"]).unwrap();
        let kubectl = |words: &[&str]| {
            place.plane.kubectl(&[words[0], "deployment", "kubectl-ado", "-n", name, words[1]]).unwrap()
        };
        kubectl(mark);
        let before = place.all();
        let said = place.install(&["--max-agents", "3", "--wait=false"]).ends(1).tells(&[who, "ADO308"]);
        assert!(said.out.contains("maxAgents: 3") && said.out.contains("token: REPLACE-ME"), "{}", said.out);
        place.ado(&["uninstall", "-n", name, "-y"]).ends(1).tells(&[who.split(" manages").next().unwrap(), "ADO308"]);
        assert_eq!(place.all(), before);
        kubectl(undo);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_that_does_not_come_ends_at_once_with_the_pod_s_own_reason() {
    let place = Place::new("rollout").await;
    let (client, namespace) = (place.client.clone(), place.name().to_owned());
    let kubelet = tokio::spawn(async move {
        let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        loop {
            for pod in api.list(&ListParams::default().labels(INSTALL_LABELS)).await.unwrap() {
                let _ = pods::set_image_pull_error(&client, &namespace, &pod.metadata.name.unwrap(), "x.example/ado:9")
                    .await;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    });
    let began = std::time::Instant::now();
    place.install(&["--image", "x.example/ado:9"]).ends(1).tells(&[
        "does not start: ImagePullBackOff",
        "x.example/ado:9",
        "fix: give an image that the nodes can pull with --image",
    ]);
    assert!(began.elapsed().as_secs() < 60);
    kubelet.abort();
    // Its image is one of its own, so that an upgrade keeps it.
    place.install(&["--wait=false"]).ends(0);
    let container = &place.get("deployment/kubectl-ado")["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "x.example/ado:9");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orchestrator_that_never_polls_is_waited_for_and_said() {
    let place = Place::new("no-poll").await;
    let _kubelet = place.kubelet();
    place
        .install(&["--timeout", "6s"])
        .ends(4)
        .tells(&["the orchestrator runs, but has not polled its pools within 6 s", "fix: kubectl -n"]);
}

#[test]
fn help_is_as_it_is_written_down() {
    for command in ["install", "upgrade", "uninstall"] {
        let mut run = std::process::Command::new(env!("CARGO_BIN_EXE_kubectl-ado"));
        let output = run.args([command, "--help"]).env_clear().output().unwrap();
        insta::assert_snapshot!(format!("help_{command}"), String::from_utf8(output.stdout).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_entra_no_secret_is_made_and_the_account_is_that_of_a_workload_identity() {
    let place = Place::new("entra").await;
    let id = "01234567-89ab-cdef-0123-456789abcdef";
    let flags = ["--org", "https://dev.azure.com/contoso", "--pool", "Linux", "--entra-client-id", id];
    let arguments = [&["install", "-n", place.name(), "--dry-run=client", "-o", "json"][..], &flags].concat();
    let said = place.ado_as(None, &arguments).ends(0);
    assert_eq!(said.err, "");
    let list: Value = serde_json::from_str(&said.out).unwrap();
    let items = list["items"].as_array().unwrap();
    let of_kind = |kind: &str| items.iter().find(|item| item["kind"] == kind);
    assert!(of_kind("Secret").is_none());
    let account = of_kind("ServiceAccount").unwrap();
    assert_eq!(account["metadata"]["annotations"]["azure.workload.identity/client-id"], id);
    let template = &of_kind("Deployment").unwrap()["spec"]["template"];
    assert_eq!(template["metadata"]["labels"]["azure.workload.identity/use"], "true");
    assert!(!template.to_string().contains("ORG_PAT_FILE"));
    let config: Value =
        serde_yaml::from_str(of_kind("ConfigMap").unwrap()["data"]["ado.yaml"].as_str().unwrap()).unwrap();
    assert_eq!(config["organization"]["authentication"], "entra");
    place.plane.apply(place.name(), &said.out).unwrap();

    let refused = place.ado_as(None, &["install", "--dry-run=client", "--entra-client-id", "mine"]).ends(2);
    assert!(refused.err.contains("client id"), "{}", refused.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_with_a_token_leaves_entra() {
    let place = Place::new("leaves-entra").await;
    let url = place.sandbox.url();
    let id = "01234567-89ab-cdef-0123-456789abcdef";
    let flags = ["--org", &url, "--pool", "Linux", "--entra-client-id", id, "--skip-checks", "--wait=false"];
    place.ado(&[&["install", "-n", place.name()][..], &flags].concat()).ends(0);
    place
        .ado(&["auth", "set", "-n", place.name(), "--pat-file", "pat"])
        .ends(2)
        .tells(&["fix: kubectl ado upgrade --pat-file FILE"]);

    let upgrade = ["upgrade", "-n", place.name(), "--pat-file", "pat", "--wait=false"];
    let said = place.ado(&upgrade).ends(0).tells(&["-   authentication: entra", "+   authentication: pat"]);
    assert!(said.out.contains("secret/kubectl-ado-token created"), "{said:?}");
    let deployment = place.get("deployment/kubectl-ado").to_string();
    assert!(deployment.contains("ORG_PAT_FILE") && !deployment.contains("azure.workload.identity/use"), "{deployment}");
    let account = place.get("serviceaccount/kubectl-ado").to_string();
    assert!(!account.contains("azure.workload.identity/client-id"), "{account}");
    let said = place.ado(&upgrade).ends(0);
    assert!(said.out.lines().all(|line| line.ends_with("unchanged")), "{said:?}");

    // The same of a file that says Entra: flags change it.
    let text = format!("organization: {{url: {url}, authentication: entra}}\npools: [{{name: Linux}}]\n");
    std::fs::write(place.folder.path().join("entra.yaml"), text).unwrap();
    let shown = ["install", "-f", "entra.yaml", "--existing-secret", "mine:pat", "--dry-run=client", "-o", "json"];
    let said = place.ado_as(None, &shown).ends(0);
    assert!(said.out.contains("authentication: pat") && said.out.contains("\"secretName\": \"mine\""), "{}", said.out);
}
