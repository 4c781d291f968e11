//! The chain against a stand-in for whoever gives out tokens, which does what a test says.

mod chain;
mod keeping;
mod managed_identity;
mod proofs;
mod rsa_pem;
#[cfg(unix)]
mod tools;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::*;
use crate::config::{EntraConfig, Environment};

/// The scope of most tests.
const SCOPE: &str = AZURE_DEVOPS;

/// What was asked.
#[derive(Clone, Debug)]
struct Asked {
    path: String,
    query: BTreeMap<String, String>,
    form: BTreeMap<String, String>,
    headers: HeaderMap,
}

type Answer = Box<dyn Fn(&Asked) -> (u16, Value) + Send>;

/// A server on loopback.
struct StandIn {
    url: String,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    asked: Vec<Asked>,
    answer: Answer,
    /// Whoever holds it holds all answers back.
    gate: Arc<tokio::sync::Mutex<()>>,
}

impl StandIn {
    async fn answering(answer: impl Fn(&Asked) -> (u16, Value) + Send + 'static) -> Self {
        let shared = Arc::new(Mutex::new(Shared { asked: Vec::new(), answer: Box::new(answer), gate: Arc::default() }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(serve).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, shared }
    }

    /// One that gives out `token-1`, `token-2` … which last so many seconds.
    async fn giving(lifetime: i64) -> Self {
        let count = std::sync::atomic::AtomicU32::new(0);
        Self::answering(move |_| {
            let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
            (200, json!({"token_type": "Bearer", "expires_in": lifetime, "access_token": format!("token-{number}")}))
        })
        .await
    }

    fn now_answers(&self, answer: impl Fn(&Asked) -> (u16, Value) + Send + 'static) {
        self.shared.lock().unwrap().answer = Box::new(answer);
    }

    /// Holds all answers back until what it gives is dropped.
    async fn hold(&self) -> tokio::sync::OwnedMutexGuard<()> {
        let gate = Arc::clone(&self.shared.lock().unwrap().gate);
        gate.lock_owned().await
    }

    fn asked(&self) -> Vec<Asked> {
        self.shared.lock().unwrap().asked.clone()
    }

    /// The chain of these variables, with this server as the authority and as the metadata service.
    fn credential(&self, variables: &[(&str, &str)]) -> Credential {
        credential(&self.config(variables))
    }

    fn config(&self, variables: &[(&str, &str)]) -> EntraConfig {
        let hosts = [("AZURE_AUTHORITY_HOST", &*self.url), ("AZURE_POD_IDENTITY_AUTHORITY_HOST", &*self.url)];
        let environment: Environment = hosts.into_iter().chain(variables.iter().copied()).collect();
        EntraConfig::of_environment(&environment).unwrap()
    }
}

fn credential(config: &EntraConfig) -> Credential {
    let cloud = Cloud::of(config);
    let authority = cloud.authority().parse().unwrap();
    let http = http_client(&authority, None, std::time::Duration::from_secs(5), &HeaderMap::new()).unwrap();
    Credential::new(config, cloud, http)
}

async fn serve(State(shared): State<Arc<Mutex<Shared>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let pairs = |text: &[u8]| form_urlencoded::parse(text).into_owned().collect();
    let query = pairs(parts.uri.query().unwrap_or_default().as_bytes());
    let asked = Asked { path: parts.uri.path().to_owned(), query, form: pairs(&body), headers: parts.headers };
    let gate = Arc::clone(&shared.lock().unwrap().gate);
    let _passed = gate.lock().await;
    let mut shared = shared.lock().unwrap();
    let (status, answer) = (shared.answer)(&asked);
    shared.asked.push(asked);
    (StatusCode::from_u16(status).unwrap(), axum::Json(answer)).into_response()
}

/// The variables of an app registration with a secret.
const SECRET: [(&str, &str); 3] =
    [("AZURE_TENANT_ID", "contoso.test"), ("AZURE_CLIENT_ID", "app-1"), ("AZURE_CLIENT_SECRET", "s3cr3t~value")];

fn text(token: &AccessToken) -> String {
    use secrecy::ExposeSecret;
    token.secret.expose_secret().to_owned()
}
