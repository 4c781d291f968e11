//! What a test holds of the control plane.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{self, ServiceAccount};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};

use crate::audit::{self, AuditEvent};
use crate::keeper::path_variable;
use crate::kubeconfig::{Credential, User, connect};
use crate::programs::{Programs, ensure_programs};
use crate::start::{self, Running};

/// A running control plane. Dropping it stops the programs and removes their folder; so does the end of the process.
#[derive(Debug)]
pub struct ControlPlane {
    running: Running,
    programs: Programs,
    kubeconfig: PathBuf,
    counter: AtomicU32,
}

/// A namespace of its own for one test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Its name, unique within the control plane.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl ControlPlane {
    /// The one control plane of this process. The first call starts it, and builds its programs if need be; it blocks
    /// (about five seconds, or as many minutes), in sync and async tests alike.
    ///
    /// # Panics
    ///
    /// When it cannot be started, with what mends it: a test that is skipped in silence proves nothing.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<std::result::Result<ControlPlane, String>> = OnceLock::new();
        let outcome = SHARED.get_or_init(|| Self::start().map_err(|error| format!("{error:#}")));
        outcome.as_ref().map_err(|error| anyhow!("{error}")).or_panic("no control plane")
    }

    /// Starts a control plane for the caller alone, for tests that count objects in the whole cluster or measure.
    ///
    /// # Errors
    ///
    /// As [`ensure_programs`], and when a program does not come up; the text holds the end of its log.
    pub fn start() -> Result<Self> {
        let programs = ensure_programs()?;
        // On a thread of its own, since the caller may be on a runtime already.
        let start = || -> Result<Running> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(start::start(&programs))
        };
        let running =
            std::thread::scope(|scope| scope.spawn(start).join()).map_err(|_| anyhow!("start panicked"))??;
        let kubeconfig = Running::admin_kubeconfig(&running.folder);
        Ok(Self { running, programs, kubeconfig, counter: AtomicU32::new(0) })
    }

    /// The kubeconfig of an administrator (`system:masters`).
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The API server, `https://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.running.url
    }

    /// The certificate of the API server's authority, PEM.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.running.authority
    }

    /// Where the control plane keeps its files and logs. It is private, and removed at the end.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.running.folder
    }

    /// The programs it runs, and `kubectl`.
    #[must_use]
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// The numbers of its processes: etcd, API server, controller manager.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.running.pids()
    }

    /// A new client with an administrator's rights. A client works only on the runtime it was made on, so each test
    /// makes its own.
    ///
    /// # Panics
    ///
    /// When the kubeconfig cannot be read, which no test causes.
    pub async fn client(&self) -> Client {
        self.client_of(&self.kubeconfig).await
    }

    /// A new client for another kubeconfig, such as that of [`Self::service_account_kubeconfig`].
    ///
    /// # Panics
    ///
    /// When `kubeconfig` cannot be read or used.
    pub async fn client_of(&self, kubeconfig: &Path) -> Client {
        connect(kubeconfig).await.or_panic("no client")
    }

    /// Runs kubectl as administrator and returns what it prints.
    ///
    /// # Errors
    ///
    /// When it fails; the text holds the command and all that it said.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl_of(&self.kubeconfig, arguments)
    }

    /// As [`Self::kubectl`], for the user of another kubeconfig.
    ///
    /// # Errors
    ///
    /// As [`Self::kubectl`].
    pub fn kubectl_of(&self, kubeconfig: &Path, arguments: &[&str]) -> Result<String> {
        self.run_kubectl(kubeconfig, arguments, "")
    }

    /// `kubectl apply -f -` of a manifest, as administrator. Where it names no namespace, `namespace` is meant.
    ///
    /// # Errors
    ///
    /// As [`Self::kubectl`].
    pub fn apply(&self, namespace: &str, manifest: &str) -> Result<String> {
        self.run_kubectl(&self.kubeconfig, &["apply", "-n", namespace, "-f", "-"], manifest)
    }

    fn run_kubectl(&self, kubeconfig: &Path, arguments: &[&str], input: &str) -> Result<String> {
        let mut command = Command::new(&self.programs.kubectl);
        command.args(arguments).env_clear().envs(path_variable());
        command.env("KUBECONFIG", kubeconfig).env("HOME", self.folder());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot start kubectl")?;
        if let Some(mut stdin) = child.stdin.take() {
            // kubectl may end without having read it all, and then says why.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if !output.status.success() {
            let said = text(&output.stdout) + &text(&output.stderr);
            bail!("`kubectl {}` failed ({}):\n{}", arguments.join(" "), output.status, said.trim_end());
        }
        Ok(text(&output.stdout))
    }

    /// Creates a namespace, `PREFIX-1` and so on, and waits until pods can be made in it.
    ///
    /// # Panics
    ///
    /// When the control plane refuses it or its `default` ServiceAccount does not appear within 30 s.
    pub async fn namespace(&self, prefix: &str) -> Namespace {
        self.create_namespace(prefix).await.or_panic("no namespace")
    }

    async fn create_namespace(&self, prefix: &str) -> Result<Namespace> {
        // Of one length, so that what is printed of it breaks its lines at the same places each time.
        let name = format!("{prefix}-{:03}", self.next_number());
        let client = connect(&self.kubeconfig).await?;
        let metadata = ObjectMeta { name: Some(name.clone()), ..Default::default() };
        let namespace = v1::Namespace { metadata, ..Default::default() };
        Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;
        let accounts: Api<ServiceAccount> = Api::namespaced(client, &name);
        let exists = async {
            while accounts.get_opt("default").await?.is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(Duration::from_secs(30), exists)
            .await
            .with_context(|| format!("namespace {name} has no `default` ServiceAccount after 30 s"))??;
        Ok(Namespace { name })
    }

    /// Writes a kubeconfig for a ServiceAccount that exists, with a token for an hour and its namespace as the current
    /// one. The file has mode 0600 and goes away with the control plane.
    ///
    /// # Panics
    ///
    /// When the API server gives no token: most likely the ServiceAccount was not created.
    pub async fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> PathBuf {
        let path = self.write_service_account_kubeconfig(namespace, name).await;
        path.with_context(|| format!("ServiceAccount {namespace}/{name}")).or_panic("no kubeconfig")
    }

    async fn write_service_account_kubeconfig(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let accounts: Api<ServiceAccount> = Api::namespaced(connect(&self.kubeconfig).await?, namespace);
        let spec = TokenRequestSpec { expiration_seconds: Some(3600), ..Default::default() };
        let request = TokenRequest { spec, ..Default::default() };
        let answer = accounts.create_token_request(name, &PostParams::default(), &request).await?;
        let token = answer.status.context("the answer holds no token")?.token;
        let path = self.folder().join(format!("{namespace}.{name}.{}.kubeconfig", self.next_number()));
        let credential = Credential::Token(token);
        User { url: self.url(), authority: self.authority(), name, credential, namespace }.write(&path)?;
        Ok(path)
    }

    /// Every request so far but those of the control plane to itself, in the order of their answers.
    ///
    /// # Panics
    ///
    /// When the audit log cannot be read, which no test causes.
    #[must_use]
    pub fn audit_events(&self) -> Vec<AuditEvent> {
        audit::read(&Running::audit_log(self.folder())).or_panic("no audit events")
    }

    pub(crate) fn next_number(&self) -> u32 {
        self.counter.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// The way out of the few functions that tests call in every other line.
trait OrPanic<T> {
    fn or_panic(self, what: &str) -> T;
}

impl<T> OrPanic<T> for Result<T> {
    #[track_caller]
    #[allow(clippy::panic, reason = "the contract of the functions that use it: fail the test and say why")]
    fn or_panic(self, what: &str) -> T {
        match self {
            Ok(value) => value,
            Err(error) => panic!("{what}: {error:#}"),
        }
    }
}
