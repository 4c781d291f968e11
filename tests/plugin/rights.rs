//! The Role that `install` makes is what `serve` uses: not a verb less, and not one more. The API server's audit log says
//! what it used, of a run with all that an orchestrator meets: agents that work, fail, are refused and taken back, and a
//! token that is not used any more.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use kubectl_ado::{core::Report, sandbox::JobSpec};
use serde_json::json;

use crate::{
    place::Place,
    stage::{Ran, Stage, ago, report},
    staged,
    world::{PATIENCE, eventually, project_file},
};

/// (verb, group, resource)
type Right = (String, String, String);

fn rights_of_the_role(place: &Place) -> BTreeSet<Right> {
    let role = place.get("role/kubectl-ado");
    let texts = |list: &serde_json::Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in role["rules"].as_array().unwrap() {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    rights.insert((verb, group.clone(), resource.clone()));
                }
            }
        }
    }
    rights
}

/// What the orchestrator's account asked for, and whether all of it was granted.
fn rights_used(place: &Place) -> BTreeSet<Right> {
    let us = format!("system:serviceaccount:{}:kubectl-ado", place.name());
    let events = place.plane.audit_events().into_iter().filter(|event| event.user == us && !event.resource.is_empty());
    events
        .map(|event| {
            assert_ne!(event.code, 403, "{event:?}");
            assert!(event.subresource.is_empty(), "{event:?}");
            (event.verb, event.group, event.resource)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_is_exactly_what_serve_uses() {
    let place = Place::new("rights").await;
    let node = place.real_node();
    place.install(&["--wait=false", "--job-image", "registry.example/agent:1"]).ends(0);
    place.hand_over_account().await;

    let pool = place.sandbox.see(|state| state.pools().next().unwrap().id);
    let job = |name: &str, script: &str| {
        place.sandbox.queue(pool, JobSpec::new("pipeline", name).step("work", script)).unwrap()
    };
    let work = |name: &str| job(name, "true");
    // One of them takes so long that its agent is seen at work.
    let served = [work("one"), job("two", "sleep 3")];
    eventually("an agent fails, and all job requests are served", || {
        served.iter().all(|id| place.sandbox.request(*id).unwrap().finished_at.is_some())
    })
    .await;

    // No room for an agent's pod: only Events tell.
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "1"}}});
    place.plane.apply(place.name(), &quota.to_string()).unwrap();
    let refused = work("refused");
    let used =
        |verb: &str, resource: &str| rights_used(&place).iter().any(|right| right.0 == verb && right.2 == resource);
    eventually("the Events are looked at", || used("list", "events")).await;
    place.sandbox.cancel(refused).unwrap();
    eventually("the Job that nobody needs is deleted", || used("delete", "jobs")).await;
    place.plane.kubectl(&["delete", "resourcequota", "none", "-n", place.name()]).unwrap();

    // A Secret of this installation that another orchestrator left long ago.
    let note = place.plane.kubectl(&[
        "get",
        "configmap",
        "-l",
        "app.kubernetes.io/managed-by=kubectl-ado",
        "-n",
        place.name(),
        "-o",
        "name",
    ]);
    let note = note.unwrap().lines().next().unwrap().to_owned();
    let short = note.trim_start_matches("configmap/kubectl-ado-");
    let left = format!("kubectl-ado-token-{short}-aaaaaaaaaaaaaaaa");
    let patch = json!({"data": {left.as_str(): "somebody 2026-01-01T00:00:00Z"}}).to_string();
    place.plane.kubectl(&["patch", &note, "-n", place.name(), "--type=merge", "-p", &patch]).unwrap();
    let left = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": left}});
    place.plane.apply(place.name(), &left.to_string()).unwrap();
    let labels = "app.kubernetes.io/component=orchestrator";
    place.plane.kubectl(&["delete", "pod", "-l", labels, "-n", place.name(), "--wait=false"]).unwrap();
    work("three");

    let role = rights_of_the_role(&place);
    let deadline = Instant::now() + PATIENCE;
    while !role.is_subset(&rights_used(&place)) && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let used = rights_used(&place);
    let pods = place.plane.kubectl(&["get", "pods", "-n", place.name(), "-o", "name"]).unwrap();
    let logs: Vec<_> = pods.lines().map(|pod| node.log(pod.trim_start_matches("pod/"))).collect();
    let unused: Vec<_> = role.difference(&used).collect();
    assert!(unused.is_empty(), "never used: {unused:?}\n{}", logs.join("\n"));
    assert_eq!(used, role, "used without being in the Role");

    let bindings = place.plane.kubectl(&["get", "clusterrolebindings", "-o", "json"]).unwrap();
    assert!(!bindings.contains("kubectl-ado"), "nothing is cluster-wide");
    for manifest in ["role", "rolebinding", "serviceaccount", "deployment"] {
        assert!(!project_file(&format!("manifests/{manifest}.yaml")).contains("kind: ClusterRole"));
    }
}

/// The Role that `permissions COMMAND` prints, for an account of a namespace, and that account's kubeconfig.
async fn holder(plane: &control_plane::ControlPlane, namespace: &str, command: &str) -> std::path::PathBuf {
    let role = staged::plugin(&["permissions", command, "-o", "yaml"], &[], "").with(0).out;
    plane.apply(namespace, &role).unwrap();
    let (user, role) = (format!("user-{command}"), format!("--role=kubectl-ado-{command}"));
    let account = format!("--serviceaccount={namespace}:{user}");
    plane.kubectl(&["create", "serviceaccount", &user, "-n", namespace]).unwrap();
    plane.kubectl(&["create", "rolebinding", &user, "-n", namespace, &role, &account]).unwrap();
    let kubeconfig = plane.service_account_kubeconfig(namespace, &user).await;
    eventually("the Role counts", || {
        plane.kubectl_of(&kubeconfig, &["auth", "can-i", "list", "deployments.apps", "-n", namespace]).is_ok()
    })
    .await;
    kubeconfig
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_more_than_what_permissions_prints_can_do_all_of_a_command() {
    let stage = Stage::new("only-roles").await;
    stage.job("agent-job-abc-7", 7).await;
    // What is not well makes them look at pods and Jobs too.
    let (well, old) = (report(), Report { reported_at: ago(600), ..report() });
    for (command, arguments) in [
        ("status", &["status"][..]),
        ("pools", &["pools"]),
        ("agents", &["agents"]),
        ("jobs", &["jobs"]),
        ("queue", &["queue"]),
        ("explain", &["explain", "linux"]),
        ("logs", &["logs", "--tail", "1"]),
        ("version", &["version"]),
        ("pause", &["pause", "linux", "--wait=false"]),
        ("resume", &["resume", "linux", "--wait=false"]),
    ] {
        let kubeconfig = holder(stage.plane, stage.namespace.name(), command).await;
        for report in [&well, &old] {
            stage.play(report).await;
            let mut run = stage.command(arguments);
            run.env("KUBECONFIG", &kubeconfig);
            let ran = Ran::of(run);
            let said = format!("{}{}", ran.out, ran.err);
            for refusal in ["ADO301", "ADO302", "forbidden", "cannot list", "cannot get"] {
                assert!(!said.contains(refusal), "{command}: {ran:#?}");
            }
            // A pod that is played has no log.
            assert!(command == "logs" || matches!(ran.code, Some(0 | 3)), "{command}: {ran:#?}");
        }
    }

    let place = Place::new("only-role-install").await;
    let person = holder(place.plane, place.name(), "install").await;
    let theirs = |command: &str, arguments: &[&str]| {
        place.ado_as(Some(person.clone()), &[&[command, "-n", place.name()], arguments].concat())
    };
    let _kubelet = place.kubelet();
    let _orchestrator = place.orchestrator();
    let said = place.install_as(&person, &[]).ends(0);
    assert!(!said.err.contains("forbidden"), "{said:?}");
    theirs("upgrade", &["--max-agents", "3"]).ends(0);
    let said = theirs("uninstall", &["-y"]).ends(0);
    assert!(!said.err.contains("forbidden"), "{said:?}");
    assert!(!place.all().contains_key("Deployment/kubectl-ado"));
}
