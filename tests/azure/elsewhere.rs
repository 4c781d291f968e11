//! Looking at an orchestrator where no cluster is, and giving up what it has made.

use std::{
    process::{Command, Output},
    time::Duration,
};

use kubectl_ado::sandbox::{
    Rules,
    azure::{AzureFaultKind, AzureRules},
};
use serde_json::Value;

use crate::{
    stage::{By, Stage, in_time},
    world::{Serve, assert_holds_no_token},
};

/// Runs the plugin beside an orchestrator: with its environment, and with no cluster in reach.
async fn plugin(stage: &Stage, by: By, arguments: &[&str]) -> Output {
    plugin_beside(stage, &stage.serve(by), arguments).await
}

async fn plugin_beside(stage: &Stage, serve: &Serve, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-ado"));
    command.args(arguments).env_clear().envs(serve.environment());
    command.current_dir(stage.folder.path());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    for text in [&output.stdout, &output.stderr] {
        assert_holds_no_token(&String::from_utf8_lossy(text), stage.devops.token(), "what a command says");
    }
    output
}

fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

async fn json(stage: &Stage, arguments: &[&str]) -> Value {
    let (_, out, err) = said(&plugin(stage, By::Files, &[arguments, &["-o", "json"]].concat()).await);
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out}{err}"))
}

fn ours(stage: &Stage) -> usize {
    // One was there before us.
    stage.devops.agents(stage.pool).len() - 1
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_no_cluster_asks_the_orchestrator_itself_or_reads_its_file() {
    let stage = Stage::new(AzureRules::default());
    let requests = stage.queue(2, "sleep 600");
    let serve = stage.serve(By::Files).set("STATUS_FILE", stage.folder.path().join("status.json").to_str().unwrap());
    let serve = serve.start();
    let address = format!("http://{}", serve.address().await);
    in_time("both are at work", || stage.at_work(&requests) == 2).await;

    let busy = |status: &Value| status["pools"][0]["busy"] == 2;
    let mut status = Value::Null;
    for _ in 0..600 {
        status = json(&stage, &["status", "--status-from", &address]).await;
        if busy(&status) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(busy(&status), "{status:#}");
    assert_eq!((&status["orchestrator"]["host"], &status["healthy"]), (&"aci".into(), &true.into()));

    let jobs = json(&stage, &["jobs", "--status-from", &address]).await;
    let names: Vec<_> = jobs["items"].as_array().unwrap().iter().map(|job| job["name"].as_str().unwrap()).collect();
    let mut groups = stage.azure.groups();
    groups.sort_unstable();
    let mut listed = names.clone();
    listed.sort_unstable();
    assert_eq!(listed, groups);
    let agents = json(&stage, &["agents", "Linux", "--status-from", &address]).await;
    let at_work = agents["items"].as_array().unwrap().iter().filter(|item| !item["agent"]["request"].is_null()).count();
    assert_eq!(at_work, 2, "{agents:#}");

    for subject in ["Linux", names[0], &requests[0].to_string()] {
        let (code, out, err) = said(&plugin(&stage, By::Files, &["explain", subject, "--status-from", &address]).await);
        assert_eq!(code, 0, "{subject}: {out}{err}");
        assert!(!out.contains("namespace") && !out.contains("pod "), "it speaks of no cluster: {out}");
    }

    // The file says the same when the orchestrator is gone, and grows old.
    let file = stage.folder.path().join("status.json");
    in_time("the file has both", || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        serde_json::from_str::<Value>(&text).is_ok_and(|status| busy(&status))
    })
    .await;
    serve.kill();
    let (code, out, _) = said(&plugin(&stage, By::Files, &["status", "--status-from", "status.json"]).await);
    assert!(code == 0 && out.contains("host aci"), "{out}");
    let mut status: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    status["reportedAt"] = (jiff::Timestamp::now() - jiff::SignedDuration::from_hours(1)).to_string().into();
    std::fs::write(&file, status.to_string()).unwrap();
    let (code, out, _) = said(&plugin(&stage, By::Files, &["status", "--status-from", "status.json"]).await);
    assert!(code == 3 && out.contains("ADO504 the status was written 60m ago"), "{out}");
    let (code, _, err) = said(&plugin(&stage, By::Files, &["status", "--status-from", &address]).await);
    assert_eq!(code, 1);
    assert!(err.contains("does not answer") && err.contains("fix: "), "{err}");
    let (code, _, err) = said(&plugin(&stage, By::Files, &["status", "--status-from", ""]).await);
    assert!(code == 2 && err.contains("--status-from is empty"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_what_a_configuration_has_made() {
    // Azure DevOps does not let go of agents that it believes at work; here it does so sooner.
    let rules = Rules { cancel_timeout: Duration::from_secs(1), ..Rules::default() };
    let stage = Stage::by(AzureRules::default(), rules);
    std::fs::write(stage.folder.path().join("ado.yaml"), "pools: [{name: Linux, templates: [{name: default}]}]\n")
        .unwrap();
    let requests = stage.queue(3, "sleep 600");
    let serve = stage.serve(By::Files).start();
    in_time("all are at work", || stage.at_work(&requests) == 3).await;
    serve.kill();

    let uninstall = ["uninstall", "--config", "ado.yaml", "-y"];
    let (code, _, err) = said(&plugin(&stage, By::Files, &uninstall).await);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("3 agents are at work") && err.contains("fix: --drain"), "{err}");
    assert_eq!(stage.azure.groups().len(), 3, "and nothing was changed");

    let (code, out, err) = said(&plugin(&stage, By::Files, &[&uninstall[..], &["--dry-run=client"]].concat()).await);
    assert_eq!((code, stage.azure.groups().len()), (0, 3), "{out}{err}");

    let forced = [&uninstall[..], &["--force", "--timeout=3s"]].concat();
    let (code, out, err) = said(&plugin(&stage, By::Files, &forced).await);
    assert_eq!((code, stage.azure.groups()), (1, Vec::new()), "{out}{err}");
    assert!(err.contains("3 other registrations") && err.contains("fix: "), "{err}");
    requests.iter().for_each(|id| stage.devops.cancel(*id).unwrap());
    in_time("the jobs are given up", || stage.finished(&requests) == 3).await;

    let (code, out, err) = said(&plugin(&stage, By::Files, &uninstall).await);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("nothing of this installation is left in resource group"), "{out}");
    assert_eq!(ours(&stage), 0);

    let (code, _, err) = said(&plugin(&stage, By::Files, &uninstall).await);
    assert_eq!(code, 0, "once more is harmless: {err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_that_work_are_waited_for_where_that_is_asked_for() {
    let stage = Stage::new(AzureRules::default());
    let gate = stage.folder.path().join("gate");
    let requests = stage.queue(2, &format!("until [ -e '{}' ]; do sleep 0.1; done", gate.display()));
    let serve = stage.serve(By::Token).start();
    in_time("both are at work", || stage.at_work(&requests) == 2).await;
    serve.kill();
    let looks = || {
        let calls = stage.devops.calls();
        let lists = calls.iter().filter(|(route, _)| route.starts_with("GET") && route.ends_with("/agents"));
        lists.map(|(_, count)| count).sum::<u64>()
    };
    let before = looks();
    // By the environment alone, as the orchestrator had it.
    let drained = plugin(&stage, By::Token, &["uninstall", "-y", "--drain", "--config"]);
    let opened = async {
        in_time("it has looked at the agents again and again", || looks() >= before + 4).await;
        assert_eq!(stage.at_work(&requests), 2);
        std::fs::write(&gate, "").unwrap();
    };
    let (output, ()) = tokio::join!(drained, opened);
    let (code, out, err) = said(&output);
    assert_eq!(code, 0, "{out}{err}");
    assert!(err.contains("waiting for "), "{err}");
    stage.all_are_served_and_nothing_is_left(&requests).await;
    assert_eq!(ours(&stage), 0, "the placeholder is gone, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn before_anything_is_started_a_check_tells_what_azure_lacks() {
    let stage = Stage::new(AzureRules::default());
    std::fs::write(stage.folder.path().join("ado.yaml"), "pools: [{name: Linux}]\n").unwrap();
    std::fs::write(stage.folder.path().join("token"), stage.devops.token()).unwrap();
    let check = ["check", "--pre", "-f", "ado.yaml", "--pat-file", "token"];
    let (code, out, err) = said(&plugin(&stage, By::Files, &check).await);
    assert_eq!(code, 0, "{out}{err}");
    for line in [
        "OK    Entra gives a token for Azure (EnvironmentCredential",
        "OK    the resource group agents shows its container groups",
        "OK    the identity may make and delete container groups in agents",
        "OK    westeurope has room for container groups (0 of 100 ContainerGroups",
    ] {
        assert!(out.contains(line), "{line}: {out}");
    }
    assert!(!out.contains("\ncluster\n"), "there is none: {out}");

    // The environment alone says as much, and the token that it names is used.
    let (code, out, err) = said(&plugin(&stage, By::Files, &["check", "--pre"]).await);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("the token is accepted") && out.contains("shows its container groups"), "{out}");

    // And a flag brings the token where the environment has none.
    let none = stage.serve(By::Files).set("ORG_PAT", "");
    let (code, out, err) = said(&plugin_beside(&stage, &none, &["check", "--pre", "--pat-file", "token"]).await);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("the token is accepted"), "{out}");
    let (code, _, err) = said(&plugin_beside(&stage, &none, &["check", "--pre"]).await);
    assert!(code == 2 && err.contains("ORG_PAT"), "{err}");
    let (_, out, err) = said(&plugin(&stage, By::Files, &["check", "--pre", "--kubeconfig", "nowhere"]).await);
    assert!(!out.contains("shows its container groups"), "a cluster is meant: {out}{err}");

    let wrong = stage.serve(By::Files).set("AZURE_CLIENT_SECRET", "not-the-secret");
    let (code, out, err) = said(&plugin_beside(&stage, &wrong, &check).await);
    assert_eq!(code, 3, "{out}{err}");
    assert!(out.contains("FAIL  ADO101 Entra gives no token for Azure") && out.contains("AADSTS7000215"), "{out}");
    assert!(!out.contains("not-the-secret") && !err.contains("not-the-secret"), "{out}{err}");

    stage.azure.inject(AzureFaultKind::Forbidden.always().on("containerGroups"));
    let (code, out, _) = said(&plugin(&stage, By::Files, &check).await);
    assert_eq!(code, 3, "{out}");
    assert!(
        out.contains("FAIL  ADO303 agents cannot be made") && out.contains("fix: give the identity the role"),
        "{out}"
    );
}
