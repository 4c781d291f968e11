//! Elements that cannot be read: they make the whole answer unreadable, because a list without them would say that an agent
//! or a job request is gone. What may be absent stays absent.

use super::{Server, nothing, reply};
use crate::{
    azure_devops::{AzureDevOps, Error, PoolId},
    core::{AgentId, RequestId, Stage},
};

/// A request and an agent that can be read, beside which the odd one stands.
const GOOD_REQUEST: &str = r#"{"requestId":1}"#;
const GOOD_AGENT: &str = r#"{"id":1,"name":"a","status":"online"}"#;

/// Answers about job requests, and whether they can be read.
const REQUESTS: &[(&str, bool)] = &[
    (r#"{"requestId":2}"#, true),
    (r#"{}"#, false),
    (r#"{"request_id":2}"#, false),
    (r#"{"requestId":null}"#, false),
    (r#"{"requestId":"2"}"#, false),
    (r#"{"requestId":2.5}"#, false),
    (r#"{"requestId":[2]}"#, false),
    (r#"null"#, false),
    (r#"7"#, false),
    (r#""2""#, false),
    (r#"[{"requestId":2}]"#, false),
    (r#"{"requestId":2,"reservedAgent":null}"#, true),
    (r#"{"requestId":2,"reservedAgent":{"id":5}}"#, true),
    (r#"{"requestId":2,"reservedAgent":{"id":5,"name":7}}"#, true),
    (r#"{"requestId":2,"reservedAgent":{"name":"a"}}"#, false),
    (r#"{"requestId":2,"reservedAgent":{"id":"5","name":"a"}}"#, false),
    (r#"{"requestId":2,"reservedAgent":"a"}"#, false),
    (r#"{"requestId":2,"receiveTime":"0001-01-01T00:00:00"}"#, true),
    (r#"{"requestId":2,"receiveTime":"yesterday"}"#, false),
    (r#"{"requestId":2,"receiveTime":1767225600}"#, false),
    (r#"{"requestId":2,"finishTime":"later"}"#, false),
    (r#"{"requestId":2,"result":{"is":"failed"}}"#, false),
    (r#"{"requestId":2,"result":false}"#, false),
    (r#"{"result":"failed"}"#, false),
    (r#"{"requestId":2,"queueTime":"yesterday","priority":"high","demands":"docker","owner":3}"#, true),
];

/// The same of agents.
const AGENTS: &[(&str, bool)] = &[
    (r#"{"id":2,"name":"b","status":"offline"}"#, true),
    (r#"{"id":2,"name":"b","status":"dreaming"}"#, true),
    (r#"{"id":2,"name":"b"}"#, false),
    (r#"{"id":2,"name":"b","status":null}"#, false),
    (r#"{"id":2,"name":"b","status":2}"#, false),
    (r#"{"id":2,"name":"b","state":"online"}"#, false),
    (r#"{"name":"b","status":"online"}"#, false),
    (r#"{"id":"2","name":"b","status":"online"}"#, false),
    (r#"{"id":null,"name":"b","status":"online"}"#, false),
    (r#"{"id":2,"status":"online"}"#, false),
    (r#"{"id":2,"name":3,"status":"online"}"#, false),
    (r#"{"id":2,"name":"","status":"online"}"#, false),
    (r#"{"id":2,"name":"b","status":"online","enabled":null}"#, true),
    (r#"{"id":2,"name":"b","status":"online","enabled":"no"}"#, false),
    (r#"{"id":2,"name":"b","status":"online","assignedRequest":null}"#, true),
    (r#"{"id":2,"name":"b","status":"online","assignedRequest":{"requestId":9,"result":7}}"#, true),
    (r#"{"id":2,"name":"b","status":"online","assignedRequest":{}}"#, false),
    (r#"{"id":2,"name":"b","status":"online","assignedRequest":{"requestId":"9"}}"#, false),
    (r#"{"id":2,"name":"b","status":"online","assignedRequest":9}"#, false),
    (r#"{"id":2,"name":"b","status":"online","systemCapabilities":null,"userCapabilities":{}}"#, true),
    (r#"{"id":2,"name":"b","status":"online","systemCapabilities":{"x":[1]}}"#, true),
    (r#"{"id":2,"name":"b","status":"online","systemCapabilities":["x"]}"#, false),
    (r#"{"id":2,"name":"b","status":"online","userCapabilities":"x"}"#, false),
    (r#"{"id":2,"name":"b","status":"online","createdOn":5,"lastCompletedRequest":"x"}"#, true),
    (r#"null"#, false),
];

fn is_unreadable<T: std::fmt::Debug>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Unreadable(_)))
}

#[tokio::test]
async fn an_element_that_cannot_be_read_makes_the_list_unreadable() {
    for (odd, readable) in REQUESTS {
        for list in [format!("[{GOOD_REQUEST},{odd}]"), format!(r#"{{"count":2,"value":[ {odd} , {GOOD_REQUEST}]}}"#)] {
            let server = Server::start([reply(200, &list)]).await;
            let read = server.client().job_requests(PoolId(1)).await;
            assert_eq!(read.as_ref().is_ok_and(|requests| requests.len() == 2), *readable, "{list}: {read:?}");
            assert!(*readable || is_unreadable(&read), "{list}: {read:?}");
        }
    }
    for (odd, readable) in AGENTS {
        for list in [format!("[{odd},{GOOD_AGENT}]"), format!(r#"{{"value":[{GOOD_AGENT},{odd}],"count":2}}"#)] {
            let server = Server::start([reply(200, &list)]).await;
            let read = server.client().agents(PoolId(1)).await;
            assert_eq!(read.as_ref().is_ok_and(|agents| agents.len() == 2), *readable, "{list}: {read:?}");
            assert!(*readable || is_unreadable(&read), "{list}: {read:?}");
        }
    }
}

#[tokio::test]
async fn a_list_of_another_shape_is_unreadable() {
    for (body, readable) in [
        (r#"{"count":1,"value":[{"requestId":1}]}"#, true),
        (r#" { "value" : [ { "requestId" : 1 } ] , "count" : 1 } "#, true),
        (r#"{"count":null,"value":[{"requestId":1}]}"#, true),
        (r#"{"other":[{"requestId":"[\"value\":["}],"value":[{"requestId":1}]}"#, true),
        (r#"{"count":2,"value":[{"requestId":1}]}"#, false),
        (r#"{"count":0,"value":[{"requestId":1}]}"#, false),
        (r#"{"count":"1","value":[{"requestId":1}]}"#, false),
        (r#"{"count":1 2,"value":[{"requestId":1}]}"#, false),
        (r#"{"count":1,"values":[{"requestId":1}]}"#, false),
        (r#"{"count":1,"value":{"requestId":1}}"#, false),
        (r#"{"count":0,"value":null}"#, false),
        (r#"{"count":0,"value":""}"#, false),
        (r#"{"value":[{"requestId":1}],"value":[{"requestId":2}]}"#, false),
        (r#"{"a":{"value":[{"requestId":1}]}}"#, false),
        (r#"[{"requestId":1} {"requestId":2}]"#, false),
        (r#"[{"requestId":1},,{"requestId":2}]"#, false),
        (r#"[{"requestId":1},]"#, false),
        (r#"[{"requestId":1}]]"#, false),
        (r#"[{"requestId":1}}]"#, false),
        (r#"{}"#, false),
        (r#"null"#, false),
        (r#""value""#, false),
        (r#"[{"requestId":1}"#, false),
        (r#"[{"requestId":1},{"requ"#, false),
        ("", false),
    ] {
        let server = Server::start([reply(200, body)]).await;
        let read = server.client().job_requests(PoolId(1)).await;
        assert_eq!(read.as_ref().is_ok_and(|requests| requests.len() == 1), readable, "{body}: {read:?}");
        assert!(readable || is_unreadable(&read), "{body}: {read:?}");
    }
    let server = Server::start([nothing()]).await;
    assert_eq!(server.client().job_requests(PoolId(1)).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_pool_that_cannot_be_read_is_not_taken_for_one_that_is_not_there() {
    for odd in [
        r#"{"name":"p"}"#,
        r#"{"id":"1","name":"p"}"#,
        r#"{"id":1}"#,
        r#"{"id":1,"name":"p","isHosted":"yes"}"#,
        r#"{"id":1,"name":"p","poolType":2}"#,
        "null",
    ] {
        let server = Server::start([reply(200, &format!("[{odd}]"))]).await;
        let read = server.client().pool("p").await;
        assert!(is_unreadable(&read), "{odd}: {read:?}");
    }
}

#[tokio::test]
async fn what_stands_in_a_list_twice_is_one() {
    let page = r#"[{"requestId":1},{"requestId":2,"receiveTime":"2026-03-01T12:00:00Z"},{"requestId":1,"reservedAgent":{"id":5}}]"#;
    let next = r#"[{"requestId":2},{"requestId":3}]"#;
    let pages = [reply(200, page).header("x-ms-continuationtoken", "2"), reply(200, next)];
    let requests = Server::start(pages).await.client().job_requests(PoolId(1)).await.unwrap();
    assert_eq!(requests.iter().map(|request| request.id).collect::<Vec<_>>(), [1, 2, 3].map(RequestId));
    assert!(matches!(&requests[0].stage, Stage::Assigned(agent) if agent.id == AgentId(5)));
    assert_eq!(requests[1].stage, Stage::Running(None));

    let busy = r#"{"id":1,"name":"a","status":"online","assignedRequest":{"requestId":9}}"#;
    for list in [format!("[{GOOD_AGENT},{busy}]"), format!("[{busy},{GOOD_AGENT}]")] {
        let agents = Server::start([reply(200, &list)]).await.client().agents(PoolId(1)).await.unwrap();
        assert_eq!((agents.len(), agents[0].assigned), (1, Some(RequestId(9))));
    }

    let pool = r#"{"id":7,"name":"p"}"#;
    let server = Server::start([reply(200, &format!("[{pool},{pool}]"))]).await;
    assert_eq!(server.client().pool("p").await, Ok(PoolId(7)));
}

#[tokio::test]
async fn a_list_is_read_whatever_pieces_it_comes_in() {
    use crate::azure_devops::{intake::Intake as _, list::Elements, wire::AgentJson};
    let body = r#"{"count": 2, "x": "[{", "value": [{"id":1,"name":"a \"]}\\","status":"online","systemCapabilities":{"p":"}]"}},
        {"id":2,"name":"日本","status":"offline"}], "y": [1, {"value": [2]}]}"#;
    for size in [1, 2, 3, 7, 1000] {
        let mut elements = Elements::<AgentJson>::default();
        for piece in body.as_bytes().chunks(size) {
            elements.take(piece).unwrap();
        }
        let names: Vec<_> = elements.content().unwrap().into_iter().map(|agent| agent.name).collect();
        assert_eq!(names, ["a \"]}\\", "日本"], "in pieces of {size}");
    }
}

#[tokio::test]
async fn an_element_without_an_end_is_given_up() {
    let endless = format!(r#"[{{"requestId":1,"planType":"{}"}}]"#, "x".repeat(2 * 1024 * 1024));
    let server = Server::start([reply(200, &endless)]).await;
    assert!(is_unreadable(&server.client().job_requests(PoolId(1)).await));
}
