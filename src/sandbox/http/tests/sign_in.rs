//! Registrations with a key, and the token endpoint.

use super::{keys::*, *};
use crate::sandbox::AssertionFault as Fault;

#[tokio::test]
async fn each_registration_with_a_key_makes_another_client_and_one_without_drops_it() {
    let sandbox = start(Settings::default());
    let (id, pool) = pool(&sandbox);
    let key = Key::first();
    let agent = register(&sandbox, id, "a", &key).await;
    assert!(agent.url.starts_with(&format!("{}/_apis/oauth2/token/", sandbox.url())), "{}", agent.url);
    assert_eq!(agent.client_id.len(), 36);
    let one = format!("{pool}/agents/{}", agent.id);
    assert_eq!(get(&sandbox, &one).await["authorization"]["clientId"], agent.client_id);

    let body = json!({ "name": "a", "authorization": { "publicKey": key.public } });
    let again: Value = call(&sandbox, Method::PUT, &one, Some(body)).await.json().await.unwrap();
    assert_ne!(again["authorization"]["clientId"], agent.client_id);
    assert_eq!(again["authorization"]["publicKey"], key.public);

    let patched = call(&sandbox, Method::PATCH, &one, Some(json!({ "enabled": false }))).await;
    assert!(patched.json::<Value>().await.unwrap()["authorization"].is_object(), "a change is no registration");
    let dropped: Value = call(&sandbox, Method::PUT, &one, Some(json!({ "name": "a" }))).await.json().await.unwrap();
    assert!(dropped.get("authorization").is_none());
    assert!(sandbox.see(|state| state.client(&agent.client_id).is_none()));
}

#[tokio::test]
async fn what_is_no_key_is_refused() {
    let sandbox = start(Settings::default());
    let (_, pool) = pool(&sandbox);
    for (exponent, modulus) in [("AQAB", "AQAB"), ("", "no base64"), ("AQAB", &"AA".repeat(171))] {
        let key = json!({ "publicKey": { "exponent": exponent, "modulus": modulus } });
        let body = json!({ "name": "a", "authorization": key });
        let refused = refused(&sandbox, Method::POST, &format!("{pool}/agents"), Some(body)).await;
        assert_eq!(refused, (400, "VssPropertyValidationException".to_owned()));
    }
}

#[tokio::test]
async fn a_token_is_granted_for_an_assertion_and_is_good_as_bearer_and_as_password() {
    let sandbox = start(Settings { token_lifetime: Duration::from_secs(1234), ..Settings::default() });
    let (id, pool) = pool(&sandbox);
    let key = Key::second();
    let agent = register(&sandbox, id, "a", &key).await;
    let (status, reply) = post(&agent.url, &form(&assertion(&agent, &key))).await;
    assert_eq!((status, &reply["token_type"], &reply["expires_in"]), (200, &json!("bearer"), &json!(1234)));
    let token = reply["access_token"].as_str().unwrap();
    let url = format!("{}/_apis/{pool}/agents/{}", sandbox.url(), agent.id);
    assert_eq!(client().get(&url).bearer_auth(token).send().await.unwrap().status(), 200);
    assert_eq!(client().get(&url).basic_auth("x", Some(token)).send().await.unwrap().status(), 200);
    let who = by(&sandbox, token, Method::GET, "connectionData", None).await.1;
    assert!(who["authenticatedUser"]["descriptor"].as_str().unwrap().contains("ServiceIdentity"), "{who}");
    assert_eq!(sandbox.assertions().verified, 1);
    assert!(sandbox.assertions().refused.is_empty());
    assert_eq!(sandbox.calls()["POST oauth2/token/{id}"], 1);
}

#[tokio::test]
async fn a_token_ends_with_its_time_with_its_registration_and_with_its_key() {
    let sandbox = start(Settings { token_lifetime: Duration::from_millis(400), ..Settings::default() });
    let (id, _) = pool(&sandbox);
    let key = Key::first();
    let agent = register(&sandbox, id, "a", &key).await;
    let token = sign_in(&agent, &key).await;
    let connect = async |token: &str| by(&sandbox, token, Method::GET, "connectionData", None).await.0;
    assert_eq!(connect(&token).await, 200);
    while connect(&token).await == 200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(connect(&token).await, 401);

    let sandbox = start(Settings::default());
    let (id, pool) = pool(&sandbox);
    let connect = async |token: &str| by(&sandbox, token, Method::GET, "connectionData", None).await.0;
    let agent = register(&sandbox, id, "a", &key).await;
    let token = sign_in(&agent, &key).await;
    let body = json!({ "name": "a", "authorization": { "publicKey": key.public } });
    let one = format!("{pool}/agents/{}", agent.id);
    let again = call(&sandbox, Method::PUT, &one, Some(body)).await.json().await.unwrap();
    assert_eq!(connect(&token).await, 401, "even if the key is the same");
    let again = of(id, &again);
    let token = sign_in(&again, &key).await;
    sandbox.remove_agent(id, agent.id).unwrap();
    assert_eq!(connect(&token).await, 401);
    let (status, reply) = post(&again.url, &form(&assertion(&again, &key))).await;
    assert_eq!((status, &reply["error"]), (400, &json!("invalid_client")));
    assert_eq!(sandbox.assertions().refused, [(Fault::UnknownClient, 1)].into());
}

/// Changes one thing about what an assertion says.
type Change = fn(&mut Value);

#[tokio::test]
async fn an_assertion_that_is_wrong_in_any_way_is_refused_and_counted() {
    let sandbox = start(Settings::default());
    let (id, _) = pool(&sandbox);
    let (key, other) = (Key::first(), Key::second());
    let agent = register(&sandbox, id, "a", &key).await;
    let header = json!({ "alg": "RS256", "typ": "JWT" });
    let wrong: [(Fault, Change); 12] = [
        (Fault::Subject, |claims| claims["sub"] = json!("somebody")),
        (Fault::Subject, |claims| claims["iss"] = json!("somebody")),
        (Fault::UnknownClient, |claims| (claims["iss"], claims["sub"]) = (json!("x"), json!("x"))),
        (Fault::Audience, |claims| claims["aud"] = json!("https://elsewhere/token")),
        (Fault::TooEarly, |claims| claims["nbf"] = json!(claims["nbf"].as_i64().unwrap() + 400)),
        (Fault::Expired, |claims| claims["exp"] = json!(claims["nbf"].as_i64().unwrap() - 400)),
        (Fault::Unreadable, |claims| drop(claims.as_object_mut().unwrap().remove("aud"))),
        (Fault::Unreadable, |claims| drop(claims.as_object_mut().unwrap().remove("exp"))),
        (Fault::Unreadable, |claims| drop(claims.as_object_mut().unwrap().remove("nbf"))),
        (Fault::Unreadable, |claims| drop(claims.as_object_mut().unwrap().remove("jti"))),
        (Fault::Unreadable, |claims| claims["jti"] = json!("")),
        (Fault::Unreadable, |claims| *claims = json!([])),
    ];
    let mut assertions: Vec<(Fault, String)> = wrong
        .into_iter()
        .map(|(fault, change)| {
            let mut claims = claims(&agent);
            change(&mut claims);
            (fault, key.sign(&header, &claims))
        })
        .collect();
    let good = assertion(&agent, &key);
    assert_eq!(post(&agent.url, &form(&good)).await.0, 200);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let mut another = claims(&agent);
    another["jti"] = json!("another");
    let another = key.sign(&header, &another);
    assertions.extend([
        (Fault::Replayed, good.clone()),
        (Fault::Signature, assertion(&agent, &other)),
        (Fault::Signature, format!("{}.{signature}", another.rsplit_once('.').unwrap().0)),
        (Fault::Signature, format!("{signed}.")),
        (Fault::Algorithm, key.sign(&json!({ "alg": "none" }), &claims(&agent))),
        (Fault::Algorithm, key.sign(&json!({ "alg": "HS256" }), &claims(&agent))),
        (Fault::Unreadable, key.sign(&json!({}), &claims(&agent))),
        (Fault::Unreadable, signed.to_owned()),
        (Fault::Unreadable, "nonsense".to_owned()),
        (Fault::Unreadable, format!("{signed}.=")),
    ]);
    let mut expected = std::collections::BTreeMap::new();
    for (fault, assertion) in assertions {
        let (status, reply) = post(&agent.url, &form(&assertion)).await;
        assert_eq!((status, &reply["error"]), (400, &json!("invalid_client")), "{fault:?}");
        let description = reply["error_description"].as_str().unwrap();
        assert!(description.contains(&fault.to_string()), "{fault:?}: {description}");
        let about_time = matches!(fault, Fault::TooEarly | Fault::Expired);
        assert_eq!(description.contains("Current server time is"), about_time, "{description}");
        *expected.entry(fault).or_insert(0) += 1;
    }
    assert_eq!((sandbox.assertions().verified, sandbox.assertions().refused), (1, expected));
}

#[tokio::test]
async fn a_clock_that_differs_a_little_is_tolerated() {
    for (minutes, accepted) in [(-4, true), (0, true), (4, true), (9, true), (11, false), (-6, false)] {
        let clock_ahead = jiff::SignedDuration::from_mins(minutes);
        let sandbox = start(Settings { clock_ahead, ..Settings::default() });
        let (id, _) = pool(&sandbox);
        let key = Key::first();
        let agent = register(&sandbox, id, "a", &key).await;
        let (status, reply) = post(&agent.url, &form(&assertion(&agent, &key))).await;
        assert_eq!(status == 200, accepted, "{minutes} minutes: {reply}");
    }
}

#[tokio::test]
async fn a_request_for_a_token_that_makes_no_sense_is_told_what_is_wrong() {
    let sandbox = start(Settings::default());
    let (id, _) = pool(&sandbox);
    let key = Key::first();
    let agent = register(&sandbox, id, "a", &key).await;
    let good = form(&assertion(&agent, &key));
    let with = |name: &str, value: Option<&str>| {
        let pairs = good.iter().filter(|(field, _)| *field != name || value.is_some());
        let replaced = pairs.map(|(field, old)| (*field, value.filter(|_| *field == name).unwrap_or(old).to_owned()));
        replaced.collect::<Vec<_>>()
    };
    for (form, error) in [
        (with("grant_type", None), "invalid_request"),
        (with("grant_type", Some("password")), "unsupported_grant_type"),
        (with("client_assertion_type", None), "invalid_request"),
        (with("client_assertion_type", Some("saml")), "invalid_request"),
        (with("client_assertion", None), "invalid_request"),
        (with("client_assertion", Some("")), "invalid_request"),
    ] {
        let (status, reply) = post(&agent.url, &form).await;
        assert_eq!((status, &reply["error"]), (400, &json!(error)), "{form:?}");
        assert!(!reply["error_description"].as_str().unwrap().is_empty());
    }
    let as_json = client().post(&agent.url).json(&json!({})).send().await.unwrap();
    assert_eq!(as_json.status(), 400);
    assert_eq!(client().get(&agent.url).send().await.unwrap().status(), 404);
    assert_eq!(post(&agent.url, &good).await.0, 200, "none of this has used the assertion up");
    assert_eq!(sandbox.assertions().verified, 1);
}

#[tokio::test]
async fn the_token_endpoint_has_faults_of_its_own() {
    let sandbox = start(Settings::default());
    let (id, pool) = pool(&sandbox);
    let key = Key::first();
    let agent = register(&sandbox, id, "a", &key).await;
    let assertion = assertion(&agent, &key);
    sandbox.inject(FaultKind::InvalidClient.times(1));
    sandbox.inject(FaultKind::SessionConflict.times(1));
    sandbox.inject(FaultKind::ServerError.times(1).on("oauth2/token"));
    sandbox.inject(FaultKind::Latency(Duration::from_millis(200)).times(3).on("oauth2/token"));
    get(&sandbox, &pool).await;
    let started = Instant::now();
    let (status, reply) = post(&agent.url, &form(&assertion)).await;
    assert_eq!((status, &reply["error"]), (400, &json!("invalid_client")));
    assert_eq!(post(&agent.url, &form(&assertion)).await.0, 500);
    let (_, reply) = post(&agent.url, &form(&assertion)).await;
    assert!(started.elapsed() >= Duration::from_millis(600));
    let token = reply["access_token"].as_str().unwrap();
    let (status, conflict) = open(&sandbox, &agent, token).await;
    assert_eq!((status, &conflict["typeKey"]), (409, &json!("TaskAgentSessionConflictException")));
    assert_eq!(open(&sandbox, &agent, token).await.0, 200);
}
