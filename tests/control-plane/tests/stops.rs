//! However a test ends, nothing stays behind.

#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use control_plane::{Behaviour, ControlPlane, Node};

/// Names the file in which [`Runner::start`] finds what the other process has started.
const REPORT: &str = "CONTROL_PLANE_TEST_REPORT";
/// What the other process shall do when all is up.
const END: &str = "CONTROL_PLANE_TEST_END";

/// This test binary once more, as the runner that meets its end.
struct Runner {
    process: Child,
    folder: PathBuf,
    pids: Vec<u32>,
}

impl Runner {
    /// Returns when the other process has everything up.
    fn start(end: &str) -> Self {
        let report = tempfile::NamedTempFile::new().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "the_other_process", "--ignored"]).env(REPORT, report.path()).env(END, end);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let begun = Instant::now();
        loop {
            let text = fs::read_to_string(report.path()).unwrap();
            if let Some((folder, pids)) = text.strip_suffix('\n').and_then(|text| text.split_once('\n')) {
                let pids: Vec<u32> = pids.split(' ').map(|pid| pid.parse().unwrap()).collect();
                assert_eq!(pids.len(), 4, "etcd, API server, controller manager and a pod's process");
                return Self { process, folder: folder.into(), pids };
            }
            assert!(process.try_wait().unwrap().is_none(), "the other process ended too soon");
            assert!(begun.elapsed() < Duration::from_secs(900));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn expect_nothing_left(mut self) -> Duration {
        self.process.wait().unwrap();
        let begun = Instant::now();
        while self.folder.exists() || self.pids.iter().any(|pid| runs(*pid)) {
            let left: Vec<_> = self.pids.iter().filter(|pid| runs(**pid)).collect();
            assert!(begun.elapsed() < Duration::from_secs(10), "left: {left:?}, {}", self.folder.display());
            std::thread::sleep(Duration::from_millis(20));
        }
        begun.elapsed()
    }
}

/// A zombie does not run: it waits for whoever is process 1 here.
fn runs(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"))
}

#[test]
#[ignore = "the other tests start it, in a process of its own"]
fn the_other_process() {
    let Some(report) = std::env::var_os(REPORT) else { return };
    let plane = ControlPlane::shared();
    let node = Node::start(plane, "default", Behaviour::Run { entrypoint: vec!["sh".into()] });
    plane
        .kubectl(&[
            "run",
            "long",
            "--image=any",
            "--restart=Never",
            "--command",
            "--",
            "sh",
            "-c",
            "echo $$$$; exec sleep 1000",
        ])
        .unwrap();
    while !node.log("long").ends_with('\n') {
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut pids: Vec<String> = plane.pids().iter().map(ToString::to_string).collect();
    pids.push(node.log("long").trim().to_owned());
    fs::write(report, format!("{}\n{}\n", plane.folder().display(), pids.join(" "))).unwrap();
    assert_ne!(std::env::var(END).unwrap(), "panic", "as told");
    // Until we are killed, or the test that wants to do so has failed.
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn everything_stops_when_the_test_process_is_killed() {
    let mut runner = Runner::start("sleep");
    runner.process.kill().unwrap();
    let took = runner.expect_nothing_left();
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[test]
fn everything_stops_when_a_test_panics() {
    Runner::start("panic").expect_nothing_left();
}

#[test]
fn dropping_a_control_plane_of_ones_own_waits_until_it_is_gone() {
    let plane = ControlPlane::start().unwrap();
    let (folder, pids) = (plane.folder().to_owned(), plane.pids());
    assert!(Path::new(&folder).join("admin.kubeconfig").is_file());
    drop(plane);
    assert!(!folder.exists());
    assert!(pids.iter().all(|pid| !runs(*pid)));
}
