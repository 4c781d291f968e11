//! `uninstall` in each state: whoever is silent, whatever cuts it off, no agent that works is ended without `--force`, and
//! each end names a command that leads on or back.

use std::process::Command;

use serde_json::{Value, json};

use crate::{place::Place, uninstall::job, world::eventually};

fn control(place: &Place) -> Value {
    let map = place.get("configmap/kubectl-ado-control");
    serde_json::from_str(map["data"]["control.json"].as_str().unwrap()).unwrap()
}

fn is_asked_to_retire(place: &Place) -> bool {
    place.all().contains_key("ConfigMap/kubectl-ado-control") && control(place)["retire"] == true
}

fn uninstall(place: &Place, arguments: &[&str]) -> crate::place::Said {
    place.ado(&[&["uninstall", "-n", place.name(), "-y"], arguments].concat())
}

fn installation(place: &Place) -> String {
    let uid = place.plane.kubectl(&["get", "namespace", place.name(), "-o", "jsonpath={.metadata.uid}"]).unwrap();
    kubectl_ado::core::Installation::of_namespace(&uid).id().to_owned()
}

/// A status that some orchestrator wrote.
fn status(place: &Place, name: &str, report: &Value) {
    let labels = json!({
        "app.kubernetes.io/name": "kubectl-ado", "app.kubernetes.io/component": "status",
        "app.kubernetes.io/part-of": "kubectl-ado", "kubectl-ado/installation": installation(place),
    });
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels},
        "data": {"status.json": report.to_string()},
    });
    place.plane.apply(place.name(), &map.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_waits_for_agents_where_the_orchestrator_is_silent() {
    let place = Place::new("silent").await;
    place.install(&["--wait=false"]).ends(0);
    job(&place, "agent-job-1");
    let before = place.all();
    let refused = uninstall(&place, &[]).ends(1);
    refused.tells(&["1 agents may be at work: the orchestrator does not say", "fix: --drain"]);
    let said = uninstall(&place, &["--drain", "--timeout", "2s"]).ends(4);
    let said =
        said.tells(&["1 agents are still at work after 2 s; nothing was deleted", "fix: `kubectl ado uninstall"]);
    assert_eq!(said.out, "", "nothing was deleted");
    let after = place.all();
    assert!(before.keys().all(|name| after.contains_key(name)), "{after:?}");

    // The agent ends by itself, and the same command goes on.
    let mut draining = place.start(&["uninstall", "-n", place.name(), "-y", "--drain"]);
    eventually("the orchestrator is asked", || place.all().keys().any(|name| name.ends_with("-control"))).await;
    assert!(place.all().contains_key("Job/agent-job-1"));
    place.plane.kubectl(&["delete", "job", "agent-job-1", "-n", place.name()]).unwrap();
    let ended = draining.wait().unwrap();
    assert_eq!(ended.code(), Some(1), "what may stay registered is told");
    let left: Vec<_> = place.all().into_keys().filter(|name| !name.starts_with("Pod/")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_of_another_version_is_no_leave_to_end_agents() {
    let place = Place::new("newer").await;
    let _kubelet = place.kubelet();
    place.install(&["--wait=false"]).ends(0);
    job(&place, "agent-job-1");
    status(&place, "kubectl-ado-x-y-status", &json!({"apiVersion": "kubectl-ado/v2", "pools": "elsewhere"}));
    uninstall(&place, &["--drain", "--timeout", "2s"]).ends(4).tells(&["nothing was deleted"]);
    assert!(place.all().contains_key("Job/agent-job-1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_one_installation_the_newest_report_counts() {
    let place = Place::new("former").await;
    let _kubelet = place.kubelet();
    let orchestrator = place.orchestrator();
    place.install(&[]).ends(0);
    let agent = |name: &str| json!([{"id": 1, "name": name, "owner": "placeholder", "enabled": true, "online": false}]);
    let former = json!({
        "apiVersion": "kubectl-ado/v1alpha1", "kind": "Status", "reportedAt": "2026-01-01T12:00:00Z",
        "orchestrator": {"installation": installation(&place), "lease": "kubectl-ado-former"},
        "organization": {"url": place.sandbox.url()},
        "pools": [{"name": "Linux", "busy": 1, "agents": agent("gone")}, {"name": "Dropped", "busy": 0, "agents": agent("left")}],
    });
    status(&place, "kubectl-ado-former-status", &former);
    let said = uninstall(&place, &["--timeout", "20s"]).ends(1);
    let said = said.tells(&["the agent left may still be registered in the agent pool \"Dropped\""]);
    assert!(!said.err.contains("error: the agent gone"), "{}", said.err);
    orchestrator.stop().await;
    let left = place.all();
    assert!(!left.contains_key("Deployment/kubectl-ado"), "{left:?}");
    assert!(!left.contains_key("ConfigMap/kubectl-ado-former-status"), "{left:?}");
}

fn signal(child: &std::process::Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interruption_puts_back_what_it_changed_and_a_kill_leaves_a_way_on_and_back() {
    let place = Place::new("cut-off").await;
    let _kubelet = place.kubelet();
    let orchestrator = place.orchestrator();
    place.install(&[]).ends(0);
    *orchestrator.busy.lock().unwrap() = 1;
    job(&place, "agent-job-1");
    let drain = ["uninstall", "-n", place.name(), "-y", "--drain"];
    for (name, code) in [("-INT", 130), ("-TERM", 143)] {
        let draining = place.start(&drain);
        eventually("it waits", || is_asked_to_retire(&place)).await;
        signal(&draining, name);
        let output = draining.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains("the orchestrator goes on as before"), "{said}");
        assert_eq!(control(&place), json!({}));
    }

    let mut draining = place.start(&drain);
    eventually("it waits", || is_asked_to_retire(&place)).await;
    signal(&draining, "-KILL");
    draining.wait().unwrap();
    assert_eq!(control(&place)["retire"], true);
    // A second one that is interrupted leaves what it found, and says both ways.
    let second = place.start(&drain);
    std::thread::sleep(std::time::Duration::from_secs(2));
    signal(&second, "-INT");
    let said = String::from_utf8(second.wait_with_output().unwrap().stderr).unwrap();
    assert!(said.contains(&format!("`kubectl ado resume --all -n {}` goes back", place.name())), "{said}");
    assert!(said.contains("--drain` goes on"), "{said}");
    assert_eq!(control(&place)["retire"], true);

    // Back: one pool alone cannot be resumed, all can.
    place.ado(&["resume", "Linux", "-n", place.name()]).ends(1).tells(&["fix: kubectl ado resume --all"]);
    place.ado(&["resume", "--all", "-n", place.name()]).ends(0).tells(&["the uninstall is taken back"]);
    assert_eq!(control(&place), json!({}));
    assert!(place.all().contains_key("Job/agent-job-1"));

    // On: one that is taken back while it waits ends and deletes nothing.
    let draining = place.start(&drain);
    eventually("it waits", || is_asked_to_retire(&place)).await;
    std::thread::sleep(std::time::Duration::from_secs(1));
    place.ado(&["resume", "--all", "-n", place.name()]).ends(0);
    let output = draining.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("somebody took this uninstall back"), "{said}");
    assert!(place.all().contains_key("Deployment/kubectl-ado"));

    *orchestrator.busy.lock().unwrap() = 0;
    place.plane.kubectl(&["delete", "job", "agent-job-1", "-n", place.name()]).unwrap();
    uninstall(&place, &["--drain"]).ends(0);
    assert!(!place.all().contains_key("Deployment/kubectl-ado"));
}
