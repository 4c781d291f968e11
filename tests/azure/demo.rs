//! `demo --host aci`: what anybody can try without an account.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

#[test]
fn the_demo_runs_in_container_groups_and_leaves_none() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_kubectl-ado"));
    demo.args(["demo", "--host", "aci", "--jobs", "6", "--max-agents", "4", "-o", "json"]).env("TMPDIR", folder.path());
    let output = demo.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{told}", String::from_utf8_lossy(&output.stdout));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&summary["queued"], &summary["finished"], &summary["leftRunning"]), (&json!(6), &json!(4), &json!(0)));
    let groups = &summary["containerGroups"];
    assert_eq!((&groups["left"], &groups["restarted"]), (&json!(0), &json!(0)));
    assert_eq!(groups["created"], groups["deleted"]);
    assert!(groups["created"].as_u64() >= Some(5), "{summary}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn an_interrupted_demo_waits_for_nobody_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let told = tempfile::NamedTempFile::new().unwrap();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_kubectl-ado"));
    demo.args(["demo", "--host", "aci", "--jobs", "1000", "--max-agents", "1"]).env("TMPDIR", folder.path());
    demo.stdout(Stdio::null()).stderr(told.reopen().unwrap());
    let mut demo = demo.spawn().unwrap();
    let (started, patience) = (Instant::now(), Duration::from_secs(120));
    let says = || std::fs::read_to_string(told.path()).unwrap();
    while !says().contains("1 running") {
        assert!(started.elapsed() < patience, "{}", says());
        std::thread::sleep(Duration::from_millis(50));
    }
    let pid = nix::unistd::Pid::from_raw(demo.id().try_into().unwrap());
    let asked = Instant::now();
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let status = loop {
        if let Some(status) = demo.try_wait().unwrap() {
            break status;
        }
        assert!(asked.elapsed() < patience, "it does not end: {}", says());
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(status.code(), Some(130), "{}", says());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
