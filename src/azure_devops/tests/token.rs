//! The token, read anew for each request.

use base64::{Engine, prelude::BASE64_STANDARD};
use secrecy::SecretString;

use super::{QUICK, Server, nothing};
use crate::{
    azure_devops::{AzureDevOps, Error, PoolId, RestClient},
    config::TokenSource,
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
