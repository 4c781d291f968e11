//! The real `serve`, on the local host, against a sandbox whose lists are often wrong: for two hours, or for as long as
//! `SOAK_SECONDS` says.
//!
//! ```text
//! SOAK_LOG=soak.log cargo test --release --test soak -- --ignored --nocapture soak
//! ```
//!
//! The agents are small: `config.sh` and `run.sh` of the sandbox's package connect to this process, which plays their part
//! with the sandbox's state. That serve, its start script and its folders are the real ones is the point; that one agent
//! costs little lets three of them start each second beside other work.
//!
//! `SOAK_SEED` repeats what a run did. `SOAK_FAULTS=no` leaves all faults out. The log gets one line of JSON each minute, a line
//! for each violation, and the verdict.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod agents;
mod checks;
mod faults;
mod findings;
mod log;
mod memory;
mod serve;
mod soak;
mod workload;

use std::{path::PathBuf, time::Duration};

use soak::Plan;

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn number(name: &str, default: u64) -> u64 {
    variable(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is \"{value}\", no number")))
}

#[tokio::test]
#[ignore = "takes two hours"]
async fn soak() {
    let plan = Plan {
        length: Duration::from_secs(number("SOAK_SECONDS", 7200)),
        seed: number("SOAK_SEED", 20261129),
        faults: variable("SOAK_FAULTS").is_none_or(|value| value != "no"),
        log: variable("SOAK_LOG").map(PathBuf::from),
    };
    let verdict = soak::run(plan).await;
    assert!(verdict.passed, "{}", verdict.text);
}

/// That the harness itself works: agents start, serve jobs, and nothing is found to be wrong where nothing goes wrong.
#[tokio::test]
async fn a_short_soak_without_faults_passes() {
    let plan = Plan { length: Duration::from_secs(12), seed: 1, faults: false, log: None };
    let verdict = soak::run(plan).await;
    assert!(verdict.passed, "{}", verdict.text);
    assert!(verdict.jobs_finished > 0, "{}", verdict.text);
}
