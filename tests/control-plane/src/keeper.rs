//! Stops what a test process started, however that process ends.
//!
//! libtest has no teardown, statics are never dropped, and a `kill -9` leaves no time for either. So a small bash
//! process holds the reading end of a pipe whose writing end only we have: when we are gone, it reads end of file and
//! stops the programs. It leads a process group of its own, which the programs join, so Ctrl-C at the runner does not
//! reach them before the keeper has done its work, and a number of a process cannot come to mean another one.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result};

/// `$1`: the folder to remove at the end, or empty. Lines on stdin: `keep PID` and `terminate -`.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
pids=()
while read -r word pid; do
  case $word in
    keep) pids+=("$pid") ;;
    terminate) kill -TERM "${pids[@]}" ;;
  esac
done
left=60
for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
  kill -TERM "${pids[i]}"
  while ((left > 0)) && kill -0 "${pids[i]}"; do
    sleep 0.05
    ((left--))
  done
done
kill -KILL "${pids[@]}"
for try in 1 2 3 4 5; do
  [ -z "$1" ] || rm -rf -- "$1" && break
  sleep 0.2
done
kill -KILL 0
"#;

/// A group of processes with the keeper at its head. Dropping it stops them and waits until it is done.
#[derive(Debug)]
pub(crate) struct Keeper {
    leash: Option<ChildStdin>,
    bash: Child,
}

impl Keeper {
    /// Starts a keeper that removes `folder` when all is stopped.
    pub(crate) fn new(folder: Option<&Path>) -> Result<Self> {
        let mut command = Command::new("bash");
        command.args(["-c", SCRIPT, "keeper"]).arg(folder.unwrap_or(Path::new("")));
        command.env_clear().envs(path_variable()).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut bash = command.spawn().context("cannot start bash, which stops the programs\nfix: install bash")?;
        Ok(Self { leash: bash.stdin.take(), bash })
    }

    /// The process group that a program must join to be stopped with certainty, from its very start.
    pub(crate) fn group(&self) -> i32 {
        self.bash.id().cast_signed()
    }

    /// Starts a program within the group.
    pub(crate) fn spawn(&mut self, command: &mut Command) -> Result<Child> {
        let child = command.process_group(self.group()).spawn()?;
        self.keep(child.id())?;
        Ok(child)
    }

    /// Makes `pid`, a member of the group, one that is asked to stop (TERM): the last comer first, since the API server
    /// does not stop well without etcd. When all are gone, or after 3 s, the group is killed.
    pub(crate) fn keep(&mut self, pid: u32) -> Result<()> {
        self.tell(&format!("keep {pid}\n"))
    }

    /// Asks the kept programs to stop.
    pub(crate) fn terminate(&mut self) -> Result<()> {
        self.tell("terminate -\n")
    }

    /// Lets the keeper begin its end. It finishes sooner when the caller reaps its children meanwhile, the last
    /// comer first.
    pub(crate) fn release(&mut self) {
        self.leash = None;
    }

    fn tell(&mut self, line: &str) -> Result<()> {
        let leash = self.leash.as_mut().context("the keeper is released")?;
        leash.write_all(line.as_bytes()).context("the keeper is gone")
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.release();
        let _ = self.bash.wait();
    }
}

/// All that a child keeps of our environment: no proxies, which must not catch calls to loopback, and no `ETCD_…`.
pub(crate) fn path_variable() -> Option<(&'static str, std::ffi::OsString)> {
    std::env::var_os("PATH").map(|path| ("PATH", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn shell(script: &str) -> Command {
        let mut command = Command::new("bash");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn what_a_program_leaves_behind_is_killed_and_the_folder_removed() {
        let folder = tempfile::tempdir().unwrap().keep();
        let mut keeper = Keeper::new(Some(&folder)).unwrap();
        let pid_file = folder.join("pid");
        let script = format!("sleep 1000 & echo $! > {0}.new; mv {0}.new {0}", pid_file.display());
        keeper.spawn(&mut shell(&script)).unwrap().wait().unwrap();
        let pid = std::fs::read_to_string(&pid_file).unwrap();
        drop(keeper);
        assert!(!folder.exists());
        // A process that was killed is gone when the kernel comes to it, not when the signal was sent.
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        let deadline = Instant::now() + Duration::from_secs(10);
        while !(state().is_empty() || state().contains(") Z")) {
            assert!(Instant::now() < deadline, "still there: {}", state());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_program_that_ignores_the_request_to_stop_is_killed_after_three_seconds() {
        let mut keeper = Keeper::new(None).unwrap();
        let mut stubborn = keeper.spawn(&mut shell("trap '' TERM; while :; do sleep 0.1; done")).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        let begun = Instant::now();
        keeper.release();
        assert!(!stubborn.wait().unwrap().success());
        assert!(begun.elapsed() > Duration::from_millis(2500), "{:?}", begun.elapsed());
    }
}
