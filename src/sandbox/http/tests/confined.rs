//! What an agent's token is good for.

use super::{keys::*, *};

const LOCK: &str = "lockToken=00000000-0000-0000-0000-000000000000";

/// Two agents with keys; the first has a session and a job request, the second a session.
struct Stage {
    sandbox: Sandbox,
    pool: i64,
    agent: Registered,
    token: String,
    session: String,
    request: i64,
    other: Registered,
    others_session: String,
    others_request: i64,
}

async fn stage() -> Stage {
    let sandbox = start(Settings { hold: Duration::from_millis(50), ..Settings::default() });
    let (pool, _) = pool(&sandbox);
    let (key, others_key) = (Key::first(), Key::second());
    let agent = register(&sandbox, pool, "a", &key).await;
    let other = register(&sandbox, pool, "b", &others_key).await;
    let token = sign_in(&agent, &key).await;
    let session = open(&sandbox, &agent, &token).await.1["sessionId"].as_str().unwrap().to_owned();
    let request = sandbox.queue(pool, JobSpec::new("ci", "mine")).unwrap();
    let others_token = sign_in(&other, &others_key).await;
    let others_session = open(&sandbox, &other, &others_token).await.1["sessionId"].as_str().unwrap().to_owned();
    let others_request = sandbox.queue(pool, JobSpec::new("ci", "others")).unwrap();
    Stage { sandbox, pool, agent, token, session, request, other, others_session, others_request }
}

impl Stage {
    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        by(&self.sandbox, &self.token, method, path, body).await
    }
}

#[tokio::test]
async fn an_agent_may_do_its_own_work() {
    let stage = stage().await;
    let pool = format!("distributedtask/pools/{}", stage.pool);
    let (session, request, id) = (&stage.session, stage.request, stage.agent.id);
    for (method, path, body, status) in [
        (Method::OPTIONS, String::new(), None, 200),
        (Method::GET, "connectionData".to_owned(), None, 200),
        (Method::GET, "distributedtask/packages/agent?platform=linux-x64&top=1".to_owned(), None, 200),
        (Method::GET, "distributedtask/packages/agent/linux-x64".to_owned(), None, 200),
        (Method::GET, format!("{pool}/agents/{id}?includeCapabilities=true"), None, 200),
        (Method::GET, format!("{pool}/messages?sessionId={session}&lastMessageId=0"), None, 200),
        (Method::DELETE, format!("{pool}/messages/1?sessionId={session}"), None, 204),
        (Method::GET, format!("{pool}/messages?sessionId={session}&lastMessageId=1"), None, 202),
        (Method::PATCH, format!("{pool}/jobrequests/{request}?{LOCK}"), Some(json!({ "requestId": request })), 200),
        (Method::DELETE, format!("{pool}/jobrequests/{request}?{LOCK}&result=succeeded"), None, 200),
        // It has lost it, and has to be told.
        (Method::PATCH, format!("{pool}/jobrequests/{request}?{LOCK}"), Some(json!({})), 400),
        (Method::DELETE, format!("{pool}/sessions/{session}"), None, 204),
        (Method::GET, format!("{pool}/messages?sessionId={session}"), None, 400),
        (Method::POST, format!("{pool}/sessions"), Some(json!({ "agent": { "id": id } })), 200),
    ] {
        let (found, reply) = stage.call(method.clone(), &path, body).await;
        assert_eq!(found, status, "{method} {path}: {reply}");
    }
    assert_eq!(stage.sandbox.request(request).unwrap().result, Some(crate::sandbox::JobResult::Succeeded));
}

#[tokio::test]
async fn an_agent_may_do_nothing_else() {
    let stage = stage().await;
    let elsewhere = stage.sandbox.add_pool("elsewhere").unwrap();
    let pool = format!("distributedtask/pools/{}", stage.pool);
    let (own, others) = (stage.agent.id, stage.other.id);
    let (session, others_session) = (&stage.session, &stage.others_session);
    let (request, others_request) = (stage.request, stage.others_request);
    let named = || Some(json!({ "name": "c" }));
    let nothing = || Some(json!({}));
    let before = stage.sandbox.agents(stage.pool).len();
    for (method, path, body) in [
        (Method::GET, "distributedtask/pools".to_owned(), None),
        (Method::GET, pool.clone(), None),
        (Method::GET, format!("{pool}/permissions/27"), None),
        (Method::GET, "distributedtask/resourceusage".to_owned(), None),
        (Method::GET, format!("{pool}/agents"), None),
        (Method::GET, format!("{pool}/agents?agentName=a"), None),
        (Method::POST, format!("{pool}/agents"), named()),
        (Method::GET, format!("{pool}/agents/{others}"), None),
        (Method::PUT, format!("{pool}/agents/{own}"), named()),
        (Method::PATCH, format!("{pool}/agents/{own}"), Some(json!({ "enabled": true }))),
        (Method::DELETE, format!("{pool}/agents/{own}"), None),
        (Method::PUT, format!("{pool}/agents/{own}/usercapabilities"), nothing()),
        (Method::PUT, format!("{pool}/agents/{others}"), named()),
        (Method::PATCH, format!("{pool}/agents/{others}"), nothing()),
        (Method::DELETE, format!("{pool}/agents/{others}"), None),
        (Method::GET, format!("{pool}/jobrequests"), None),
        (Method::GET, format!("{pool}/jobrequests?completedRequestCount=0"), None),
        (Method::GET, format!("{pool}/jobrequests/{request}"), None),
        (Method::POST, format!("{pool}/jobrequests"), nothing()),
        (Method::PATCH, format!("{pool}/jobrequests/{request}?updateOptions=bumpRequestToTop"), nothing()),
        (Method::PATCH, format!("{pool}/jobrequests/{others_request}?{LOCK}"), nothing()),
        (Method::DELETE, format!("{pool}/jobrequests/{others_request}?{LOCK}&result=failed"), None),
        (Method::PATCH, format!("{pool}/jobrequests/99?{LOCK}"), nothing()),
        (Method::POST, format!("{pool}/sessions"), Some(json!({ "agent": { "id": others } }))),
        (Method::POST, format!("{pool}/sessions"), nothing()),
        (Method::DELETE, format!("{pool}/sessions/{others_session}"), None),
        (Method::GET, format!("{pool}/messages?sessionId={others_session}"), None),
        (Method::DELETE, format!("{pool}/messages/1?sessionId={others_session}"), None),
        (Method::GET, format!("distributedtask/pools/{elsewhere}/agents/{own}"), None),
        (Method::GET, format!("distributedtask/pools/{elsewhere}/messages?sessionId={session}"), None),
        (Method::GET, "distributedtask/anything".to_owned(), None),
    ] {
        let (status, reply) = stage.call(method.clone(), &path, body).await;
        assert_eq!((status, &reply["typeKey"]), (403, &json!("AccessDeniedException")), "{method} {path}: {reply}");
    }
    assert_eq!(stage.sandbox.agents(stage.pool).len(), before);
    assert_eq!(stage.sandbox.request(stage.others_request).unwrap().result, None);
}

#[tokio::test]
async fn a_fenced_agent_finishes_its_job_and_gets_no_second_one() {
    let stage = stage().await;
    let pool = format!("distributedtask/pools/{}", stage.pool);
    let agent = format!("{pool}/agents/{}", stage.agent.id);
    let done = format!("{pool}/jobrequests/{}?{LOCK}", stage.request);
    assert_eq!(stage.call(Method::PATCH, &done, Some(json!({}))).await.0, 200);
    call(&stage.sandbox, Method::PATCH, &agent, Some(json!({ "enabled": false }))).await;
    assert_eq!(stage.call(Method::DELETE, &format!("{done}&result=succeeded"), None).await.0, 200);
    let second = stage.sandbox.queue(stage.pool, JobSpec::new("ci", "second")).unwrap();
    // Whoever holds the files may well open a session; it changes nothing.
    let own = format!("{pool}/sessions/{}", stage.session);
    assert_eq!(stage.call(Method::DELETE, &own, None).await.0, 204);
    let (status, opened) = open(&stage.sandbox, &stage.agent, &stage.token).await;
    assert_eq!(status, 200);
    let messages = format!("{pool}/messages?sessionId={}", opened["sessionId"].as_str().unwrap());
    assert_eq!(stage.call(Method::GET, &messages, None).await.0, 202);
    assert_eq!(stage.call(Method::PATCH, &agent, Some(json!({ "enabled": true }))).await.0, 403);
    assert_eq!(stage.sandbox.request(second).unwrap().phase(), crate::sandbox::Phase::Queued);
}
