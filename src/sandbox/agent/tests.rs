//! The agent against a sandbox, over real HTTP.

use std::{path::Path, time::Duration};

use super::*;
use crate::sandbox::{AgentSpec, FaultKind, JobResult, JobSpec, Phase, Rules, Sandbox, Settings, State};

mod own_key;

/// What the agent lives on.
const FILES: [&str; 3] = [".agent", ".credentials", ".credentials_rsaparams"];

const LONG: Duration = Duration::from_secs(20);

fn start(rules: Rules) -> (Sandbox, i64) {
    let settings = Settings { rules, ..Settings::default() };
    let sandbox = Sandbox::start("127.0.0.1:0".parse().unwrap(), settings).unwrap();
    let pool = sandbox.add_pool("linux").unwrap();
    (sandbox, pool)
}

fn surroundings(root: &Path) -> Surroundings {
    let path = std::env::var("PATH").unwrap();
    Surroundings { root: root.to_owned(), environment: [("PATH".to_owned(), path)].into() }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

async fn configure(sandbox: &Sandbox, root: &Path, name: &str) -> Result<(), AgentError> {
    let line = format!(
        "configure --unattended --agent {name} --url {} --auth PAT --token {} --pool linux --work _work --replace \
         --acceptTeeEula",
        sandbox.url(),
        sandbox.token()
    );
    run(words(&line), &surroundings(root), std::future::pending()).await
}

fn run_once(root: &Path) -> impl Future<Output = Result<(), AgentError>> + use<> {
    let surroundings = surroundings(root);
    async move { run(words("run --once"), &surroundings, std::future::pending()).await }
}

fn ended(request: i64) -> impl Fn(&State) -> bool {
    move |state| state.find_request(request).is_some_and(|request| request.phase() == Phase::Finished)
}

#[tokio::test]
async fn an_agent_is_configured_runs_one_job_and_is_removed() {
    let (sandbox, pool) = start(Rules::default());
    let root = tempfile::tempdir().unwrap();
    configure(&sandbox, root.path(), "a-1").await.unwrap();
    assert!(configure(&sandbox, root.path(), "a-1").await.is_err(), "it is configured already");
    let job = JobSpec::new("ci", "build")
        .step("write", "echo hello > out.txt")
        .step("check", "grep -q hello out.txt && test \"$AGENT_NAME\" = a-1 && test -z \"${AZP_TOKEN:-}\"");
    let request = sandbox.queue(pool, job).unwrap();
    run_once(root.path()).await.unwrap();

    let request = sandbox.request(request).unwrap();
    assert_eq!(request.result, Some(JobResult::Succeeded));
    assert!(request.queued_at <= request.assigned_at.unwrap());
    assert_eq!(request.agent.unwrap().name, "a-1");
    let agent = &sandbox.agents(pool)[0];
    assert!(!agent.online && agent.last_completed == Some(request.id));

    let remove = words(&format!("remove --unattended --auth PAT --token {}", sandbox.token()));
    run(remove.clone(), &surroundings(root.path()), std::future::pending()).await.unwrap();
    assert!(sandbox.agents(pool).is_empty());
    for file in FILES {
        assert!(!root.path().join(file).exists(), "{file}");
    }
    run(remove, &surroundings(root.path()), std::future::pending()).await.unwrap();
    let record = &sandbox.history()[0];
    assert!(record.received == 1 && record.removed_at.is_some());
}

#[tokio::test]
async fn a_failing_step_fails_the_job_and_not_the_agent() {
    let (sandbox, pool) = start(Rules::default());
    let root = tempfile::tempdir().unwrap();
    configure(&sandbox, root.path(), "a").await.unwrap();
    let job = JobSpec::new("ci", "x").step("fail", "exit 3").step("never", "touch never");
    let request = sandbox.queue(pool, job).unwrap();
    run_once(root.path()).await.unwrap();
    assert_eq!(sandbox.request(request).unwrap().result, Some(JobResult::Failed));
    assert!(!root.path().join("_work/1/s/never").exists());
}

#[tokio::test]
async fn a_canceled_job_is_stopped_with_everything_it_has_started() {
    let (sandbox, pool) = start(Rules::default());
    let root = tempfile::tempdir().unwrap();
    configure(&sandbox, root.path(), "a").await.unwrap();
    let job = JobSpec::new("ci", "x").step("wait", "sleep 61 & echo $! > child; sleep 61");
    let request = sandbox.queue(pool, job).unwrap();
    let agent = tokio::spawn(run_once(root.path()));
    let child = root.path().join("_work/1/s/child");
    while !std::fs::read_to_string(&child).is_ok_and(|text| text.ends_with('\n')) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    sandbox.cancel(request).unwrap();
    assert!(sandbox.until(LONG, ended(request)).await);
    assert_eq!(sandbox.request(request).unwrap().result, Some(JobResult::Canceled));
    agent.await.unwrap().unwrap();
    let child = std::fs::read_to_string(child).unwrap();
    let process = Path::new("/proc").join(child.trim());
    for _ in 0..100 {
        if !process.join("exe").exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} is still there", process.display());
}

#[tokio::test]
async fn a_long_job_is_renewed_beyond_its_lease() {
    let (sandbox, pool) =
        start(Rules { lease: Duration::from_millis(900), renew_every: Duration::from_millis(200), ..Rules::default() });
    let root = tempfile::tempdir().unwrap();
    configure(&sandbox, root.path(), "a").await.unwrap();
    let request = sandbox.queue(pool, JobSpec::new("ci", "x").step("long", "sleep 2")).unwrap();
    run_once(root.path()).await.unwrap();
    assert_eq!(sandbox.request(request).unwrap().result, Some(JobResult::Succeeded));
    assert!(sandbox.calls()["PATCH distributedtask/pools/{id}/jobrequests/{id}"] > 4);
}

#[tokio::test]
async fn an_idle_agent_that_is_told_to_stop_closes_its_session() {
    let (sandbox, pool) = start(Rules::default());
    let root = tempfile::tempdir().unwrap();
    configure(&sandbox, root.path(), "a").await.unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let surroundings = surroundings(root.path());
    let agent = tokio::spawn(async move { run(words("run"), &surroundings, async { drop(stopped.await) }).await });
    assert!(sandbox.until(LONG, |state| state.online_agents() == 1).await);
    stop.send(()).unwrap();
    agent.await.unwrap().unwrap();
    assert!(!sandbox.agents(pool)[0].online);
    assert!(sandbox.history()[0].was_surplus());
}

#[tokio::test]
async fn an_agent_without_once_takes_one_job_after_the_other() {
    let (sandbox, pool) = start(Rules::default());
    let root = tempfile::tempdir().unwrap();
    configure(&sandbox, root.path(), "a").await.unwrap();
    let requests: Vec<i64> = (0..3)
        .map(|number| sandbox.queue(pool, JobSpec::new("ci", format!("job {number}")).step("x", "true")).unwrap())
        .collect();
    let surroundings = surroundings(root.path());
    let agent = tokio::spawn(async move { run(words("run"), &surroundings, std::future::pending()).await });
    for request in requests {
        assert!(sandbox.until(LONG, ended(request)).await);
    }
    agent.abort();
}

#[tokio::test]
async fn an_agent_without_a_first_connection_ends_with_the_code_for_another_try() {
    let (sandbox, pool) = start(Rules::default());
    let root = tempfile::tempdir().unwrap();
    configure(&sandbox, root.path(), "a").await.unwrap();
    sandbox.remove_agent(pool, sandbox.agents(pool)[0].id).unwrap();
    let error = run_once(root.path()).await.unwrap_err();
    assert!(error.to_string().contains("invalid_client") && error.code() == 2, "{error}");
    sandbox.stop();
    assert_eq!(run_once(root.path()).await.unwrap_err().code(), 2);
}

#[tokio::test]
async fn an_agent_whose_registration_is_deleted_while_it_waits_ends_well() {
    let (sandbox, pool) = start(Rules::default());
    let root = tempfile::tempdir().unwrap();
    configure(&sandbox, root.path(), "a").await.unwrap();
    let agent = tokio::spawn(run_once(root.path()));
    assert!(sandbox.until(LONG, |state| state.online_agents() == 1).await);
    sandbox.remove_agent(pool, sandbox.agents(pool)[0].id).unwrap();
    agent.await.unwrap().unwrap();
    assert_eq!(sandbox.history()[0].received, 0);
}

#[tokio::test]
async fn the_calls_come_in_the_order_of_the_real_agents() {
    let (sandbox, pool) = start(Rules::default());
    let root = tempfile::tempdir().unwrap();
    configure(&sandbox, root.path(), "a").await.unwrap();
    let before = sandbox.calls();
    let request = sandbox.queue(pool, JobSpec::new("ci", "x").step("x", "sleep 1")).unwrap();
    run_once(root.path()).await.unwrap();
    assert_eq!(sandbox.request(request).unwrap().result, Some(JobResult::Succeeded));
    let now = sandbox.calls();
    let made = |route: &str| now.get(route).unwrap_or(&0) - before.get(route).unwrap_or(&0);
    let plan = "distributedtask/hubs/build/plans/{id}";
    for (route, count) in [
        ("GET connectiondata".to_owned(), 5),
        ("POST oauth2/token/{id}".to_owned(), 1),
        ("POST customerintelligence/events".to_owned(), 1),
        ("GET featureflags/distributedtask.agent.enableissuesourcevalidation".to_owned(), 1),
        ("OPTIONS ".to_owned(), 1),
        ("POST distributedtask/pools/{id}/sessions".to_owned(), 1),
        (format!("PATCH {plan}/timelines/{{id}}/records"), 2),
        (format!("POST {plan}/timelines/{{id}}/records/{{id}}/feed"), 1),
        (format!("POST {plan}/logs"), 1),
        (format!("POST {plan}/logs/{{id}}"), 1),
        (format!("POST {plan}/events"), 1),
        ("DELETE distributedtask/pools/{id}/jobrequests/{id}".to_owned(), 0),
    ] {
        assert_eq!(made(&route), count, "{route}: {now:?}");
    }
    assert!(made("GET distributedtask/pools/{id}/messages") >= 2, "two at once");
}

#[tokio::test]
async fn an_agent_pauses_after_a_poll_without_a_message_and_outlasts_silence() {
    let poll_pause = Duration::from_secs(3)..=Duration::from_secs(3);
    let settings = Settings { hold: Duration::from_millis(100), poll_pause, ..Settings::default() };
    let sandbox = Sandbox::start("127.0.0.1:0".parse().unwrap(), settings).unwrap();
    let pool = sandbox.add_pool("linux").unwrap();
    let root = tempfile::tempdir().unwrap();
    configure(&sandbox, root.path(), "a").await.unwrap();
    let agent = tokio::spawn(run_once(root.path()));
    assert!(sandbox.until(LONG, |state| state.online_agents() == 1).await);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(sandbox.calls()["GET distributedtask/pools/{id}/messages"], 2, "one poll and one beside it");
    // Whatever refuses it meanwhile, it asks again.
    sandbox.inject(FaultKind::ServerError.times(1).on("messages"));
    let request = sandbox.queue(pool, JobSpec::new("ci", "x").step("x", "true")).unwrap();
    assert!(sandbox.until(LONG, ended(request)).await);
    agent.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_agent_gets_over_what_goes_wrong_on_the_way() {
    let (sandbox, pool) = start(Rules::default());
    sandbox.add_agent(pool, AgentSpec::named("a")).unwrap();
    let root = tempfile::tempdir().unwrap();
    sandbox.inject(FaultKind::LostReply.times(1).on("PUT"));
    sandbox.inject(FaultKind::ServerError.times(1).on("sessions"));
    sandbox.inject(FaultKind::SignInPage.times(1).on("messages"));
    sandbox.inject(FaultKind::Dropped.times(1).on("PATCH"));
    sandbox.inject(FaultKind::CutOff.times(1).on("PATCH"));
    sandbox.inject(FaultKind::Throttled(Duration::from_secs(1)).times(1).on("/events"));
    configure(&sandbox, root.path(), "a").await.unwrap();
    let request = sandbox.queue(pool, JobSpec::new("ci", "x").step("x", "true")).unwrap();
    run_once(root.path()).await.unwrap();
    assert_eq!(sandbox.request(request).unwrap().result, Some(JobResult::Succeeded));
    assert_eq!(sandbox.agents(pool).len(), 1);
}

#[tokio::test]
async fn the_packages_scripts_hand_their_arguments_over() {
    let (sandbox, _) = start(Rules::default());
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = format!("{}/_apis/distributedtask/packages/agent?platform=linux-x64&top=1", sandbox.url());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let list = client.get(url).bearer_auth(sandbox.token()).send().await.unwrap();
    let list: serde_json::Value = list.json().await.unwrap();
    let package = client.get(list["value"][0]["downloadUrl"].as_str().unwrap()).send().await.unwrap();
    let package = package.bytes().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    tar::Archive::new(flate2::read::GzDecoder::new(&package[..])).unpack(folder.path()).unwrap();
    let program = folder.path().join("program");
    std::fs::write(&program, "#!/bin/sh\necho \"$PWD: $*\"\n").unwrap();
    #[cfg(unix)]
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for (script, arguments, expected) in [
        ("config.sh", "--unattended --url x", "sandbox-agent configure --unattended --url x"),
        ("config.sh", "remove --auth PAT", "sandbox-agent remove --auth PAT"),
        ("run.sh", "--once", "sandbox-agent run --once"),
    ] {
        let output = std::process::Command::new(folder.path().join(script))
            .args(words(arguments))
            .env("KUBECTL_ADO", &program)
            .current_dir("/")
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.trim_end().ends_with(&format!("{}: {expected}", folder.path().display())), "{said}");
    }
}
