//! `kubectl-ado simulate` as a person runs it: what it prints, and how it refuses.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use std::{
    fmt::Write as _,
    process::{Command, Output},
};

use serde_json::{Value, json};

fn simulate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kubectl-ado")).arg("simulate").args(arguments).output().unwrap()
}

fn json(arguments: &[&str]) -> Vec<Value> {
    let output = simulate(&[arguments, &["-o", "json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn trace(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, text).unwrap();
    file
}

#[test]
fn ours_comes_first_with_the_documented_keys_and_no_others() {
    for (scenario, jobs) in [("A", 20), ("b", 40), ("C", 60), ("D", 100)] {
        let figures = json(&["--scenario", scenario]);
        let policies: Vec<_> = figures.iter().map(|figures| figures["policy"].as_str().unwrap()).collect();
        let others = ["ado-agent-orchestrator", "keda-default", "keda-accurate", "keda-eager", "go-operator"];
        assert_eq!((policies[0], &policies[1..]), ("ours", others.as_slice()));
        let ours = figures[0].as_object().unwrap();
        let keys: Vec<_> = ours.keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            ["policy", "jobs", "agentsStarted", "surplus", "idleAgentSeconds", "peakAgents", "waitSeconds"]
        );
        assert_eq!((&ours["jobs"], &ours["agentsStarted"], &ours["surplus"]), (&json!(jobs), &json!(jobs), &json!(0)));
        assert!(ours["waitSeconds"]["max"].as_f64().unwrap() <= 42.0, "{ours:?}");
    }
}

#[test]
fn the_table_has_a_line_for_each_policy() {
    let output = simulate(&[]);
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["POLICY", "JOBS", "STARTED", "SURPLUS", "IDLE", "PEAK", "WAIT-P50", "WAIT-P95", "WAIT-MAX"]);
    assert_eq!(lines[1], ["ours", "20", "20", "0", "0", "20", "40", "40", "40"]);
    assert_eq!(lines.len(), 7);
    assert!(output.stderr.is_empty());
}

#[test]
fn columns_for_trouble_are_there_when_there_is_some() {
    let text = String::from_utf8(simulate(&["--failure-rate", "0.3"]).stdout).unwrap();
    assert!(text.lines().next().unwrap().ends_with("WAIT-MAX   FAILED   CANCELLED   UNSERVED"), "{text}");
}

#[test]
fn a_trace_of_thousands_of_jobs_is_played_through() {
    let mut lines = String::new();
    for number in 0..2000 {
        writeln!(lines, r#"{{"time": {}, "demands": ["docker"], "duration": {}}}"#, number / 4, number % 200).unwrap();
    }
    let file = trace(&lines);
    let figures = json(&["--trace", file.path().to_str().unwrap()]);
    assert_eq!((&figures[0]["jobs"], &figures[0]["agentsStarted"]), (&json!(2000), &json!(2000)));
}

#[test]
fn wrong_usage_ends_with_2_and_names_the_flag() {
    let wrong = trace("{\"time\": 0, \"duration\": 300}\n{\"time\": 1, \"duration\": -300}\n");
    let empty = trace("\n");
    let binary = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&binary, [0xff, 0xfe]).unwrap();
    let [wrong, empty, binary] = [&wrong, &empty, &binary].map(|file| file.path().to_str().unwrap().to_owned());
    for (arguments, says) in [
        (vec!["--scenario", "E"], "--scenario"),
        (vec!["--cold-start", "-40s"], "--cold-start"),
        (vec!["--cold-start", "40"], "such as 40s"),
        (vec!["--pod-start", "soon"], "--pod-start"),
        (vec!["--cold-start", "10s"], "--cold-start 10s is less than --pod-start 15s"),
        (vec!["--poll", "0s"], "--poll"),
        (vec!["--poll", "-1s"], "--poll"),
        (vec!["--max-agents", "0"], "--max-agents"),
        (vec!["--restart-at", "60s,-5s"], "--restart-at"),
        (vec!["--failure-rate", "1.5"], "--failure-rate"),
        (vec!["--failure-rate", "NaN"], "--failure-rate"),
        (vec!["--cancel-rate", "-0.1"], "--cancel-rate"),
        (vec!["--seed", "one"], "--seed"),
        (vec!["-o", "yaml"], "--output"),
        (vec!["--scenario", "A", "--trace", &wrong], "--trace"),
        (vec!["--trace", "/does/not/exist"], "--trace /does/not/exist cannot be read"),
        (vec!["--trace", &binary], "--trace"),
        (vec!["--trace", &empty], "it has no jobs"),
        (vec!["--trace", &wrong], "line 2: \"duration\" is -300"),
    ] {
        let output = simulate(&arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(says), "{arguments:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}
