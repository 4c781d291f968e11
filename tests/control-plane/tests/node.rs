//! The node runs pods for real, and the controllers believe it.

#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

use std::time::{Duration, Instant};

use control_plane::{Behaviour, ControlPlane, Node, pods};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

/// Asks until there is an answer, for half a minute.
async fn eventually<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "not within 30 s: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn job(name: &str, container: &Value) -> String {
    let mut container = container.clone();
    container["name"] = json!("agent");
    container["image"] = json!("registry.example/agent:1");
    let pod = json!({ "restartPolicy": "Never", "containers": [container], "terminationGracePeriodSeconds": 20,
        "volumes": [
            { "name": "token", "secret": { "secretName": "agent", "optional": true } },
            { "name": "work", "emptyDir": {} },
        ] });
    json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": name },
        "spec": { "backoffLimit": 0, "template": { "spec": pod } } })
    .to_string()
}

fn shell(script: &str) -> Value {
    json!({ "command": ["/bin/sh", "-c", script] })
}

fn run(entrypoint: &str) -> Behaviour {
    Behaviour::Run { entrypoint: vec![entrypoint.to_owned()] }
}

async fn condition(client: &Client, namespace: &str, name: &str, wanted: &str) {
    let jobs: Api<Job> = Api::namespaced(client.clone(), namespace);
    let reached = async || {
        let status = jobs.get(name).await.unwrap().status?;
        status.conditions?.into_iter().find(|condition| condition.type_ == wanted && condition.status == "True")
    };
    eventually(&format!("job {name} is {wanted}"), reached).await;
}

async fn pod_of(client: &Client, namespace: &str, job: &str) -> String {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let selector = ListParams::default().labels(&format!("job-name={job}"));
    eventually("the pod of the job", async || Some(pods.list(&selector).await.unwrap().items.first()?.name_any())).await
}

async fn phase(client: &Client, namespace: &str, pod: &str, wanted: &str) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let reached = async || (pods.get(pod).await.unwrap().status?.phase? == wanted).then_some(());
    eventually(&format!("pod {pod} is {wanted}"), reached).await;
}

#[tokio::test]
async fn a_job_completes_for_real_and_its_time_to_live_removes_it() {
    let plane = ControlPlane::shared();
    let (namespace, client) = (plane.namespace("completes").await, plane.client().await);
    let _node = Node::start(plane, namespace.name(), run("true"));
    plane.apply(namespace.name(), &job("quick", &json!({}))).unwrap();
    condition(&client, namespace.name(), "quick", "Complete").await;

    let patch = r#"{"spec": {"ttlSecondsAfterFinished": 1}}"#;
    plane.kubectl(&["patch", "job", "quick", "-n", namespace.name(), "-p", patch]).unwrap();
    let (jobs, pods): (Api<Job>, Api<Pod>) =
        (Api::namespaced(client.clone(), namespace.name()), Api::namespaced(client.clone(), namespace.name()));
    let no_job = async || jobs.get_opt("quick").await.unwrap().is_none().then_some(());
    eventually("the job is gone", no_job).await;
    let no_pods = async || pods.list(&ListParams::default()).await.unwrap().items.is_empty().then_some(());
    eventually("its pod is gone", no_pods).await;
}

#[tokio::test]
async fn a_process_that_fails_makes_the_job_fail_with_its_exit_code() {
    let plane = ControlPlane::shared();
    let (namespace, client) = (plane.namespace("fails").await, plane.client().await);
    let _node = Node::start(plane, namespace.name(), run("true"));
    plane.apply(namespace.name(), &job("three", &shell("exit 3"))).unwrap();
    plane.apply(namespace.name(), &job("absent", &json!({ "command": ["/no/such/program"] }))).unwrap();
    for (name, code) in [("three", "3"), ("absent", "128")] {
        condition(&client, namespace.name(), name, "Failed").await;
        let path = "jsonpath={.items[0].status.containerStatuses[0].state.terminated.exitCode}";
        let selector = format!("job-name={name}");
        let said = plane.kubectl(&["get", "pods", "-l", &selector, "-n", namespace.name(), "-o", path]).unwrap();
        assert_eq!(said, code);
    }
}

#[tokio::test]
async fn a_process_has_the_environment_and_the_files_of_its_container_and_no_others() {
    let plane = ControlPlane::shared();
    let (namespace, client) = (plane.namespace("files").await, plane.client().await);
    let node = Node::start(plane, namespace.name(), run("true"));
    let container = json!({
        "command": ["/bin/sh", "-c", "cat $TOKEN_FILE; echo; cat /run/secrets/agent/token >/work/copy; cat /work/copy; echo; exec env"],
        "env": [
            { "name": "TOKEN_FILE", "value": "/run/secrets/agent/token" },
            { "name": "POD", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
            { "name": "AGENT", "value": "agent of $(POD)" },
            { "name": "TOKEN", "valueFrom": { "secretKeyRef": { "name": "late", "key": "token" } } },
            { "name": "NONE", "valueFrom": { "configMapKeyRef": { "name": "none", "key": "x", "optional": true } } },
        ],
        "volumeMounts": [
            { "name": "token", "mountPath": "/run/secrets/agent", "readOnly": true },
            { "name": "work", "mountPath": "/work" },
        ],
    });
    let namespace = namespace.name();
    plane.kubectl(&["create", "secret", "generic", "agent", "--from-literal=token=geheim", "-n", namespace]).unwrap();
    plane.apply(namespace, &job("reads", &container)).unwrap();

    let pod = pod_of(&client, namespace, "reads").await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let waits = async || {
        let status = pods.get(&pod).await.unwrap().status?.container_statuses?.pop()?;
        status.state?.waiting
    };
    let waiting = eventually("the container waits for its Secret", waits).await;
    assert_eq!(waiting.reason.unwrap(), "CreateContainerConfigError");
    assert_eq!(waiting.message.unwrap(), "secret \"late\" not found");

    plane.kubectl(&["create", "secret", "generic", "late", "--from-literal=token=spät", "-n", namespace]).unwrap();
    condition(&client, namespace, "reads", "Complete").await;
    let log = node.log(&pod);
    let (files, environment) = log.split_once("geheim\ngeheim\n").unwrap();
    assert_eq!(files, "");
    let names = environment.lines().filter_map(|line| line.split('=').next());
    let mut names: Vec<&str> = names.filter(|name| !matches!(*name, "PWD" | "SHLVL" | "_" | "OLDPWD")).collect();
    names.sort_unstable();
    assert_eq!(names, ["AGENT", "PATH", "POD", "TOKEN", "TOKEN_FILE"]);
    assert!(environment.contains(&format!("AGENT=agent of {pod}\n")), "{environment}");
    assert!(environment.contains("TOKEN=spät\n"), "{environment}");
}

#[tokio::test]
async fn deleting_a_pod_asks_its_process_to_stop_and_lets_the_pod_go() {
    let plane = ControlPlane::shared();
    let (namespace, client) = (plane.namespace("stops").await, plane.client().await);
    let node = Node::start(plane, namespace.name(), run("true"));
    let script = "trap 'echo asked; exit 0' TERM; echo up; while :; do sleep 0.05; done";
    plane.apply(namespace.name(), &job("long", &shell(script))).unwrap();
    let pod = pod_of(&client, namespace.name(), "long").await;
    phase(&client, namespace.name(), &pod, "Running").await;
    eventually("the process is up", async || node.log(&pod).contains("up").then_some(())).await;

    let begun = Instant::now();
    let jobs: Api<Job> = Api::namespaced(client.clone(), namespace.name());
    jobs.delete("long", &DeleteParams::background()).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace.name());
    let gone = async || pods.get_opt(&pod).await.unwrap().is_none().then_some(());
    eventually("the pod is gone", gone).await;
    assert_eq!(node.log(&pod), "up\nasked\n");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_process_that_will_not_stop_is_killed_after_its_grace_period_with_all_it_started() {
    let plane = ControlPlane::shared();
    let (namespace, client) = (plane.namespace("killed").await, plane.client().await);
    let node = Node::start(plane, namespace.name(), run("true"));
    let script = "trap '' TERM; sleep 1000 & echo $!; while :; do sleep 0.05; done";
    plane.apply(namespace.name(), &job("stubborn", &shell(script))).unwrap();
    let pod = pod_of(&client, namespace.name(), "stubborn").await;
    let child = eventually("the process is up", async || node.log(&pod).trim().parse::<u32>().ok()).await;

    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace.name());
    let begun = Instant::now();
    pods.delete(&pod, &DeleteParams::default().grace_period(1)).await.unwrap();
    eventually("the pod is gone", async || pods.get_opt(&pod).await.unwrap().is_none().then_some(())).await;
    assert!(begun.elapsed() > Duration::from_millis(900), "{:?}", begun.elapsed());
    let state = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z"), "still there: {state}");
    condition(&client, namespace.name(), "stubborn", "Failed").await;
}

#[tokio::test]
async fn pods_can_be_put_into_each_state_by_hand() {
    let plane = ControlPlane::shared();
    let (namespace, client) = (plane.namespace("hand").await, plane.client().await);
    let namespace = namespace.name();
    let node = Node::start(plane, namespace, Behaviour::Idle);
    for name in ["good", "bad", "evicted", "stuck", "deleted"] {
        plane.apply(namespace, &job(name, &json!({}))).unwrap();
    }
    let pod = async |job| pod_of(&client, namespace, job).await;
    let good = pod("good").await;
    phase(&client, namespace, &good, "Pending").await;
    pods::set_pod_running(&client, namespace, &good).await.unwrap();
    phase(&client, namespace, &good, "Running").await;
    pods::set_pod_succeeded(&client, namespace, &good).await.unwrap();
    condition(&client, namespace, "good", "Complete").await;

    pods::set_pod_failed(&client, namespace, &pod("bad").await, 137, "OOMKilled").await.unwrap();
    condition(&client, namespace, "bad", "Failed").await;
    pods::evict(&client, namespace, &pod("evicted").await).await.unwrap();
    condition(&client, namespace, "evicted", "Failed").await;

    let stuck = pod("stuck").await;
    pods::set_pod_unschedulable(&client, namespace, &stuck, "0/1 nodes are available").await.unwrap();
    pods::set_image_pull_error(&client, namespace, &stuck, "registry.example/agent:1").await.unwrap();
    let said = plane.kubectl(&["get", "pod", &stuck, "-n", namespace, "--no-headers"]).unwrap();
    assert!(said.contains("ImagePullBackOff"), "{said}");

    let deleted = pod("deleted").await;
    pods::set_pod_running(&client, namespace, &deleted).await.unwrap();
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    plane.kubectl(&["delete", "job", "deleted", "-n", namespace]).unwrap();
    eventually("an idle node lets go too", async || api.get_opt(&deleted).await.unwrap().is_none().then_some(())).await;

    drop(node);
    pods::set_pod_running(&client, namespace, &stuck).await.unwrap();
    plane.kubectl(&["delete", "job", "stuck", "-n", namespace, "--wait=false"]).unwrap();
    let terminating = async || api.get(&stuck).await.unwrap().metadata.deletion_timestamp.map(drop);
    eventually("the pod waits for a kubelet", terminating).await;
    pods::finish_deletions(&client, namespace).await.unwrap();
    eventually("the pod is gone", async || api.get_opt(&stuck).await.unwrap().is_none().then_some(())).await;
}
