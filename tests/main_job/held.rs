//! Just-in-time Jobs against a real API server, Job controller and garbage collector, under the Role of `manifests/`: held
//! when they are made, claimed by one of several, resumed when their Secret is there, gone together with it.

use std::time::Duration;

use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Pod, Secret},
    policy::v1::PodDisruptionBudget,
};
use kube::api::{DeleteParams, EvictParams, ListParams, Patch, PatchParams};
use kubectl_ado::{
    azure::OrganizationToken,
    config::{Config, HostConfig},
    core::{EquipRun, Purpose, Recipe, RequestId, Run, StartRun},
    hosts::{
        AgentFiles, AgentHost, HostError, Started,
        kubernetes::{KubernetesHost, prepare},
    },
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::world::{PATIENCE, World, assert_holds_no_token, project_file};

const TOKEN: &str = "a-token-of-the-organization-0123456789";

/// A process that may do what the Role says.
async fn host(world: &World, identity: &str, template: Option<&str>) -> KubernetesHost {
    let file = world.folder.path().join("job.yaml");
    let mut environment = vec![
        ("ORG_URL", "https://dev.azure.com/contoso"),
        ("ORG_PAT", TOKEN),
        ("AGENT_POOLS", "Default"),
        ("HOST_TYPE", "kubernetes"),
        ("JOB_IMAGE", "registry.example/agent:1"),
        ("JOB_NAMESPACE", world.namespace.name()),
    ];
    if let Some(template) = template {
        std::fs::write(&file, template).unwrap();
        environment.push(("JOB_DEFINITION_FILE", file.to_str().unwrap()));
    }
    let config = Config::load(&environment.into_iter().collect(), None).unwrap();
    let HostConfig::Kubernetes(settings) = &config.host else { panic!("another host") };
    let client = world.plane.client_of(&world.kubeconfig).await;
    let installation = prepare(&client, settings, None).await.unwrap();
    let host = KubernetesHost::new(client, &config, settings, installation, OrganizationToken::of(&config).unwrap())
        .unwrap()
        .known_as(identity);
    host.runs().await.unwrap();
    host
}

fn start(request: i64) -> StartRun {
    StartRun {
        name: format!("agent-job-{request}"),
        pool: "Default".into(),
        template: "default".into(),
        purpose: Purpose::Request(RequestId(request)),
        attempt: 1,
        revision: "r".into(),
        recipe: Recipe::JustInTime,
    }
}

fn files(key: &str) -> AgentFiles {
    AgentFiles::from([(".agent", "{\"agentId\":1}".into()), (".credentials_rsaparams", key.into())])
}

fn seen(run: &Run) -> EquipRun {
    let Run { name, pool, template, held, .. } = run.clone();
    EquipRun { name, pool, template, held: held.unwrap() }
}

/// Waits until a host sees its one run so.
async fn until(host: &KubernetesHost, what: &str, is_so: impl Fn(&Run) -> bool) -> Run {
    let looked = async {
        loop {
            let runs = host.runs().await.unwrap();
            if let Some(run) = runs.into_iter().find(&is_so) {
                return run;
            }
            host.changed().await;
        }
    };
    timeout(PATIENCE, looked).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

async fn job(world: &World, name: &str) -> Value {
    serde_json::to_value(world.all::<Job>().get(name).await.unwrap()).unwrap()
}

async fn pods(world: &World) -> Vec<Pod> {
    world.all::<Pod>().list(&ListParams::default()).await.unwrap().items
}

async fn pod(world: &World) -> Pod {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        if let Some(pod) = pods(world).await.pop() {
            return pod;
        }
        assert!(std::time::Instant::now() < deadline, "the Job has no pod");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn key_of(world: &World, name: &str) -> String {
    let secret: Secret = world.all().get(name).await.unwrap();
    assert_eq!(secret.immutable, Some(true));
    let data = secret.data.unwrap();
    String::from_utf8(data[".credentials_rsaparams"].0.clone()).unwrap()
}

/// What of Secrets the Role's account was granted by now.
fn rights_used_on_secrets(world: &World) -> Vec<String> {
    let us = format!("system:serviceaccount:{}:kubectl-ado", world.namespace.name());
    let events = world.plane.audit_events().into_iter().filter(|event| event.user == us && event.resource == "secrets");
    let mut verbs: Vec<String> = events
        .map(|event| {
            assert_ne!(event.code, 403, "{event:?}");
            event.verb
        })
        .collect();
    verbs.sort_unstable();
    verbs.dedup();
    verbs
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_job_has_no_pod_until_its_secret_is_there_and_the_secret_goes_with_it() {
    let world = World::new("held").await;
    let host = host(&world, "me", None).await;
    assert_eq!(host.start(&start(1)).await, Ok(Started::Created));
    let made = job(&world, "agent-job-1").await;
    assert_eq!(made["spec"]["suspend"], true);
    assert!(made["metadata"]["annotations"]["kubectl-ado/held"].as_str().unwrap().starts_with("me "));
    assert_eq!(host.start(&start(1)).await, Ok(Started::AlreadyThere), "it is somebody's already");
    // The Job controller writes its status, which must be no conflict.
    until(&host, "the Job is seen", |run| run.held.is_some()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(pods(&world).await.is_empty());

    host.equip("agent-job-1", &files("the key")).await.unwrap();
    assert_eq!(key_of(&world, "agent-job-1").await, "the key");
    let ready = job(&world, "agent-job-1").await;
    assert_eq!(ready["spec"]["suspend"], false);
    assert!(ready["metadata"]["annotations"].get("kubectl-ado/held").is_none());
    let pod = serde_json::to_value(pod(&world).await).unwrap();
    assert_eq!(pod["spec"]["volumes"][0]["secret"]["secretName"], "agent-job-1");
    assert_eq!(pod["spec"]["automountServiceAccountToken"], false);
    assert_eq!(pod["spec"]["volumes"].as_array().unwrap().len(), 1, "nothing else is mounted");
    assert_holds_no_token(&world.all_that_can_be_read().await, TOKEN, "an object of the namespace");
    let secrets = world.all::<Secret>().list(&ListParams::default()).await.unwrap().items;
    assert_eq!(secrets.len(), 1, "there is no Secret with the token");

    let run = until(&host, "it is ready", |run| run.held.is_none()).await;
    let stop = kubectl_ado::core::StopRun {
        name: run.name,
        pool: run.pool,
        reason: kubectl_ado::core::StopReason::TakenBack,
        agent: None,
    };
    host.stop(&stop).await.unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    while world.all::<Secret>().get_opt("agent-job-1").await.unwrap().is_some() {
        assert!(std::time::Instant::now() < deadline, "the garbage collector leaves the Secret");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(rights_used_on_secrets(&world), ["create"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_claim_a_job_one_succeeds_and_the_former_owner_does_not_resume_it() {
    let world = World::new("claimed").await;
    let (dead, one, other) =
        (host(&world, "dead", None).await, host(&world, "one", None).await, host(&world, "other", None).await);
    assert_eq!(dead.start(&start(1)).await, Ok(Started::Created));
    let runs =
        [until(&one, "held", |run| run.held.is_some()).await, until(&other, "held", |run| run.held.is_some()).await];
    let claims = [seen(&runs[0]), seen(&runs[1])];
    let (first, second) = tokio::join!(one.claim(&claims[0]), other.claim(&claims[1]));
    let (winner, loser) = match (&first, &second) {
        (Ok(()), Err(error)) => (&one, error),
        (Err(error), Ok(())) => (&other, error),
        both => panic!("{both:?}"),
    };
    assert!(matches!(loser, HostError::Unavailable(why) if why.contains("was claimed by another")), "{loser}");

    // The dead one was but slow. Its Secret comes first, and is replaced.
    let error = dead.equip("agent-job-1", &files("a former key")).await.unwrap_err();
    assert!(matches!(&error, HostError::Unavailable(why) if why.contains("was claimed by another")), "{error}");
    assert_eq!(job(&world, "agent-job-1").await["spec"]["suspend"], true);
    winner.equip("agent-job-1", &files("the key")).await.unwrap();
    assert_eq!(key_of(&world, "agent-job-1").await, "the key");
    assert_eq!(job(&world, "agent-job-1").await["spec"]["suspend"], false);

    // The answer to the resume was lost: to do it once more is a success, and changes nothing.
    let version = |job: &Value| job["spec"].clone();
    let before = version(&job(&world, "agent-job-1").await);
    winner.equip("agent-job-1", &files("another key")).await.unwrap();
    assert_eq!(key_of(&world, "agent-job-1").await, "the key");
    assert_eq!(version(&job(&world, "agent-job-1").await), before);
    assert_eq!(rights_used_on_secrets(&world), ["create", "delete"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_held_up_does_not_replace_the_secret_of_a_job_that_another_has_made_ready() {
    let world = World::new("held-up").await;
    let (slow, elected) = (host(&world, "slow", None).await, host(&world, "elected", None).await);
    assert_eq!(slow.start(&start(1)).await, Ok(Started::Created));
    let run = until(&elected, "held", |run| run.held.is_some()).await;
    elected.claim(&seen(&run)).await.unwrap();
    elected.equip("agent-job-1", &files("the key")).await.unwrap();
    slow.equip("agent-job-1", &files("a former key")).await.expect("it is ready, whoever did it");
    assert_eq!(key_of(&world, "agent-job-1").await, "the key");
    // It has tried whether it could be deleted, which tells its uid.
    assert_eq!(rights_used_on_secrets(&world), ["create", "delete"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_of_our_own_is_claimed_again_and_a_job_that_is_gone_is_not_made_ready() {
    let world = World::new("again").await;
    let host = host(&world, "me", None).await;
    host.start(&start(1)).await.unwrap();
    let run = until(&host, "held", |run| run.held.is_some()).await;
    host.claim(&seen(&run)).await.unwrap();
    let stale = host.claim(&seen(&run)).await.unwrap_err();
    assert_eq!(stale.reason(), "unavailable", "it has another mark by now");
    let renewed = until(&host, "renewed", |now| now.held.is_some() && now.held != run.held).await;
    host.claim(&seen(&renewed)).await.unwrap();

    world.all::<Job>().delete("agent-job-1", &DeleteParams::background()).await.unwrap();
    let error = host.equip("agent-job-1", &files("the key")).await.unwrap_err();
    assert_eq!(error, HostError::Unavailable("the Job \"agent-job-1\" is gone".into()));
    let deadline = std::time::Instant::now() + PATIENCE;
    while world.all::<Secret>().get_opt("agent-job-1").await.unwrap().is_some() {
        assert!(std::time::Instant::now() < deadline, "the garbage collector leaves the Secret without an owner");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_kueue_or_its_template_suspends_is_left_to_them() {
    let world = World::new("kueue").await;
    let spec = "spec: {suspend: true, template: {spec: {containers: [{name: agent}]}}}\n";
    let queued = "apiVersion: batch/v1\nkind: Job\nmetadata: {labels: {kueue.x-k8s.io/queue-name: builds}}\n";
    let own = "apiVersion: batch/v1\nkind: Job\n";
    for (request, template) in [(1, format!("{queued}{spec}")), (2, format!("{own}{spec}"))] {
        let host = host(&world, "me", Some(&template)).await;
        let name = start(request).name;
        host.start(&start(request)).await.unwrap();
        host.equip(&name, &files("the key")).await.unwrap();
        let made = job(&world, &name).await;
        assert_eq!(made["spec"]["suspend"], true, "{made}");
        assert!(made["metadata"]["annotations"].get("kubectl-ado/held").is_none());
        assert_eq!(key_of(&world, &name).await, "the key");
        // Done once more: it is ready as far as it is ours to say.
        host.equip(&name, &files("another key")).await.unwrap();
        assert_eq!(key_of(&world, &name).await, "the key");
    }
    let resume = Patch::Merge(json!({"spec": {"suspend": false}}));
    world.all::<Job>().patch("agent-job-1", &PatchParams::default(), &resume).await.unwrap();
    pod(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recipe_makes_a_job_that_the_api_server_takes() {
    let world = World::new("recipes").await;
    let template = "apiVersion: batch/v1\nkind: Job\nspec:\n  template:\n    spec:\n      containers:\n      - name: agent\n        \
                    ports: [{containerPort: 80}]\n        livenessProbe: {exec: {command: [\"true\"]}}\n        \
                    lifecycle: {preStop: {exec: {command: [\"true\"]}}}\n        resizePolicy: [{resourceName: cpu, restartPolicy: NotRequired}]\n";
    for (number, template) in [(0, None), (10, Some(template))] {
        let host = host(&world, "me", template).await;
        for (request, recipe) in [(1, Recipe::JustInTime), (2, Recipe::InitContainer), (3, Recipe::Token)] {
            let run = StartRun { recipe, ..start(request + number) };
            assert_eq!(host.start(&run).await, Ok(Started::Created), "{recipe}");
        }
    }
    let made = job(&world, "agent-job-12").await;
    let pod = &made["spec"]["template"]["spec"];
    assert!(pod["initContainers"][0].to_string().contains("AZP_TOKEN_FILE"));
    assert!(!pod["containers"][0].to_string().contains("AZP_TOKEN"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_agent_is_not_evicted_and_an_idle_one_is() {
    let world = World::new("busy").await;
    world.plane.apply(world.namespace.name(), &project_file("manifests/poddisruptionbudget-agents.yaml")).unwrap();
    let host = host(&world, "me", None).await;
    for request in [1, 2] {
        host.start(&StartRun { recipe: Recipe::Token, ..start(request) }).await.unwrap();
    }
    let deadline = std::time::Instant::now() + PATIENCE;
    while pods(&world).await.len() < 2 {
        assert!(std::time::Instant::now() < deadline, "the Jobs have no pods");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for pod in pods(&world).await {
        let name = pod.metadata.name.unwrap();
        control_plane::pods::set_pod_running(&world.client, world.namespace.name(), &name).await.unwrap();
    }
    for name in ["agent-job-1", "agent-job-2"] {
        until(&host, "runs", |run| run.name == name && run.runs_since.is_some()).await;
    }
    host.mark_busy(&["agent-job-1".to_owned()].into()).await.unwrap();
    let budget = || async { world.all::<PodDisruptionBudget>().get("kubectl-ado-busy-agents").await.unwrap() };
    let deadline = std::time::Instant::now() + PATIENCE;
    while budget().await.status.is_none_or(|status| status.current_healthy != 1) {
        assert!(std::time::Instant::now() < deadline, "{:?}", budget().await.status);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for pod in pods(&world).await {
        let labels = pod.metadata.labels.clone().unwrap();
        let name = pod.metadata.name.unwrap();
        let pods = world.all::<Pod>();
        // A refusal is 429, which the client takes for a wish to be asked again.
        let evicted = timeout(Duration::from_secs(3), pods.evict(&name, &EvictParams::default())).await;
        let goes = pods.get(&name).await.unwrap().metadata.deletion_timestamp.is_some();
        match labels["job-name"].as_str() {
            "agent-job-1" => assert!(!goes && !matches!(evicted, Ok(Ok(_))), "{evicted:?}"),
            _ => assert!(goes && matches!(evicted, Ok(Ok(_))), "{evicted:?}"),
        }
    }
}
