//! `config` and `auth`: what is in force, one setting changed, a token that is tried before it is stored.

use k8s_openapi::api::core::v1::Secret;
use kubectl_ado::sandbox::FaultKind;
use serde_json::{Value, json};

use crate::staged::{Staged, help, plugin};

#[tokio::test(flavor = "multi_thread")]
async fn view_tells_where_each_value_comes_from() {
    let staged = Staged::new("config-view", &["Linux", "a.b"]).await;
    let ended = staged.run(&["config", "view"]).with(0);
    let row = |path: &str| {
        let found = ended
            .out
            .lines()
            .find(|line| line.starts_with(&format!("{path} ")))
            .unwrap_or_else(|| panic!("{path}: {}", ended.out));
        found.split("   ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(row("PATH"), ["PATH", "VALUE", "SOURCE"]);
    assert_eq!(row("organization.url"), ["organization.url", &staged.world.sandbox.url(), "file ado.yaml:3:8"]);
    assert_eq!(row("namespace"), ["namespace", staged.namespace(), "env JOB_NAMESPACE"]);
    assert_eq!(row("defaults.startTimeout"), ["defaults.startTimeout", "5m", "default"]);
    assert_eq!(row("limits.maxAgents"), ["limits.maxAgents", "60", "file ado.yaml:5:21"]);
    assert_eq!(row("pools.\"a.b\".name")[1], "a.b");

    let yaml: Value = serde_yaml::from_str(&staged.run(&["config", "view", "-o", "yaml"]).with(0).out).unwrap();
    assert_eq!((&yaml["kind"], &yaml["config"]["pools"][0]["name"]), (&json!("ConfigView"), &json!("Linux")));
    assert_eq!(yaml["sources"]["defaults.startTimeout"], "default");
    let json: Value = serde_json::from_str(&staged.run(&["config", "view", "-o", "json"]).with(0).out).unwrap();
    assert_eq!(json["config"]["limits"]["maxAgents"], 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn set_changes_one_line_shows_it_and_keeps_the_rest() {
    let staged = Staged::new("config-set", &["Linux"]).await;
    let before = staged.stored_config().await;
    let dry = staged.run(&["config", "set", "limits.maxAgents=40", "--dry-run"]).with(0);
    dry.says(&[
        "- limits: {maxAgents: 60}",
        "+ limits: {maxAgents: 40}",
        "configmap/kubectl-ado-config configured (dry run)",
    ]);
    assert_eq!(staged.stored_config().await, before);

    let changes =
        ["config", "set", "limits.maxAgents=40", "pools.Linux.limits.maxAgents=4", "defaults.startTimeout=10m"];
    staged.run(&changes).with(0).says(&["configmap/kubectl-ado-config configured"]);
    let after = staged.stored_config().await;
    assert!(after.contains("# the sandbox") && after.starts_with("# Ours.\n"), "{after}");
    assert!(after.contains("limits: {maxAgents: 40}\n"), "{after}");
    assert!(after.contains("- name: Linux\n  limits: {maxAgents: 4}\n"), "{after}");
    assert!(after.contains("defaults: {startTimeout: 10m}\n"), "{after}");
    staged.run(&changes).with(0).says(&["configmap/kubectl-ado-config unchanged"]);
    let kept =
        staged.world.plane.kubectl(&["get", "configmap", "kubectl-ado-config", "-n", staged.namespace(), "-o", "json"]);
    let kept: Value = serde_json::from_str(&kept.unwrap()).unwrap();
    assert_eq!(kept["metadata"]["labels"]["app.kubernetes.io/part-of"], "kubectl-ado");
}

#[tokio::test(flavor = "multi_thread")]
async fn set_refuses_what_serve_would_refuse_and_writes_nothing() {
    let staged = Staged::new("config-refused", &["Linux"]).await;
    let before = staged.stored_config().await;
    staged.run(&["config", "set", "limits.maxAgnets=40"]).with(2).says(&[
        "error: ado.yaml:5:",
        "unknown key `maxAgnets` in limits",
        "fix: did you mean `maxAgents`?",
    ]);
    staged.run(&["config", "set", "limits.maxAgents=many"]).with(2).says(&["limits.maxAgents is the text \"many\""]);
    staged.run(&["config", "set", "pools.Linx.limits.maxAgents=4"]).with(2).says(&["fix: did you mean Linux?"]);
    staged.run(&["config", "set", "limits.maxAgents"]).with(2).says(&["PATH=VALUE"]);
    assert_eq!(staged.stored_config().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn set_leaves_alone_what_somebody_else_manages() {
    let staged = Staged::new("config-owned", &["Linux"]).await;
    let by_helm = "app.kubernetes.io/managed-by=Helm";
    let map = ["label", "configmap", "kubectl-ado-config", "-n", staged.namespace(), by_helm];
    staged.world.plane.kubectl(&map).unwrap();
    for (mark, owner) in [
        ("argocd.argoproj.io/tracking-id=ado:/ConfigMap:x/y", "Argo CD application \"ado\""),
        ("meta.helm.sh/release-name=agents", "Helm release \"agents\""),
    ] {
        let key = mark.split('=').next().unwrap();
        let annotate = |mark: &str| {
            let name = "kubectl-ado-config";
            staged.world.plane.kubectl(&["annotate", "configmap", name, "-n", staged.namespace(), mark]).unwrap();
        };
        annotate(mark);
        staged.run(&["config", "set", "limits.maxAgents=4"]).with(1).says(&[owner, "ADO308", "fix: "]);
        annotate(&format!("{key}-"));
    }
    staged.run(&["config", "set", "limits.maxAgents=4"]).with(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_roles_that_are_printed_are_enough() {
    let staged = Staged::new("config-roles", &["Linux"]).await;
    for (command, arguments) in [
        (&["config", "view"][..], &["config", "view"][..]),
        (&["config", "set"], &["config", "set", "limits.maxAgents=7"]),
        (&["template", "render"], &["template", "render"]),
    ] {
        let user = staged.user_for(command).await;
        staged.run_as(&user, arguments, "").with(0);
    }
    assert!(staged.stored_config().await.contains("maxAgents: 7"));
    let user = staged.user_for(&["auth", "set"]).await;
    let good = staged.world.sandbox.token();
    staged.run_as(&user, &["auth", "set", "--pat-file", "-"], good).with(0);
    let refused =
        staged.world.plane.kubectl_of(&user, &["get", "secret", "kubectl-ado-token", "-n", staged.namespace()]);
    assert!(refused.unwrap_err().to_string().contains("forbidden"), "the Secret is never read");
}

#[test]
fn validate_needs_no_cluster_and_tells_line_and_column() {
    let good = "organization: {url: https://dev.azure.com/contoso, tokenFile: /run/secrets/ado/token}\npools: [{name: Linux}]\n";
    plugin(&["config", "validate"], &[], good).with(0).says(&["<stdin> is valid"]);
    let bad = "organisation: {url: https://dev.azure.com/contoso}\npools: [{name: Linux, limit: 4}]\npolling: 3\n";
    let ended = plugin(&["config", "validate", "-f", "-"], &[], bad).with(3);
    assert_eq!(ended.out, "");
    ended.says(&[
        "error: <stdin>:1:1: unknown key `organisation`\nfix: did you mean `organization`?",
        "error: <stdin>:2:23: unknown key `limit` in pools[0]\nfix: did you mean `limits`?",
        "error: <stdin>:3:10: polling is 3; it has to be a text",
    ]);
    let json = plugin(&["config", "validate", "-o", "json"], &[], bad).with(3).out;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["kind"], &json["valid"]), (&json!("ConfigValidation"), &json!(false)));
    assert!(json["errors"].as_array().unwrap().len() >= 3);
    let odd = good.to_owned() + "namespace: x\njobTemplate: /etc/kubectl-ado-templates/job.yaml\n";
    plugin(&["config", "validate"], &[], &odd)
        .with(0)
        .says(&["warning: ", "is not on this machine, so it is not checked"]);
    plugin(&["config", "validate", "-f", "/no/such/file"], &[], "").with(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_token_takes_the_place_of_the_old_one_and_a_bad_one_does_not() {
    let staged = Staged::new("auth-set", &["Linux"]).await;
    let stored = async || {
        let secret = staged.world.all::<Secret>().get("kubectl-ado-token").await.unwrap();
        let data = secret.data.unwrap();
        (String::from_utf8(data["token"].0.clone()).unwrap(), data.contains_key("note"))
    };
    let bad = "a-token-that-nobody-knows-0123456789";
    let ended = staged.run_with(&["auth", "set", "--pat-file", "-"], bad).with(3);
    assert!(!ended.out.contains(bad) && !ended.err.contains(bad));
    ended.says(&["error: the token is not accepted", "(ADO101)", "fix: ", "the old one stays"]);
    assert_eq!(stored().await, ("the-old-token".to_owned(), true));

    let good = staged.world.sandbox.token().to_owned();
    staged.world.sandbox.inject(FaultKind::Forbidden.always().on("DELETE"));
    staged.run_with(&["auth", "set", "--pat-file", "-"], &good).with(3).says(&["(ADO102)"]);
    assert_eq!(stored().await.0, "the-old-token");
    staged.world.sandbox.clear_faults();

    staged
        .run_with(&["auth", "set", "--pat-file", "-"], &format!("{good}\n"))
        .with(0)
        .says(&["secret/kubectl-ado-token configured"]);
    assert_eq!(stored().await, (good.clone(), true), "the new one, and what else was in the Secret");

    staged.world.plane.kubectl(&["delete", "secret", "kubectl-ado-token", "-n", staged.namespace()]).unwrap();
    staged.run_with(&["auth", "set", "--pat-file", "-"], &good).with(0).says(&["secret/kubectl-ado-token created"]);
    assert_eq!(stored().await.0, good);
    staged.run_with(&["auth", "set"], "").with(2).says(&["there is no token", "--pat-file"]);
    staged.run_with(&["auth", "set", "--pat-file", "-"], "two words").with(2).says(&["holds white space"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn test_tries_a_token_or_says_what_the_orchestrator_says() {
    let staged = Staged::new("auth-test", &["Linux"]).await;
    let good = staged.world.sandbox.token().to_owned();
    staged.run_with(&["auth", "test", "--pat-file", "-"], &good).with(0).says(&["OK    the token is accepted"]);
    staged
        .run_with(&["auth", "test", "--pat-file", "-"], "a-token-that-nobody-knows-0123456789")
        .with(3)
        .says(&["ADO101"]);
    staged.run(&["auth", "test"]).with(3).says(&["no token was given", "the orchestrator has written no status"]);
    staged.healthy(&["Linux"]).await;
    staged.run(&["auth", "test"]).with(0).says(&["OK    the token is accepted (says the orchestrator)"]);
}

#[test]
fn the_help_of_config_and_auth() {
    let all = [
        &["config"][..],
        &["config", "view"],
        &["config", "set"],
        &["config", "validate"],
        &["auth"],
        &["auth", "set"],
        &["auth", "test"],
    ];
    insta::assert_snapshot!(all.map(help).join("\n\n"));
}
