//! What is watched, against the real API server and under the Role of `manifests/`: watches that are cut, refused and
//! late, what keeps an agent from starting, and stopping one.

use std::time::Duration;

use control_plane::pods;
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::api::ListParams;
use kubectl_ado::{
    azure::OrganizationToken,
    cluster::{Access, connect},
    config::{Config, HostConfig},
    core::{Progress, Purpose, RequestId, Run, RunPhase, StartRun, StopReason, StopRun, TroubleKind},
    hosts::{
        AgentHost, Started,
        kubernetes::{KubernetesHost, prepare},
    },
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    way::{Way, way},
    world::{PATIENCE, World},
};

/// The host itself, with the rights of the orchestrator's account.
async fn host(world: &World) -> KubernetesHost {
    let environment = [
        ("ORG_URL", world.sandbox.url()),
        ("ORG_PAT", world.sandbox.token().to_owned()),
        ("AGENT_POOLS", "Default".to_owned()),
        ("HOST_TYPE", "kubernetes".to_owned()),
        ("JOB_NAMESPACE", world.namespace.name().to_owned()),
        ("JOB_IMAGE", "registry.example/agent:1".to_owned()),
    ];
    let variables = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let config = Config::load(&variables, None).unwrap();
    let HostConfig::Kubernetes(settings) = &config.host else { panic!("another host") };
    let access = Access { kubeconfig: Some(world.kubeconfig.clone()), ..Access::default() };
    let client = connect(&access).await.unwrap();
    let installation = prepare(&client, settings, None).await.unwrap();
    KubernetesHost::new(client, &config, settings, installation, OrganizationToken::of(&config).unwrap()).unwrap()
}

fn start(request: i64) -> StartRun {
    StartRun {
        name: format!("agent-{request}"),
        pool: "Default".into(),
        template: "default".into(),
        purpose: Purpose::Request(RequestId(request)),
        attempt: 1,
        revision: String::new(),
        recipe: kubectl_ado::core::Recipe::default(),
    }
}

/// Waits until the runs are as wanted, waking only when the host says that something changed.
async fn until(host: &KubernetesHost, what: &str, wanted: impl Fn(&[Run]) -> bool) -> Vec<Run> {
    let reached = async {
        loop {
            let runs = host.runs().await.unwrap();
            if wanted(&runs) {
                return runs;
            }
            host.changed().await;
        }
    };
    timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

async fn pod_of(world: &World, job: &str) -> String {
    for _ in 0..200 {
        let pods = world.all::<Pod>().list(&ListParams::default().labels(&format!("job-name={job}"))).await.unwrap();
        if let Some(name) = pods.items.into_iter().find_map(|pod| pod.metadata.name) {
            return name;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{job} has no pod");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_told_from_its_creation_to_its_end_without_listing_again() {
    let world = World::new("life").await;
    let (host, namespace) = (host(&world).await, world.namespace.name());
    assert!(host.runs().await.unwrap().is_empty());
    for request in 1..=3 {
        assert_eq!(host.start(&start(request)).await.unwrap(), Started::Created);
        assert_eq!(host.runs().await.unwrap().len() as i64, request, "each counts at once");
        assert_eq!(host.start(&start(request)).await.unwrap(), Started::AlreadyThere);
    }
    let run = |runs: &[Run], request: i64| runs.iter().find(|run| run.name == start(request).name).cloned().unwrap();

    let pod = pod_of(&world, "agent-1").await;
    pods::set_pod_running(&world.client, namespace, &pod).await.unwrap();
    until(&host, "it runs", |runs| run(runs, 1).progress == Progress::Running).await;
    pods::set_pod_failed(&world.client, namespace, &pod, 137, "OOMKilled").await.unwrap();
    let runs = until(&host, "it failed", |runs| !run(runs, 1).is_live()).await;
    let RunPhase::Failed(_, reason) = run(&runs, 1).phase else { panic!("{runs:?}") };
    assert_eq!(reason, "OOMKilled: it used more memory than its limit (BackoffLimitExceeded)");

    let image = "registry.example/agent:1";
    pods::set_image_pull_error(&world.client, namespace, &pod_of(&world, "agent-2").await, image).await.unwrap();
    let message = "0/1 nodes are available: 1 Insufficient cpu.";
    pods::set_pod_unschedulable(&world.client, namespace, &pod_of(&world, "agent-3").await, message).await.unwrap();
    let has = |runs: &[Run], request| run(runs, request).trouble.is_some();
    let runs = until(&host, "both are in trouble", |runs| has(runs, 2) && has(runs, 3)).await;
    let (image, node) = (run(&runs, 2), run(&runs, 3));
    assert_eq!((image.progress, image.trouble.as_ref().unwrap().kind), (Progress::Placed, TroubleKind::Image));
    assert_eq!((node.progress, node.trouble.as_ref().unwrap().kind), (Progress::Pending, TroubleKind::Unschedulable));
    assert_eq!(node.trouble.unwrap().message, format!("Unschedulable: {message}"));

    let us = format!("system:serviceaccount:{namespace}:kubectl-ado");
    let lists = world.plane.audit_events().into_iter().filter(|event| event.user == us && event.verb == "list");
    let mut lists: Vec<_> = lists.map(|event| event.resource).filter(|resource| resource != "events").collect();
    lists.sort();
    assert_eq!(lists, ["jobs", "pods"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_a_quota_or_pod_security_refuses_are_told_within_seconds() {
    let world = World::new("refused").await;
    let namespace = world.namespace.name();
    let quota = |pods: u32| json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "pods"}, "spec": {"hard": {"pods": pods.to_string()}}});
    world.plane.apply(namespace, &quota(1).to_string()).unwrap();
    let host = host(&world).await;
    host.runs().await.unwrap();
    for request in 1..=2 {
        host.start(&start(request)).await.unwrap();
    }
    let began = std::time::Instant::now();
    let runs = until(&host, "a quota is told", |runs| runs.iter().any(|run| run.trouble.is_some())).await;
    let trouble = runs.iter().find_map(|run| run.trouble.clone()).unwrap();
    assert_eq!(trouble.kind, TroubleKind::Quota, "{trouble:?}");
    assert!(trouble.message.contains("exceeded quota: pods"), "{trouble:?}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    world.plane.apply(namespace, &quota(10).to_string()).unwrap();
    until(&host, "it is over when the pod is there", |runs| runs.iter().all(|run| run.trouble.is_none())).await;

    let level = "pod-security.kubernetes.io/enforce=restricted";
    world.plane.kubectl(&["label", "namespace", namespace, level]).unwrap();
    host.start(&start(3)).await.unwrap();
    let runs = until(&host, "Pod Security is told", |runs| runs.iter().any(|run| run.trouble.is_some())).await;
    let trouble = runs.iter().find_map(|run| run.trouble.clone()).unwrap();
    assert_eq!(trouble.kind, TroubleKind::Refused, "{trouble:?}");
    assert!(trouble.message.contains("violates PodSecurity"), "{trouble:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_takes_its_pod_along_and_never_a_namesake() {
    let world = World::new("stop").await;
    let host = host(&world).await;
    host.runs().await.unwrap();
    let stop = |request: i64| StopRun {
        name: start(request).name,
        pool: "Default".into(),
        reason: StopReason::TakenBack,
        agent: None,
    };
    for request in 1..=2 {
        host.start(&start(request)).await.unwrap();
        pod_of(&world, &start(request).name).await;
    }
    let seen = || async {
        let pending = host.stop(&stop(1)).await.is_err();
        if pending {
            host.changed().await;
        }
        !pending
    };
    while !seen().await {}
    assert_eq!(host.runs().await.unwrap().len(), 1);
    for _ in 0..200 {
        let pods = world.all::<Pod>().list(&ListParams::default()).await.unwrap().items;
        if pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).count() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let jobs = world.jobs().await;
    assert_eq!(jobs.iter().map(|job| job.metadata.name.clone().unwrap()).collect::<Vec<_>>(), ["agent-2"]);
    host.stop(&stop(1)).await.expect("again is as good");
    assert_eq!(host.start(&start(1)).await.unwrap(), Started::Created, "its name is free");
    assert_eq!(host.runs().await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_watch_nothing_is_made_and_the_role_is_named() {
    let world = World::new("no-watch").await;
    let pool = world.pool("Default");
    let verbs = |verbs: &Value| {
        let patch = json!([{"op": "replace", "path": "/rules/0/verbs", "value": verbs}]).to_string();
        let namespace = world.namespace.name();
        world.plane.kubectl(&["patch", "role", "kubectl-ado", "-n", namespace, "--type=json", "-p", &patch]).unwrap()
    };
    verbs(&json!(["get", "list", "create", "patch", "delete"]));
    world.queue(pool, 2);
    let serve = world.serve("Default").start();
    serve.says("cannot watch the Jobs").await;
    serve.says("manifests/role.yaml").await;
    assert_eq!(world.jobs().await.len(), 0);
    verbs(&json!(["get", "list", "watch", "create", "patch", "delete"]));
    world.jobs_stay(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_that_are_cut_again_and_again_make_nothing_twice() {
    let world = World::new("cut").await;
    let pool = world.pool("Default");
    let (way, kubeconfig) = way(&world).await;
    let _serve = world.serve("Default").set("KUBECONFIG", kubeconfig.display().to_string()).start();
    let mut queued = 0;
    for _ in 0..5 {
        world.queue(pool, 4);
        queued += 4;
        world.until_at_least(queued - 2).await;
        way.send_replace(Way::Cut);
        tokio::time::sleep(Duration::from_millis(300)).await;
        way.send_replace(Way::Open);
    }
    world.jobs_stay(queued).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_falls_silent_is_told_and_nothing_is_decided_until_it_is_back() {
    let world = World::new("silent").await;
    let pool = world.pool("Default");
    let (way, kubeconfig) = way(&world).await;
    let serve = world.serve("Default").set("KUBECONFIG", kubeconfig.display().to_string()).start();
    world.queue(pool, 2);
    let before: Vec<Job> = world.jobs_stay(2).await;
    way.send_replace(Way::Silent);
    // Its term as the leader ends before its view could be too old.
    serve.says("not acting any more").await;
    world.queue(pool, 2);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.jobs().await.len(), 2);
    way.send_replace(Way::Open);
    let after = world.jobs_stay(4).await;
    assert!(before.iter().all(|job| after.iter().any(|other| other.metadata.uid == job.metadata.uid)));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it takes a minute; the benchmarks show the same"]
async fn a_thousand_agents_fit_into_forty_mebibytes() {
    let world = World::new("thousand").await;
    let pool = world.pool("Default");
    let serve = world.serve("Default").set("POLLING_DELAY", "1000").start();
    world.queue(pool, 1000);
    let before = serve.memory();
    world.until_at_least(1000).await;
    let mut most = 0;
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        most = most.max(serve.memory());
    }
    // The next one begins with a list of all of them.
    serve.kill();
    let serve = world.serve("Default").set("POLLING_DELAY", "1000").start();
    tokio::time::sleep(Duration::from_secs(15)).await;
    let listed = serve.memory();
    println!("MiB: {before} before, {most} with 1,000 agents, {listed} after a restart");
    assert!(most < 40 && listed < 40, "{most} and {listed} MiB");
}
