//! `uninstall`: nothing of ours stays, nobody's work is lost by chance, and what could not be done is said.

use std::collections::BTreeMap;

use crate::{
    place::{PLAYED, Place},
    world::eventually,
};

/// A Job as the orchestrator makes it, with its pod.
pub(crate) fn job(place: &Place, name: &str) {
    let uid = place.plane.kubectl(&["get", "namespace", place.name(), "-o", "jsonpath={.metadata.uid}"]).unwrap();
    let id = kubectl_ado::core::Installation::of_namespace(&uid).id().to_owned();
    let labels = serde_json::json!({"app.kubernetes.io/managed-by": "kubectl-ado", "kubectl-ado/installation": id});
    let pod = serde_json::json!({"restartPolicy": "Never", "containers": [{"name": "agent", "image": "x"}]});
    let job = serde_json::json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "labels": labels},
        "spec": {"template": {"spec": pod}},
    });
    place.plane.apply(place.name(), &job.to_string()).unwrap();
    let secret = serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "agents-token", "labels": labels}, "immutable": true,
    });
    place.plane.apply(place.name(), &secret.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_s_admin_uninstalls_and_nothing_of_ours_is_left() {
    let place = Place::new("uninstall").await;
    let person = place.person(Some("admin")).await;
    let _kubelet = place.kubelet();
    let orchestrator = place.orchestrator();
    place.install_as(&person, &[]).ends(0);
    job(&place, "idle-agent");

    let ado = |arguments: &[&str]| {
        place.ado_as(Some(person.clone()), &[&["uninstall", "-n", place.name()], arguments].concat())
    };
    ado(&[]).ends(2).tells(&["fix: -y"]);
    let before = place.all();
    let said = ado(&["--dry-run=server"]).ends(0).tells(&["agent kubectl-ado-placeholder of the agent pool \"Linux\""]);
    assert!(said.out.contains("deployment.apps/kubectl-ado deleted (server dry run)"), "{said:?}");
    assert!(before.keys().all(|name| place.all().contains_key(name)));

    let said = ado(&["-y"]).ends(0);
    assert!(said.out.starts_with("deployment.apps/kubectl-ado deleted\n"), "{said:?}");
    // The played orchestrator does not stop with its pod, and writes its status anew.
    orchestrator.stop().await;
    let status = format!("{PLAYED}-status");
    place.plane.kubectl(&["delete", "configmap", &status, "-n", place.name(), "--ignore-not-found"]).unwrap();
    let mut left = place.all();
    left.retain(|name, _| !name.starts_with("Pod/"));
    assert_eq!(left, BTreeMap::new());
    ado(&["-y"]).ends(1).tells(&["ADO501"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_at_work_are_waited_for_or_ended_as_it_is_asked() {
    let place = Place::new("busy").await;
    let _kubelet = place.kubelet();
    let orchestrator = place.orchestrator();
    place.install(&[]).ends(0);
    *orchestrator.busy.lock().unwrap() = 1;
    job(&place, "agent-job-1");
    eventually("the agent is reported", || {
        place.get(&format!("configmap/{PLAYED}-status"))["data"]["status.json"]
            .as_str()
            .unwrap()
            .contains("agent-job-1")
    })
    .await;
    let ado = |arguments: &[&str]| place.ado(&[&["uninstall", "-n", place.name(), "-y"], arguments].concat());
    ado(&[]).ends(1).tells(&["1 agents are at work", "fix: --drain"]);
    ado(&["--drain", "--timeout", "2s"]).ends(4).tells(&["still at work after 2 s; nothing was deleted", "fix: "]);
    let control = place.get("configmap/kubectl-ado-control")["data"]["control.json"].clone();
    assert_eq!(control, "{}", "the wish to retire is taken back");
    assert!(place.all().contains_key("Job/agent-job-1"));

    let said = ado(&["--force", "--timeout", "2s"]).ends(1);
    let said = said
        .tells(&["the agent agent-job-1 stays registered in the agent pool \"Linux\"", "fix: Organization settings"]);
    assert!(said.out.contains("job.batch/agent-job-1 deleted"), "{said:?}");
    let left = place.all();
    assert!(!left.contains_key("Deployment/kubectl-ado") && !left.contains_key("Job/agent-job-1"), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_when_the_last_agent_does() {
    let place = Place::new("drain").await;
    let _kubelet = place.kubelet();
    let orchestrator = place.orchestrator();
    place.install(&[]).ends(0);
    *orchestrator.busy.lock().unwrap() = 1;
    let busy = std::sync::Arc::clone(&orchestrator.busy);
    let (client, namespace) = (place.client.clone(), place.name().to_owned());
    let work = tokio::spawn(async move {
        let maps: kube::Api<k8s_openapi::api::core::v1::ConfigMap> = kube::Api::namespaced(client, &namespace);
        while maps.get_opt("kubectl-ado-control").await.unwrap().is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        *busy.lock().unwrap() = 0;
    });
    place.ado(&["uninstall", "-n", place.name(), "-y", "--drain"]).ends(0);
    work.await.unwrap();
    assert!(!place.all().contains_key("Deployment/kubectl-ado"));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_orchestrator_is_dead_it_says_what_it_could_not_do() {
    let place = Place::new("dead").await;
    place.install(&["--wait=false"]).ends(0);
    let said = place.ado(&["uninstall", "-n", place.name(), "-y"]).ends(1);
    said.tells(&["may still be registered in Azure DevOps", "fix: Organization settings > Agent pools"]);
    let mut left = place.all();
    left.retain(|name, _| !name.starts_with("Pod/"));
    assert_eq!(left, BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_real_orchestrator_made_goes_too() {
    let place = Place::new("leavings").await;
    let _node = place.real_node();
    place.install(&["--wait=false", "--job-image", "registry.example/agent:1"]).ends(0);
    place.hand_over_account().await;
    let pool = place.sandbox.see(|state| state.pools().next().unwrap().id);
    let job = kubectl_ado::sandbox::JobSpec::new("pipeline", "job").step("work", "true");
    let request = place.sandbox.queue(pool, job).unwrap();
    eventually("the job request is served", || place.sandbox.request(request).unwrap().finished_at.is_some()).await;
    let before = place.all();
    for kind in ["Lease/", "Job/"] {
        assert!(before.keys().any(|name| name.starts_with(kind)), "{before:?}");
    }

    let said = place.ado(&["uninstall", "-n", place.name(), "-y", "--force", "--timeout", "20s"]);
    eventually("nothing is left", || place.all().is_empty()).await;
    assert!(said.out.contains("lease.coordination.k8s.io/kubectl-ado-"), "{said:?}");
}
