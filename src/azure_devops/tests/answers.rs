//! What each class of answer becomes.

use std::time::Duration;

use super::{Reply, Server, TOKEN, html, nothing, problem, reply};
use crate::azure_devops::{AzureDevOps, Error, PoolId, RestClient};

async fn asked(reply: Reply) -> Result<usize, Error> {
    let server = Server::start([reply]).await;
    server.client().job_requests(PoolId(7)).await.map(|requests| requests.len())
}

#[tokio::test]
async fn a_sign_in_page_is_a_rejected_token_and_never_an_empty_queue() {
    let page_without_type = html(200).header("content-type", "application/octet-stream");
    let location = "https://spsprodeus.vssps.visualstudio.com/_signin?realm=dev.azure.com&ctx=secret";
    for answer in [
        html(203),
        reply(203, r#"{"count":0,"value":[]}"#),
        html(200),
        page_without_type,
        html(302).header("location", location),
        reply(301, "").header("location", "/"),
        html(401),
        reply(401, ""),
    ] {
        let error = asked(answer).await.unwrap_err();
        assert!(matches!(error, Error::Unauthorized(_)), "{error:?}");
        assert_eq!(error.reason(), "unauthorized");
        assert!(error.fix().unwrap().contains("Agent Pools (read, manage)"));
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn the_kind_of_exception_counts_more_than_the_status() {
    let unauthorized = |m: &str| Error::Unauthorized(m.to_owned());
    let forbidden = |m: &str| Error::Forbidden(m.to_owned());
    let not_found = |m: &str| Error::NotFound(m.to_owned());
    let failed = |status, m: &str| Error::Unavailable { status, message: m.to_owned() };
    for (status, kind, expected) in [
        (401, "UnauthorizedRequestException", unauthorized("m")),
        (403, "UnauthorizedRequestException", unauthorized("m")),
        (400, "AccessDeniedException", forbidden("m")),
        (403, "SomethingNew", forbidden("m")),
        (401, "SomethingNew", unauthorized("m")),
        (404, "TaskAgentPoolNotFoundException", not_found("m")),
        (500, "TaskAgentPoolNotFoundException", not_found("m")),
        (404, "SomethingNew", not_found("m")),
        (404, "TaskAgentNotFoundException", Error::Gone("m".to_owned())),
        (409, "TaskAgentExistsException", Error::Taken("m".to_owned())),
        (409, "TaskAgentJobStillRunningException", Error::Busy("m".to_owned())),
        (400, "TaskAgentJobStillRunningException", Error::Busy("m".to_owned())),
        (409, "TaskAgentPendingUpdateExistsException", failed(409, "m")),
        (500, "SomethingNew", failed(500, "m")),
        (400, "SomethingNew", failed(400, "m")),
        (418, "", failed(418, "m")),
    ] {
        assert_eq!(asked(problem(status, kind, "m")).await, Err(expected), "{status} {kind}");
    }
}

#[tokio::test]
async fn a_page_with_an_error_status_keeps_its_meaning() {
    let error = asked(html(404)).await.unwrap_err();
    let Error::NotFound(message) = &error else { panic!("{error:?}") };
    assert_eq!(
        message,
        "404 Not Found for /contoso/_apis/distributedtask/pools/7/jobrequests, a page \"Azure DevOps | Sign In\""
    );
    assert!(error.fix().unwrap().contains("ORG_URL"));
    assert!(matches!(asked(html(503)).await, Err(Error::Unavailable { status: 503, .. })));
}

#[tokio::test]
async fn the_service_error_header_says_why() {
    let answer = html(401).header("x-tfs-serviceerror", "Access+Denied%3a+The+Personal+Access+Token+used+has+expired.");
    let expected = "Access Denied: The Personal Access Token used has expired.";
    assert_eq!(asked(answer).await, Err(Error::Unauthorized(expected.to_owned())));
}

#[tokio::test]
async fn a_refused_call_is_throttled_for_as_long_as_it_says() {
    let error = asked(reply(429, "").header("retry-after", "17")).await.unwrap_err();
    assert_eq!(error, Error::Throttled(Duration::from_secs(17)));
    assert_eq!(error.retry_after(), Some(Duration::from_secs(17)));
    assert_eq!(error.reason(), "throttled");
}

#[tokio::test]
async fn what_is_no_list_is_unreadable_and_never_an_empty_queue() {
    for body in
        ["", "{}", "null", "3", "\"text\"", r#"{"count":0}"#, r#"{"value":null}"#, r#"{"value":{"value":[]}}"#, "[1]"]
    {
        let result = asked(reply(200, body)).await;
        assert!(matches!(result, Err(Error::Unreadable(_))), "{body}: {result:?}");
    }
    assert_eq!(asked(nothing()).await, Ok(0));
}

#[tokio::test]
async fn a_message_is_shortened_and_cannot_steer_a_terminal() {
    let Error::Forbidden(message) =
        asked(problem(403, "", &format!("\u{1b}[2J{}", "x".repeat(5000)))).await.unwrap_err()
    else {
        panic!("not forbidden")
    };
    assert!(message.starts_with("\\u{1b}[2Jxxx") && message.len() < 400, "{message}");
}

#[tokio::test]
async fn a_token_that_a_server_repeats_stays_out_of_the_error() {
    let encoded = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, format!(":{TOKEN}"));
    let said = format!("bad {TOKEN} and Basic {encoded} {}", "x".repeat(262));
    let header = reply(401, "").header("x-tfs-serviceerror", &said);
    let location = reply(302, "").header("location", &format!("https://a/{TOKEN}"));
    let title = reply(404, &format!("<title>{said}</title>")).header("content-type", "text/html");
    let json = reply(200, &format!("{{\"value\":\"{said}\"}}"));
    for answer in [problem(403, "", &said), problem(500, "", &said), header, location, title, json] {
        let error = asked(answer).await.unwrap_err();
        let text = format!("{error} {error:?} {:?}", error.fix());
        for secret in [TOKEN, &TOKEN[..12], encoded.as_str()] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    let server = Server::start([nothing()]).await;
    assert!(!format!("{:?}", server.client()).contains(TOKEN));
}

#[tokio::test]
async fn the_proxys_own_refusal_is_called_that() {
    let error = asked(reply(407, "")).await.unwrap_err();
    assert!(error.to_string().contains("proxy"), "{error}");
    assert!(error.fix().unwrap().contains("HTTPS_PROXY"));
}

#[tokio::test]
async fn every_request_says_what_azure_devops_wants_to_hear() {
    let server = Server::start([nothing()]).await;
    server.client().job_requests(PoolId(7)).await.unwrap();
    let seen = server.seen().remove(0);
    assert_eq!(seen.uri, "/contoso/_apis/distributedtask/pools/7/jobrequests?completedRequestCount=0");
    assert_eq!(seen.header("x-tfs-fedauthredirect"), "Suppress");
    assert_eq!(seen.header("accept"), "application/json;api-version=6.0-preview.1");
    assert_eq!(seen.header("user-agent"), concat!("kubectl-ado/", env!("CARGO_PKG_VERSION")));
    assert!(seen.header("authorization").starts_with("Basic "));
}

#[tokio::test]
async fn a_user_name_in_the_url_does_not_displace_the_token() {
    let server = Server::start([nothing()]).await;
    let url = server.url.replace("http://", "http://contoso:nopat@");
    let token = crate::config::TokenSource::Value(TOKEN.into());
    RestClient::new(&url, token, None).unwrap().job_requests(PoolId(7)).await.unwrap();
    let seen = server.seen().remove(0);
    assert_eq!(seen.headers.get_all("authorization").iter().count(), 1);
    let encoded = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, format!(":{TOKEN}"));
    assert_eq!(seen.header("authorization"), format!("Basic {encoded}"));
}

#[tokio::test]
async fn an_older_server_is_asked_in_a_version_that_it_speaks() {
    let server = Server::start([
        problem(400, "VssVersionOutOfRangeException", "of 6.0 is out of range for this server"),
        problem(400, "VssInvalidPreviewVersionException", "The -preview flag must be supplied"),
        nothing(),
    ])
    .await;
    let client = server.client();
    client.job_requests(PoolId(7)).await.unwrap();
    let accepted: Vec<_> = server.seen().iter().map(|seen| seen.header("accept").to_owned()).collect();
    let json = "application/json";
    assert_eq!(
        accepted,
        [format!("{json};api-version=6.0-preview.1"), format!("{json};api-version=5.0-preview.1"), json.to_owned()]
    );

    client.job_requests(PoolId(7)).await.unwrap();
    assert_eq!(server.seen()[0].header("accept"), json, "what worked is remembered");
}

#[tokio::test]
async fn a_server_that_speaks_no_version_is_not_asked_for_ever() {
    let server = Server::start([problem(400, "VssVersionOutOfRangeException", "no")]).await;
    let error = server.client().agents(PoolId(7)).await.unwrap_err();
    assert_eq!(error, Error::Unavailable { status: 400, message: "no".to_owned() });
    assert_eq!(server.seen().len(), 3);
}
