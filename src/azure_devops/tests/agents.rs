//! Agents, as they stand on the wire.

use serde_json::json;

use super::{Server, nothing, problem, reply};
use crate::{
    azure_devops::{AzureDevOps, Error, PoolId},
    core::{AgentId, RequestId},
};

const PLAIN: &str = "includeCapabilities=true&includeAssignedRequest=true";
const WITH_LAST: &str = "includeCapabilities=true&includeAssignedRequest=true&includeLastCompletedRequest=true";

#[tokio::test]
async fn agents_are_read_with_all_their_capabilities() {
    let body = json!({"count": 3, "value": [
        {"systemCapabilities": {"Agent.OS": "Linux", "bash": "/bin/bash", "odd": 3, "none": null}, "userCapabilities": {"team": "a"},
         "id": 57, "name": "job-1", "enabled": true, "status": "online", "assignedRequest": {"requestId": 9, "result": "x"}},
        {"id": 58, "name": "job-2", "enabled": false, "status": "offline"},
        {"id": 59, "name": "job-3", "status": "dreaming", "assignedRequest": null, "systemCapabilities": null},
    ]});
    let server = Server::start([reply(200, &body.to_string())]).await;
    let agents = server.client().agents(PoolId(11)).await.unwrap();
    assert_eq!(agents.len(), 3);
    assert_eq!((agents[0].id, agents[0].name.as_str()), (AgentId(57), "job-1"));
    assert!(agents[0].enabled && agents[0].online);
    assert_eq!(agents[0].assigned, Some(RequestId(9)));
    let capability = |name| agents[0].capabilities.get(name);
    assert_eq!(["agent.os", "TEAM", "odd", "none"].map(capability), [Some("Linux"), Some("a"), Some("3"), Some("")]);
    assert!(!agents[1].enabled && !agents[1].online);
    assert!(agents[2].enabled && !agents[2].online && agents[2].assigned.is_none());
    assert_eq!(server.seen()[0].uri.query(), Some(WITH_LAST));
}

#[tokio::test]
async fn an_agents_moments_are_read_where_they_are_told() {
    let last = |finish: &str| json!({"requestId": 9, "result": "succeeded", "finishTime": finish});
    let body = json!([
        {"id": 1, "name": "a", "status": "online", "createdOn": "2026-03-01T12:00:00.1234567Z", "statusChangedOn": "2026-03-01T12:01:00",
         "lastCompletedRequest": last("2026-03-01T12:02:00Z")},
        {"id": 2, "name": "b", "status": "offline", "createdOn": "0001-01-01T00:00:00", "statusChangedOn": 5, "lastCompletedRequest": last("then")},
        {"id": 3, "name": "c", "status": "offline", "createdOn": null, "lastCompletedRequest": {}},
        {"id": 4, "name": "d", "status": "offline", "lastCompletedRequest": null},
        {"id": 5, "name": "e", "status": "offline", "lastCompletedRequest": "x"},
    ]);
    let server = Server::start([reply(200, &body.to_string())]).await;
    let agents = server.client().agents(PoolId(11)).await.unwrap();
    let moment = |text: &str| Some(text.parse().unwrap());
    assert_eq!(agents[0].created_at, moment("2026-03-01T12:00:00.1234567Z"));
    assert_eq!(agents[0].status_changed_at, moment("2026-03-01T12:01:00Z"));
    assert_eq!(agents[0].last_finished_at, moment("2026-03-01T12:02:00Z"));
    assert_eq!(agents.len(), 5);
    for agent in &agents[1..] {
        assert_eq!(
            (agent.created_at, agent.status_changed_at, agent.last_finished_at),
            (None, None, None),
            "{agent:?}"
        );
    }
}

#[tokio::test]
async fn a_server_that_refuses_the_last_request_is_asked_without_it_from_then_on() {
    let refusal = problem(400, "ArgumentException", "includeLastCompletedRequest?");
    let server = Server::start([refusal, nothing()]).await;
    let client = server.client();
    for _ in 0..2 {
        assert_eq!(client.agents(PoolId(11)).await, Ok(Vec::new()));
    }
    let queries: Vec<_> = server.seen().iter().map(|seen| seen.uri.query().unwrap().to_owned()).collect();
    assert_eq!(queries, [WITH_LAST, PLAIN, PLAIN]);
}

#[tokio::test]
async fn what_is_refused_with_and_without_the_last_request_is_not_blamed_on_it() {
    let server = Server::start([problem(400, "ArgumentException", "no"), problem(400, "X", "no"), nothing()]).await;
    let client = server.client();
    assert_eq!(client.agents(PoolId(11)).await, Err(Error::Unavailable { status: 400, message: "no".to_owned() }));
    client.agents(PoolId(11)).await.unwrap();
    assert_eq!(server.seen()[2].uri.query(), Some(WITH_LAST));
}

#[tokio::test]
async fn capabilities_that_have_not_changed_are_held_once() {
    let answer = |value: &str| {
        reply(
            200,
            &json!([
                {"id": 1, "name": "a", "status": "online", "systemCapabilities": {"PATH": "/bin", "same": "x"}},
                {"id": 2, "name": "b", "status": "online", "systemCapabilities": {"changes": value}},
            ])
            .to_string(),
        )
    };
    let server = Server::start([answer("1"), answer("2")]).await;
    let client = server.client();
    let first = client.agents(PoolId(11)).await.unwrap();
    let next = client.agents(PoolId(11)).await.unwrap();
    let place = |agent: &crate::core::Agent| agent.capabilities.iter().next().map(|(name, _)| name.as_ptr());
    assert_eq!(place(&first[0]), place(&next[0]));
    assert_ne!(place(&first[1]), place(&next[1]));
    assert_eq!(next[1].capabilities.get("changes"), Some("2"));
}
