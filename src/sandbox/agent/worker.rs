//! The process that runs a job's steps. Its name is `Agent.Worker`, as the real one's, because that is how scripts
//! tell a busy agent from an idle one; the kernel takes the name from the file, hence the link. It leads a process group of its own, and the group ends with the job, and also
//! if the agent is killed: then the pipe that the worker's guard reads from closes.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::process::{Child, ChildStdin, Command};

const NAME: &str = "Agent.Worker";

/// How long the steps may take to end when they are asked to.
const GRACE: Duration = Duration::from_millis(2500);

/// Runs pairs of a step's name and script. The shell has the guard beside it, in the same group; when it is asked to
/// end, it lets the step end first.
const SCRIPT: &str = r#"
exec 3<&0 </dev/null
{ trap '' TERM; read -r _ <&3; kill -KILL 0; } >/dev/null 2>&1 &
trap 'exit 143' TERM
while [ "$#" -gt 1 ]; do
  printf '##[section]Starting: %s\n' "$1"
  sh -c "$2" 3<&- || exit "$?"
  shift 2
done
exit 0
"#;

#[derive(Debug)]
pub(super) struct Worker {
    child: Child,
    /// The guard waits for its end. What the steps have left running ends then, whatever happens to this process.
    guard: Option<ChildStdin>,
}

impl Worker {
    /// Starts pairs of a step's name and script in a folder. `root` is the agent's.
    pub(super) fn start<'a>(
        root: &Path,
        steps: impl Iterator<Item = (&'a str, &'a str)>,
        folder: &Path,
        environment: &BTreeMap<String, String>,
    ) -> io::Result<Self> {
        let mut command = Command::new(program(root, environment.get("PATH"))?);
        #[cfg(unix)]
        command.arg0(NAME).process_group(0);
        command.args(["-c", SCRIPT, NAME]);
        for (name, script) in steps {
            command.args([name, script]);
        }
        command.env_clear().envs(environment).current_dir(folder).stdin(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        // Waiting for the child would close its input.
        let guard = child.stdin.take();
        Ok(Self { child, guard })
    }

    /// Waits for the end of the steps; whether all went well. May be dropped and called again.
    pub(super) async fn finished(&mut self) -> bool {
        self.child.wait().await.is_ok_and(|status| status.success())
    }

    /// Asks the steps to end, and ends them if they do not.
    pub(super) async fn stop(&mut self) {
        self.signal_group();
        let _ = tokio::time::timeout(GRACE, self.child.wait()).await;
        self.guard = None;
        let _ = self.child.wait().await;
    }

    #[cfg(unix)]
    fn signal_group(&self) {
        use nix::{
            sys::signal::{Signal, killpg},
            unistd::Pid,
        };
        if let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            let _ = killpg(Pid::from_raw(id), Signal::SIGTERM);
        }
    }

    #[cfg(not(unix))]
    fn signal_group(&self) {}
}

/// bash under the worker's name: a link in the agent's root.
#[cfg(unix)]
fn program(root: &Path, search: Option<&String>) -> io::Result<PathBuf> {
    let link = root.join("bin").join(NAME);
    if link.exists() {
        return Ok(link);
    }
    let folders = search.map(std::env::split_paths).into_iter().flatten();
    let bash = folders.map(|folder| folder.join("bash")).find(|file| file.is_file());
    std::fs::create_dir_all(root.join("bin"))?;
    match std::os::unix::fs::symlink(bash.unwrap_or_else(|| "/bin/bash".into()), &link) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(link),
    }
}

#[cfg(not(unix))]
fn program(_: &Path, _: Option<&String>) -> io::Result<PathBuf> {
    Ok("bash".into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// A worker in a folder of its own, once its step has written the file `ready`.
    async fn start(script: &str) -> (tempfile::TempDir, Worker) {
        let folder = tempfile::tempdir().unwrap();
        let environment = [("PATH".to_owned(), std::env::var("PATH").unwrap())].into();
        let worker = Worker::start(folder.path(), [("step", script)].into_iter(), folder.path(), &environment).unwrap();
        while !folder.path().join("ready").exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        (folder, worker)
    }

    /// Waits until the process whose id the step has written is gone.
    async fn gone(folder: &Path) -> bool {
        let id = std::fs::read_to_string(folder.join("child")).unwrap();
        for _ in 0..250 {
            // A process that has ended and was not waited for has no program any more.
            if std::fs::read_link(Path::new("/proc").join(id.trim()).join("exe")).is_err() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }

    #[tokio::test]
    async fn the_kernel_and_the_arguments_name_the_worker() {
        let script = "cat /proc/$PPID/comm > comm; tr '\\0' '\\n' < /proc/$PPID/cmdline > arguments; touch ready";
        let (folder, mut worker) = start(script).await;
        assert!(worker.finished().await);
        let read = |name| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("comm"), "Agent.Worker\n");
        assert!(read("arguments").starts_with("Agent.Worker\n"));
    }

    #[tokio::test]
    async fn steps_that_do_not_listen_are_ended_all_the_same() {
        let (folder, mut worker) =
            start("trap '' TERM; sleep 67 & echo $! > child; touch ready; while :; do sleep 1; done").await;
        worker.stop().await;
        assert!(gone(folder.path()).await);
    }

    #[tokio::test]
    async fn what_a_step_leaves_running_ends_with_the_worker() {
        let (folder, mut worker) = start("sleep 68 & echo $! > child; touch ready").await;
        assert!(worker.finished().await);
        drop(worker);
        assert!(gone(folder.path()).await);
    }

    #[tokio::test]
    async fn nothing_runs_on_when_the_agent_is_killed() {
        let (folder, worker) = start("sleep 69 & echo $! > child; touch ready; wait").await;
        // What is left of an agent that was killed: a pipe that closes.
        drop(worker);
        assert!(gone(folder.path()).await);
    }
}
