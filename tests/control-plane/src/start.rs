//! Brings the programs up: etcd, then the API server, then the controller manager, on loopback and in one folder.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use kube::{Api, Client, api::PostParams};
use serde_json::json;

use crate::certificates::Authority;
use crate::go_build::tail;
use crate::keeper::{Keeper, path_variable};
use crate::kubeconfig::{Credential, User, connect, write_private};
use crate::programs::Programs;
use crate::{audit, pods};

/// Generous, since a test machine may be compiling at the same time; usual are 5 s for everything.
const PATIENCE: Duration = Duration::from_secs(90);

/// The API server and the controller manager find etcd here. A socket in our own folder cannot be taken by another
/// process, as a port can. It is relative to the folder, since the name of a socket must be short, and has a colon,
/// since etcd wants the form `host:port` even here.
const ETCD_SOCKET: &str = "etcd:1";

/// Stands in the way of nobody: the range of addresses for benchmarks.
const ADVERTISED_ADDRESS: &str = "198.18.0.1";
const SERVICE_RANGE: &str = "198.18.1.0/24";

/// A control plane that is up.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) folder: PathBuf,
    pub(crate) url: String,
    /// PEM.
    pub(crate) authority: String,
    keeper: Keeper,
    programs: Vec<Child>,
}

impl Running {
    pub(crate) fn admin_kubeconfig(folder: &Path) -> PathBuf {
        folder.join("admin.kubeconfig")
    }

    pub(crate) fn audit_log(folder: &Path) -> PathBuf {
        folder.join("audit.log")
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.programs.iter().map(Child::id).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.keeper.release();
        while let Some(mut program) = self.programs.pop() {
            let _ = program.wait();
        }
    }
}

/// Starts everything and returns when the `default` ServiceAccount exists, which means that the controllers work.
pub(crate) async fn start(programs: &Programs) -> Result<Running> {
    let folder = tempfile::Builder::new().prefix("kubectl-ado-control-plane-").tempdir()?;
    let authority = Authority::new()?;
    write_certificates(&authority, folder.path())?;
    write_private(&folder.path().join("audit-policy.json"), audit::POLICY)?;

    let keeper = Keeper::new(Some(folder.path()))?;
    let mut running =
        Running { folder: folder.keep(), url: String::new(), authority: authority.pem(), keeper, programs: Vec::new() };
    start_etcd(&mut running, &programs.etcd).await?;
    start_api_server(&mut running, &programs.kube_apiserver, &authority).await?;
    start_controller_manager(&mut running, &programs.kube_controller_manager).await?;
    Ok(running)
}

fn write_certificates(authority: &Authority, folder: &Path) -> Result<()> {
    let write = |name: &str, pem: &str| write_private(&folder.join(name), pem);
    let server = authority.server()?;
    let service_accounts = rcgen::KeyPair::generate()?;
    write("ca.crt", &authority.pem())?;
    write("apiserver.crt", &server.certificate)?;
    write("apiserver.key", &server.key)?;
    write("service-accounts.key", &service_accounts.serialize_pem())?;
    write("service-accounts.pub", &service_accounts.public_key_pem())
}

fn write_kubeconfigs(running: &Running, authority: &Authority) -> Result<()> {
    let write = |path: &Path, name: &str, group: Option<&str>| {
        let credential = Credential::Certificate(authority.client(name, group)?);
        User { url: &running.url, authority: &running.authority, name, credential, namespace: "default" }.write(path)
    };
    write(&Running::admin_kubeconfig(&running.folder), "admin", Some("system:masters"))?;
    let path = running.folder.join("controller-manager.kubeconfig");
    write(&path, "system:kube-controller-manager", None)
}

async fn start_etcd(running: &mut Running, program: &Path) -> Result<()> {
    let [client, peer] = [format!("unix://{ETCD_SOCKET}"), "unix://peer:1".to_owned()];
    let arguments = [
        "--name=e".to_owned(),
        "--data-dir=etcd".to_owned(),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=e={peer}"),
        // The data need not outlive a crash of the machine, and other builds keep its disk busy.
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
    ];
    let mut etcd = spawn(running, "etcd", program, &arguments)?;
    let socket = running.folder.join(ETCD_SOCKET);
    let outcome = wait_until("etcd", &running.folder, &mut etcd, async || socket.exists().then_some(())).await;
    running.programs.push(etcd);
    outcome?.map_err(Ended::into_error)
}

/// The port may be taken by someone else between our choice and the API server's start; then another one will do.
async fn start_api_server(running: &mut Running, program: &Path, authority: &Authority) -> Result<()> {
    for _ in 0..5 {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        running.url = format!("https://127.0.0.1:{port}");
        write_kubeconfigs(running, authority)?;
        let mut server = spawn(running, "kube-apiserver", program, &api_server_arguments(port))?;
        let client = connect(&Running::admin_kubeconfig(&running.folder)).await?;
        let ready = async || {
            let request = http::Request::get("/readyz").body(Vec::new()).ok()?;
            in_time(client.request_text(request)).await.map(drop)
        };
        match wait_until("kube-apiserver", &running.folder, &mut server, ready).await? {
            Ok(()) => {
                running.programs.push(server);
                return Ok(());
            }
            Err(ended) if ended.last_words.contains("address already in use") => {}
            Err(ended) => return Err(ended.into_error()),
        }
    }
    bail!("five ports in a row were taken before kube-apiserver could listen on them")
}

fn api_server_arguments(port: u16) -> Vec<String> {
    [
        &format!("--etcd-servers=unix://{ETCD_SOCKET}"),
        "--bind-address=127.0.0.1",
        &format!("--secure-port={port}"),
        // Loopback cannot be advertised, and the machine may have no other address.
        &format!("--advertise-address={ADVERTISED_ADDRESS}"),
        "--endpoint-reconciler-type=none",
        "--client-ca-file=ca.crt",
        "--tls-cert-file=apiserver.crt",
        "--tls-private-key-file=apiserver.key",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-account-key-file=service-accounts.pub",
        "--service-account-signing-key-file=service-accounts.key",
        &format!("--service-cluster-ip-range={SERVICE_RANGE}"),
        "--authorization-mode=Node,RBAC",
        "--allow-privileged=true",
        "--audit-policy-file=audit-policy.json",
        "--audit-log-path=audit.log",
        "--profiling=false",
    ]
    .map(str::to_owned)
    .to_vec()
}

async fn start_controller_manager(running: &mut Running, program: &Path) -> Result<()> {
    let arguments = [
        "--kubeconfig=controller-manager.kubeconfig",
        "--authentication-kubeconfig=controller-manager.kubeconfig",
        "--authorization-kubeconfig=controller-manager.kubeconfig",
        "--bind-address=127.0.0.1",
        // It serves nothing that we read, and its port would be one more to be taken.
        "--secure-port=0",
        "--service-account-private-key-file=service-accounts.key",
        "--root-ca-file=ca.crt",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
        // Our node sends no heartbeats: these two would give it up and evict its pods.
        "--controllers=*,-node-lifecycle-controller,-taint-eviction-controller",
    ]
    .map(str::to_owned);
    let mut manager = spawn(running, "kube-controller-manager", program, &arguments)?;
    let client = connect(&Running::admin_kubeconfig(&running.folder)).await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    let works = async || in_time(accounts.get("default")).await.map(drop);
    let outcome = wait_until("kube-controller-manager", &running.folder, &mut manager, works).await;
    running.programs.push(manager);
    outcome?.map_err(Ended::into_error)?;
    create_node(client).await
}

/// The node to which [`pods`] binds: without it, the garbage collector takes its pods for orphans.
async fn create_node(client: Client) -> Result<()> {
    let node: Node = serde_json::from_value(json!({
        "metadata": {
            "name": pods::NODE_NAME,
            "labels": { "kubernetes.io/hostname": pods::NODE_NAME, "kubernetes.io/os": "linux" },
        },
        "status": { "conditions": [{ "type": "Ready", "status": "True", "reason": "PlayedByTests" }] },
    }))?;
    Api::all(client).create(&PostParams::default(), &node).await.context("cannot create the node")?;
    Ok(())
}

fn spawn(running: &mut Running, name: &str, program: &Path, arguments: &[String]) -> Result<Child> {
    let log = File::create(running.folder.join(format!("{name}.log")))?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir(&running.folder);
    command.env_clear().envs(path_variable()).env("HOME", &running.folder);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    running.keeper.spawn(&mut command).with_context(|| format!("cannot start {}", program.display()))
}

/// A program that ended before it was up.
struct Ended {
    name: &'static str,
    status: ExitStatus,
    last_words: String,
}

impl Ended {
    fn into_error(self) -> anyhow::Error {
        anyhow::anyhow!("{} ended while it was starting ({}):\n{}", self.name, self.status, self.last_words)
    }
}

/// Asks `up` again and again until it answers, the program ends, or patience does.
async fn wait_until(
    name: &'static str,
    folder: &Path,
    program: &mut Child,
    up: impl AsyncFn() -> Option<()>,
) -> Result<Result<(), Ended>> {
    let log = folder.join(format!("{name}.log"));
    let begun = Instant::now();
    loop {
        if let Some(status) = program.try_wait()? {
            return Ok(Err(Ended { name, status, last_words: tail(&log) }));
        }
        if up().await.is_some() {
            return Ok(Ok(()));
        }
        if begun.elapsed() > PATIENCE {
            bail!("{name} was not up after {} s; its last words:\n{}", PATIENCE.as_secs(), tail(&log));
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// The client has no deadline for an answer of its own.
async fn in_time<T>(call: impl Future<Output = kube::Result<T>>) -> Option<T> {
    tokio::time::timeout(Duration::from_secs(5), call).await.ok()?.ok()
}
