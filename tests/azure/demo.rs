//! `demo --host aci`: what anybody can try without an account.

use std::process::Command;

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
