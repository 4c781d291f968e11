//! The token, read anew for each request.

use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::header::HeaderMap;
use secrecy::SecretString;
use serde_json::json;
use tokio::net::TcpListener;

use super::{QUICK, Server, nothing, problem, reply};
use crate::{
    azure::{Cloud, Credential, OrganizationToken},
    azure_devops::{AzureDevOps, Error, PoolId, RestClient},
    config::{EntraConfig, TokenSource},
    core::AgentId,
};

#[tokio::test]
async fn a_rotated_token_file_needs_no_restart_and_is_trimmed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let server = Server::start([nothing()]).await;
    let client = RestClient::with_timing(&server.url, TokenSource::File(file.clone()), None, QUICK).unwrap();
    for token in ["first-token", "second-token"] {
        std::fs::write(&file, format!(" {token}\r\n")).unwrap();
        client.job_requests(PoolId(1)).await.unwrap();
        let expected = format!("Basic {}", BASE64_STANDARD.encode(format!(":{token}")));
        assert_eq!(server.seen()[0].header("authorization"), expected);
    }

    std::fs::remove_file(&file).unwrap();
    let error = client.job_requests(PoolId(1)).await.unwrap_err();
    assert!(matches!(&error, Error::Token(message) if message.contains(&file.display().to_string())), "{error:?}");
    assert!(error.fix().unwrap().contains("ORG_PAT_FILE"));
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_token_from_the_environment_is_trimmed() {
    let server = Server::start([nothing()]).await;
    let token = TokenSource::Value(SecretString::from("a-token\n"));
    RestClient::with_timing(&server.url, token, None, QUICK).unwrap().job_requests(PoolId(1)).await.unwrap();
    assert_eq!(server.seen()[0].header("authorization"), format!("Basic {}", BASE64_STANDARD.encode(":a-token")));
}

/// Gives out `entra-1`, `entra-2` …
async fn authority() -> OrganizationToken {
    let tokens = (1..=9).map(|number| {
        let token = json!({"access_token": format!("entra-{number}"), "expires_in": 3600});
        reply(200, &token.to_string())
    });
    let server = Server::start(tokens).await;
    let host = server.url.trim_end_matches("/contoso").to_owned();
    let variables = [
        ("AZURE_AUTHORITY_HOST", &*host),
        ("AZURE_TENANT_ID", "t"),
        ("AZURE_CLIENT_ID", "c"),
        ("AZURE_CLIENT_SECRET", "s3cr3t"),
    ];
    let config = EntraConfig::of_environment(&variables.into_iter().collect()).unwrap();
    let http = crate::azure::http_client(&host.parse().unwrap(), None, QUICK.connect, &HeaderMap::new()).unwrap();
    OrganizationToken::Entra(Credential::new(&config, Cloud::of(&config), http))
}

#[tokio::test]
async fn a_token_of_entra_goes_as_bearer_and_a_refused_one_is_replaced_once() {
    let refused = || problem(401, "UnauthorizedRequestException", "TF400813: not authorized");
    let server = Server::start([nothing(), refused(), nothing(), refused()]).await;
    let client = RestClient::with_timing(&server.url, authority().await, None, QUICK).unwrap();
    client.job_requests(PoolId(1)).await.unwrap();
    client.job_requests(PoolId(1)).await.unwrap();
    let sent: Vec<_> = server.seen().iter().map(|seen| seen.header("authorization").to_owned()).collect();
    assert_eq!(sent, ["Bearer entra-1", "Bearer entra-1", "Bearer entra-2"]);

    let error = client.job_requests(PoolId(1)).await.unwrap_err();
    assert!(matches!(&error, Error::StrangeIdentity(_)), "{error:?}");
    assert_eq!(server.seen().len(), 1, "the next one would be refused as well");
    assert!(error.fix().unwrap().contains("Organization settings > Users"));
}

#[tokio::test]
async fn a_change_that_is_refused_is_not_made_twice_and_goes_well_with_the_next_token() {
    let refused = problem(401, "UnauthorizedRequestException", "TF400813: not authorized");
    let server = Server::start([refused, nothing()]).await;
    let client = RestClient::with_timing(&server.url, authority().await, None, QUICK).unwrap();
    let disable = || client.disable(PoolId(1), AgentId(2));
    assert!(matches!(disable().await, Err(Error::StrangeIdentity(_))));
    disable().await.unwrap();
    let sent: Vec<_> = server.seen().iter().map(|seen| seen.header("authorization").to_owned()).collect();
    assert_eq!(sent, ["Bearer entra-1", "Bearer entra-2"]);
}

#[tokio::test]
async fn what_entra_says_instead_of_a_token_is_the_error_of_the_call() {
    let (server, nobody) = (Server::start([nothing()]).await, TcpListener::bind("127.0.0.1:0").await.unwrap());
    let host = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let variables = [
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", &*host),
        ("AZURE_TOKEN_CREDENTIALS", "prod"),
        ("AZURE_AUTHORITY_HOST", &*host),
    ];
    let config = EntraConfig::of_environment(&variables.into_iter().collect()).unwrap();
    let http = crate::azure::http_client(&host.parse().unwrap(), None, QUICK.connect, &HeaderMap::new()).unwrap();
    let token = OrganizationToken::Entra(Credential::new(&config, Cloud::of(&config), http));
    let client = RestClient::with_timing(&server.url, token, None, QUICK).unwrap();
    let error = client.job_requests(PoolId(1)).await.unwrap_err();
    assert!(error.to_string().starts_with("no token of Entra: EnvironmentCredential: "), "{error}");
    assert!(error.fix().unwrap().contains("AZURE_TENANT_ID") && !error.to_string().contains('\n'));
    assert!(server.seen().is_empty());
}
