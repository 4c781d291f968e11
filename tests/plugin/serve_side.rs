//! The orchestrator's side of the plugin: its status, what it is asked for, its Events, and changed configurations.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use control_plane::{Behaviour, Node, pods};
use k8s_openapi::api::core::v1::{ConfigMap, Event, Pod};
use kube::api::{ListParams, ObjectMeta, PostParams};
use kubectl_ado::{
    cluster::{CONTROL_KEY, STATUS_KEY, STATUS_LABELS, control_name, status_name},
    core::{ALL_POOLS, AgentOwner, Code, Condition, Control, Pause, PoolState, Report},
    sandbox::{FaultKind, JobResult, JobSpec},
};

use crate::world::{PATIENCE, Serve, World, eventually};

/// Times between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

async fn status(world: &World) -> Option<Report> {
    let found = world.all::<ConfigMap>().list(&ListParams::default().labels(STATUS_LABELS)).await.unwrap().items;
    assert!(found.len() <= 1, "one status and not {}", found.len());
    let data = found.into_iter().next()?.data.unwrap();
    assert!(data[STATUS_KEY].len() < 512 * 1024);
    Some(serde_json::from_str(&data[STATUS_KEY]).unwrap())
}

async fn until_status(world: &World, what: &str, is_true: impl Fn(&Report) -> bool) -> Report {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = status(world).await;
        if let Some(report) = found.as_ref().filter(|report| is_true(report)) {
            return report.clone();
        }
        assert!(Instant::now() < deadline, "not in time: {what}: {found:#?}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn condition<'a>(report: &'a Report, kind: &str) -> &'a Condition {
    report.conditions.iter().find(|condition| condition.kind == kind).unwrap()
}

fn codes(report: &Report) -> Vec<Code> {
    report.findings.iter().chain(report.pools.iter().flat_map(|pool| &pool.findings)).map(|f| f.code).collect()
}

/// Asks as `pause`, `resume` and `uninstall` do.
async fn ask_text(world: &World, report: &Report, text: String) {
    let name = control_name(report.orchestrator.lease.as_ref().unwrap());
    let map = ConfigMap {
        metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
        data: Some([(CONTROL_KEY.to_owned(), text)].into()),
        ..ConfigMap::default()
    };
    let api = world.all::<ConfigMap>();
    if api.get_opt(&name).await.unwrap().is_some() {
        api.replace(&name, &PostParams::default(), &map).await.unwrap();
    } else {
        api.create(&PostParams::default(), &map).await.unwrap();
    }
}

async fn ask(world: &World, report: &Report, control: Control) {
    ask_text(world, report, serde_json::to_string(&control).unwrap()).await;
}

async fn until_event(world: &World, reason: &str, kind: &str) -> Event {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let events = world.all::<Event>().list(&ListParams::default()).await.unwrap().items;
        let found = events.iter().find(|event| {
            event.reason.as_deref() == Some(reason) && event.involved_object.kind.as_deref() == Some(kind)
        });
        if let Some(event) = found {
            return event.clone();
        }
        let reasons: Vec<_> = events.iter().filter_map(|event| event.reason.as_deref()).collect();
        assert!(Instant::now() < deadline, "no Event {reason}: {reasons:?}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn all_paused() -> Control {
    let pause = Pause { reason: Some("release".into()), ..Pause::default() };
    Control { pools: [(ALL_POOLS.to_owned(), pause)].into(), retire: false }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_says_what_is_there_and_why_requests_wait() {
    let world = World::new("status").await;
    let pool = world.pool("Default");
    let requests = world.queue(pool, 3);
    let serve = world.serve("Default").set("MAXIMUM_AGENT_COUNT", "2").start();
    world.until_jobs(2).await;

    let report = until_status(&world, "two agents start", |report| report.pools[0].starting == 2).await;
    let seen = &report.pools[0];
    assert_eq!((seen.name.as_str(), seen.state), ("Default", PoolState::AtLimit));
    assert_eq!((seen.queued, seen.busy, seen.idle, seen.max), (3, 0, 0, Some(2)));
    assert_eq!(seen.offline, Some(1), "the agent that was there before; our placeholder is not counted");
    assert_eq!(seen.requests.len(), 3);
    let stopped = &seen.requests[0];
    let verdict = stopped.verdict.as_ref().unwrap();
    assert_eq!((stopped.id.0, verdict.code), (requests[2], Some(Code::AtMaximum)));
    assert_eq!(verdict.fix.as_deref(), Some("kubectl ado config set pools.Default.limits.maxAgents=4"));
    assert!(seen.requests[1].verdict.as_ref().unwrap().code.is_none());
    assert!(stopped.url.as_ref().unwrap().contains("_build/results"), "{stopped:?}");
    assert_eq!(codes(&report), [Code::AtMaximum]);
    assert!(seen.agents.iter().any(|agent| agent.owner == AgentOwner::Placeholder));
    for kind in ["Ready", "Connected", "Authorized", "PoolsFound", "ConfigValid", "HostReady"] {
        assert_eq!(condition(&report, kind).status, "True", "{kind}");
    }
    let us = &report.orchestrator;
    assert_eq!((us.host.as_str(), us.namespace.as_deref()), ("kubernetes", Some(world.namespace.name())));
    assert_eq!(report.organization.url, world.sandbox.url());
    let map = world.all::<ConfigMap>().get(&status_name(us.lease.as_ref().unwrap())).await.unwrap();
    assert_eq!(map.metadata.labels.unwrap()["kubectl-ado/installation"], us.installation);

    // The listener gives the same.
    let answer = get(&serve.address().await, "/status").await;
    let here: Report = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(here.pools[0].requests.len(), 3);
    until_event(&world, "AtMaximum", "ConfigMap").await;

    for id in requests {
        world.sandbox.cancel(id).unwrap();
    }
    until_status(&world, "nothing waits", |report| report.pools[0].queued == 0 && codes(report).is_empty()).await;
    assert!(!serve.log().contains("does not work"), "{}", serve.log());
    world.the_token_is_nowhere().await;
}

async fn get(address: &str, path: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address.replace("0.0.0.0", "127.0.0.1")).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_expires_shows_with_the_last_good_counts_and_so_does_the_new_one() {
    let world = World::new("expires").await;
    let pool = world.pool("Default");
    world.queue(pool, 1);
    let _serve = world.serve("Default").start();
    let good = until_status(&world, "an agent starts", |report| report.pools[0].starting == 1).await;
    assert_eq!(condition(&good, "Authorized").status, "True");

    world.sandbox.inject(FaultKind::Unauthorized.always());
    let bad =
        until_status(&world, "the token is rejected", |report| report.pools[0].state == PoolState::Degraded).await;
    assert_eq!(condition(&bad, "Authorized").status, "False");
    assert_eq!(condition(&bad, "Ready").reason, "TokenRejected");
    assert_eq!(codes(&bad), [Code::TokenRejected]);
    assert_eq!((bad.pools[0].starting, bad.pools[0].queued), (1, 1), "the last good counts");
    assert!(bad.pools[0].findings[0].fix.as_ref().unwrap().contains("kubectl ado auth set"));
    until_event(&world, "TokenRejected", "ConfigMap").await;

    world.sandbox.clear_faults();
    let again = until_status(&world, "it is good again", |report| codes(report).is_empty()).await;
    assert_eq!(condition(&again, "Authorized").status, "True");
    assert!(condition(&again, "Authorized").last_transition_time > condition(&good, "Authorized").last_transition_time);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_starts_nothing_even_after_a_restart_until_it_is_lifted() {
    let world = World::new("pause").await;
    let pool = world.pool("Default");
    let serve = world.serve("Default").start();
    let report = until_status(&world, "the pool is polled", |report| report.pools[0].last_polled_at.is_some()).await;

    let asked = Instant::now();
    ask(&world, &report, all_paused()).await;
    let paused = until_status(&world, "it is paused", |report| report.pools[0].paused.is_some()).await;
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert_eq!((paused.pools[0].state, codes(&paused)), (PoolState::Paused, vec![Code::Paused]));
    until_event(&world, "Paused", "ConfigMap").await;
    world.queue(pool, 2);
    let waiting = until_status(&world, "both wait", |report| report.pools[0].queued == 2).await;
    let verdict = waiting.pools[0].requests[0].verdict.as_ref().unwrap();
    assert_eq!((verdict.code, verdict.fix.as_deref()), (Some(Code::Paused), Some("kubectl ado resume Default")));

    serve.terminate().await;
    let serve = world.serve("Default").start();
    world.passes(10).await;
    assert!(world.jobs().await.is_empty(), "a restart forgets no pause");
    serve.terminate().await;

    // Neither does one with other pools, whose Lease and status have other names.
    world.pool("Second");
    let serve = world.serve("Default,Second").start();
    let first = world.all::<ConfigMap>();
    let lease = report.orchestrator.lease.clone().unwrap();
    first.delete(&status_name(&lease), &kube::api::DeleteParams::default()).await.unwrap();
    let both = until_status(&world, "both are paused", |report| report.pools.len() == 2).await;
    assert_ne!(both.orchestrator.lease.as_ref(), Some(&lease));
    assert!(both.pools.iter().all(|pool| pool.state == PoolState::Paused), "{both:#?}");
    assert!(world.jobs().await.is_empty(), "other pools forget no pause");

    // What cannot be read changes nothing.
    ask_text(&world, &report, "{".to_owned()).await;
    serve.says("cannot be read").await;
    until_status(&world, "it is told", |report| codes(report).contains(&Code::ConfigRejected)).await;
    assert!(world.jobs().await.is_empty());

    ask(&world, &report, Control::default()).await;
    world.until_jobs(2).await;
    until_status(&world, "it goes on", |report| report.pools[0].paused.is_none() && codes(report).is_empty()).await;
    until_event(&world, "Resumed", "ConfigMap").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retiring_takes_all_away_but_the_busy_agent_that_finishes() {
    let world = World::new("retire").await;
    let pool = world.pool("Default");
    let entrypoint = vec!["bash".to_owned(), concat!(env!("CARGO_MANIFEST_DIR"), "/linux/start.sh").to_owned()];
    let _node = Node::start(world.plane, world.namespace.name(), Behaviour::Run { entrypoint });
    let go_on = world.folder.path().join("go-on");
    let wait = format!("while [ ! -e {} ]; do sleep 0.2; done", go_on.display());
    let long = JobSpec::new("pipeline", "long").step("work", wait);
    let request = world.sandbox.queue(pool, long).unwrap();

    let _serve = world.serve("Default").set("MINIMUM_IDLE_AGENT_COUNT", "1").start();
    let report = until_status(&world, "one is busy and one idle", |report| {
        report.pools[0].busy == 1 && report.pools[0].idle == 1
    })
    .await;
    ask(&world, &report, Control { retire: true, ..Control::default() }).await;
    let retiring = until_status(&world, "only the busy one is left", |report| {
        let retired = report.conditions.iter().find(|condition| condition.kind == "Retired");
        retired.is_some_and(|retired| retired.message.contains("1 running agents, 0 placeholders, 1 other"))
    })
    .await;
    assert_eq!(condition(&retiring, "Retired").status, "False");
    assert_eq!(world.sandbox.request(request).unwrap().finished_at, None);

    std::fs::write(&go_on, "").unwrap();
    until_status(&world, "all is gone", |report| {
        report.conditions.iter().any(|condition| condition.kind == "Retired" && condition.status == "True")
    })
    .await;
    assert_eq!(world.sandbox.request(request).unwrap().result, Some(JobResult::Succeeded));
    assert_eq!(world.sandbox.agents(pool).len(), 1, "somebody else's");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_in_trouble_has_an_event_on_its_job() {
    let world = World::new("trouble").await;
    let pool = world.pool("Default");
    world.queue(pool, 1);
    let _serve = world.serve("Default").start();
    let job = world.until_jobs(1).await.remove(0).metadata;
    let deadline = Instant::now() + PATIENCE;
    let pod = loop {
        let pods = world.all::<Pod>().list(&ListParams::default()).await.unwrap().items;
        if let Some(name) = pods.into_iter().find_map(|pod| pod.metadata.name) {
            break name;
        }
        assert!(Instant::now() < deadline, "no pod");
        tokio::time::sleep(LOOK_AGAIN).await;
    };
    let image = "registry.example/agent:1";
    pods::set_image_pull_error(&world.client, world.namespace.name(), &pod, image).await.unwrap();
    let on_job = until_event(&world, "ImageNotPulled", "Job").await;
    assert_eq!((on_job.involved_object.uid, on_job.involved_object.name), (job.uid, job.name));
    let report = until_status(&world, "it shows", |report| codes(report) == [Code::ImageNotPulled]).await;
    assert_eq!(report.pools[0].requests[0].verdict.as_ref().unwrap().reason, "ImageNotPulled");
}

/// An orchestrator whose configuration is a folder.
fn configured(world: &World, folder: &Path, max: &str) -> Serve {
    std::fs::create_dir_all(folder).unwrap();
    write_config(world, folder, max);
    std::fs::write(world.folder.path().join("token"), world.sandbox.token()).unwrap();
    let variables: BTreeMap<String, String> =
        [("KUBECONFIG", world.kubeconfig.display().to_string()), ("PATH", std::env::var("PATH").unwrap())]
            .map(|(name, value)| (name.to_owned(), value))
            .into();
    world.serve("").only(variables).argument("--config").argument(folder.display().to_string())
}

fn write_config(world: &World, folder: &Path, max: &str) {
    let text = format!(
        "organization: {{url: {}, tokenFile: {}}}\nnamespace: {}\nimage: registry.example/agent:1\n\
         listenAddress: 127.0.0.1:0\npolling: 100ms\nlimits: {{maxAgents: {max}}}\npools: [{{name: Default}}]\n",
        world.sandbox.url(),
        world.folder.path().join("token").display(),
        world.namespace.name(),
    );
    let new = folder.join(".new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, folder.join("ado.yaml")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_configuration_is_served_and_a_wrong_one_is_not_and_says_so() {
    let world = World::new("hot").await;
    let pool = world.pool("Default");
    world.queue(pool, 4);
    let folder = world.folder.path().join("config");
    let serve = configured(&world, &folder, "1").start();
    world.jobs_stay(1).await;
    let before = until_status(&world, "one may run", |report| report.pools[0].max == Some(1)).await;

    let written = Instant::now();
    write_config(&world, &folder, "2");
    let jobs = world.jobs_stay(2).await;
    assert!(written.elapsed() < Duration::from_secs(20), "{:?}", written.elapsed());
    let after = until_status(&world, "two may run", |report| report.pools[0].max == Some(2)).await;
    assert_eq!(after.orchestrator.identity, before.orchestrator.identity);
    let address = serve.address().await;

    write_config(&world, &folder, "many");
    let wrong = until_status(&world, "it is wrong", |report| condition(report, "ConfigValid").status == "False").await;
    assert_eq!(codes(&wrong).first(), Some(&Code::ConfigRejected));
    let message = &wrong.findings[0].message;
    assert!(message.contains("ado.yaml") && message.contains("maxAgents"), "{message}");
    assert_eq!(wrong.pools[0].max, Some(2));
    assert_eq!(condition(&wrong, "Ready").status, "True");
    until_event(&world, "ConfigRejected", "ConfigMap").await;
    assert!(get(&address, "/metrics").await.contains("kubectl_ado_config_valid 0"));
    assert_eq!(world.jobs().await.len(), 2);

    write_config(&world, &folder, "3");
    let now = world.jobs_stay(3).await;
    for job in jobs {
        assert!(now.iter().any(|other| other.metadata.uid == job.metadata.uid), "what was there is still there");
    }
    until_status(&world, "it is right", |report| condition(report, "ConfigValid").status == "True").await;
    assert!(get(&address, "/metrics").await.contains("kubectl_ado_config_valid 1"), "the listener stays");
    eventually("the Lease was kept", || serve.log().matches("taking part in the leader election").count() == 1).await;
    assert!(!serve.log().contains("released the lease"));
    assert_eq!(serve.terminate().await.0.code(), Some(0));
}
