//! Managed identities.

use super::*;

const RESOURCE: &str = "https://management.azure.com/";

fn with(applications: Vec<Application>) -> AzureSandbox {
    start(AzureSettings { applications, ..settings() })
}

async fn metadata(azure: &AzureSandbox, query: &[(&str, &str)]) -> (u16, Value) {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    let url = format!("{}/metadata/identity/oauth2/token?api-version=2018-02-01&{query}", azure.url());
    let request = client().get(url).header("Metadata", "true");
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn the_metadata_service_gives_tokens_to_the_machines_own_identity() {
    let azure = with(vec![
        Application::new("own", "own-id").as_system_assigned(),
        Application::new("lent", "lent-id").as_user_assigned("/subscriptions/s/x/lent"),
    ]);
    let (status, given) = metadata(&azure, &[("resource", RESOURCE)]).await;
    assert_eq!((status, &given["client_id"], &given["expires_in"]), (200, &json!("own-id"), &json!("3600")));
    let now = jiff::Timestamp::now();
    let token = given["access_token"].as_str().unwrap();
    let principal = azure.tokens().accepts(token, "https://management.azure.com/.default", now).unwrap();
    assert_eq!((principal.name.as_str(), principal.sign_in), ("own", SignIn::Metadata));
    assert_eq!(azure.tokens().accepts(token, "https://elsewhere", now), None);

    let lent = metadata(&azure, &[("resource", RESOURCE), ("client_id", "lent-id")]).await;
    assert_eq!(lent.1["client_id"], "lent-id");
    let lent = metadata(&azure, &[("resource", RESOURCE), ("msi_res_id", "/SUBSCRIPTIONS/s/x/lent")]).await;
    assert_eq!(lent.1["client_id"], "lent-id");
    let (status, refused) = metadata(&azure, &[("resource", RESOURCE), ("client_id", "unknown")]).await;
    assert_eq!((status, &refused["error_description"]), (400, &json!("Identity not found")));
    assert_eq!(azure.calls()["GET metadata token"], 4);
}

#[tokio::test]
async fn several_identities_have_to_be_told_apart() {
    let lent = |name: &str| Application::new(name, name).as_user_assigned(format!("/{name}"));
    let (status, refused) = metadata(&with(vec![lent("a"), lent("b")]), &[("resource", RESOURCE)]).await;
    assert_eq!(status, 400);
    assert!(refused["error_description"].as_str().unwrap().contains("Multiple user assigned identities"));
    let (_, given) = metadata(&with(vec![lent("a")]), &[("resource", RESOURCE)]).await;
    assert_eq!(given["client_id"], "a");
    assert_eq!(metadata(&with(vec![]), &[("resource", RESOURCE)]).await.0, 400);
}

#[tokio::test]
async fn the_metadata_service_wants_its_header_and_a_resource() {
    let azure = with(vec![Application::new("own", "own-id").as_system_assigned()]);
    let url = format!("{}/metadata/identity/oauth2/token?api-version=2018-02-01&resource={RESOURCE}", azure.url());
    assert_eq!(client().get(url).send().await.unwrap().status(), 400);
    assert_eq!(metadata(&azure, &[]).await.0, 400);
    assert_eq!(metadata(&azure, &[("resource", "https://unknown.example")]).await.1["error"], "invalid_resource");
    assert_eq!(azure.tokens().count(), 0);
}

#[tokio::test]
async fn the_identity_endpoint_wants_its_secret_header() {
    let azure = with(vec![Application::new("own", "own-id").as_system_assigned()]);
    let url = format!("{}?api-version=2019-08-01&resource={RESOURCE}", azure.identity_endpoint());
    assert_eq!(client().get(&url).header("X-IDENTITY-HEADER", "guess").send().await.unwrap().status(), 401);
    let header = secrecy::ExposeSecret::expose_secret(&azure.settings().identity_header);
    let answer = client().get(&url).header("X-IDENTITY-HEADER", header).send().await.unwrap();
    let given: Value = answer.json().await.unwrap();
    assert_eq!(given["client_id"], "own-id");
    assert!(given["expires_on"].as_str().unwrap().parse::<i64>().unwrap() > jiff::Timestamp::now().as_second());
}
