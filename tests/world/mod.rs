//! What the tests of `serve` share: a namespace of a real API server, a sandbox, and `serve` as a process.

#![allow(dead_code, reason = "each test target uses its part of it")]

pub(crate) mod election;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use control_plane::{AuditEvent, ControlPlane, Namespace};
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{ConfigMap, Event, Pod},
};
use kube::{Api, Client, api::ListParams, core::NamespaceResourceScope};
use kubectl_ado::sandbox::{AgentSpec, JobSpec, Sandbox, Settings};
use serde::{Serialize, de::DeserializeOwned};
use tempfile::TempDir;

/// Long enough for a busy machine; a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Times between two looks at something that is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A label that all agents' Jobs carry.
pub(crate) const OURS: &str = "app.kubernetes.io/managed-by=kubectl-ado";

pub(crate) struct World {
    pub(crate) plane: &'static ControlPlane,
    pub(crate) namespace: Namespace,
    pub(crate) sandbox: Sandbox,
    pub(crate) client: Client,
    pub(crate) folder: TempDir,
    /// The ServiceAccount of `manifests/`, bound to its Role.
    pub(crate) kubeconfig: PathBuf,
}

impl World {
    /// A namespace with the ServiceAccount, Role and RoleBinding of `manifests/`, and an organization.
    pub(crate) async fn new(name: &str) -> Self {
        Self::with(name, Settings::default()).await
    }

    pub(crate) async fn with(name: &str, settings: Settings) -> Self {
        let settings = Settings { agent_program: Some(PathBuf::from(env!("CARGO_BIN_EXE_kubectl-ado"))), ..settings };
        let sandbox = Sandbox::start(SocketAddr::from(([127, 0, 0, 1], 0)), settings).unwrap();
        Self::beside(name, &sandbox).await
    }

    /// Another installation that serves the same organization.
    pub(crate) async fn beside(name: &str, sandbox: &Sandbox) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let plane = ControlPlane::shared();
        let namespace = plane.namespace(name).await;
        for manifest in ["serviceaccount", "role", "rolebinding"] {
            plane.apply(namespace.name(), &project_file(&format!("manifests/{manifest}.yaml"))).unwrap();
        }
        let kubeconfig = plane.service_account_kubeconfig(namespace.name(), "kubectl-ado").await;
        let client = plane.client().await;
        let folder = TempDir::new().unwrap();
        Self { plane, namespace, sandbox: sandbox.clone(), client, folder, kubeconfig }
    }

    /// A pool that has been used before: with one offline agent, without which Azure DevOps fails every job at once.
    pub(crate) fn pool(&self, name: &str) -> i64 {
        let pool = self.sandbox.add_pool(name).unwrap();
        self.sandbox.add_agent(pool, AgentSpec::named("placeholder").disabled()).unwrap();
        pool
    }

    pub(crate) fn queue(&self, pool: i64, count: usize) -> Vec<i64> {
        self.queue_script(pool, count, "true")
    }

    /// Queues pipeline jobs that run this script.
    pub(crate) fn queue_script(&self, pool: i64, count: usize, script: &str) -> Vec<i64> {
        let job = |number| JobSpec::new("pipeline", format!("job {number}")).step("work", script);
        (0..count).map(|number| self.sandbox.queue(pool, job(number)).unwrap()).collect()
    }

    /// `serve` for these pools, with its environment as in the original project's README.
    pub(crate) fn serve(&self, pools: &str) -> Serve {
        let variables = [
            ("ORG_URL", self.sandbox.url()),
            ("ORG_PAT", self.sandbox.token().to_owned()),
            ("AGENT_POOLS", pools.to_owned()),
            ("JOB_NAMESPACE", self.namespace.name().to_owned()),
            ("JOB_IMAGE", "registry.example/agent:1".to_owned()),
            ("KUBECONFIG", self.kubeconfig.display().to_string()),
            ("POLLING_DELAY", "100".to_owned()),
            ("PATH", std::env::var("PATH").unwrap()),
        ];
        Serve {
            variables: variables.map(|(name, value)| (name.to_owned(), value)).into(),
            arguments: vec!["serve".into()],
            folder: self.folder.path().to_owned(),
            token: self.sandbox.token().to_owned(),
        }
    }

    pub(crate) fn all<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), self.namespace.name())
    }

    pub(crate) async fn jobs(&self) -> Vec<Job> {
        self.all::<Job>().list(&ListParams::default().labels(OURS)).await.unwrap().items
    }

    /// Our Jobs as the API server stores them, with all fields of theirs, by name.
    pub(crate) fn stored_jobs(&self) -> Vec<serde_json::Value> {
        let printed = self.plane.kubectl(&["get", "jobs", "-n", self.namespace.name(), "-l", OURS, "-o", "json"]);
        let list: serde_json::Value = serde_json::from_str(&printed.unwrap()).unwrap();
        list["items"].as_array().unwrap().clone()
    }

    /// The kubeconfig of somebody who may do everything.
    pub(crate) fn admin(&self) -> String {
        self.plane.kubeconfig().display().to_string()
    }

    /// Waits until there are this many Jobs.
    pub(crate) async fn until_jobs(&self, count: usize) -> Vec<Job> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let jobs = self.jobs().await;
            if jobs.len() == count {
                return jobs;
            }
            assert!(Instant::now() < deadline, "{} Jobs instead of {count}", jobs.len());
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits until there are at least this many Jobs.
    pub(crate) async fn until_at_least(&self, count: usize) -> Vec<Job> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let jobs = self.jobs().await;
            if jobs.len() >= count {
                return jobs;
            }
            assert!(Instant::now() < deadline, "{} Jobs and not {count}", jobs.len());
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// How often the job requests of a pool were asked for so far.
    pub(crate) fn polls(&self) -> u64 {
        let polls = |(route, _): &(&String, &u64)| route.starts_with("GET") && route.ends_with("/jobrequests");
        self.sandbox.calls().iter().filter(polls).map(|(_, calls)| calls).sum()
    }

    /// Waits until each pool was polled so often again that whatever was going to be done has been done.
    pub(crate) async fn passes(&self, passes: u64) {
        let pools = self.sandbox.see(|state| state.pools().count()) as u64;
        let wanted = self.polls() + passes * pools;
        eventually("the pools are polled", || self.polls() >= wanted).await;
    }

    /// How many Jobs of the namespace were ever created (`create`, 201) or deleted (`delete`, 200), by the API server's
    /// own account. What a client asked for that did not live to hear the answer is not among them.
    pub(crate) fn jobs_ever(&self, verb: &str, code: u16) -> usize {
        let counts = |event: &&AuditEvent| {
            (event.verb.as_str(), event.resource.as_str(), event.code) == (verb, "jobs", code)
                && event.namespace == self.namespace.name()
        };
        self.plane.audit_events().iter().filter(counts).count()
    }

    /// How many Jobs were ever created.
    pub(crate) fn jobs_ever_made(&self) -> usize {
        self.jobs_ever("create", 201)
    }

    /// Waits for that many Jobs and sees that they stay that many.
    pub(crate) async fn jobs_stay(&self, count: usize) -> Vec<Job> {
        self.until_jobs(count).await;
        self.passes(4).await;
        let jobs = self.jobs().await;
        assert_eq!(jobs.len(), count, "the number of Jobs changed after it was right");
        jobs
    }

    /// Everything in the namespace that anybody with an ordinary right to look could read.
    pub(crate) async fn all_that_can_be_read(&self) -> String {
        async fn list<K>(api: Api<K>) -> String
        where
            K: Clone + std::fmt::Debug + DeserializeOwned + Serialize,
        {
            serde_json::to_string(&api.list(&ListParams::default()).await.unwrap().items).unwrap()
        }
        [
            list(self.all::<Job>()).await,
            list(self.all::<Pod>()).await,
            list(self.all::<Event>()).await,
            list(self.all::<ConfigMap>()).await,
        ]
        .join("\n")
    }

    /// The end of each test: the token is in nothing that can be read.
    pub(crate) async fn the_token_is_nowhere(&self) {
        let text = self.all_that_can_be_read().await;
        assert_holds_no_token(&text, self.sandbox.token(), "an object of the namespace");
    }
}

/// Neither the token nor its form in an Authorization header may be there.
pub(crate) fn assert_holds_no_token(text: &str, token: &str, place: &str) {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    for form in [token.to_owned(), STANDARD.encode(token), STANDARD.encode(format!(":{token}"))] {
        assert!(!text.contains(&form), "the token is in {place}");
    }
}

pub(crate) fn project_file(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Waits until something is true.
pub(crate) async fn eventually(what: &str, is_true: impl FnMut() -> bool) {
    eventually_within(PATIENCE, what, is_true).await;
}

/// Waits until something is true that takes longer than others.
pub(crate) async fn eventually_within(patience: Duration, what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !is_true() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// A `serve` to be started.
#[derive(Clone)]
pub(crate) struct Serve {
    variables: BTreeMap<String, String>,
    arguments: Vec<String>,
    folder: PathBuf,
    token: String,
}

impl Serve {
    /// One that has these variables, and works in this folder.
    pub(crate) fn of(variables: impl IntoIterator<Item = (String, String)>, folder: &Path, token: &str) -> Self {
        Self {
            variables: variables.into_iter().collect(),
            arguments: vec!["serve".into()],
            folder: folder.to_owned(),
            token: token.to_owned(),
        }
    }

    pub(crate) fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// With these variables and no others.
    pub(crate) fn only(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.variables = variables.into_iter().collect();
        self
    }

    pub(crate) fn unset(mut self, name: &str) -> Self {
        self.variables.remove(name);
        self
    }

    pub(crate) fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Its environment, for whoever works beside it.
    pub(crate) fn environment(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-ado"));
        command.args(&self.arguments).env_clear().envs(&self.variables).current_dir(&self.folder).stdin(Stdio::null());
        command
    }

    /// Starts it; its log goes to a file.
    pub(crate) fn start(&self) -> Running {
        let log = tempfile::NamedTempFile::new_in(&self.folder).unwrap();
        let process = self.command().stdout(log.reopen().unwrap()).stderr(log.reopen().unwrap()).spawn().unwrap();
        Running { process, log: log.into_temp_path().keep().unwrap(), token: self.token.clone() }
    }

    /// Runs a single pass and gives its exit code and its log.
    pub(crate) async fn once(self) -> (i32, String) {
        let mut running = self.set("RUN_ONCE", "1").start();
        let status = running.ended().await;
        (status.code().unwrap(), running.log())
    }
}

/// A `serve` that was started. Dropping it kills it and looks for the token in its log.
pub(crate) struct Running {
    process: Child,
    log: PathBuf,
    token: String,
}

impl Running {
    pub(crate) fn log(&self) -> String {
        let log = String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned();
        assert_holds_no_token(&log, &self.token, "a log");
        log
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The log's lines as JSON; what is none is left out.
    pub(crate) fn lines(&self) -> Vec<serde_json::Value> {
        self.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The address of its listener, once it has said so.
    pub(crate) async fn address(&self) -> String {
        let mut address = None;
        eventually("serve listens", || {
            address = self.log().lines().find_map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).ok()?;
                Some(line.get("address")?.as_str()?.to_owned())
            });
            address.is_some()
        })
        .await;
        address.unwrap()
    }

    /// The memory that it holds now, in MiB.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }

    /// Waits for a text in the log.
    pub(crate) async fn says(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            assert!(Instant::now() < deadline, "the log does not say {text:?}:\n{}", self.log());
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "serve does not end:\n{}", self.log());
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// SIGKILL, as a node that loses power would do it.
    pub(crate) fn kill(mut self) -> String {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.log()
    }

    /// SIGTERM, and how long it took to go.
    pub(crate) async fn terminate(mut self) -> (ExitStatus, Duration) {
        let pid = nix::unistd::Pid::from_raw(self.process.id().try_into().unwrap());
        let asked = Instant::now();
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        (self.ended().await, asked.elapsed())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if !std::thread::panicking() {
            self.log();
        }
    }
}

/// The job request that a Job was made for.
pub(crate) fn request_of(job: &Job) -> Option<i64> {
    job.metadata.annotations.as_ref()?.get("kubectl-ado/request")?.parse().ok()
}

/// The entry point of the agent image, run where the tests run.
pub(crate) fn agent_entrypoint() -> Vec<String> {
    vec!["bash".to_owned(), concat!(env!("CARGO_MANIFEST_DIR"), "/linux/start.sh").to_owned()]
}

/// The environment of a Job's first container, by name; values from elsewhere as JSON.
pub(crate) fn environment(job: &Job) -> BTreeMap<String, String> {
    let pod = job.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
    let variables = pod.containers[0].env.iter().flatten();
    variables
        .map(|variable| {
            let value = match (&variable.value, &variable.value_from) {
                (Some(value), _) => value.clone(),
                (None, Some(from)) => serde_json::to_string(from).unwrap(),
                (None, None) => String::new(),
            };
            (variable.name.clone(), value)
        })
        .collect()
}
