//! The stand-in for Azure as a client sees it.

use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::sandbox::azure::{Application, AzureFaultKind, AzureRules, AzureSandbox, AzureSettings, Bucket, SignIn};

mod groups;
mod identity;
mod manager;
mod processes;
mod sign_in;

const PATIENCE: Duration = Duration::from_secs(20);

/// Delays too short to notice, and an entry point that ends at once.
fn settings() -> AzureSettings {
    let rules = AzureRules {
        scheduling: Duration::from_millis(1),
        pulling: Duration::from_millis(1),
        deletion: Duration::from_millis(1),
        restart_delay: Duration::from_millis(1),
        ..AzureRules::default()
    };
    AzureSettings { rules, entry_point: "echo hello".to_owned(), ..AzureSettings::default() }
}

fn start(settings: AzureSettings) -> AzureSandbox {
    AzureSandbox::start(settings).unwrap()
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap()
}

fn client_id(azure: &AzureSandbox) -> String {
    azure.settings().applications[0].client_id.clone()
}

fn token(azure: &AzureSandbox) -> String {
    azure.token(&client_id(azure), "https://management.azure.com/.default").unwrap()
}

/// The path of the resource group `agents`.
fn inside(azure: &AzureSandbox, path: &str) -> String {
    format!("/subscriptions/{}/resourceGroups/agents{path}", azure.settings().subscription)
}

fn group_path(azure: &AzureSandbox, path: &str) -> String {
    inside(azure, &format!("/providers/Microsoft.ContainerInstance/containerGroups{path}"))
}

async fn send(azure: &AzureSandbox, method: Method, path: &str, body: Option<Value>) -> Response {
    try_send(azure, method, path, body).await.unwrap()
}

async fn try_send(azure: &AzureSandbox, method: Method, path: &str, body: Option<Value>) -> reqwest::Result<Response> {
    let mark = if path.contains('?') { '&' } else { '?' };
    let url = format!("{}{path}{mark}api-version=2023-05-01", azure.url());
    let request = client().request(method, url).bearer_auth(token(azure));
    match body {
        Some(body) => request.json(&body),
        None => request,
    }
    .send()
    .await
}

/// The status and the JSON of an answer about a group, or whatever is under it.
async fn call(azure: &AzureSandbox, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    let answer = send(azure, method, &group_path(azure, path), body).await;
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

/// A small group that is not restarted.
fn body() -> Value {
    json!({
        "location": "westeurope",
        "tags": { "managed-by": "a test" },
        "properties": {
            "osType": "Linux",
            "restartPolicy": "Never",
            "containers": [{
                "name": "agent",
                "properties": {
                    "image": "registry.example/agent:1",
                    "environmentVariables": [
                        { "name": "PLAIN", "value": "seen" },
                        { "name": "HIDDEN", "secureValue": "never seen" },
                        { "name": "FILE", "value": "/mnt/cred/token" },
                    ],
                    "resources": { "requests": { "cpu": 1.0, "memoryInGB": 2.0 } },
                    "volumeMounts": [{ "name": "cred", "mountPath": "/mnt/cred", "readOnly": true }],
                },
            }],
            "imageRegistryCredentials": [{ "server": "registry.example", "username": "u", "password": "never seen" }],
            // "never seen"
            "volumes": [{ "name": "cred", "secret": { "token": "bmV2ZXIgc2Vlbg==" } }],
        },
    })
}
