//! A small stand-in for an API server with a kubelet behind it: the pods of one install, and their logs. The real API
//! server of the tests has no kubelet that could give any.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path as UrlPath, RawQuery, State},
    response::IntoResponse,
    routing::get,
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::stage::{Ran, plugin};

/// A pod, and what its container has said.
type PodAndLog = (Value, watch::Sender<Vec<u8>>);

#[derive(Clone, Default)]
struct Shared {
    pods: Arc<Mutex<BTreeMap<String, PodAndLog>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

pub(crate) struct FakeApi {
    shared: Shared,
    folder: tempfile::TempDir,
}

impl FakeApi {
    pub(crate) async fn start() -> Self {
        let shared = Shared::default();
        let router = Router::new()
            .route("/apis/apps/v1/deployments", get(async || Json(list(&[deployment()]))))
            .route("/api/v1/namespaces/ado/pods", get(pods))
            .route("/api/v1/namespaces/ado/pods/{pod}/log", get(log))
            .fallback(async || Json(list(&[])))
            .with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        Self::write_kubeconfig(&folder.path().join("config"), &url);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { shared, folder }
    }

    pub(crate) fn write_kubeconfig(path: &Path, url: &str) {
        let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": url}}], "users": [{"name": "c", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}]});
        std::fs::write(path, config.to_string()).unwrap();
    }

    /// A pod whose container of this name is `running` or `ended`, or waits for another reason.
    pub(crate) fn pod(&self, name: &str, container: &str, state: &str, log: impl AsRef<[u8]>) {
        let (phase, status) = match state {
            "running" => ("Running", json!({"running": {}})),
            "ended" => ("Succeeded", json!({"terminated": {"exitCode": 0}})),
            reason => ("Pending", json!({"waiting": {"reason": reason, "message": "not found"}})),
        };
        let pod = json!({"metadata": {"name": name, "namespace": "ado"},
            "spec": {"containers": [{"name": container}]},
            "status": {"phase": phase, "containerStatuses": [{"name": container, "image": "", "imageID": "",
                "ready": true, "restartCount": 0, "state": status}]}});
        self.shared.pods.lock().unwrap().insert(name.to_owned(), (pod, watch::Sender::new(log.as_ref().to_owned())));
    }

    /// The pod's container says more.
    pub(crate) fn say(&self, name: &str, text: &str) {
        self.shared.pods.lock().unwrap()[name].1.send_modify(|log| log.extend(text.as_bytes()));
    }

    /// The queries of all logs that were asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap().clone()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = plugin(arguments);
        command.env("KUBECONFIG", self.folder.path().join("config"));
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments))
    }
}

fn list(items: &[Value]) -> Value {
    json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items})
}

fn deployment() -> Value {
    json!({"metadata": {"name": "kubectl-ado", "namespace": "ado"}, "spec": {"replicas": 1, "selector": {},
        "template": {"spec": {"containers": [{"name": "orchestrator"}]}}}, "status": {"readyReplicas": 1}})
}

/// Orchestrators by their component, agents by the name of their Job, which theirs begins with, or all of them.
async fn pods(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Json<Value> {
    let query = query.unwrap_or_default();
    let is_orchestrator = query.contains("orchestrator");
    let job = query.split("job-name%3D").nth(1).map(|rest| rest.split(['&', '%']).next().unwrap().to_owned());
    let request = query.split("request%3D").nth(1).map(|rest| rest.split(['&', '%']).next().unwrap().to_owned());
    let job = job.or(request.map(|number| format!("agent-job-{number}")));
    let pods = shared.pods.lock().unwrap();
    let wanted = pods.iter().filter(|(name, _)| {
        name.starts_with("kubectl-ado") == is_orchestrator
            && job.as_ref().is_none_or(|job| name.starts_with(&format!("{job}-")))
    });
    Json(list(&wanted.map(|(_, (pod, _))| pod.clone()).collect::<Vec<_>>()))
}

async fn log(
    State(shared): State<Shared>,
    UrlPath(pod): UrlPath<String>,
    RawQuery(query): RawQuery,
) -> impl IntoResponse {
    let query = query.unwrap_or_default();
    let follows = query.contains("follow=true");
    shared.asked.lock().unwrap().push(query);
    let pods = shared.pods.lock().unwrap();
    let (state, sender) = &pods[&pod];
    if !follows || state["status"]["phase"] != "Running" {
        return Body::from(sender.borrow().clone());
    }
    let told = futures::stream::unfold((sender.subscribe(), 0_usize), async |(mut receiver, told)| {
        loop {
            let log = receiver.borrow_and_update().clone();
            if log.len() > told {
                return Some((Ok::<_, Infallible>(log[told..].to_owned()), (receiver, log.len())));
            }
            receiver.changed().await.ok()?;
        }
    });
    Body::from_stream(told)
}
