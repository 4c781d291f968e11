//! What Resource Manager asks of everybody: a token, a version, a role, patience.

use super::*;

async fn get(azure: &AzureSandbox, path: &str, token: Option<&str>) -> (u16, String, Value) {
    let request = client().get(format!("{}{path}", azure.url()));
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    let answer = request.send().await.unwrap();
    let challenge = answer.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
    (answer.status().as_u16(), challenge.unwrap_or_default(), answer.json().await.unwrap())
}

fn code(body: &Value) -> &str {
    body["error"]["code"].as_str().unwrap()
}

#[tokio::test]
async fn a_call_without_a_good_token_is_challenged() {
    let azure = start(settings());
    let path = format!("{}?api-version=2023-05-01", group_path(&azure, ""));
    let (status, challenge, body) = get(&azure, &path, None).await;
    assert_eq!((status, code(&body)), (401, "AuthenticationFailed"));
    assert!(challenge.starts_with("Bearer authorization_uri="), "{challenge}");
    let for_devops = azure.token(&client_id(&azure), "499b84ac-1321-427f-aa17-267ca6975798/.default").unwrap();
    assert_eq!(code(&get(&azure, &path, Some(&for_devops)).await.2), "InvalidAuthenticationTokenAudience");
    azure.set_token_lifetime(Duration::ZERO);
    let expired = token(&azure);
    assert_eq!(code(&get(&azure, &path, Some(&expired)).await.2), "ExpiredAuthenticationToken");
    azure.set_token_lifetime(Duration::from_secs(60));
    let good = token(&azure);
    assert_eq!(get(&azure, &path, Some(&good)).await.0, 200);
    let of_this_url = azure.token(&client_id(&azure), &format!("{}/.default", azure.url())).unwrap();
    assert_eq!(get(&azure, &path, Some(&of_this_url)).await.0, 200);
    azure.tokens().revoke_all();
    assert_eq!(code(&get(&azure, &path, Some(&good)).await.2), "InvalidAuthenticationToken");
    assert_eq!(azure.answers(), [(200, 2), (401, 4)].into());
}

#[tokio::test]
async fn versions_subscriptions_and_resource_groups_have_to_be_there() {
    let azure = start(settings());
    let good = token(&azure);
    let path = group_path(&azure, "");
    let refused = async |path: &str| {
        let (status, _, body) = get(&azure, path, Some(&good)).await;
        (status, code(&body).to_owned())
    };
    assert_eq!(refused(&path).await, (400, "MissingApiVersionParameter".to_owned()));
    assert_eq!(refused(&format!("{path}?api-version=2001-01-01")).await, (400, "NoRegisteredProviderFound".to_owned()));
    let version = "?api-version=2023-05-01";
    let elsewhere = path.replace("/agents/", "/elsewhere/");
    assert_eq!(refused(&format!("{elsewhere}{version}")).await, (404, "ResourceGroupNotFound".to_owned()));
    let other = path.replace(&azure.settings().subscription, "no-such");
    assert_eq!(refused(&format!("{other}{version}")).await, (404, "SubscriptionNotFound".to_owned()));
    let any_case = path.replace("/resourceGroups/agents/", "/RESOURCEGROUPS/Agents/");
    assert_eq!(get(&azure, &format!("{any_case}{version}"), Some(&good)).await.0, 200);
}

#[tokio::test]
async fn who_has_no_role_may_do_nothing() {
    let mut settings = settings();
    settings.applications.push(Application::new("guest", "a-guest").without_role());
    let azure = start(settings);
    let guest = azure.token("a-guest", "https://management.azure.com").unwrap();
    let path = format!("{}?api-version=2023-05-01", group_path(&azure, "/one"));
    let (status, _, body) = get(&azure, &path, Some(&guest)).await;
    assert_eq!((status, code(&body)), (403, "AuthorizationFailed"));
}

#[tokio::test]
async fn calls_are_throttled_and_what_is_left_is_told() {
    let mut settings = settings();
    settings.rules.reads = Bucket { capacity: 2, per_second: 0.001 };
    let azure = start(settings);
    let list = async || send(&azure, Method::GET, &group_path(&azure, ""), None).await;
    assert_eq!(list().await.headers()["x-ms-ratelimit-remaining-subscription-reads"], "1");
    assert_eq!(list().await.headers()["x-ms-ratelimit-remaining-subscription-reads"], "0");
    let answer = list().await;
    assert_eq!(answer.status(), 429);
    let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((900..=1000).contains(&wait), "{wait}");
    // Writes have a bucket of their own.
    assert_eq!(call(&azure, Method::PUT, "/one", Some(body())).await.0, 201);
    assert_eq!(azure.answers()[&429], 1);
}

#[tokio::test]
async fn a_region_is_full_when_it_is_and_says_what_is_used() {
    let mut settings = settings();
    settings.rules.groups_per_region = 1;
    let azure = start(settings);
    assert_eq!(call(&azure, Method::PUT, "/one", Some(body())).await.0, 201);
    let (status, refused) = call(&azure, Method::PUT, "/two", Some(body())).await;
    assert_eq!((status, code(&refused)), (409, "ContainerGroupQuotaReached"));
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("quota 'ContainerGroups' exceeded in region 'westeurope'. Limit: '1', Usage: '1'"),
        "{message}"
    );
    let subscription = &azure.settings().subscription;
    let path =
        format!("/subscriptions/{subscription}/providers/Microsoft.ContainerInstance/locations/WestEurope/usages");
    let usages: Value = send(&azure, Method::GET, &path, None).await.json().await.unwrap();
    assert_eq!(usages["value"][0]["name"]["value"], "ContainerGroups");
    assert_eq!((&usages["value"][0]["currentValue"], &usages["value"][0]["limit"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn faults_come_as_resource_manager_answers_them() {
    let azure = start(settings());
    for (kind, status, expected) in [
        (AzureFaultKind::Unauthorized, 401, "InvalidAuthenticationToken"),
        (AzureFaultKind::Forbidden, 403, "AuthorizationFailed"),
        (AzureFaultKind::Transitioning, 409, "ContainerGroupTransitioning"),
        (AzureFaultKind::Quota, 409, "ContainerGroupQuotaReached"),
        (AzureFaultKind::Throttled(Duration::from_secs(7)), 429, "TooManyRequests"),
        (AzureFaultKind::ServerError, 500, "InternalServerError"),
        (AzureFaultKind::Unavailable, 503, "ServerTimeout"),
    ] {
        azure.inject(kind.times(1));
        let (found, body) = call(&azure, Method::PUT, "/one", Some(body())).await;
        assert_eq!((found, code(&body)), (status, expected));
    }
    azure.inject(AzureFaultKind::Dropped.always());
    assert!(try_send(&azure, Method::GET, &group_path(&azure, ""), None).await.is_err());
    azure.clear_faults();
    assert!(azure.groups().is_empty());
}
