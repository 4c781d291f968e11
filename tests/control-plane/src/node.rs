//! Plays the kubelet for the pods of one namespace.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{WatchEvent, WatchParams};
use kube::{Api, ResourceExt};
use tokio::process::{Child, Command};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::container::{self, Process};
use crate::keeper::{Keeper, path_variable};
use crate::kubeconfig::connect;
use crate::plane::ControlPlane;
use crate::pods::{self, Exit, finish_deletion, unless_gone};
use crate::programs::say;
use crate::sources::Sources;

/// What a node does with the pods of its namespace. Whichever it is, it finishes their deletion.
#[derive(Debug, Clone)]
pub enum Behaviour {
    /// Nothing: pods stay Pending, or as the functions of [`crate::pods`] put them.
    Idle,
    /// Runs the agent's container (the one named `agent`, else the first) as a local process, with exactly its
    /// environment and its Secret, ConfigMap and `emptyDir` volumes. The pod is Succeeded or Failed by its exit code,
    /// without restarts; other containers only seem to run, and init containers are passed over. A pod that is deleted
    /// has its process asked to stop and, after the grace period, killed with all that it started.
    ///
    /// There are no mounts: mount paths in the environment, the command and the arguments are replaced by local ones.
    Run {
        /// What the images have for an entry point: the command of a container that names none.
        entrypoint: Vec<String>,
    },
}

/// A node at work, on a thread of its own, so that a test may block. Dropping it kills its processes.
#[derive(Debug)]
pub struct Node {
    folder: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    /// Starts a node for `namespace`, with an administrator's rights.
    #[must_use = "the node stops when it is dropped"]
    pub fn start(plane: &ControlPlane, namespace: &str, behaviour: Behaviour) -> Self {
        let folder = plane.folder().join(format!("node-{}", plane.next_number()));
        let (stop, stopped) = oneshot::channel();
        let (kubeconfig, namespace, place) = (plane.kubeconfig().to_owned(), namespace.to_owned(), folder.clone());
        let work = move || -> Result<()> {
            fs::create_dir_all(&place)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let client = connect(&kubeconfig).await?;
                let sources = Sources::new(&client, &namespace);
                let api = Api::namespaced(client, &namespace);
                let shared = Arc::new(Shared { api, sources, behaviour, folder: place });
                Kubelet { shared, lives: HashMap::new(), tasks: JoinSet::new() }.work(stopped).await;
                Ok(())
            })
        };
        let thread = std::thread::spawn(move || {
            if let Err(error) = work() {
                say(&format!("the tests' node cannot work: {error:?}"));
            }
        });
        Self { folder, stop: Some(stop), thread: Some(thread) }
    }

    /// What the process of a pod has printed so far, on stdout and stderr; empty when it never ran here.
    #[must_use]
    pub fn log(&self, pod: &str) -> String {
        fs::read(log_file(&self.folder, pod))
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn log_file(folder: &Path, pod: &str) -> PathBuf {
    folder.join(format!("{pod}.log"))
}

struct Shared {
    api: Api<Pod>,
    sources: Sources,
    behaviour: Behaviour,
    folder: PathBuf,
}

/// What a running pod is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Live,
    /// The pod is being deleted, with this grace period.
    Stop(Duration),
    /// The pod is gone, or the node goes; nothing need be reported.
    Vanish,
}

struct Kubelet {
    shared: Arc<Shared>,
    /// By the pod's uid.
    lives: HashMap<String, watch::Sender<Order>>,
    tasks: JoinSet<()>,
}

impl Kubelet {
    async fn work(mut self, mut stopped: oneshot::Receiver<()>) {
        loop {
            tokio::select! {
                _ = &mut stopped => break,
                outcome = self.watch() => if let Err(error) = outcome {
                    say(&format!("the tests' node lost its watch and begins anew: {error:#}"));
                    tokio::time::sleep(Duration::from_millis(200)).await;
                },
            }
        }
        for life in self.lives.values() {
            life.send_replace(Order::Vanish);
        }
        // Finishing a deletion is one request or two; a process that was killed is reaped at once.
        let _ = tokio::time::timeout(Duration::from_secs(5), async { while self.tasks.join_next().await.is_some() {} })
            .await;
    }

    /// From version 0, a watch first tells of everything that exists, so beginning anew loses nothing.
    async fn watch(&mut self) -> Result<()> {
        let parameters = WatchParams::default().timeout(240);
        let mut events = Box::pin(self.shared.api.watch(&parameters, "0").await?);
        while let Some(event) = events.try_next().await? {
            match event {
                WatchEvent::Added(pod) | WatchEvent::Modified(pod) => self.see(pod),
                WatchEvent::Deleted(pod) => {
                    if let Some(life) = self.lives.remove(&pod.uid().unwrap_or_default()) {
                        life.send_replace(Order::Vanish);
                    }
                }
                WatchEvent::Bookmark(_) => {}
                WatchEvent::Error(status) => bail!("{}", status.message),
            }
            while self.tasks.try_join_next().is_some() {}
        }
        Ok(())
    }

    fn see(&mut self, pod: Pod) {
        let uid = pod.uid().unwrap_or_default();
        let life = self.lives.get(&uid).filter(|life| !life.is_closed());
        if pod.metadata.deletion_timestamp.is_some() {
            if let Some(life) = life {
                let seconds = pod.metadata.deletion_grace_period_seconds.unwrap_or_default().cast_unsigned();
                let order = Order::Stop(Duration::from_secs(seconds));
                life.send_if_modified(|last| std::mem::replace(last, order) != order);
            } else {
                let shared = Arc::clone(&self.shared);
                self.tasks.spawn(async move { complain(&pod, finish_deletion(&shared.api, &pod).await) });
            }
        } else if let Behaviour::Run { entrypoint } = &self.shared.behaviour
            && !self.lives.contains_key(&uid)
            && may_start(&pod)
        {
            let (sender, orders) = watch::channel(Order::Live);
            self.lives.insert(uid, sender);
            let (shared, entrypoint) = (Arc::clone(&self.shared), entrypoint.clone());
            self.tasks.spawn(async move { complain(&pod, live(&shared, &pod, &entrypoint, orders).await) });
        }
    }
}

fn may_start(pod: &Pod) -> bool {
    let gated =
        pod.spec.as_ref().is_some_and(|spec| spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()));
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !gated && matches!(phase, None | Some("Pending"))
}

fn complain(pod: &Pod, outcome: Result<()>) {
    if let Err(error) = unless_gone(outcome) {
        say(&format!("the tests' node and pod {}: {error:#}", pod.name_any()));
    }
}

/// One pod, from its binding to its end.
async fn live(shared: &Shared, pod: &Pod, entrypoint: &[String], mut orders: watch::Receiver<Order>) -> Result<()> {
    let folder = shared.folder.join(pod.uid().unwrap_or_default());
    fs::create_dir_all(&folder)?;
    let outcome = async {
        pods::bind(&shared.api, pod).await?;
        let Some(process) = prepare(shared, pod, entrypoint, &folder, &mut orders).await? else {
            return Ok(());
        };
        run(shared, pod, &process, &mut orders).await
    }
    .await;
    let _ = fs::remove_dir_all(&folder);
    if matches!(*orders.borrow(), Order::Stop(_)) {
        let latest = shared.api.get(&pod.name_any()).await?;
        if latest.uid() == pod.uid() {
            finish_deletion(&shared.api, &latest).await?;
        }
    }
    outcome
}

/// Tries each second until what the container refers to exists. `None` when the pod must stop before it has begun.
async fn prepare(
    shared: &Shared,
    pod: &Pod,
    entrypoint: &[String],
    folder: &Path,
    orders: &mut watch::Receiver<Order>,
) -> Result<Option<Process>> {
    let mut told = String::new();
    loop {
        match container::prepare(pod, entrypoint, &shared.sources, folder).await {
            Ok(process) => return Ok((*orders.borrow() == Order::Live).then_some(process)),
            Err(not_yet) if not_yet.message != told => {
                pods::report(&shared.api, pod, pods::waiting(pod, not_yet.reason, &not_yet.message)).await?;
                told = not_yet.message;
            }
            Err(_) => {}
        }
        tokio::select! {
            _ = orders.changed() => return Ok(None),
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
}

async fn run(shared: &Shared, pod: &Pod, process: &Process, orders: &mut watch::Receiver<Order>) -> Result<()> {
    let mut keeper = Keeper::new(None)?;
    let mut child = match spawn(process, &log_file(&shared.folder, &pod.name_any()), &mut keeper) {
        Ok(child) => child,
        Err(error) => {
            let message = format!("{error:#}");
            let exit = Exit { code: 128, reason: "StartError", message: Some(&message) };
            return pods::report(&shared.api, pod, pods::ended(pod, &exit)).await;
        }
    };
    let reported = pods::report(&shared.api, pod, pods::running(pod)).await;
    let code = exit_code(&mut child, &mut keeper, orders).await?;
    drop(keeper);
    reported?;
    if *orders.borrow() == Order::Vanish {
        return Ok(());
    }
    let exit = Exit { code, reason: if code == 0 { "Completed" } else { "Error" }, message: None };
    pods::report(&shared.api, pod, pods::ended(pod, &exit)).await
}

fn spawn(process: &Process, log: &Path, keeper: &mut Keeper) -> Result<Child> {
    let log = File::create(log)?;
    let mut command = Command::new(&process.program);
    command.args(&process.arguments).current_dir(&process.folder);
    command.env_clear().envs(path_variable()).envs(&process.environment);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(keeper.group());
    let child = command.spawn().with_context(|| format!("cannot start {}", process.program))?;
    if let Some(pid) = child.id() {
        keeper.keep(pid)?;
    }
    Ok(child)
}

/// Waits for the end of the process and sees to it when ordered to. Ended by a signal counts as 128 and the signal.
async fn exit_code(child: &mut Child, keeper: &mut Keeper, orders: &mut watch::Receiver<Order>) -> Result<i32> {
    use std::os::unix::process::ExitStatusExt;
    let status = loop {
        let order = *orders.borrow_and_update();
        let patience = match order {
            Order::Live => Duration::MAX,
            Order::Stop(grace) => {
                keeper.terminate()?;
                grace
            }
            Order::Vanish => Duration::ZERO,
        };
        tokio::select! {
            status = child.wait() => break status?,
            Ok(()) = orders.changed() => {}
            () = tokio::time::sleep(patience) => {
                child.start_kill()?;
                break child.wait().await?;
            }
        }
    };
    Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()))
}
