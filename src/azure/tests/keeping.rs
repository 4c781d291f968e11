//! How long tokens are kept, and who waits for a new one.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::azure::AccessToken;

#[tokio::test]
async fn a_token_is_asked_for_once_and_kept_for_its_scope() {
    let server = StandIn::giving(3600).await;
    let credential = server.credential(&SECRET);
    let clone = credential.clone();
    let (one, other) = tokio::join!(credential.token(SCOPE), clone.token(SCOPE));
    assert_eq!([text(&one.unwrap()), text(&other.unwrap())], ["token-1", "token-1"]);
    assert_eq!(text(&credential.token("b/.default").await.unwrap()), "token-2");
    assert_eq!(text(&credential.token(SCOPE).await.unwrap()), "token-1");
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn a_failure_stands_for_all_who_ask_at_the_time() {
    let server = StandIn::answering(|_| (400, json!({"error": "invalid_client"}))).await;
    let credential = server.credential(&SECRET);
    for _ in 0..5 {
        let error = credential.token(SCOPE).await.unwrap_err();
        assert_eq!(error.said()[0].what, "invalid_client (400)");
    }
    assert_eq!(server.asked().len(), 1, "a dead endpoint is not hammered");
}

#[tokio::test]
async fn a_token_that_was_refused_is_replaced_once() {
    let server = StandIn::giving(3600).await;
    let credential = server.credential(&SECRET);
    let old = credential.token(SCOPE).await.unwrap();
    assert!(credential.forget(SCOPE, &old.secret));
    assert!(!credential.forget(SCOPE, &old.secret), "it is known no more");
    assert_eq!(text(&credential.token(SCOPE).await.unwrap()), "token-2");
    assert!(!credential.forget(SCOPE, &old.secret), "another one has taken its place");
}

#[tokio::test]
async fn an_aging_token_is_renewed_aside_and_nobody_waits_for_it() {
    let (server, credential) = aging().await;
    let held = server.hold().await;
    assert_eq!(text(&credential.token(SCOPE).await.unwrap()), "old");
    drop(held);
}

#[tokio::test]
async fn an_agent_gets_a_new_token_in_the_place_of_an_aging_one() {
    let (_server, credential) = aging().await;
    assert_eq!(text(&credential.lasting(SCOPE, AGENT).await.unwrap()), "token-1");
}

#[tokio::test]
async fn an_agent_waits_for_the_token_that_somebody_else_renews() {
    let (server, credential) = aging().await;
    let held = server.hold().await;
    assert_eq!(text(&credential.token(SCOPE).await.unwrap()), "old", "it is renewed aside");
    // What is named first is asked for first.
    let (lasting, ()) = tokio::join!(biased; credential.lasting(SCOPE, AGENT), async { drop(held) });
    assert_eq!(text(&lasting.unwrap()), "token-1");
    assert_eq!(server.asked().len(), 1, "by one flight");
}

#[tokio::test]
async fn an_old_token_that_is_still_good_is_used_while_no_new_one_can_be_had() {
    let (server, credential) = aging().await;
    server.now_answers(|_| (503, json!({})));
    assert_eq!(text(&credential.lasting(SCOPE, AGENT).await.unwrap()), "old");
    assert_eq!(server.asked().len(), 1, "it was tried");
    hold_since_a_minute(&credential, SignedDuration::from_secs(-1));
    assert!(credential.token(SCOPE).await.is_err(), "it has ended");
}

/// How long an agent needs its token.
const AGENT: Duration = Duration::from_mins(20);

/// A chain that holds a token whose end is near, and whose server gives `token-1` in its place.
async fn aging() -> (StandIn, Credential) {
    let server = StandIn::giving(3600).await;
    let credential = server.credential(&SECRET);
    hold_since_a_minute(&credential, SignedDuration::from_secs(60));
    (server, credential)
}

fn hold_since_a_minute(credential: &Credential, left: SignedDuration) {
    let now = Timestamp::now();
    let token = AccessToken { secret: "old".to_owned().into(), expires_at: now + left, link: "a link" };
    credential.slot(SCOPE).came(token, now - SignedDuration::from_mins(1));
}

#[tokio::test]
async fn nothing_secret_is_in_any_debug_output() {
    let server = StandIn::giving(3600).await;
    let config = server.config(&SECRET);
    let credential = credential(&config);
    let token = credential.token(SCOPE).await.unwrap();
    let shown = format!("{config:?} {credential:?} {token:?} {:?}", OrganizationToken::Entra(credential.clone()));
    assert!(!shown.contains("s3cr3t") && !shown.contains("token-1"), "{shown}");
}
