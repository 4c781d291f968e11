//! The machine's own identity, by either of its sources.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use super::{
    super::{link::Refusal, managed_identity::ManagedIdentity},
    *,
};

fn link(config: &EntraConfig) -> ManagedIdentity {
    ManagedIdentity::new(config).unwrap().pausing(Duration::from_millis(5))
}

fn until(seconds: i64) -> i64 {
    jiff::Timestamp::now().as_second() + seconds
}

#[tokio::test]
async fn the_metadata_service_is_asked_with_and_without_a_client_id() {
    let server = StandIn::answering(|_| {
        (200, json!({"access_token": "t", "expires_in": "86399", "expires_on": until(3600).to_string(), "client_id": "x"}))
    })
    .await;
    let token = link(&server.config(&[])).token(SCOPE).await.unwrap();
    assert!(token.remaining(jiff::Timestamp::now()) <= Duration::from_secs(3600), "expires_on is what counts");
    link(&server.config(&[("AZURE_CLIENT_ID", "mine")])).token(SCOPE).await.unwrap();
    let [first, second] = &server.asked()[..] else { panic!() };
    assert_eq!(first.path, "/metadata/identity/oauth2/token");
    assert_eq!(first.headers["metadata"], "true");
    assert_eq!(first.query["api-version"], "2018-02-01");
    assert_eq!(first.query["resource"], "499b84ac-1321-427f-aa17-267ca6975798");
    assert_eq!(first.query.get("client_id"), None);
    assert_eq!(second.query["client_id"], "mine");
}

#[tokio::test]
async fn an_identity_endpoint_is_shown_its_header_and_is_believed_to_be_there() {
    let server = StandIn::answering(|_| (200, json!({"access_token": "t", "expires_on": until(3600)}))).await;
    let endpoint = format!("{}/msi/token", server.url);
    let variables = [("IDENTITY_ENDPOINT", &*endpoint), ("IDENTITY_HEADER", "s3cr3t-header")];
    let link = link(&server.config(&variables));
    link.token("https://management.azure.com/.default").await.unwrap();
    let asked = &server.asked()[0];
    assert_eq!(asked.path, "/msi/token");
    assert_eq!(asked.headers["x-identity-header"], "s3cr3t-header");
    assert_eq!(asked.query["api-version"], "2019-08-01");
    assert_eq!(asked.query["resource"], "https://management.azure.com");
    server.now_answers(|_| (400, json!({"statusCode": 400, "message": "no s3cr3t-header identity"})));
    let refusal = link.token("b/.default").await.unwrap_err();
    assert!(matches!(&refusal, Refusal::Failed { what, .. } if what.contains("no *** identity")), "{refusal:?}");
}

#[tokio::test]
async fn a_service_that_starts_or_is_busy_is_asked_again_a_few_times() {
    for status in [404, 410, 429, 500, 503] {
        let tries = AtomicU32::new(0);
        let server = StandIn::answering(move |_| match tries.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => (status, json!({"error": "not_yet"})),
            _ => (200, json!({"access_token": "t", "expires_in": 3600})),
        })
        .await;
        link(&server.config(&[])).token(SCOPE).await.unwrap();
        assert_eq!(server.asked().len(), 3, "{status}");
        server.now_answers(move |_| (status, json!({"error": "not_yet"})));
        let refusal = link(&server.config(&[])).token(SCOPE).await.unwrap_err();
        assert!(matches!(&refusal, Refusal::Failed { what, .. } if what.contains("not_yet")), "{refusal:?}");
        assert!(refusal.may_pass(), "{refusal:?}");
        assert_eq!(server.asked().len(), 3 + 4, "{status}");
    }
}

#[tokio::test]
async fn an_identity_that_the_machine_does_not_have_is_no_failure_of_the_chain() {
    let answer = json!({"error": "invalid_request", "error_description": "Identity not found"});
    let server = StandIn::answering(move |_| (400, answer.clone())).await;
    let refusal = link(&server.config(&[("AZURE_CLIENT_ID", "mine")])).token(SCOPE).await.unwrap_err();
    assert_eq!(refusal, Refusal::Absent("no token for the identity mine (400: Identity not found)".to_owned()));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_machine_without_the_service_is_told_within_a_moment() {
    // Reserved for documentation: nobody is there, and where anything is routed at all it leads nowhere.
    let environment: Environment = [("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://192.0.2.1")].into_iter().collect();
    let config = EntraConfig::of_environment(&environment).unwrap();
    let began = Instant::now();
    let refusal = link(&config).token(SCOPE).await.unwrap_err();
    assert!(matches!(&refusal, Refusal::Absent(what) if what.contains("no machine of Azure's")), "{refusal:?}");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_identity_that_was_there_and_is_not_for_a_moment_may_be_there_again() {
    let server = StandIn::answering(|_| (200, json!({"access_token": "t", "expires_in": 3600}))).await;
    let credential = server.credential(&[]);
    credential.token(SCOPE).await.unwrap();
    for status in [400, 403] {
        server.now_answers(move |_| (status, json!({"error": "not_now"})));
        let error = credential.token(&format!("{status}/.default")).await.unwrap_err();
        assert_eq!(error.said()[0].link, ManagedIdentity::NAME);
        assert!(error.may_pass(), "{status}: {error:?}");
    }
    // Where none was ever there, none is expected.
    let error = server.credential(&[]).token(SCOPE).await.unwrap_err();
    assert!(!error.may_pass(), "{error:?}");
}

#[tokio::test]
async fn an_identity_endpoint_that_does_not_answer_may_answer_a_moment_later() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}/token", listener.local_addr().unwrap());
    drop(listener);
    let variables = [("IDENTITY_ENDPOINT", &*endpoint), ("IDENTITY_HEADER", "s3cr3t-header")];
    let environment: Environment = variables.into_iter().collect();
    let refusal = link(&EntraConfig::of_environment(&environment).unwrap()).token(SCOPE).await.unwrap_err();
    assert!(refusal.may_pass(), "{refusal:?}");
}

#[test]
fn azure_arc_is_told_apart() {
    let environment: Environment = [("IDENTITY_ENDPOINT", "http://localhost:40342/x")].into_iter().collect();
    let config = EntraConfig::of_environment(&environment).unwrap();
    assert!(ManagedIdentity::new(&config).unwrap_err().contains("Azure Arc"));
}
