//! Twenty of the schedules against a real API server and a real Job controller, in real time and therefore in haste.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use control_plane::{ControlPlane, pods};
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Pod, Secret},
};
use kube::{Api, Client, api::ListParams};
use serde_json::Value;
use tokio::{
    task::AbortHandle,
    time::{sleep, timeout},
};

use crate::{
    agent::{self, CannotSignIn, Files},
    books::Books,
    clock,
    dice::Dice,
    orchestrator::Orchestrator,
    organization::Organization,
    remains::Remains,
    storm::{Log, Storm, Tempo},
    story::{Schedule, tell},
};

const SCHEDULES: u64 = 20;

/// All jobs come within this time, in milliseconds.
const WITHIN: u64 = 3_000;

const PATIENCE: Duration = Duration::from_secs(180);
const AFTERMATH: Duration = Duration::from_secs(3);

const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Until then the Job controller has made the pod of a Job, however busy the machine is.
const POD_IS_MADE: Duration = Duration::from_secs(60);

const OURS: &str = "app.kubernetes.io/managed-by=kubectl-ado";

/// How a schedule went: its lines, and what was wrong.
async fn play(seed: u64, plane: &ControlPlane) -> (Vec<String>, Result<(), String>) {
    let namespace = plane.namespace("disorder").await.name().to_owned();
    let client = plane.client().await;
    let dice = Dice::of(seed);
    let log = Log::default();
    let schedule = Schedule::drawn(&dice, WITHIN).without_cancellations();
    let schedule = if seed.is_multiple_of(2) { schedule } else { schedule.just_in_time_and_alone() };
    log.note(format!("seed {seed}: {schedule:?}"));
    let storm = Storm::new(dice.fork(), Tempo::HASTY, log.clone(), schedule.rate, schedule.lasts);
    let organization = Organization::with_pools(&schedule.pools);
    let books = Books::new(&schedule, organization.clone(), storm.fork());
    let aging = tokio::spawn(organization.clone().age());
    let attending = tokio::spawn(attend(client.clone(), namespace.clone(), books.clone()));
    let remains = async || Remains::asked_for(&client, &namespace).await.half_done();
    let orchestrator = Orchestrator {
        config: schedule.config(&namespace, storm.tempo.idle_timeout),
        upstream: client.clone(),
        organization,
        storm,
        elected: schedule.elected,
        lives: Arc::default(),
        board: Arc::default(),
        metrics: Arc::default(),
    };
    let result = tell(&schedule, &books, &orchestrator, (PATIENCE, AFTERMATH), remains).await;
    attending.abort();
    aging.abort();
    (log.lines(), result)
}

/// Keeps the books of the Jobs in a namespace, and plays the kubelet and the agents in their pods.
pub(crate) async fn attend(client: Client, namespace: String, books: Books) {
    let jobs: Api<Job> = Api::namespaced(client.clone(), &namespace);
    let mut lives: HashMap<String, AbortHandle> = HashMap::new();
    loop {
        let listed = jobs.list(&ListParams::default().labels(OURS)).await.unwrap().items;
        let mut there = HashSet::new();
        for job in listed.iter().filter(|job| job.metadata.deletion_timestamp.is_none()) {
            let uid = job.metadata.uid.clone().unwrap();
            if !lives.contains_key(&uid) {
                let value = serde_json::to_value(job).unwrap();
                books.made(&uid, &value);
                let life = life(client.clone(), namespace.clone(), books.clone(), uid.clone(), value);
                lives.insert(uid.clone(), tokio::spawn(life).abort_handle());
            }
            there.insert(uid);
        }
        lives.retain(|uid, life| {
            let is_there = there.contains(uid);
            if !is_there {
                books.deleted(uid);
                life.abort();
            }
            is_there
        });
        pods::finish_deletions(&client, &namespace).await.unwrap();
        sleep(LOOK_AGAIN).await;
    }
}

async fn life(client: Client, namespace: String, books: Books, uid: String, job: Value) {
    let storm = books.storm().fork();
    let (dice, tempo) = (storm.dice, storm.tempo);
    let name = job["metadata"]["name"].as_str().unwrap();
    // It goes away with its Job, and then nobody is left to care.
    let jobs: Api<Job> = Api::namespaced(client.clone(), &namespace);
    while jobs.get(name).await.is_ok_and(|job| job.spec.is_some_and(|spec| spec.suspend == Some(true))) {
        sleep(LOOK_AGAIN).await;
    }
    let Ok(pod) = timeout(POD_IS_MADE, pod_of(&client, &namespace, name)).await else {
        panic!("the Job {name} has no pod")
    };
    let pod_spec = &job["spec"]["template"]["spec"];
    let container = &pod_spec["containers"][0];
    sleep(dice.time(tempo.place)).await;
    let files = files_of(&client, &namespace, pod_spec).await;
    sleep(dice.time(tempo.cold_start)).await;
    if books.dies(&uid, &dice) {
        let _ = pods::set_pod_failed(&client, &namespace, &pod, 1, "Error").await;
        return;
    }
    if pods::set_pod_running(&client, &namespace, &pod).await.is_err() {
        return;
    }
    let takes = |step| books.takes(&uid, step);
    match agent::live(books.organization(), &books.plan(container, files, &dice), &takes).await {
        Ok(()) => {
            books.worked(&uid);
            let _ = pods::set_pod_succeeded(&client, &namespace, &pod).await;
        }
        Err(CannotSignIn) => {
            books.cannot_sign_in(&uid);
            let _ = pods::set_pod_failed(&client, &namespace, &pod, 1, "Error").await;
        }
    }
}

/// The files that a pod mounts, as the kubelet finds them.
async fn files_of(client: &Client, namespace: &str, pod_spec: &Value) -> Option<Files> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let name = Files::secret_of(pod_spec)?;
    loop {
        if let Some(secret) = api.get_opt(name).await.unwrap() {
            return Some(Files::of(&serde_json::to_value(secret).unwrap()));
        }
        sleep(LOOK_AGAIN).await;
    }
}

async fn pod_of(client: &Client, namespace: &str, job: &str) -> String {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    loop {
        let listed = api.list(&ListParams::default().labels(&format!("job-name={job}"))).await.unwrap();
        if let Some(name) = listed.items.into_iter().find_map(|pod| pod.metadata.name) {
            return name;
        }
        sleep(LOOK_AGAIN).await;
    }
}

#[tokio::test]
async fn after_twenty_storms_over_a_real_api_server_there_are_as_many_jobs_as_job_requests() {
    clock::end();
    let plane = ControlPlane::shared();
    let played = futures::future::join_all((0..SCHEDULES).map(|seed| play(seed, plane))).await;
    for (seed, (lines, result)) in played.iter().enumerate() {
        if let Err(why) = result {
            panic!("seed {seed}: {why}\n{}", lines.join("\n"));
        }
    }
    let lines: Vec<&String> = played.iter().flat_map(|(lines, _)| lines).collect();
    let count = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
    let (made, died) = (count(" made MadeJob"), count("the orchestrator ended"));
    println!("{made} Jobs, {died} orchestrators that died, {} calls and answers", lines.len());
    assert!(made > 60 && died > 5, "{made} Jobs, {died} deaths: too little happened");
}
