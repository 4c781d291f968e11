//! The processes of running groups. Each is the agent of one container: bash with the start script, in a folder of its
//! own, with exactly the container's environment and PATH, and volumes as folders.
//!
//! A small watcher within each process group waits on a pipe that only we hold open, and kills the group when that is
//! closed: however this process ends, none of its agents outlives it. As long as the watcher is there, the number of
//! the group cannot come to mean another one.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    process::{Child, ChildStdin, Command},
    runtime::Handle,
    sync::oneshot,
};

use super::{
    groups::{Order, Start},
    shared::Shared,
};
use crate::sandbox::served::lock;

mod mounts;
mod signals;

use mounts::Mounts;

/// What is kept of an output: 4 MB, as Azure does.
const LOG: u64 = 4 << 20;

/// What a process that could not be started ends with.
const NOT_STARTED: i32 = 128;

/// `$@` becomes the leader of the group; the watcher stays beside it.
const LEADER: &str = "exec 3<&0 </dev/null; { read -r _ <&3; kill -KILL 0; } >/dev/null 2>&1 & exec 3<&-; exec \"$@\"";

/// All processes that run, and the outputs of all that ever did.
#[derive(Debug)]
pub(super) struct Processes {
    folder: Option<TempDir>,
    script: PathBuf,
    live: Mutex<HashMap<u64, Live>>,
    runtime: Handle,
}

#[derive(Debug)]
struct Live {
    /// The end of the pipe that keeps the watcher waiting.
    _leash: Option<ChildStdin>,
    /// The leader's number, which is the group's.
    group: Option<u32>,
    stop: Option<oneshot::Sender<Duration>>,
}

impl Processes {
    pub(super) fn new(entry_point: &str) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("kubectl-ado-azure-").tempdir()?;
        let script = folder.path().join("start.sh");
        fs::write(&script, entry_point)?;
        let runtime = Handle::try_current().map_err(io::Error::other)?;
        Ok(Self { folder: Some(folder), script, live: Mutex::default(), runtime })
    }

    /// Starts or ends a process.
    pub(super) fn carry_out(&self, shared: &Arc<Shared>, order: Order, grace: Duration) {
        match order {
            Order::Start(number, start) => self.start(shared, number, &start),
            Order::Stop(number) => {
                let stop = lock(&self.live).get_mut(&number).and_then(|live| live.stop.take());
                if let Some(stop) = stop {
                    let _ = stop.send(grace);
                }
            }
        }
    }

    fn start(&self, shared: &Arc<Shared>, number: u64, start: &Start) {
        let (stop, stopped) = oneshot::channel();
        let spawned = self.spawn(number, start).map(|mut child| {
            let live = Live { _leash: child.stdin.take(), group: child.id(), stop: Some(stop) };
            lock(&self.live).insert(number, live);
            child
        });
        let shared = Arc::downgrade(shared);
        let folder = self.folder_of(number);
        self.runtime.spawn(async move {
            let code = match spawned {
                Ok(mut child) => wait(&mut child, stopped).await,
                Err(error) => {
                    tracing::warn!(%error, "the stand-in for Azure cannot start an agent");
                    NOT_STARTED
                }
            };
            if let Some(shared) = shared.upgrade() {
                shared.processes.forget(number);
                let _ = tokio::fs::remove_dir_all(folder).await;
                shared.with(|groups, now| groups.ended(number, code, now));
            }
        });
    }

    fn spawn(&self, number: u64, start: &Start) -> io::Result<Child> {
        let folder = self.folder_of(number);
        fs::create_dir_all(&folder)?;
        let mounts = Mounts::make(&start.mounts, &folder)?;
        let log = File::create(self.log_of(number))?;
        let mut words: Vec<String> = start.command.iter().map(|word| mounts.localize(word)).collect();
        let is_script = words.first().is_none_or(|word| Path::new(word).file_name() == self.script.file_name());
        if is_script {
            let script = self.script.to_string_lossy().into_owned();
            words.splice(..words.len().min(1), ["bash".to_owned(), script]);
        }
        let environment: BTreeMap<&String, String> =
            start.environment.iter().map(|(name, value)| (name, mounts.localize(value))).collect();
        let mut command = Command::new("bash");
        command.args(["-c", LEADER, "leader"]).args(words).current_dir(&folder).env_clear();
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path))).envs(environment);
        command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        #[cfg(unix)]
        command.process_group(0);
        let _inside = self.runtime.enter();
        command.spawn()
    }

    /// The leader has ended; whatever it has left behind is ended by the watcher.
    fn forget(&self, number: u64) {
        lock(&self.live).remove(&number);
    }

    /// Ends everything at once.
    pub(super) fn end_all(&self) {
        for (_, live) in lock(&self.live).drain() {
            live.group.into_iter().for_each(signals::kill_group);
        }
    }

    /// How many processes run.
    pub(super) fn running(&self) -> usize {
        lock(&self.live).len()
    }

    /// The last of what a process has printed, on stdout and stderr.
    pub(super) fn log(&self, number: u64) -> String {
        let read = || -> io::Result<Vec<u8>> {
            let mut file = File::open(self.log_of(number))?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(LOG)))?;
            let mut text = Vec::new();
            file.take(LOG).read_to_end(&mut text)?;
            Ok(text)
        };
        String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
    }

    fn folder_of(&self, number: u64) -> PathBuf {
        self.script.with_file_name(number.to_string())
    }

    fn log_of(&self, number: u64) -> PathBuf {
        self.script.with_file_name(format!("{number}.log"))
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.end_all();
        // A process that was killed may write until the kernel comes to it.
        if let Some(folder) = self.folder.take() {
            let path = folder.keep();
            for _ in 0..10 {
                if fs::remove_dir_all(&path).is_ok() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// Waits for the end of a process and sees to it when it is to stop. Ended by a signal counts as 128 and the signal.
async fn wait(child: &mut Child, stopped: oneshot::Receiver<Duration>) -> i32 {
    let status = tokio::select! {
        status = child.wait() => status,
        grace = stopped => match grace {
            Ok(grace) => {
                child.id().into_iter().for_each(signals::terminate);
                match tokio::time::timeout(grace, child.wait()).await {
                    Ok(status) => status,
                    Err(_) => kill(child).await,
                }
            }
            // Everything is being ended.
            Err(_) => kill(child).await,
        }
    };
    status.map_or(NOT_STARTED, signals::code)
}

async fn kill(child: &mut Child) -> io::Result<std::process::ExitStatus> {
    child.start_kill()?;
    child.wait().await
}
