//! An install that is staged: a Deployment that is ready, and a Lease and a status as the orchestrator writes them, in a
//! namespace of the real API server. Any situation can be staged that way, and stays as it is.

use std::{
    ffi::OsString,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use control_plane::{ControlPlane, Namespace, pods};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    apps::v1::Deployment,
    batch::v1::Job,
    coordination::v1::Lease,
    core::v1::{ConfigMap, Pod},
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    core::NamespaceResourceScope,
};
use kubectl_ado::core::{PoolReport, Report, RequestReport};
use serde_json::{Value, json};

use crate::world::{PATIENCE, eventually};

pub(crate) const LEASE: &str = "kubectl-ado-abc123";
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(crate) struct Stage {
    pub(crate) plane: &'static ControlPlane,
    pub(crate) namespace: Namespace,
    pub(crate) client: Client,
    pub(crate) kubeconfig: PathBuf,
}

impl Stage {
    /// Nothing is installed.
    pub(crate) async fn empty(name: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let plane = ControlPlane::shared();
        let namespace = plane.namespace(name).await;
        let client = plane.client().await;
        Self { plane, namespace, client, kubeconfig: plane.kubeconfig().to_owned() }
    }

    /// An orchestrator that is ready, leads, and has written [`report`].
    pub(crate) async fn new(name: &str) -> Self {
        let stage = Self::empty(name).await;
        stage.deploy().await;
        stage.play(&report()).await;
        stage
    }

    /// A Deployment whose pod is made by the real controllers, and played to be ready.
    async fn deploy(&self) {
        let labels = json!({"app.kubernetes.io/name": "kubectl-ado", "app.kubernetes.io/component": "orchestrator"});
        let image = format!("ghcr.io/kubectl-ado/kubectl-ado:{VERSION}");
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "kubectl-ado", "labels": labels},
            "spec": {"replicas": 1, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [
                    {"name": "orchestrator", "image": image}]}}}});
        self.apply::<Deployment>("kubectl-ado", &deployment).await;
        let pods = self.api::<Pod>();
        let ours = ListParams::default().labels("app.kubernetes.io/component=orchestrator");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(pod) = pods.list(&ours).await.unwrap().items.first() {
                pods::set_pod_running(&self.client, self.namespace.name(), pod.metadata.name.as_ref().unwrap())
                    .await
                    .unwrap();
                break;
            }
            assert!(Instant::now() < deadline, "the Deployment has no pod");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.until_ready(1).await;
    }

    /// Waits until the Deployment says that so many pods are ready.
    pub(crate) async fn until_ready(&self, count: i32) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.api::<Deployment>().get("kubectl-ado").await.unwrap().status.unwrap_or_default();
            if status.ready_replicas.unwrap_or_default() == count {
                return;
            }
            assert!(Instant::now() < deadline, "the Deployment does not become as it should");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), self.namespace.name())
    }

    pub(crate) async fn apply<K>(&self, name: &str, object: &Value)
    where
        K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned
            + serde::Serialize,
    {
        self.api::<K>().patch(name, &PatchParams::apply("test").force(), &Patch::Apply(object)).await.unwrap();
    }

    /// The Lease is renewed and the status written as this.
    pub(crate) async fn play(&self, report: &Report) {
        self.lease(3, Some(&report.orchestrator.identity)).await;
        self.status(&serde_json::to_string(report).unwrap()).await;
    }

    /// The Lease, renewed so many seconds ago.
    pub(crate) async fn lease(&self, seconds: i64, holder: Option<&str>) {
        let labels = json!({"app.kubernetes.io/name": "kubectl-ado", "app.kubernetes.io/component": "orchestrator"});
        let renewed = k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime(ago(seconds));
        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": LEASE, "labels": labels},
            "spec": {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 15}});
        self.apply::<Lease>(LEASE, &lease).await;
    }

    /// The ConfigMap with the status.
    pub(crate) async fn status(&self, text: &str) {
        let labels = json!({"app.kubernetes.io/name": "kubectl-ado", "app.kubernetes.io/component": "status"});
        let name = format!("{LEASE}-status");
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels},
            "data": {"status.json": text}});
        self.apply::<ConfigMap>(&name, &map).await;
    }

    pub(crate) async fn no_status(&self) {
        let _ = self.api::<ConfigMap>().delete(&format!("{LEASE}-status"), &DeleteParams::default()).await;
    }

    /// The control document.
    pub(crate) async fn control(&self) -> Value {
        let map = self.api::<ConfigMap>().get("kubectl-ado-control").await.unwrap();
        serde_json::from_str(&map.data.unwrap()["control.json"]).unwrap()
    }

    /// An agent's Job of pool `linux` for a job request, and the name of its pod.
    pub(crate) async fn job(&self, name: &str, request: i64) -> String {
        let labels = json!({"app.kubernetes.io/managed-by": "kubectl-ado", "app.kubernetes.io/component": "agent",
            "kubectl-ado/installation": "0123456789abcdef", "kubectl-ado/pool": "linux", "kubectl-ado/request": request.to_string(), "kubectl-ado/attempt": "1"});
        let notes = json!({"kubectl-ado/pool": "linux", "kubectl-ado/template": "default",
            "kubectl-ado/organization": "https://dev.azure.com/contoso"});
        let job = json!({"apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": name, "labels": labels, "annotations": notes},
            "spec": {"backoffLimit": 0, "template": {"metadata": {"labels": labels}, "spec": {"restartPolicy": "Never",
                "containers": [{"name": "agent", "image": "registry.example/agent:typo"}]}}}});
        self.apply::<Job>(name, &job).await;
        let of_job = ListParams::default().labels(&format!("job-name={name}"));
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(pod) = self.api::<Pod>().list(&of_job).await.unwrap().items.pop() {
                return pod.metadata.name.unwrap();
            }
            assert!(Instant::now() < deadline, "the Job has no pod");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A ServiceAccount of the namespace that may do this there: `VERB[,VERB] RESOURCE[,RESOURCE]`, each.
    pub(crate) async fn account(&self, name: &str, rights: &[&str]) -> PathBuf {
        let namespace = self.namespace.name();
        let kubectl = |arguments: &[&str]| self.plane.kubectl(&[&["-n", namespace], arguments].concat()).unwrap();
        kubectl(&["create", "serviceaccount", name]);
        for (index, right) in rights.iter().enumerate() {
            let (verbs, resources) = right.split_once(' ').unwrap();
            let (role, account) = (format!("{name}-{index}"), format!("{namespace}:{name}"));
            kubectl(&["create", "role", &role, &format!("--verb={verbs}"), &format!("--resource={resources}")]);
            kubectl(&[
                "create",
                "rolebinding",
                &role,
                &format!("--role={role}"),
                &format!("--serviceaccount={account}"),
            ]);
        }
        self.plane.service_account_kubeconfig(namespace, name).await
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = plugin(arguments);
        command.env("KUBECONFIG", &self.kubeconfig).env("ADO_NAMESPACE", self.namespace.name());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments))
    }

    /// Starts it; what it says is read when it is waited for.
    pub(crate) fn start(&self, arguments: &[&str]) -> Playing {
        Playing::of(self.command(arguments))
    }
}

/// The plugin with an empty environment.
pub(crate) fn plugin(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-ado"));
    let path: OsString = std::env::var_os("PATH").unwrap();
    command.args(arguments).env_clear().env("PATH", path).env("HOME", "/nonexistent").stdin(Stdio::null());
    command
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) took: Duration,
}

impl Ran {
    pub(crate) fn of(mut command: Command) -> Self {
        let began = Instant::now();
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr), took: began.elapsed() }
    }

    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// A command that goes on.
pub(crate) struct Playing {
    process: std::process::Child,
    out: tempfile::NamedTempFile,
    err: tempfile::NamedTempFile,
}

impl Playing {
    pub(crate) fn of(mut command: Command) -> Self {
        let (out, err) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
        let process = command.stdout(out.reopen().unwrap()).stderr(err.reopen().unwrap()).spawn().unwrap();
        Self { process, out, err }
    }

    pub(crate) fn out(&self) -> String {
        std::fs::read_to_string(self.out.path()).unwrap()
    }

    pub(crate) fn err(&self) -> String {
        std::fs::read_to_string(self.err.path()).unwrap()
    }

    pub(crate) async fn says(&self, text: &str) {
        eventually(&format!("it says {text:?}"), || self.out().contains(text) || self.err().contains(text)).await;
    }

    /// SIGINT, and how it ended.
    pub(crate) async fn interrupt(&mut self) -> (Option<i32>, Duration) {
        let asked = Instant::now();
        let pid = nix::unistd::Pid::from_raw(self.process.id().try_into().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
        (self.ended().await, asked.elapsed())
    }

    pub(crate) async fn ended(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end: {} {}", self.out(), self.err());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Playing {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn ago(seconds: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_secs(seconds)
}

/// A report that was just written: pool `linux` has two agents at work and one that is idle, and pool `gpu` nothing.
pub(crate) fn report() -> Report {
    let condition =
        |kind: &str| json!({"type": kind, "status": "True", "reason": "Ok", "lastTransitionTime": ago(7200)});
    let busy = |id: i64, request: i64| {
        json!({"id": id, "name": format!("agent-job-abc-{request}"), "owner": "ours", "enabled": true, "online": true,
            "request": request, "createdAt": ago(1520)})
    };
    let running = |id: i64, pipeline: &str| {
        json!({"id": id, "pipeline": pipeline, "pipelineRun": "20260101.1", "agent": format!("agent-job-abc-{id}"),
            "url": format!("https://dev.azure.com/contoso/web/_build/results?buildId={}", id + 1000),
            "queuedAt": ago(1580), "receivedAt": ago(1460)})
    };
    let template =
        |name: &str, live: u32| json!({"name": name, "registration": "direct", "live": live, "min": 0, "idle": 0});
    serde_json::from_value(json!({
        "apiVersion": "kubectl-ado/v1alpha1", "kind": "Status", "reportedAt": ago(5),
        "orchestrator": {"version": VERSION, "identity": "kubectl-ado-7c9-x2x_abcd1234", "startedAt": ago(7220),
            "installation": "0123456789abcdef", "installationShort": "abc", "host": "kubernetes", "lease": LEASE},
        "organization": {"url": "https://dev.azure.com/contoso", "authentication": "pat"},
        "conditions": [condition("Ready"), condition("Connected"), condition("Authorized")],
        "pools": [
            {"name": "linux", "state": "Healthy", "lastPolledAt": ago(4), "queued": 0, "starting": 0, "busy": 2, "idle": 1,
                "offline": 0, "min": 1, "max": 20, "templates": [template("default", 3)],
                "requests": [running(5, "Build app"), running(6, "Test\u{1b}[31m app")],
                "agents": [busy(11, 5), busy(12, 6),
                    {"id": 13, "name": "agent-job-abc-slot", "owner": "ours", "enabled": true, "online": true, "createdAt": ago(7220)},
                    {"id": 3, "name": "placeholder", "owner": "placeholder", "enabled": true, "online": false, "createdAt": ago(90000)}]},
            {"name": "Big GPU", "state": "Healthy", "lastPolledAt": ago(4), "queued": 0, "starting": 0, "busy": 0, "idle": 0,
                "min": 0, "templates": [template("gpu", 0)]}
        ]
    }))
    .unwrap()
}

/// The pool `linux` of a report.
pub(crate) fn linux(report: &mut Report) -> &mut PoolReport {
    &mut report.pools[0]
}

/// Job request 7 waits in pool `linux`, and this is why.
pub(crate) fn waits(report: &mut Report, verdict: &Value) {
    let request: RequestReport = serde_json::from_value(json!({
        "id": 7, "pipeline": "Deploy", "pipelineRun": "20260101.2", "queuedAt": ago(380),
        "url": "https://dev.azure.com/contoso/web/_build/results?buildId=1007",
        "demands": ["docker", "Agent.Version -gtVersion 2.163.1"], "verdict": verdict
    }))
    .unwrap();
    let pool = linux(report);
    pool.queued = 1;
    pool.oldest_queued_at = request.queued_at;
    pool.requests.insert(0, request);
}
