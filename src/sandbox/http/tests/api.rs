//! What is asked and what is answered.

use super::*;

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
