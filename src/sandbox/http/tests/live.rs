//! What takes time: long polls, lapses, the end.

use super::*;
use crate::sandbox::State;

#[tokio::test]
async fn a_long_poll_delivers_at_once_and_ends_with_202_when_there_is_nothing() {
    let sandbox = start(Settings { hold: Duration::from_millis(700), ..Settings::default() });
    let (id, pool) = pool(&sandbox);
    let agent = sandbox.add_agent(id, AgentSpec::named("a")).unwrap();
    let session = open_session(&sandbox, &pool, agent).await;
    let path = format!("{pool}/messages?sessionId={session}");
    let started = Instant::now();
    let empty = call(&sandbox, Method::GET, &path, None).await;
    assert_eq!(empty.status(), StatusCode::ACCEPTED);
    assert!(started.elapsed() >= Duration::from_millis(700));

    let poll = get(&sandbox, &path);
    let queue = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        sandbox.queue(id, JobSpec::new("ci", "x")).unwrap();
        Instant::now()
    };
    let (message, queued) = tokio::join!(poll, queue);
    assert_eq!(message["messageType"], "PipelineAgentJobRequest");
    assert!(queued.elapsed() < Duration::from_millis(300), "{:?}", queued.elapsed());
}

#[tokio::test]
async fn an_agent_whose_connection_breaks_goes_offline_when_its_time_is_over() {
    let rules = Rules { offline_after: Duration::from_millis(300), ..Rules::default() };
    let sandbox = start(Settings { rules, ..Settings::default() });
    let (id, pool) = pool(&sandbox);
    let agent = sandbox.add_agent(id, AgentSpec::named("a")).unwrap();
    let session = open_session(&sandbox, &pool, agent).await;
    let path = format!("{pool}/messages?sessionId={session}");
    let poll = tokio::time::timeout(Duration::from_millis(900), call(&sandbox, Method::GET, &path, None));
    let watch = async {
        tokio::time::sleep(Duration::from_millis(800)).await;
        sandbox.see(State::online_agents)
    };
    let (gone, online_meanwhile) = tokio::join!(poll, watch);
    assert!(gone.is_err());
    assert_eq!(online_meanwhile, 1, "a long poll is a sign of life");
    assert!(sandbox.until(Duration::from_secs(5), |state| state.online_agents() == 0).await);
}

#[tokio::test]
async fn packages_and_parallel_jobs_are_answered_in_both_forms() {
    let rules = Rules { parallel_jobs: Some(1), ..Rules::default() };
    let sandbox = start(Settings { rules, ..Settings::default() });
    let (id, pool) = pool(&sandbox);
    let by_query = get(&sandbox, "distributedtask/packages/agent?platform=linux-x64&top=1").await;
    let by_route = get(&sandbox, "distributedtask/packages/agent/linux-x64?$top=1").await;
    assert_eq!(by_query, by_route);
    let package = client().get(by_query["value"][0]["downloadUrl"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(package.bytes().await.unwrap()[..2], [0x1f, 0x8b]);

    let agent = sandbox.add_agent(id, AgentSpec::named("a")).unwrap();
    open_session(&sandbox, &pool, agent).await;
    let running = sandbox.queue(id, JobSpec::new("ci", "x")).unwrap();
    let waiting = sandbox.queue(id, JobSpec::new("ci", "y")).unwrap();
    let usage = "distributedtask/resourceusage?parallelismTag=Private&poolIsHosted=false&includeRunningRequests=true";
    let usage = get(&sandbox, usage).await;
    assert_eq!((&usage["resourceLimit"]["totalCount"], &usage["usedCount"]), (&json!(1), &json!(1)));
    assert_eq!(usage["runningRequests"][0]["requestId"], running);
    let status = get(&sandbox, &format!("{pool}/jobrequests/{waiting}?includeStatus=true")).await;
    assert!(status["statusMessage"].as_str().unwrap().contains("Self-Hosted Private"));
    let options = call(&sandbox, Method::OPTIONS, "", None).await;
    assert_eq!(options.json::<Value>().await.unwrap()["count"], 20);
    // Microsoft's Node client asks for the resources of an area.
    let options = call(&sandbox, Method::OPTIONS, "Location", None).await.json::<Value>().await.unwrap();
    assert_eq!((&options["count"], &options["value"][0]["resourceName"]), (&json!(1), &json!("ResourceAreas")));
    assert_eq!(get(&sandbox, "resourceAreas").await["count"], 0);
}

#[tokio::test]
async fn a_lease_lapses_in_time_although_nobody_looks() {
    let rules = Rules { first_lease: Duration::from_millis(300), ..Rules::default() };
    let sandbox = start(Settings { rules, ..Settings::default() });
    let (id, pool) = pool(&sandbox);
    let agent = sandbox.add_agent(id, AgentSpec::named("a")).unwrap();
    open_session(&sandbox, &pool, agent).await;
    let request = sandbox.queue(id, JobSpec::new("ci", "x")).unwrap();
    let ended = |state: &State| state.find_request(request).unwrap().finished_at.is_some();
    assert!(!sandbox.until(Duration::from_millis(50), ended).await);
    assert!(sandbox.until(Duration::from_secs(5), ended).await);
}

#[tokio::test]
async fn a_sandbox_stops_with_its_last_handle() {
    let sandbox = start(Settings::default());
    let url = format!("{}/_apis/connectionData", sandbox.url());
    let other = sandbox.clone();
    drop(sandbox);
    assert_eq!(client().get(&url).send().await.unwrap().status(), 401);
    drop(other);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(client().get(&url).send().await.is_err());
}
