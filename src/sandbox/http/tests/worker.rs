//! What the worker of a job may do with the token of its message, and what else differs from server to server.

use super::*;
use crate::sandbox::JobResult;

/// A request that an agent has taken, its message, and the path of its plan.
async fn taken(sandbox: &Sandbox, id: i64, pool: &str, name: &str) -> (i64, Value, String) {
    let agent = sandbox.add_agent(id, AgentSpec::named(name)).unwrap();
    let request = sandbox.queue(id, JobSpec::new("ci", name)).unwrap();
    let session = open_session(sandbox, pool, agent).await;
    let message = get(sandbox, &format!("{pool}/messages?sessionId={session}")).await;
    let body: Value = serde_json::from_str(message["body"].as_str().unwrap()).unwrap();
    let renew = format!("{pool}/jobrequests/{request}?lockToken=0");
    assert_eq!(call(sandbox, Method::PATCH, &renew, Some(json!({ "requestId": request }))).await.status(), 200);
    let plan = body["plan"]["planId"].as_str().unwrap().to_owned();
    (request, body, plan)
}

#[tokio::test]
async fn a_worker_reports_on_its_own_plan_ends_its_job_and_may_do_nothing_else() {
    let sandbox = start(Settings::default());
    let (id, pool) = pool(&sandbox);
    let (request, body, plan) = taken(&sandbox, id, &pool, "a").await;
    let (_, _, other) = taken(&sandbox, id, &pool, "b").await;
    let endpoint = &body["resources"]["endpoints"][0];
    assert_eq!(endpoint["name"], "SystemVssConnection");
    let token = endpoint["authorization"]["parameters"]["AccessToken"].as_str().unwrap();
    let base = endpoint["url"].as_str().unwrap();
    let scope = body["plan"]["scopeIdentifier"].as_str().unwrap();
    let send = |method: Method, path: String, body: Value| async move {
        let request = client().request(method, format!("{base}{path}")).bearer_auth(token).json(&body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap_or_default())
    };
    let of = |plan: &str, rest: &str| format!("{scope}/_apis/distributedtask/hubs/build/plans/{plan}/{rest}");
    let records = json!({ "count": 1, "value": [{ "id": body["jobId"], "state": "inProgress" }] });
    let timeline = of(&plan, &format!("timelines/{plan}/records"));
    assert_eq!(send(Method::PATCH, timeline.clone(), records.clone()).await.0, 200);
    let more = json!({ "count": 1, "value": [{ "id": body["jobId"], "percentComplete": 50 }] });
    let (_, merged) = send(Method::PATCH, timeline, more).await;
    assert_eq!(
        (&merged["value"][0]["state"], &merged["value"][0]["percentComplete"]),
        (&json!("inProgress"), &json!(50))
    );
    assert_eq!(send(Method::POST, of(&plan, "logs"), json!({ "path": "x" })).await.1["id"], 1);
    assert_eq!(send(Method::POST, of(&plan, "logs/7"), json!("x")).await.0, 404);
    for (method, path) in [
        (Method::PATCH, of(&other, &format!("timelines/{other}/records"))),
        (Method::GET, format!("_apis/{pool}/agents")),
        (Method::PATCH, format!("_apis/{pool}/jobrequests/{request}?lockToken=0")),
    ] {
        assert_eq!(send(method, path.clone(), records.clone()).await.0, 403, "{path}");
    }
    let done = |job: &Value| json!({ "name": "JobCompleted", "jobId": job, "result": "succeeded" });
    assert_eq!(send(Method::POST, of(&plan, "events"), done(&json!("another"))).await.0, 400);
    assert_eq!(send(Method::POST, of(&plan, "events"), done(&body["jobId"])).await.0, 200);
    assert_eq!(sandbox.request(request).unwrap().result, Some(JobResult::Succeeded));
    // For a while it may still report; then its token is worth nothing.
    assert_eq!(send(Method::POST, of(&plan, "logs"), json!({ "path": "x" })).await.0, 200);
    sandbox.set_clock_ahead(jiff::SignedDuration::from_mins(6));
    assert_ne!(send(Method::POST, of(&plan, "logs"), json!({ "path": "x" })).await.0, 200);
}

#[tokio::test]
async fn a_server_may_enable_what_is_registered_as_disabled_and_say_its_own_url() {
    let settings = Settings {
        registers_disabled_agents: false,
        server_url: Some("https://tfs.example/".to_owned()),
        ..Settings::default()
    };
    let sandbox = start(settings);
    let (id, pool) = pool(&sandbox);
    let agents = format!("{pool}/agents");
    let body = json!({ "name": "a", "enabled": false });
    let made: Value = call(&sandbox, Method::POST, &agents, Some(body.clone())).await.json().await.unwrap();
    assert_eq!(
        (&made["enabled"], &made["properties"]["ServerUrl"]["$value"]),
        (&json!(true), &json!("https://tfs.example/"))
    );
    let one = format!("{agents}/{}", made["id"]);
    call(&sandbox, Method::PATCH, &one, Some(body)).await;
    assert!(!sandbox.agents(id)[0].enabled);
}
