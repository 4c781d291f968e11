//! The REST API as a client sees it.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use reqwest::{Method, Response, StatusCode, redirect::Policy};
use serde_json::{Value, json};

use crate::sandbox::{AgentSpec, FaultKind, JobSpec, PoolKind, PoolSpec, Rules, Sandbox, Settings};

mod api;
mod confined;
mod encrypted;
mod keys;
mod lists;
mod live;
mod sign_in;
mod trouble;
mod users;
mod worker;

fn anywhere() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn start(settings: Settings) -> Sandbox {
    Sandbox::start(anywhere(), settings).unwrap()
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().redirect(Policy::none()).no_proxy().build().unwrap()
}

async fn call(sandbox: &Sandbox, method: Method, path: &str, body: Option<Value>) -> Response {
    try_call(sandbox, method, path, body).await.unwrap()
}

async fn try_call(
    sandbox: &Sandbox,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Result<Response, reqwest::Error> {
    let url = format!("{}/_apis/{path}", sandbox.url());
    let request = client().request(method, url).basic_auth("", Some(sandbox.token()));
    let request = request.header("X-TFS-FedAuthRedirect", "Suppress").timeout(Duration::from_secs(20));
    match body {
        Some(body) => request.json(&body),
        None => request,
    }
    .send()
    .await
}

async fn get(sandbox: &Sandbox, path: &str) -> Value {
    let response = call(sandbox, Method::GET, path, None).await;
    assert_eq!(response.status(), 200, "{path}");
    response.json().await.unwrap()
}

/// The status and the type key of a refusal.
async fn refused(sandbox: &Sandbox, method: Method, path: &str, body: Option<Value>) -> (u16, String) {
    let response = call(sandbox, method, path, body).await;
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    assert!(body["message"].is_string() && body["typeName"].is_string(), "{body}");
    (status, body["typeKey"].as_str().unwrap().to_owned())
}

fn pool(sandbox: &Sandbox) -> (i64, String) {
    let pool = sandbox.add_pool("Linux Builds").unwrap();
    (pool, format!("distributedtask/pools/{pool}"))
}

async fn open_session(sandbox: &Sandbox, pool: &str, agent: i64) -> String {
    let body = json!({ "ownerName": "here", "agent": { "id": agent, "version": "4.260.0" } });
    let response = call(sandbox, Method::POST, &format!("{pool}/sessions"), Some(body)).await;
    assert_eq!(response.status(), 200);
    response.json::<Value>().await.unwrap()["sessionId"].as_str().unwrap().to_owned()
}
