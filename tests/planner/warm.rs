//! Agents that no request asks for are restored at once, whatever became of the ones before.

use kubectl_ado::core::{Policy, Purpose, Run, RunPhase, Scale};

use crate::situation::*;

/// One agent is kept idle, and two are kept alive.
fn warm(min: u32, idle: u32) -> Policy {
    let mut policy = simple();
    policy.pools[0].templates[0].scale = Scale { min, idle, max: None };
    policy
}

fn slot(slot: u32, attempt: u32, phase: RunPhase) -> Run {
    let (created_at, name) = (at(-60 + i64::from(attempt)), format!("slot-{slot}-{attempt}"));
    Run { attempt, created_at, ..run(&name, Purpose::Slot(slot), phase) }
}

fn good(attempt: u32) -> Run {
    slot(0, attempt, RunPhase::Succeeded(at(-1)))
}

fn bad(number: u32, attempt: u32, ago: i64) -> Run {
    slot(number, attempt, RunPhase::Failed(at(-ago), "exit code 1".into()))
}

#[test]
fn a_warm_agent_that_did_its_job_is_replaced_at_once_however_often_that_happens() {
    for attempts in [1, 2, 3, 30] {
        let plan = decide(&warm(0, 1), &snapshot(vec![], (1..=attempts).map(good).collect(), vec![]));
        let [start] = &plan.starts[..] else { panic!("after {attempts}: {plan:?}") };
        assert_eq!((start.purpose, start.attempt), (Purpose::Slot(0), attempts + 1));
        assert!(plan.pools[0].unfilled.is_empty(), "{plan:?}");
    }
}

#[test]
fn the_least_number_of_agents_is_restored_after_many_jobs() {
    let plan = decide(&warm(1, 0), &snapshot(vec![], (1..=14).map(good).collect(), vec![]));
    assert_eq!(plan.starts.len(), 1, "{plan:?}");
}

#[test]
fn the_back_off_of_a_warm_slot_counts_the_failures_since_the_last_good_end() {
    let runs = |ago| (1..=4).map(good).chain([bad(0, 5, ago)]).collect();
    assert_eq!(decide(&warm(0, 1), &snapshot(vec![], runs(11), vec![])).starts[0].attempt, 6);
}

#[test]
fn a_slot_that_backs_off_leaves_the_next_one_free() {
    // The template works: enough of its agents ended well after the failures.
    let mut runs: Vec<Run> = (1..=5).map(|attempt| bad(0, attempt, 59)).collect();
    runs.extend((1..=8).map(|number| Run { created_at: at(-30), ..slot(number, 1, RunPhase::Succeeded(at(-2))) }));
    let plan = decide(&warm(0, 1), &snapshot(vec![], runs, vec![]));
    assert_eq!(plan.starts.iter().map(|start| start.purpose).collect::<Vec<_>>(), [Purpose::Slot(1)], "{plan:?}");
}

#[test]
fn a_template_that_fails_starts_no_warm_agent_in_any_slot() {
    let plan = decide(&warm(3, 0), &snapshot(vec![], vec![bad(0, 1, 5)], vec![]));
    assert!(plan.starts.is_empty() && !plan.pools[0].unfilled.is_empty(), "{plan:?}");
}
