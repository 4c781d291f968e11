//! Tokens that are not good, and faults.

use super::*;

#[tokio::test]
async fn a_wrong_token_gets_a_sign_in_page_or_with_suppress_a_401() {
    let sandbox = start(Settings::default());
    let url = |path: &str| format!("{}/_apis/{path}", sandbox.url());
    let pools = url("distributedtask/pools");
    for request in [client().get(&pools), client().get(&pools).bearer_auth("wrong"), client().post(&pools)] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 203);
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
        assert!(response.text().await.unwrap().contains("Sign In"));
    }
    let wrong = client().get(&pools).basic_auth("", Some("wrong")).header("X-TFS-FedAuthRedirect", "Suppress");
    let response = wrong.send().await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers().get_all("www-authenticate").iter().count(), 3);
    let patched = client().patch(&pools).send().await.unwrap();
    assert_eq!(patched.status(), 401);
    assert_eq!(patched.json::<Value>().await.unwrap()["typeKey"], "UnauthorizedRequestException");
    let bearer = client().get(&pools).bearer_auth(sandbox.token()).send().await.unwrap();
    assert_eq!(bearer.status(), 200);

    // A private organization tells clients how to sign in, even those that do not ask for that; a public one knows nobody.
    let refused = client().get(url("connectionData")).send().await.unwrap();
    assert_eq!(refused.status(), 401);
    let ways: Vec<_> = refused.headers().get_all("www-authenticate").iter().map(|way| way.to_str().unwrap()).collect();
    let begins = ["Bearer authorization_uri=", "Basic realm=", "TFS-Federated"];
    assert!(ways.len() == 3 && ways.iter().zip(begins).all(|(way, begin)| way.starts_with(begin)), "{ways:?}");
    let public = start(Settings { is_public: true, ..Settings::default() });
    let url = |path: &str| format!("{}/_apis/{path}", public.url());
    let nobody: Value = client().get(url("connectionData")).send().await.unwrap().json().await.unwrap();
    assert!(nobody["authenticatedUser"]["descriptor"].as_str().unwrap().starts_with("System:PublicAccess"));
    let somebody = get(&sandbox, "connectionData").await;
    assert_ne!(somebody["authenticatedUser"]["id"], nobody["authenticatedUser"]["id"]);
    let elsewhere = format!("http://{}/elsewhere/_apis/distributedtask/pools", sandbox.address());
    assert_eq!(client().get(elsewhere).send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn each_fault_shows_as_what_it_is() {
    let sandbox = start(Settings::default());
    pool(&sandbox);
    let path = "distributedtask/pools";
    for (fault, status) in
        [("302", 302), ("sign-in", 203), ("401", 401), ("403", 403), ("404", 404), ("409", 409), ("500", 500)]
    {
        sandbox.inject(format!("{fault}*1").parse().unwrap());
        let response = call(&sandbox, Method::GET, path, None).await;
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(response.headers().contains_key("location"), status == 302);
    }
    sandbox.inject(FaultKind::Throttled(Duration::from_secs(7)).times(1));
    let throttled = call(&sandbox, Method::GET, path, None).await;
    assert_eq!(throttled.status(), 429);
    assert_eq!(throttled.headers()["retry-after"], "7");
    assert_eq!(throttled.headers()["x-ratelimit-delay"], "7.000");
    for name in ["resource", "limit", "remaining", "reset"] {
        assert!(throttled.headers().contains_key(format!("x-ratelimit-{name}")));
    }
    sandbox.inject(FaultKind::RetryAfter(Duration::from_millis(1500)).times(1));
    let slowed = call(&sandbox, Method::GET, path, None).await;
    assert_eq!((slowed.status().as_u16(), &slowed.headers()["retry-after"].as_bytes()), (200, &b"2".as_slice()));
    sandbox.inject(FaultKind::CutOff.times(1));
    assert!(call(&sandbox, Method::GET, path, None).await.json::<Value>().await.is_err());
    sandbox.inject(FaultKind::Latency(Duration::from_millis(300)).times(1));
    let started = Instant::now();
    get(&sandbox, path).await;
    assert!(started.elapsed() >= Duration::from_millis(300));
    sandbox.inject(FaultKind::ServerError.always().on("agents"));
    get(&sandbox, path).await;
    sandbox.clear_faults();
}

#[tokio::test]
async fn a_connection_is_dropped_before_or_after_the_call_is_done() {
    let sandbox = start(Settings::default());
    let (id, pool) = pool(&sandbox);
    let agents = format!("{pool}/agents");
    let body = || Some(json!({ "name": "a" }));
    // hyper's client tries again by itself if a connection that was kept open breaks; these are fresh ones.
    sandbox.inject(FaultKind::Dropped.times(1));
    assert!(try_call(&sandbox, Method::POST, &agents, body()).await.is_err());
    assert!(sandbox.agents(id).is_empty());
    sandbox.inject(FaultKind::LostReply.times(1));
    assert!(try_call(&sandbox, Method::POST, &agents, body()).await.is_err());
    assert_eq!(sandbox.agents(id).len(), 1);
}
