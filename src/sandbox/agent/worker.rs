//! The process that runs a job's steps. Its name is `Agent.Worker`, as the real one's, because that is how scripts
//! tell a busy agent from an idle one. It leads a process group of its own, and the group ends with the job, and also
//! if the agent is killed: then the pipe that the worker's guard reads from closes.

use std::{io, path::Path, process::Stdio, time::Duration};

use tokio::process::{Child, ChildStdin, Command};

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
    pub(super) fn start<'a>(
        steps: impl Iterator<Item = (&'a str, &'a str)>,
        folder: &Path,
        environment: impl Iterator<Item = (String, String)>,
    ) -> io::Result<Self> {
        let mut command = Command::new("bash");
        #[cfg(unix)]
        command.arg0("Agent.Worker").process_group(0);
        command.args(["-c", SCRIPT, "Agent.Worker"]);
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
