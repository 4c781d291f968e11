//! Changes of agents' registrations: what is sent, and what becomes of each class of answer.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{QUICK, Reply, Server, html, nothing, problem, reply};
use crate::{
    azure_devops::{AzureDevOps, Error, PoolId, ProofStep, RestClient, call::Timing},
    core::{AgentId, Placeholder},
};

const POOL: PoolId = PoolId(11);
const AGENT: AgentId = AgentId(57);

fn placeholder() -> Placeholder {
    let capabilities = [("gpu", "true"), ("Agent.OS", "Linux")].into_iter().collect();
    Placeholder { name: "placeholder-1".to_owned(), template: "gpu".to_owned(), capabilities }
}

fn done() -> Reply {
    reply(200, r#"{"id":57,"name":"placeholder-1","status":"offline"}"#)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Disable,
    Deregister,
    Register,
    Update,
}

impl Change {
    const ALL: [Self; 4] = [Self::Disable, Self::Deregister, Self::Register, Self::Update];

    async fn ask(self, client: &RestClient) -> Result<(), Error> {
        match self {
            Self::Disable => client.disable(POOL, AGENT).await,
            Self::Deregister => client.deregister(POOL, AGENT).await,
            Self::Register => client.register(POOL, &placeholder()).await,
            Self::Update => client.update(POOL, AGENT, &placeholder()).await,
        }
    }

    async fn answered(self, answer: Reply) -> Result<(), Error> {
        let server = Server::start([answer]).await;
        let result = self.ask(&server.client()).await;
        assert_eq!(server.seen().len(), 1, "{self:?} is sent once");
        result
    }
}

#[tokio::test]
async fn each_change_is_sent_as_azure_devops_takes_it() {
    let registered = json!({
        "name": "placeholder-1", "enabled": false, "maxParallelism": 1, "provisioningState": "Provisioned",
        "version": "99.999.9",
        "osDescription": "none: it never runs, and stands for the agent template \"gpu\"",
        "systemCapabilities": {"gpu": "true", "Agent.OS": "Linux"},
    });
    let mut updated = registered.clone();
    updated["id"] = json!(57);
    for (change, method, path, body) in [
        (Change::Disable, "PATCH", "agents/57", Some(json!({"id": 57, "enabled": false}))),
        (Change::Deregister, "DELETE", "agents/57", None),
        (Change::Register, "POST", "agents", Some(registered)),
        (Change::Update, "PUT", "agents/57", Some(updated)),
    ] {
        let server = Server::start([done()]).await;
        change.ask(&server.client()).await.unwrap();
        let seen = server.seen().remove(0);
        assert_eq!(seen.method, method);
        assert_eq!(seen.uri.to_string(), format!("/contoso/_apis/distributedtask/pools/11/{path}"));
        assert_eq!(serde_json::from_slice::<Value>(&seen.body).ok(), body);
        assert_eq!(seen.header("content-type"), if body.is_some() { "application/json" } else { "" });
        assert_eq!(seen.header("accept"), "application/json;api-version=6.0-preview.1");
        assert_eq!(seen.header("x-tfs-fedauthredirect"), "Suppress");
        assert!(seen.header("authorization").starts_with("Basic "));
    }
}

#[tokio::test]
async fn a_change_is_done_whatever_a_good_answer_holds() {
    for change in Change::ALL {
        for answer in [done(), reply(200, ""), reply(201, "{}"), reply(204, ""), reply(200, "{cut")] {
            assert_eq!(change.answered(answer).await, Ok(()), "{change:?}");
        }
    }
}

#[tokio::test]
async fn an_agent_that_is_gone_is_disabled_and_deregistered_but_cannot_be_updated() {
    let gone = || problem(404, "TaskAgentNotFoundException", "m");
    for answer in [gone(), problem(400, "TaskAgentNotFoundException", "m"), reply(404, ""), reply(404, "{}")] {
        assert_eq!(Change::Disable.answered(answer.clone()).await, Ok(()));
        assert_eq!(Change::Deregister.answered(answer.clone()).await, Ok(()));
        let error = Change::Update.answered(answer).await.unwrap_err();
        assert!(matches!(error, Error::Gone(_) | Error::NotFound(_)), "{error:?}");
    }
    let error = Change::Update.answered(gone()).await.unwrap_err();
    assert_eq!((&error, error.reason(), error.fix()), (&Error::Gone("m".to_owned()), "gone", None));
}

#[tokio::test]
async fn a_pool_or_a_server_that_is_not_there_is_not_taken_for_an_agent_that_is_gone() {
    let pool = || problem(404, "TaskAgentPoolNotFoundException", "m");
    for answer in [pool(), problem(404, "VssResourceNotFoundException", "m"), html(404)] {
        for change in Change::ALL {
            let error = change.answered(answer.clone()).await.unwrap_err();
            assert!(matches!(error, Error::NotFound(_)), "{change:?} {error:?}");
        }
    }
}

#[tokio::test]
async fn a_busy_agent_and_a_taken_name_are_told_by_the_kind_of_exception() {
    for status in [400, 409, 500] {
        let error =
            Change::Deregister.answered(problem(status, "TaskAgentJobStillRunningException", "m")).await.unwrap_err();
        assert_eq!((&error, error.reason()), (&Error::Busy("m".to_owned()), "busy"));
        assert!(error.fix().unwrap().contains("tried again"));

        let error = Change::Register.answered(problem(status, "TaskAgentExistsException", "m")).await.unwrap_err();
        assert_eq!((&error, error.reason()), (&Error::Taken("m".to_owned()), "taken"));
    }
}

#[tokio::test]
async fn a_missing_right_says_which_role_and_scope_are_needed() {
    for change in Change::ALL {
        let refusal = problem(403, "AccessDeniedException", "X needs Manage permissions for pool Y");
        let error = change.answered(refusal).await.unwrap_err();
        assert_eq!(error, Error::Forbidden("X needs Manage permissions for pool Y".to_owned()));
        let fix = error.fix().unwrap();
        assert!(fix.contains("Agent Pools (read, manage)") && fix.contains("Administrator"), "{fix}");
    }
}

#[tokio::test]
async fn a_sign_in_page_is_no_success() {
    for change in Change::ALL {
        for answer in [html(200), html(203), html(302).header("location", "https://a/_signin"), reply(401, "")] {
            let error = change.answered(answer).await.unwrap_err();
            assert!(matches!(error, Error::Unauthorized(_)), "{change:?} {error:?}");
        }
    }
}

#[tokio::test]
async fn a_change_that_failed_is_left_to_the_next_pass() {
    for change in Change::ALL {
        for answer in [reply(500, ""), html(502), problem(503, "X", "m"), reply(504, ""), done().cut()] {
            change.answered(answer).await.unwrap_err();
        }
    }
}

#[tokio::test]
async fn a_change_that_hangs_ends_at_its_deadline() {
    for change in Change::ALL {
        let server = Server::start([done().never()]).await;
        let timing = Timing { call: Duration::from_millis(200), ..QUICK };
        let start = Instant::now();
        let error = change.ask(&server.client_with(timing)).await.unwrap_err();
        assert_eq!(error, Error::Unreachable("127.0.0.1 did not answer within 200ms".to_owned()));
        assert!(start.elapsed() < Duration::from_secs(3));
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn changes_and_questions_leave_azure_devops_alone_together() {
    let server = Server::start([reply(429, "").header("retry-after", "600")]).await;
    let client = server.client();
    assert_eq!(client.disable(POOL, AGENT).await, Err(Error::Throttled(Duration::from_secs(600))));
    for change in Change::ALL {
        assert!(matches!(change.ask(&client).await, Err(Error::Throttled(_))));
    }
    assert!(matches!(client.agents(POOL).await, Err(Error::Throttled(_))));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn an_older_server_is_asked_for_a_change_in_a_version_that_it_speaks() {
    let server = Server::start([problem(400, "VssVersionOutOfRangeException", "out of range"), done()]).await;
    let client = server.client();
    client.register(POOL, &placeholder()).await.unwrap();
    client.disable(POOL, AGENT).await.unwrap();
    let accepted: Vec<_> = server.seen().iter().map(|seen| seen.header("accept").to_owned()).collect();
    let version = |version: &str| format!("application/json;api-version={version}-preview.1");
    assert_eq!(accepted, [version("6.0"), version("5.0"), version("5.0")]);
}

#[tokio::test]
async fn a_dwindling_allowance_stretches_the_polls() {
    let tell =
        |remaining: &str| nothing().header("x-ratelimit-limit", "200").header("x-ratelimit-remaining", remaining);
    let server = Server::start([nothing(), tell("50"), tell("10"), tell("150")]).await;
    let client = server.client();
    assert_eq!(client.stretch(), 1.0);
    for expected in [1.0, 2.0, 8.0, 1.0] {
        client.job_requests(POOL).await.unwrap();
        assert_eq!(client.stretch(), expected);
    }
}

#[tokio::test]
async fn an_answer_of_the_token_address_without_an_end_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/contoso/_apis/oauth2/token", listener.local_addr().unwrap());
    let registered = json!({"id": 7, "authorization": {"clientId": "c", "authorizationUrl": address}});
    let server = Server::on(listener, [reply(200, &registered.to_string()), reply(200, &"x".repeat(1024 * 1024))]);
    let proof = server.client().prove(POOL, None, &placeholder()).await;
    let Some((ProofStep::SignIn, Error::Unreadable(said))) = proof.failed else { panic!("{proof:?}") };
    assert!(said.contains("too long"), "{said}");
}
