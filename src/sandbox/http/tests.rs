//! The REST API as a client sees it.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use reqwest::{Method, Response, StatusCode, redirect::Policy};
use serde_json::{Value, json};

use crate::sandbox::{AgentSpec, FaultKind, JobSpec, PoolKind, PoolSpec, Rules, Sandbox, Settings};

fn anywhere() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn start(settings: Settings) -> Sandbox {
    Sandbox::start(anywhere(), settings).unwrap()
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().redirect(Policy::none()).no_proxy().build().unwrap()
}

async fn call(sandbox: &Sandbox, method: Method, path: &str, body: Option<Value>) -> Response {
    try_call(sandbox, method, path, body).await.unwrap()
}

async fn try_call(
    sandbox: &Sandbox,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Result<Response, reqwest::Error> {
    let url = format!("{}/_apis/{path}", sandbox.url());
    let request = client().request(method, url).basic_auth("", Some(sandbox.token()));
    let request = request.header("X-TFS-FedAuthRedirect", "Suppress").timeout(Duration::from_secs(20));
    match body {
        Some(body) => request.json(&body),
        None => request,
    }
    .send()
    .await
}

async fn get(sandbox: &Sandbox, path: &str) -> Value {
    let response = call(sandbox, Method::GET, path, None).await;
    assert_eq!(response.status(), 200, "{path}");
    response.json().await.unwrap()
}

/// The status and the type key of a refusal.
async fn refused(sandbox: &Sandbox, method: Method, path: &str, body: Option<Value>) -> (u16, String) {
    let response = call(sandbox, method, path, body).await;
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    assert!(body["message"].is_string() && body["typeName"].is_string(), "{body}");
    (status, body["typeKey"].as_str().unwrap().to_owned())
}

fn pool(sandbox: &Sandbox) -> (i64, String) {
    let pool = sandbox.add_pool("Linux Builds").unwrap();
    (pool, format!("distributedtask/pools/{pool}"))
}

async fn open_session(sandbox: &Sandbox, pool: &str, agent: i64) -> String {
    let body = json!({ "ownerName": "here", "agent": { "id": agent, "version": "4.260.0" } });
    let response = call(sandbox, Method::POST, &format!("{pool}/sessions"), Some(body)).await;
    assert_eq!(response.status(), 200);
    response.json::<Value>().await.unwrap()["sessionId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_pool_is_found_by_its_exact_name_and_an_unknown_one_is_an_empty_list() {
    let sandbox = start(Settings::default());
    let (pool, _) = pool(&sandbox);
    sandbox.add_pool(PoolSpec { name: "scale set".into(), kind: PoolKind::Elastic }).unwrap();
    sandbox.add_pool(PoolSpec { name: "Azure Pipelines".into(), kind: PoolKind::Hosted }).unwrap();
    sandbox.add_pool(PoolSpec { name: "servers".into(), kind: PoolKind::Deployment }).unwrap();
    let found = get(&sandbox, "distributedtask/pools?poolName=Linux%20Builds").await;
    assert_eq!((&found["count"], &found["value"][0]["id"]), (&json!(1), &json!(pool)));
    assert_eq!(found["value"][0]["options"], "none");
    assert_eq!(get(&sandbox, "distributedtask/pools?poolName=Linux").await["count"], 0);
    assert_eq!(get(&sandbox, "distributedtask/pools?poolType=automation").await["count"], 3);
    let all = get(&sandbox, "distributedtask/pools").await;
    assert_eq!(all["value"][1]["options"], "elasticPool, singleUseAgents");
    assert_eq!(all["value"][2]["isHosted"], true);
    assert_eq!(all["value"][3]["poolType"], "deployment");
    let unknown = refused(&sandbox, Method::GET, "distributedtask/pools/99", None).await;
    assert_eq!(unknown, (404, "TaskAgentPoolNotFoundException".to_owned()));
    assert_eq!(sandbox.calls()["GET distributedtask/pools/{id}"], 1);
}

#[tokio::test]
async fn an_agent_is_registered_replaced_disabled_and_removed() {
    let sandbox = start(Settings::default());
    let (_, pool) = pool(&sandbox);
    let agents = format!("{pool}/agents");
    let body = json!({ "name": "a-1", "version": "99.999.9", "systemCapabilities": { "gpu": "1" },
                       "userCapabilities": { "team": "a" }, "maxParallelism": 1, "unknown": [] });
    let made: Value = call(&sandbox, Method::POST, &agents, Some(body.clone())).await.json().await.unwrap();
    assert_eq!((&made["status"], &made["enabled"]), (&json!("offline"), &json!(true)));
    let taken = refused(&sandbox, Method::POST, &agents, Some(body)).await;
    assert_eq!(taken, (409, "TaskAgentExistsException".to_owned()));

    let one = format!("{agents}/{}", made["id"]);
    let body = json!({ "name": "a-1", "systemCapabilities": { "docker": "1" } });
    assert_eq!(call(&sandbox, Method::PUT, &one, Some(body)).await.status(), 200);
    let plain = get(&sandbox, &format!("{agents}?agentName=A-1")).await;
    assert!(plain["value"][0].get("systemCapabilities").is_none());
    let full = get(&sandbox, &format!("{one}?includeCapabilities=true&includeAssignedRequest=true")).await;
    assert_eq!(full["systemCapabilities"], json!({ "docker": "1" }));
    assert_eq!(full["userCapabilities"], json!({ "team": "a" }), "the owner's word stays");
    assert!(full.get("assignedRequest").is_none());
    assert_eq!(get(&sandbox, &format!("{agents}?demands=gpu")).await["count"], 0);
    assert_eq!(get(&sandbox, &format!("{agents}?demands=docker,team")).await["count"], 1);

    let patched = call(&sandbox, Method::PATCH, &one, Some(json!({ "id": 1, "enabled": false }))).await;
    assert_eq!(patched.json::<Value>().await.unwrap()["enabled"], false);
    assert_eq!(call(&sandbox, Method::DELETE, &one, None).await.status(), 204);
    let gone = refused(&sandbox, Method::DELETE, &one, None).await;
    assert_eq!(gone, (404, "TaskAgentNotFoundException".to_owned()));
}

#[tokio::test]
async fn job_requests_have_one_json_in_general_and_another_with_top() {
    for bare_lists in [false, true] {
        let sandbox = start(Settings {
            bare_lists,
            rules: Rules { old_finished_requests: 300, ..Rules::default() },
            ..Settings::default()
        });
        let (id, pool) = pool(&sandbox);
        sandbox.add_agent(id, AgentSpec::named("placeholder").with("docker", "1")).unwrap();
        sandbox.add_agent(id, AgentSpec::named("other")).unwrap();
        let request = sandbox.queue(id, JobSpec::new("ci", "build").demand("docker")).unwrap();
        let requests = format!("{pool}/jobrequests");

        let unfinished = get(&sandbox, &format!("{requests}?completedRequestCount=0")).await;
        assert_eq!(unfinished["count"], 1);
        let found = &unfinished["value"][0];
        assert_eq!((&found["requestId"], &found["demands"]), (&json!(request), &json!(["docker"])));
        assert_eq!(found["matchedAgents"].as_array().unwrap().len(), 1);
        assert_eq!(found["definition"]["name"], "ci");
        assert_eq!(found["data"]["ParallelismTag"], "Private");
        for absent in ["assignTime", "receiveTime", "reservedAgent", "result", "finishTime", "lockedUntil"] {
            assert!(found.get(absent).is_none(), "{absent}");
        }
        let queued = found["queueTime"].as_str().unwrap();
        assert!(queued.len() == 28 && queued.ends_with('Z'), "{queued}");

        assert_eq!(get(&sandbox, &requests).await["count"], 301);

        let response = call(&sandbox, Method::GET, &format!("{requests}?$top=1000"), None).await;
        let token = response.headers()["x-ms-continuationtoken"].to_str().unwrap().to_owned();
        let top: Value = response.json().await.unwrap();
        let values = if bare_lists { &top } else { &top["value"] }.as_array().unwrap();
        assert_eq!(values.len(), 200);
        assert!(values[0].get("matchedAgents").is_none());
        assert_eq!(values[1]["result"], "succeeded");
        let rest = get(&sandbox, &format!("{requests}?$top=200&continuationToken={token}")).await;
        assert_eq!(if bare_lists { &rest } else { &rest["value"] }.as_array().unwrap().len(), 101);
    }
}

#[tokio::test]
async fn a_request_is_queued_taken_renewed_and_finished_by_rest_alone() {
    let sandbox = start(Settings::default());
    let (id, pool) = pool(&sandbox);
    let agent = sandbox.add_agent(id, AgentSpec::named("a")).unwrap();
    let body = json!({ "definition": { "name": "ci" }, "jobName": "build", "demands": ["Agent.OS -equals linux"] });
    let queued = call(&sandbox, Method::POST, &format!("{pool}/jobrequests"), Some(body)).await;
    let request = queued.json::<Value>().await.unwrap()["requestId"].as_i64().unwrap();
    let session = open_session(&sandbox, &pool, agent).await;
    let again = Some(json!({ "agent": { "id": agent } }));
    let conflict = refused(&sandbox, Method::POST, &format!("{pool}/sessions"), again).await;
    assert_eq!(conflict, (409, "TaskAgentSessionConflictException".to_owned()));

    let message = get(&sandbox, &format!("{pool}/messages?sessionId={session}&lastMessageId=0")).await;
    assert_eq!(message["messageType"], "PipelineAgentJobRequest");
    let job: Value = serde_json::from_str(message["body"].as_str().unwrap()).unwrap();
    assert_eq!(job["requestId"], request);
    let of_message = format!("{pool}/messages/{}?sessionId={session}", message["messageId"]);
    assert_eq!(call(&sandbox, Method::DELETE, &of_message, None).await.status(), 204);

    let one = format!("{pool}/jobrequests/{request}");
    let busy = refused(&sandbox, Method::DELETE, &format!("{pool}/agents/{agent}"), None).await;
    assert_eq!(busy, (409, "TaskAgentJobStillRunningException".to_owned()));
    let lock = "lockToken=00000000-0000-0000-0000-000000000000";
    let renewed = call(&sandbox, Method::PATCH, &format!("{one}?{lock}"), Some(json!({ "requestId": request }))).await;
    let renewed: Value = renewed.json().await.unwrap();
    assert!(renewed["receiveTime"].is_string() && renewed["lockedUntil"].is_string());
    assert_eq!(renewed["reservedAgent"]["status"], "online");
    let shown = get(&sandbox, &format!("{pool}/agents/{agent}?includeAssignedRequest=true")).await;
    assert_eq!(shown["assignedRequest"]["requestId"], request);

    let done = format!("{one}?{lock}&result=succeeded&agentShuttingDown=true");
    assert_eq!(call(&sandbox, Method::DELETE, &done, None).await.status(), 200);
    let again = refused(&sandbox, Method::PATCH, &format!("{one}?{lock}"), Some(json!({}))).await;
    assert_eq!(again, (400, "TaskAgentJobTokenExpiredException".to_owned()));
    let listed = get(&sandbox, &format!("{pool}/jobrequests?agentId={agent}&completedRequestCount=1")).await;
    assert_eq!(listed["value"][0]["result"], "succeeded");
    assert_eq!(call(&sandbox, Method::DELETE, &format!("{pool}/sessions/{session}"), None).await.status(), 204);
}

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
        sandbox.see(|state| state.online_agents())
    };
    let (gone, online_meanwhile) = tokio::join!(poll, watch);
    assert!(gone.is_err());
    assert_eq!(online_meanwhile, 1, "a long poll is a sign of life");
    assert!(sandbox.until(Duration::from_secs(5), |state| state.online_agents() == 0).await);
}

#[tokio::test]
async fn a_wrong_token_gets_a_sign_in_page_or_with_suppress_a_401() {
    let sandbox = start(Settings::default());
    let url = |path: &str| format!("{}/_apis/{path}", sandbox.url());
    let pools = url("distributedtask/pools");
    for request in [client().get(&pools), client().get(&pools).bearer_auth("wrong"), client().post(&pools)] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 203);
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
        assert!(response.text().await.unwrap().contains("Sign In"));
    }
    let wrong = client().get(&pools).basic_auth("", Some("wrong")).header("X-TFS-FedAuthRedirect", "Suppress");
    let response = wrong.send().await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers().get_all("www-authenticate").iter().count(), 3);
    let patched = client().patch(&pools).send().await.unwrap();
    assert_eq!(patched.status(), 401);
    assert_eq!(patched.json::<Value>().await.unwrap()["typeKey"], "UnauthorizedRequestException");
    let bearer = client().get(&pools).bearer_auth(sandbox.token()).send().await.unwrap();
    assert_eq!(bearer.status(), 200);

    let nobody: Value = client().get(url("connectionData")).send().await.unwrap().json().await.unwrap();
    assert!(nobody["authenticatedUser"]["descriptor"].as_str().unwrap().starts_with("System:PublicAccess"));
    let somebody = get(&sandbox, "connectionData").await;
    assert_ne!(somebody["authenticatedUser"]["id"], nobody["authenticatedUser"]["id"]);
    let elsewhere = format!("http://{}/elsewhere/_apis/distributedtask/pools", sandbox.address());
    assert_eq!(client().get(elsewhere).send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn each_fault_shows_as_what_it_is() {
    let sandbox = start(Settings::default());
    pool(&sandbox);
    let path = "distributedtask/pools";
    for (fault, status) in
        [("302", 302), ("sign-in", 203), ("401", 401), ("403", 403), ("404", 404), ("409", 409), ("500", 500)]
    {
        sandbox.inject(format!("{fault}*1").parse().unwrap());
        let response = call(&sandbox, Method::GET, path, None).await;
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(response.headers().contains_key("location"), status == 302);
    }
    sandbox.inject(FaultKind::Throttled(Duration::from_secs(7)).times(1));
    let throttled = call(&sandbox, Method::GET, path, None).await;
    assert_eq!(throttled.status(), 429);
    assert_eq!(throttled.headers()["retry-after"], "7");
    assert_eq!(throttled.headers()["x-ratelimit-delay"], "7.000");
    for name in ["resource", "limit", "remaining", "reset"] {
        assert!(throttled.headers().contains_key(format!("x-ratelimit-{name}")));
    }
    sandbox.inject(FaultKind::RetryAfter(Duration::from_millis(1500)).times(1));
    let slowed = call(&sandbox, Method::GET, path, None).await;
    assert_eq!((slowed.status().as_u16(), &slowed.headers()["retry-after"].as_bytes()), (200, &b"2".as_slice()));
    sandbox.inject(FaultKind::CutOff.times(1));
    assert!(call(&sandbox, Method::GET, path, None).await.json::<Value>().await.is_err());
    sandbox.inject(FaultKind::Latency(Duration::from_millis(300)).times(1));
    let started = Instant::now();
    get(&sandbox, path).await;
    assert!(started.elapsed() >= Duration::from_millis(300));
    sandbox.inject(FaultKind::ServerError.always().on("agents"));
    get(&sandbox, path).await;
    sandbox.clear_faults();
}

#[tokio::test]
async fn a_connection_is_dropped_before_or_after_the_call_is_done() {
    let sandbox = start(Settings::default());
    let (id, pool) = pool(&sandbox);
    let agents = format!("{pool}/agents");
    let body = || Some(json!({ "name": "a" }));
    // hyper's client tries again by itself if a connection that was kept open breaks; these are fresh ones.
    sandbox.inject(FaultKind::Dropped.times(1));
    assert!(try_call(&sandbox, Method::POST, &agents, body()).await.is_err());
    assert!(sandbox.agents(id).is_empty());
    sandbox.inject(FaultKind::LostReply.times(1));
    assert!(try_call(&sandbox, Method::POST, &agents, body()).await.is_err());
    assert_eq!(sandbox.agents(id).len(), 1);
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
    assert_eq!(options.json::<Value>().await.unwrap()["count"], 7);
}

#[tokio::test]
async fn a_lease_lapses_in_time_although_nobody_looks() {
    let rules = Rules { first_lease: Duration::from_millis(300), ..Rules::default() };
    let sandbox = start(Settings { rules, ..Settings::default() });
    let (id, pool) = pool(&sandbox);
    let agent = sandbox.add_agent(id, AgentSpec::named("a")).unwrap();
    open_session(&sandbox, &pool, agent).await;
    let request = sandbox.queue(id, JobSpec::new("ci", "x")).unwrap();
    let ended = |state: &crate::sandbox::State| state.find_request(request).unwrap().finished_at.is_some();
    assert!(!sandbox.until(Duration::from_millis(50), ended).await);
    assert!(sandbox.until(Duration::from_secs(5), ended).await);
}

#[tokio::test]
async fn a_sandbox_stops_with_its_last_handle() {
    let sandbox = start(Settings::default());
    let url = format!("{}/_apis/connectionData", sandbox.url());
    let other = sandbox.clone();
    drop(sandbox);
    assert_eq!(client().get(&url).send().await.unwrap().status(), 200);
    drop(other);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(client().get(&url).send().await.is_err());
}
