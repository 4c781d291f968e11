//! The host against a stand-in for the API server that does what a test says, in paused time: watches that break, hang,
//! lag and are refused. What the real one says is tested in `tests/main_job`.

mod busy;
mod equip;
mod runs;
mod trust;

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::Method,
    response::Response,
};
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;
use crate::{config::HostConfig, core::RequestId};

/// What a test says of the API server.
#[derive(Default)]
struct Server {
    /// By plural: the objects that a list gives.
    objects: HashMap<&'static str, Vec<Value>>,
    /// By plural: those who watch.
    watches: HashMap<&'static str, Vec<mpsc::UnboundedSender<Value>>>,
    /// By verb (`list`, `watch`, `create`, `delete`): the status that is answered instead.
    refused: HashMap<&'static str, (u16, &'static str)>,
    /// Verb and plural of calls that are refused once each, in this order.
    refused_once: Vec<(&'static str, u16, &'static str)>,
    /// Verbs that are never answered.
    hanging: Vec<&'static str>,
    /// Verb and plural of each call, and what came with it.
    calls: Vec<(String, Value)>,
}

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Server>>);

impl Fake {
    fn host(&self) -> KubernetesHost {
        self.host_with(&[("JOB_TOKEN_SECRET", "the-secret")])
    }

    /// One that makes the Secrets with the agents' token itself.
    fn managed_host(&self) -> KubernetesHost {
        self.host_with(&[])
    }

    fn host_with(&self, more: &[(&str, &str)]) -> KubernetesHost {
        let usual = [
            ("ORG_URL", "https://dev.azure.com/contoso"),
            ("ORG_PAT", "0123456789"),
            ("AGENT_POOLS", "Default"),
            ("HOST_TYPE", "kubernetes"),
        ];
        let config = Config::load(&usual.iter().chain(more).copied().collect(), None).unwrap();
        let HostConfig::Kubernetes(settings) = &config.host else { panic!("another host") };
        let client = Client::new(Router::new().fallback(answer).with_state(self.clone()), "default");
        let token = OrganizationToken::of(&config).unwrap();
        KubernetesHost::new(client, &config, settings, Installation::new("us"), token).unwrap().known_as("me")
    }

    fn with<T>(&self, change: impl FnOnce(&mut Server) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    fn tell(&self, plural: &'static str, kind: &str, object: &Value) {
        let event = json!({"type": kind, "object": object});
        self.with(|server| {
            server.watches.entry(plural).or_default().retain(|watch| watch.send(event.clone()).is_ok());
        });
    }

    /// A new object, for the watch too.
    fn add(&self, plural: &'static str, object: &Value) {
        self.with(|server| server.objects.entry(plural).or_default().push(object.clone()));
        self.tell(plural, "ADDED", object);
    }

    fn count(&self, call: &str) -> usize {
        self.with(|server| server.calls.iter().filter(|(called, _)| called == call).count())
    }
}

async fn answer(State(fake): State<Fake>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let plural =
        ["jobs", "pods", "events", "secrets"].into_iter().find(|plural| path.contains(&format!("/{plural}"))).unwrap();
    let query = parts.uri.query().unwrap_or_default();
    let verb = match parts.method {
        Method::GET if query.contains("watch=true") => "watch",
        Method::GET if path.ends_with(plural) => "list",
        Method::GET => "get",
        Method::POST => "create",
        Method::DELETE => "delete",
        _ => "patch",
    };
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let body = serde_json::from_slice(&body).unwrap_or(json!({"path": path, "query": query}));
    let hangs = fake.with(|server| {
        server.calls.push((format!("{verb} {plural}"), body.clone()));
        server.hanging.contains(&verb)
    });
    if hangs {
        return std::future::pending().await;
    }
    let once = fake.with(|server| {
        let called = format!("{verb} {plural}");
        let next = server.refused_once.iter().position(|(call, ..)| *call == called)?;
        let (_, code, reason) = server.refused_once.remove(next);
        Some((code, reason))
    });
    if let Some((code, reason)) = once.or_else(|| fake.with(|server| server.refused.get(verb).copied())) {
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
            "message": format!("{plural} is forbidden: User \"system:serviceaccount:n:a\" cannot {verb} resource \"{plural}\" in API group \"batch\" in the namespace \"n\"")});
        return Response::builder().status(code).body(Body::from(status.to_string())).unwrap();
    }
    let answer = match verb {
        "watch" => {
            let (sender, receiver) = mpsc::unbounded_channel::<Value>();
            fake.with(|server| server.watches.entry(plural).or_default().push(sender));
            let lines = futures::stream::unfold(receiver, async |mut receiver| {
                let line = format!("{}\n", receiver.recv().await?);
                Some((Ok::<_, Infallible>(Bytes::from(line)), receiver))
            });
            return Response::new(Body::from_stream(lines));
        }
        "list" => {
            let items = fake.with(|server| server.objects.get(plural).cloned().unwrap_or_default());
            json!({"metadata": {"resourceVersion": "100"}, "items": items})
        }
        "get" => {
            let name = path.rsplit('/').next();
            let of_name = |object: &&Value| object["metadata"]["name"].as_str() == name;
            match fake.with(|server| server.objects.get(plural).and_then(|all| all.iter().find(of_name).cloned())) {
                Some(found) => found,
                None => {
                    let status = json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound"});
                    return Response::builder().status(404).body(Body::from(status.to_string())).unwrap();
                }
            }
        }
        "create" => {
            let mut made = body;
            made["metadata"]["uid"] = json!("made");
            made["metadata"]["creationTimestamp"] = json!("2026-11-24T08:00:00Z");
            made
        }
        // As the real one does: what is deleted in the foreground is still there for a while.
        "delete" if plural == "secrets" => match fake.with(|server| server.objects.get(plural).cloned()) {
            Some(mut there) if body["propagationPolicy"] == "Foreground" && !there.is_empty() => there.remove(0),
            _ => json!({"kind": "Status", "details": {"uid": "s1"}}),
        },
        _ => json!({}),
    };
    Response::new(Body::from(answer.to_string()))
}

fn start(request: i64) -> StartRun {
    StartRun {
        name: format!("agent-job-us-{request}"),
        pool: "Default".into(),
        template: "default".into(),
        purpose: Purpose::Request(RequestId(request)),
        attempt: 1,
        revision: "r".into(),
        recipe: crate::core::Recipe::default(),
    }
}

fn job(request: i64) -> Value {
    json!({
        "metadata": {
            "name": format!("agent-job-us-{request}"), "uid": format!("j{request}"), "resourceVersion": "101",
            "creationTimestamp": "2026-11-24T08:00:00Z",
            "labels": {
                "app.kubernetes.io/managed-by": "kubectl-ado", "kubectl-ado/installation": "us",
                "kubectl-ado/request": request.to_string(), "kubectl-ado/attempt": "1",
            },
            "annotations": {
                "kubectl-ado/organization": "https://dev.azure.com/contoso", "kubectl-ado/pool": "Default",
                "kubectl-ado/template": "default",
            },
        },
        "spec": {"ttlSecondsAfterFinished": 600},
    })
}

/// The pod of that Job, on a node.
fn pod(request: i64, status: &Value) -> Value {
    json!({
        "metadata": {
            "name": format!("p{request}"), "uid": format!("p{request}"), "resourceVersion": "102",
            "creationTimestamp": "2026-11-24T08:00:01Z",
            "ownerReferences": [{"kind": "Job", "uid": format!("j{request}")}],
        },
        "spec": {"nodeName": "n1", "restartPolicy": "Never", "containers": [{"name": "agent"}]},
        "status": status,
    })
}
