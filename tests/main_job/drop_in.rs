//! A running install of ado-agent-orchestrator goes on with only the image changed: its Deployment, its `docker run`
//! line, and each line of its table of variables, word for word from its README.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use control_plane::pods;
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Namespace, Pod, Secret},
};
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use serde_json::Value;

use crate::world::{OURS, World, assert_holds_no_token, environment, project_file};

/// The variables of the README's Deployment, as a kubelet would hand them over.
fn of_deployment() -> BTreeMap<String, String> {
    let deployment: Value = serde_yaml::from_str(&project_file("tests/fixtures/original/deployment.yaml")).unwrap();
    let env = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    env.iter().map(|variable| (text(&variable["name"]), text(&variable["value"]))).collect()
}

/// The variables of the README's `docker run` line.
fn of_docker_run() -> BTreeMap<String, String> {
    let line = project_file("tests/fixtures/original/docker-run.txt").replace("\\\n", " ");
    let words: Vec<_> = line.split_whitespace().collect();
    let variables = words.iter().zip(&words[1..]).filter(|(flag, _)| **flag == "--env");
    variables
        .map(|(_, variable)| variable.split_once('=').unwrap())
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
        .collect()
}

/// The value of a line of the README's table of variables.
fn of_table(name: &str) -> String {
    table().remove(name).unwrap()
}

fn table() -> BTreeMap<String, String> {
    let table = project_file("tests/fixtures/original/variables.txt");
    let variables = table.lines().map(|line| line.split('#').next().unwrap().trim().split_once('=').unwrap());
    variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn names(jobs: &[Job]) -> BTreeSet<String> {
    jobs.iter().map(|job| job.metadata.name.clone().unwrap()).collect()
}

fn image(job: &Job) -> &str {
    job.spec.as_ref().unwrap().template.spec.as_ref().unwrap().containers[0].image.as_deref().unwrap()
}

async fn delete_all_jobs(world: &World) {
    let jobs = world.all::<Job>();
    jobs.delete_collection(&DeleteParams::background(), &ListParams::default()).await.unwrap();
    world.until_jobs(0).await;
}

/// The Jobs in the namespace `ado` that are for the world's organization; several tests share it.
async fn jobs_in_ado(world: &World) -> Vec<Job> {
    let jobs: Api<Job> = Api::namespaced(world.client.clone(), "ado");
    let url = world.sandbox.url();
    let mut jobs = jobs.list(&ListParams::default().labels(OURS)).await.unwrap().items;
    jobs.retain(|job| job.metadata.annotations.as_ref().unwrap()["kubectl-ado/organization"] == url);
    jobs
}

/// The variables as they are but for the organization, which is the sandbox's, make `serve` a Job for each request, in
/// the namespace `ado`, which it makes itself.
async fn serves_two_pools_in_ado(world: &World, mut variables: BTreeMap<String, String>) {
    for (pool, count) in [("Pool1", 3), ("Pool2", 2)] {
        let pool = world.pool(pool);
        world.queue(pool, count);
    }
    variables.insert("ORG_URL".into(), world.sandbox.url());
    variables.insert("ORG_PAT".into(), world.sandbox.token().into());
    variables.insert("KUBECONFIG".into(), world.admin());

    let serve = world.serve("").only(variables).start();
    for _ in 0..40 {
        if jobs_in_ado(world).await.len() >= 5 {
            break;
        }
        world.passes(1).await;
    }
    world.passes(3).await;
    let jobs = jobs_in_ado(world).await;
    let mut pools: BTreeMap<String, usize> = BTreeMap::new();
    for job in &jobs {
        assert_eq!(image(job), "ghcr.io/akanieski/ado-pipelines-linux:latest");
        assert!(job.metadata.name.as_ref().unwrap().starts_with("agent-job-"));
        *pools.entry(environment(job)["AZP_POOL"].clone()).or_default() += 1;
    }
    assert_eq!(pools, [("Pool1".to_owned(), 3), ("Pool2".to_owned(), 2)].into());
    // None of the lines that tell of trouble, but that the sandbox has no TLS.
    let quiet = |line: &Value| line["level"] == "INFO" || line["message"].as_str().unwrap().contains("http://");
    assert!(serve.lines().iter().all(quiet), "{}", serve.log());

    let what = ["get", "jobs,pods,events,configmaps", "-n", "ado", "-o", "json"];
    assert_holds_no_token(&world.plane.kubectl(&what).unwrap(), world.sandbox.token(), "the namespace ado");
    world.the_token_is_nowhere().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readme_s_deployment_works_with_only_the_image_changed() {
    let variables = of_deployment();
    let names: Vec<_> = variables.keys().map(String::as_str).collect();
    assert_eq!(names, ["AGENT_POOLS", "JOB_IMAGE", "JOB_NAMESPACE", "ORG_PAT", "ORG_URL"]);
    let world = World::new("deployment").await;
    serves_two_pools_in_ado(&world, variables).await;
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    assert!(namespaces.get("ado").await.is_ok(), "it was not there before");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readme_s_docker_run_line_works_with_a_kubeconfig_added() {
    let world = World::new("docker-run").await;
    serves_two_pools_in_ado(&world, of_docker_run()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readme_s_docker_run_line_as_it_stands_is_told_what_to_add() {
    let world = World::new("no-cluster").await;
    let mut variables = of_docker_run();
    assert_eq!(variables["ORG_PAT"], "12345");
    variables.insert("HOME".into(), world.folder.path().display().to_string());
    let mut serve = world.serve("").only(variables).start();
    assert_eq!(serve.ended().await.code(), Some(1));
    let log = serve.log();
    let errors: Vec<_> = log.lines().filter(|line| line.starts_with("error:") || line.contains("ERROR")).collect();
    assert_eq!(errors.len(), 1, "{log}");
    let fixes: Vec<_> = log.lines().filter(|line| line.starts_with("fix:")).collect();
    assert!(fixes.len() == 1 && fixes[0].contains("-v ") && fixes[0].contains("--user "), "{log}");
    assert!(!errors[0].contains("12345") && !fixes[0].contains("12345"));
}

#[test]
fn the_table_has_the_lines_that_are_tested_here_and_no_others() {
    let names: Vec<_> = table().into_keys().collect();
    let tested = ["JOB_DEFINITION_FILE", "JOB_DOCKER_SOCKET_PATH", "JOB_PREFIX", "POLLING_DELAY", "RUN_ONCE"];
    assert_eq!(names, tested);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_lines_of_the_table_work_together() {
    let world = World::new("table").await;
    let pool = world.pool("Pool1");
    world.queue(pool, 2);
    let original = project_file("tests/fixtures/original/job-with-limits.yaml");
    std::fs::write(world.folder.path().join(of_table("JOB_DEFINITION_FILE")), original).unwrap();
    let serve = table().into_iter().fold(world.serve("Pool1"), |serve, (name, value)| serve.set(&name, value));
    let mut running = serve.start();
    assert_eq!(running.ended().await.code(), Some(0), "{}", running.log());
    let jobs = world.jobs().await;
    assert_eq!(jobs.len(), 2);
    for job in serde_json::to_value(&jobs).unwrap().as_array().unwrap() {
        let pod = &job["spec"]["template"]["spec"];
        assert_eq!(pod["containers"][0]["resources"]["limits"]["memory"], "200Mi");
        assert!(pod["volumes"].to_string().contains("/var/run/docker.sock"), "{pod}");
    }
    world.the_token_is_nowhere().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn polling_delay_is_the_time_between_polls_in_milliseconds() {
    let delay = of_table("POLLING_DELAY");
    assert_eq!(delay, "1000");
    let world = World::new("delay").await;
    let pool = world.pool("Pool1");
    let _serve = world.serve("Pool1").set("POLLING_DELAY", delay).start();
    world.passes(1).await;
    // The time is taken outside of the counts, so that a slow look makes it longer and never shorter.
    let began = Instant::now();
    let before = world.polls();
    world.passes(6).await;
    let polls = world.polls() - before;
    let taken = began.elapsed();
    // One may have come late, and the next one in time. Unset, six quiet polls take 24 seconds.
    assert!(polls <= taken.as_secs() + 2, "{polls} polls in {taken:?}");
    assert!(taken < Duration::from_secs(18), "{polls} polls in {taken:?}");
    world.queue(pool, 1);
    world.until_jobs(1).await;
    world.the_token_is_nowhere().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn run_once_makes_one_pass_and_ends() {
    let run_once = of_table("RUN_ONCE");
    let world = World::new("run-once").await;
    let pool = world.pool("Pool1");
    world.queue(pool, 3);
    for value in [run_once.as_str(), "true"] {
        let mut serve = world.serve("Pool1").set("RUN_ONCE", value).start();
        assert_eq!(serve.ended().await.code(), Some(0), "{}", serve.log());
        assert_eq!(world.jobs().await.len(), 3);
    }
    assert_eq!(world.sandbox.calls()["GET distributedtask/pools/{id}/jobrequests"], 2);
    world.the_token_is_nowhere().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn job_prefix_begins_the_names_with_or_without_its_dash() {
    let prefix = of_table("JOB_PREFIX");
    assert_eq!(prefix, "agent-job-");
    let world = World::new("prefix").await;
    let pool = world.pool("Pool1");
    world.queue(pool, 2);
    let mut seen = Vec::new();
    for prefix in [Some(prefix.as_str()), Some("agent-job"), None, Some("My.Builds")] {
        let serve = world.serve("Pool1");
        let serve = prefix.into_iter().fold(serve, |serve, prefix| serve.set("JOB_PREFIX", prefix));
        let (code, log) = serve.once().await;
        assert_eq!(code, 0, "{log}");
        seen.push(names(&world.jobs().await));
        delete_all_jobs(&world).await;
    }
    assert!(seen[0].len() == 2 && seen[0].iter().all(|name| name.starts_with("agent-job-")), "{seen:?}");
    assert_eq!((&seen[0], &seen[0]), (&seen[1], &seen[2]));
    assert!(seen[3].iter().all(|name| name.starts_with("my-builds-")), "{seen:?}");
    world.the_token_is_nowhere().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn job_docker_socket_path_is_where_the_agent_finds_the_socket() {
    let path = of_table("JOB_DOCKER_SOCKET_PATH");
    let world = World::new("docker-socket").await;
    let pool = world.pool("Pool1");
    world.queue(pool, 1);
    let (code, log) = world.serve("Pool1").set("JOB_DOCKER_SOCKET_PATH", &path).once().await;
    assert_eq!(code, 0, "{log}");
    let job = world.stored_jobs().remove(0);
    let pod = &job["spec"]["template"]["spec"];
    let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
    let name = &mounts.iter().find(|mount| mount["mountPath"] == path.as_str()).unwrap()["name"];
    let volume = pod["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == *name).unwrap();
    assert_eq!(
        (volume["hostPath"]["path"].as_str(), volume["hostPath"]["type"].as_str()),
        (Some(&*path), Some("Socket"))
    );
    world.the_token_is_nowhere().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn job_definition_file_is_looked_for_in_the_working_directory() {
    let file = of_table("JOB_DEFINITION_FILE");
    assert_eq!(file, "job.yaml");
    let world = World::new("definition").await;
    let pool = world.pool("Pool1");
    world.queue(pool, 1);
    let serve = world.serve("Pool1").set("JOB_DEFINITION_FILE", &file);
    let (code, log) = serve.clone().once().await;
    assert!(code == 2 && log.contains("JOB_DEFINITION_FILE") && log.contains("job.yaml"), "{log}");

    let original = project_file("tests/fixtures/original/job-with-volume.yaml");
    std::fs::write(world.folder.path().join(&file), original).unwrap();
    let (code, log) = serve.once().await;
    assert_eq!(code, 0, "{log}");
    let jobs = world.jobs().await;
    assert_eq!(jobs.len(), 1);
    assert_eq!(image(&jobs[0]), "ghcr.io/akanieski/ado-pipelines-linux:0.0.1-preview");
    world.the_token_is_nowhere().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn initialize_namespace_creates_the_one_that_is_missing_and_none_when_it_is_off() {
    let world = World::new("missing-namespace").await;
    let pool = world.pool("Pool1");
    world.queue(pool, 2);
    let name = format!("{}-new", world.namespace);
    let serve = || world.serve("Pool1").set("JOB_NAMESPACE", &name).set("KUBECONFIG", world.admin());
    let namespaces: Api<Namespace> = Api::all(world.client.clone());

    let (code, log) = serve().set("INITIALIZE_NAMESPACE", "false").once().await;
    assert!(code == 1 && log.contains(&format!("fix: kubectl create namespace {name}")), "{log}");
    assert!(namespaces.get_opt(&name).await.unwrap().is_none());
    for value in ["true", "True", "1"] {
        let (code, log) = serve().set("INITIALIZE_NAMESPACE", value).once().await;
        assert_eq!(code, 0, "{log}");
        let jobs: Api<Job> = Api::namespaced(world.client.clone(), &name);
        assert_eq!(jobs.list(&ListParams::default()).await.unwrap().items.len(), 2);
    }
    world.the_token_is_nowhere().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn minimum_counts_are_filled_up_and_never_added_to() {
    let world = World::new("minimum").await;
    let pool = world.pool("Pool1");
    let serve = world.serve("Pool1").set("MINIMUM_AGENT_COUNT", "2").set("MINIMUM_IDLE_AGENT_COUNT", "1");

    let running = serve.start();
    // Two without work: more than the one that has to be idle.
    let two = names(&world.jobs_stay(2).await);
    world.queue(pool, 2);
    // Both have work now, so one more is to be idle.
    let three = names(&world.jobs_stay(3).await);
    assert!(two.is_subset(&three));
    running.kill();
    let running = serve.start();
    assert_eq!(names(&world.jobs_stay(3).await), three);

    for request in world.sandbox.requests() {
        world.sandbox.cancel(request.id).unwrap();
    }
    // One ends: two are left, enough for both counts. Two more end: the two that are missing are made.
    let pods = world.all::<Pod>().list(&ListParams::default()).await.unwrap().items;
    let pods: Vec<_> = pods.into_iter().map(|pod| pod.metadata.name.unwrap()).collect();
    assert_eq!(pods.len(), 3);
    pods::set_pod_succeeded(&world.client, world.namespace.name(), &pods[0]).await.unwrap();
    running.says("agent finished").await;
    world.jobs_stay(3).await;
    for pod in &pods[1..] {
        pods::set_pod_succeeded(&world.client, world.namespace.name(), pod).await.unwrap();
    }
    let five = world.jobs_stay(5).await;
    let live = five.iter().filter(|job| job.status.as_ref().unwrap().completion_time.is_none());
    assert_eq!(live.count(), 2);
    world.the_token_is_nowhere().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn maximum_agent_count_holds_for_each_pool_and_the_log_says_why_the_others_wait() {
    let world = World::new("maximum").await;
    for name in ["Pool1", "Pool2"] {
        let pool = world.pool(name);
        world.queue(pool, 10);
    }
    let serve = world.serve("Pool1,Pool2").set("MAXIMUM_AGENT_COUNT", "3").start();
    let jobs = world.jobs_stay(6).await;
    assert_eq!(jobs.iter().filter(|job| environment(job)["AZP_POOL"] == "Pool1").count(), 3);
    for pool in ["Pool1", "Pool2"] {
        let says = |line: &Value| {
            line["pool"] == pool && line["message"].as_str().unwrap().contains("at the maximum of 3 agents of the pool")
        };
        assert_eq!(serve.lines().iter().filter(|line| says(line)).count(), 1, "{}", serve.log());
    }
    world.the_token_is_nowhere().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_a_file_is_the_same_as_the_one_of_the_variable() {
    let world = World::new("pat-file").await;
    let pool = world.pool("Pool1");
    world.queue(pool, 2);
    let file = world.folder.path().join("pat");
    std::fs::write(&file, format!("{}\n", world.sandbox.token())).unwrap();
    let by_file = world.serve("Pool1").unset("ORG_PAT").set("ORG_PAT_FILE", file.display().to_string());

    let mut seen = Vec::new();
    for serve in [world.serve("Pool1"), by_file.clone(), by_file.set("ORG_PAT_FILE", "pat")] {
        let (code, log) = serve.once().await;
        assert_eq!(code, 0, "{log}");
        let secrets = world.all::<Secret>().list(&ListParams::default()).await.unwrap().items;
        let secrets: BTreeSet<_> = secrets.into_iter().filter_map(|secret| secret.metadata.name).collect();
        seen.push((names(&world.jobs().await), secrets));
        delete_all_jobs(&world).await;
    }
    assert_eq!((seen[0].0.len(), seen[0].1.len()), (2, 1));
    assert!(seen[1..].iter().all(|other| *other == seen[0]), "{seen:?}");

    let (code, log) = world.serve("Pool1").set("ORG_PAT_FILE", "pat").once().await;
    assert!(code == 2 && log.contains("ORG_PAT and ORG_PAT_FILE are both set"), "{log}");
    world.the_token_is_nowhere().await;
}
