//! Pools, job requests and parallel jobs, as they stand on the wire.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Server, html, nothing, problem, reply};
use crate::{
    azure_devops::{AzureDevOps, Error, PoolId},
    core::{AgentId, AgentRef, Demand, JobRequest, ParallelJobs, RequestId, Stage},
};

/// As an organization sent it (shortened).
const REQUEST: &str = r#"{"requestId":4711,"queueTime":"2026-03-01T12:00:00.1234567Z","serviceOwner":"00025394","hostId":"h",
    "scopeId":"s","planType":"Build","planId":"p","jobId":"j","demands":["ImageOverride -equals team-a","Agent.Version -gtVersion 2.163.1"],
    "matchedAgents":[{"_links":{},"id":57,"name":"template","version":"4.260.0","enabled":true,"status":"offline"}],
    "definition":{"_links":{"web":{"href":"x"}},"id":12,"name":"ci"},"owner":{"_links":{"web":{"href":"https://dev.azure.com/o/p/_build/results?buildId=345"}},"id":345,"name":"20260301.1"},
    "data":{"ParallelismTag":"Private","IsScheduledKey":"False"},"poolId":11,"agentDelays":[],"agentSpecification":{"VMImage":"x"},
    "orchestrationId":"p.build.__default","matchesAllAgentsInPool":false,"priority":3}"#;

async fn requests(body: &str) -> Vec<JobRequest> {
    let server = Server::start([reply(200, body)]).await;
    server.client().job_requests(PoolId(11)).await.unwrap()
}

#[tokio::test]
async fn a_job_request_is_read_in_both_shapes() {
    for body in [format!(r#"{{"count":1,"value":[{REQUEST}]}}"#), format!("[{REQUEST}]")] {
        let expected = JobRequest {
            id: RequestId(4711),
            queued_at: Some("2026-03-01T12:00:00.1234567Z".parse().unwrap()),
            received_at: None,
            stage: Stage::Waiting,
            demands: vec![
                Demand::parse("ImageOverride -equals team-a"),
                Demand::parse("Agent.Version -gtVersion 2.163.1"),
            ],
            plan_type: Some("Build".to_owned()),
            parallelism_tag: Some("Private".to_owned()),
            pipeline: Some("ci".to_owned()),
            pipeline_run: Some("20260301.1".to_owned()),
            url: Some("https://dev.azure.com/o/p/_build/results?buildId=345".to_owned()),
            priority: 3,
        };
        assert_eq!(requests(&body).await, [expected]);
    }
}

#[tokio::test]
async fn only_a_web_page_is_taken_for_a_link() {
    for (link, taken) in [
        (json!("http://tfs/c/p/_build?id=1"), true),
        (json!("javascript:alert(1)"), false),
        (json!("https://x/\u{1b}[31m"), false),
        (json!(7), false),
    ] {
        let body = json!([{"requestId": 1, "owner": {"name": "r", "_links": {"web": {"href": link}}}}]);
        let read = &requests(&body.to_string()).await[0];
        assert_eq!((read.url.is_some(), read.pipeline_run.as_deref()), (taken, Some("r")), "{link}");
    }
    let odd = r#"[{"requestId":1,"owner":{"name":"r","_links":"none"}}]"#;
    assert_eq!(requests(odd).await[0].pipeline_run.as_deref(), Some("r"));
}

#[tokio::test]
async fn stages_are_told_by_what_is_set() {
    let agent = json!({"id": 5, "name": "a"});
    let body = json!([
        {"requestId": 1},
        {"requestId": 2, "assignTime": "2026-03-01T12:00:00Z"},
        {"requestId": 3, "assignTime": "2026-03-01T12:00:00Z", "reservedAgent": agent},
        {"requestId": 4, "receiveTime": "2026-03-01T12:00:00Z", "reservedAgent": agent},
        {"requestId": 5, "receiveTime": "2026-03-01T12:00:00Z"},
        {"requestId": 6, "receiveTime": "0001-01-01T00:00:00", "result": null, "finishTime": null},
        {"requestId": 7, "result": "canceled"},
        {"requestId": 8, "finishTime": "2026-03-01T12:00:00Z"},
        {"requestId": 9, "result": "somethingNew"},
        {"requestId": 10, "result": 0},
    ]);
    let stages: Vec<_> = requests(&body.to_string()).await.into_iter().map(|r| (r.id.0, r.stage)).collect();
    let agent = AgentRef { id: AgentId(5), name: "a".to_owned() };
    assert_eq!(
        stages,
        [
            (1, Stage::Waiting),
            (2, Stage::Waiting),
            (3, Stage::Assigned(agent.clone())),
            (4, Stage::Running(Some(agent))),
            (5, Stage::Running(None)),
            (6, Stage::Waiting),
        ]
    );
}

#[tokio::test]
async fn a_misshapen_field_that_decides_over_no_agent_costs_only_itself() {
    let body = json!([
        {"requestId": 1, "queueTime": "yesterday", "demands": "docker", "priority": "high", "data": [], "owner": 3,
         "definition": {"name": 7}, "planType": {}},
        {"requestId": 2, "queueTime": "2026-03-01T12:00:00.5", "demands": ["docker", 3, null, "", {"name": "gpu"}, {"name": "os", "value": "x"}],
         "data": {"parallelismtag": "Public"}},
    ]);
    let read = requests(&body.to_string()).await;
    assert_eq!(read.len(), 2);
    assert_eq!((read[0].id, read[0].queued_at, read[0].demands.len()), (RequestId(1), None, 0));
    assert_eq!(read[1].queued_at, Some("2026-03-01T12:00:00.5Z".parse().unwrap()));
    assert_eq!(read[1].demands, ["docker", "gpu", "os -equals x"].map(Demand::parse));
    assert_eq!(read[1].parallelism_tag.as_deref(), Some("Public"));
}

#[tokio::test]
async fn a_server_that_refuses_the_parameter_is_asked_for_all_from_then_on() {
    let body = format!(r#"{{"value":[{REQUEST},{{"requestId":1,"result":"failed"}}]}}"#);
    let server = Server::start([problem(400, "ArgumentException", "completedRequestCount?"), reply(200, &body)]).await;
    let client = server.client();
    for _ in 0..2 {
        assert_eq!(client.job_requests(PoolId(11)).await.unwrap().len(), 1);
    }
    let queries: Vec<_> = server.seen().iter().map(|seen| seen.uri.query().map(str::to_owned)).collect();
    assert_eq!(queries, [Some("completedRequestCount=0".to_owned()), None, None]);
}

#[tokio::test]
async fn ten_thousand_finished_requests_are_read_and_dropped() {
    let finished = REQUEST.replacen("\"requestId\":4711", "\"requestId\":1,\"result\":\"succeeded\"", 1);
    let all: Vec<_> = std::iter::repeat_n(finished.as_str(), 10_000).chain([REQUEST]).collect();
    let read = requests(&format!(r#"{{"count":10001,"value":[{}]}}"#, all.join(","))).await;
    assert_eq!(read.len(), 1);
}

#[tokio::test]
async fn pages_are_followed_to_the_end() {
    let page = |id: u32| reply(200, &json!([{"requestId": id}]).to_string());
    let server = Server::start([
        page(1).header("x-ms-continuationtoken", "two=2"),
        page(2).header("x-ms-continuationtoken", "three"),
        page(3).header("x-ms-continuationtoken", ""),
    ])
    .await;
    let read = server.client().job_requests(PoolId(11)).await.unwrap();
    assert_eq!(read.iter().map(|request| request.id.0).collect::<Vec<_>>(), [1, 2, 3]);
    let query = server.seen()[1].uri.query().map(str::to_owned);
    assert_eq!(query.as_deref(), Some("completedRequestCount=0&continuationToken=two%3D2"));
}

#[tokio::test]
async fn a_list_that_goes_in_circles_is_an_error() {
    let server = Server::start([nothing().header("x-ms-continuationtoken", "again")]).await;
    assert!(matches!(server.client().agents(PoolId(1)).await, Err(Error::Unreadable(_))));
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_pool_is_found_by_whatever_name_it_has() {
    for name in ["Linux Builds", "Größe & C++ #1 100%", "日本語", "a/b?c=d"] {
        let pools = json!({"value": [{"id": 1, "name": format!("{name} 2")}, {"id": 11, "name": name.to_lowercase()}]});
        let server = Server::start([reply(200, &pools.to_string())]).await;
        assert_eq!(server.client().pool(name).await, Ok(PoolId(11)), "{name}");
        let uri = format!("http://x{}", server.seen()[0].uri);
        let asked = reqwest::Url::parse(&uri).unwrap();
        assert_eq!(asked.query_pairs().collect::<Vec<_>>(), [("poolName".into(), name.into())]);
    }
}

#[tokio::test]
async fn a_pool_that_is_not_there_is_named() {
    let server = Server::start([nothing()]).await;
    let error = server.client().pool("Linux Builds").await.unwrap_err();
    assert_eq!(error, Error::NoSuchPool("Linux Builds".to_owned()));
    assert!(error.fix().unwrap().contains("AGENT_POOLS"));
}

#[tokio::test]
async fn a_pool_that_cannot_be_served_is_refused_with_a_reason_and_remembered() {
    for (field, value, said) in [
        ("isHosted", json!(true), "hosted"),
        ("isLegacy", json!(true), "old hosted"),
        ("poolType", json!("deployment"), "deployment"),
        ("options", json!("elasticPool, singleUseAgents"), "elastic"),
    ] {
        let server = Server::start([reply(200, &json!([{"id": 1, "name": "p", field: value}]).to_string())]).await;
        let client = server.client();
        for _ in 0..2 {
            let error = client.pool("p").await.unwrap_err();
            let Error::UnfitPool { pool, reason } = &error else { panic!("{error:?}") };
            assert!(pool == "p" && reason.contains(said), "{error}");
        }
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn unknown_kinds_of_pools_are_served() {
    let pool = json!([{"id": 1, "name": "p", "poolType": "somethingNew", "options": "preserveAgentOnJobFailure, x", "isHosted": null}]);
    let server = Server::start([reply(200, &pool.to_string())]).await;
    assert_eq!(server.client().pool("p").await, Ok(PoolId(1)));
}

fn usage(total: &serde_json::Value, used: u32) -> super::Reply {
    let limit = json!({"totalCount": total, "isHosted": false, "parallelismTag": "x", "resourceLimitsData": {}});
    reply(200, &json!({"resourceLimit": limit, "usedCount": used, "runningRequests": []}).to_string())
}

#[tokio::test]
async fn parallel_jobs_are_read_by_tag() {
    let server = Server::start([usage(&json!(10), 4), usage(&json!(20), 1)]).await;
    let expected = [("Private", ParallelJobs { total: 10, used: 4 }), ("Public", ParallelJobs { total: 20, used: 1 })];
    let expected: BTreeMap<_, _> = expected.map(|(tag, jobs)| (tag.to_owned(), jobs)).into();
    assert_eq!(server.client().parallel_jobs().await, Ok(expected));
    let queries: Vec<_> = server.seen().iter().filter_map(|seen| seen.uri.query().map(str::to_owned)).collect();
    let rest = "poolIsHosted=false&includeRunningRequests=true";
    assert_eq!(queries, [format!("parallelismTag=Private&{rest}"), format!("parallelismTag=Public&{rest}")]);
}

#[tokio::test]
async fn a_count_that_limits_nobody_is_left_out() {
    for total in [json!(null), json!(0), json!(-1), json!(2_147_483_647), json!("many")] {
        let server = Server::start([usage(&json!(1), 0), usage(&total, 0)]).await;
        let limits = server.client().parallel_jobs().await.unwrap();
        assert_eq!(limits.keys().collect::<Vec<_>>(), ["Private"], "{total}");
    }
}

#[tokio::test]
async fn a_server_without_parallel_jobs_limits_nobody_and_is_not_asked_again_soon() {
    for answer in [
        html(404),
        problem(403, "AccessDeniedException", "no"),
        reply(200, "nonsense"),
        problem(400, "X", "no"),
        reply(405, ""),
    ] {
        let server = Server::start([answer]).await;
        let client = server.client();
        assert_eq!(client.parallel_jobs().await, Ok(BTreeMap::new()));
        assert_eq!(client.parallel_jobs().await, Ok(BTreeMap::new()));
        assert_eq!(server.seen().len(), 2);
    }
    let server = Server::start([html(203)]).await;
    assert!(matches!(server.client().parallel_jobs().await, Err(Error::Unauthorized(_))));
}
