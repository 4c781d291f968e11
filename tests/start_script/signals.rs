//! Being asked to stop.

use crate::stage::{IDENTITY, Running, Stage};

fn with_files(behaviour: &str) -> (Stage, Running) {
    let stage = Stage::new(behaviour);
    stage.lay(&IDENTITY);
    let script = stage.start(stage.with_files());
    (stage, script)
}

#[test]
fn a_busy_agent_with_files_gets_no_signal_and_finishes_its_job() {
    let (stage, mut script) = with_files("busy");
    stage.until("working");
    script.terminate();
    stage.until_said("asked to stop: waiting for the running job");
    script.terminate();
    assert!(script.is_running());
    stage.go();
    assert_eq!(script.code(), Some(0), "the agent's own code");
    assert_eq!(stage.calls(), ["run.sh --once", "the job is done"]);
}

#[test]
fn an_idle_agent_with_files_is_ended_and_its_registration_left_to_whoever_made_it() {
    let (stage, script) = with_files("idle");
    stage.until("listening");
    script.terminate();
    assert_eq!(script.code(), Some(143));
    assert_eq!(stage.calls(), ["run.sh --once", "the listener was told to stop"]);
}

#[test]
fn an_idle_agent_with_a_token_takes_its_registration_back_first() {
    let stage = Stage::new("idle");
    let script = stage.start(stage.with_token());
    stage.until("listening");
    script.terminate();
    assert_eq!(script.code(), Some(143));
    let calls = stage.calls();
    assert_eq!(
        calls[1..],
        ["run.sh --once", "config.sh remove --unattended --auth PAT (token: s3cr3t)", "the listener was told to stop"]
    );
}
