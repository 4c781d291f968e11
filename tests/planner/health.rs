//! A broken image must not make a thousand Jobs.

use kubectl_ado::core::{
    Agent, JobRequest, Progress, Purpose, RequestId, Run, RunPhase, Trouble, TroubleKind, Verdict,
};

use crate::situation::*;

fn fifty() -> Vec<JobRequest> {
    (1..=50).map(|id| request(id, &[])).collect()
}

fn with_trouble(kind: TroubleKind) -> Run {
    let trouble = Trouble { kind, message: "the host's own words".into() };
    Run { progress: Progress::Pending, trouble: Some(trouble), ..starting("r1", 1) }
}

fn pending(name: &str, request: i64, age: i64) -> Run {
    Run { progress: Progress::Pending, created_at: at(-age), ..starting(name, request) }
}

#[test]
fn an_image_that_nobody_has_seen_working_is_tried_by_a_few() {
    let plan = decide(&simple(), &snapshot(fifty(), vec![], vec![]));
    assert_eq!(plan.starts.len(), 4);
    assert_eq!(*verdict(&plan, 5), Verdict::TryingOut { limit: 4, template: "default".into() });
}

#[test]
fn once_a_container_of_the_image_keeps_running_there_is_an_agent_for_everybody() {
    for (seconds, starts) in [(30, 49), (29, 3)] {
        let runs_since = Some(at(-seconds));
        let runs = vec![Run { progress: Progress::Running, runs_since, ..starting("r1", 1) }];
        let plan = decide(&simple(), &snapshot(fifty(), runs, vec![]));
        assert_eq!(plan.starts.len(), starts, "after {seconds} s");
    }
}

#[test]
fn an_agent_that_is_online_proves_its_image_at_once() {
    let run = Run { runs_since: Some(at(0)), ..starting("r1", 1) };
    let plan = decide(&simple(), &snapshot(fifty(), vec![run], vec![agent(1, "r1")]));
    assert_eq!(plan.starts.len(), 49);
}

#[test]
fn a_container_that_is_started_again_and_again_proves_nothing() {
    let tries = (1..=4).map(|id| Run { runs_since: None, ..starting(&format!("r{id}"), id) }).collect();
    assert_eq!(decide(&simple(), &snapshot(fifty(), tries, vec![])).starts.len(), 0);
}

#[test]
fn a_container_that_has_ended_before_its_run_says_how_proves_nothing_and_takes_up_a_try() {
    let ended = |id: i64| Run { progress: Progress::Ended, ..starting(&format!("r{id}"), id) };
    for (tries, starts) in [(1, 3), (4, 0)] {
        let plan = decide(&simple(), &snapshot(fifty(), (1..=tries).map(ended).collect(), vec![]));
        assert_eq!(plan.starts.len(), starts, "{tries}");
        assert_eq!(*verdict(&plan, 50), Verdict::TryingOut { limit: 4, template: "default".into() });
    }
}

#[test]
fn tries_that_find_no_node_say_nothing_about_the_image_and_hold_up_nobody() {
    let tries = |age| (1..=4).map(|id| pending(&format!("r{id}"), id, age)).collect::<Vec<_>>();
    assert_eq!(decide(&simple(), &snapshot(fifty(), tries(1), vec![])).starts.len(), 0);
    assert_eq!(decide(&simple(), &snapshot(fifty(), tries(3), vec![])).starts.len(), 46);
}

#[test]
fn an_image_that_cannot_be_pulled_starts_no_further_agent_and_says_why() {
    for kind in [TroubleKind::Image, TroubleKind::Refused, TroubleKind::Volume] {
        let plan = decide(&simple(), &snapshot(fifty(), vec![with_trouble(kind)], vec![]));
        assert!(plan.starts.is_empty(), "{kind:?}");
        for id in [1, 50] {
            let Verdict::Trouble { run, trouble } = verdict(&plan, id) else { panic!("{:?}", verdict(&plan, id)) };
            assert_eq!((run.as_str(), trouble.kind), ("r1", kind));
        }
    }
}

#[test]
fn a_cluster_that_is_full_gets_the_pods_that_make_it_grow() {
    let plan = decide(&simple(), &snapshot(fifty(), vec![with_trouble(TroubleKind::Unschedulable)], vec![]));
    assert!(!plan.starts.is_empty());
}

#[test]
fn while_pods_are_refused_for_want_of_quota_nobody_starts_in_any_template() {
    let policy =
        policy(vec![pool_policy("A", vec![template("gpu", Some(&[("gpu", "1")])), template("default", None)])]);
    let requests = vec![request(1, &[]), request(2, &["gpu"])];
    let plan = decide(&policy, &snapshot(requests, vec![with_trouble(TroubleKind::Quota)], vec![]));
    assert!(plan.starts.is_empty());
}

#[test]
fn agents_that_fail_one_after_the_other_are_tried_again_one_at_a_time_and_ever_later() {
    let failed = |number: i64, ago: i64| {
        run(
            &format!("f{number}"),
            Purpose::Request(RequestId(100 + number)),
            RunPhase::Failed(at(-ago), "OOMKilled".into()),
        )
    };
    let early = decide(&simple(), &snapshot(fifty(), vec![failed(1, 30), failed(2, 20), failed(3, 39)], vec![]));
    assert!(early.starts.is_empty());
    assert!(
        matches!(verdict(&early, 1), Verdict::TemplateFails { failures: 3, reason, .. } if reason == "OOMKilled"),
        "{:?}",
        verdict(&early, 1)
    );
    assert_eq!(early.wake_at, Some(at(20)), "40 s after the last of three failures");
    let due = decide(&simple(), &snapshot(fifty(), vec![failed(1, 60), failed(2, 50), failed(3, 40)], vec![]));
    assert_eq!(due.starts.len(), 1);
}

#[test]
fn after_a_failure_successes_open_the_door_step_by_step() {
    let failed = run("f", Purpose::Request(RequestId(100)), RunPhase::Failed(at(-60), "exit code 1".into()));
    let online = |number: i64| {
        let name = format!("ok{number}");
        let run = Run { created_at: at(-50), ..starting(&name, 200 + number) };
        (run, Agent { assigned: Some(RequestId(200 + number)), ..agent(number, &name) })
    };
    for (successes, starts) in [(1, 2), (2, 4), (3, 8)] {
        let (mut runs, agents): (Vec<_>, Vec<_>) = (1..=successes).map(online).unzip();
        runs.push(failed.clone());
        assert_eq!(decide(&simple(), &snapshot(fifty(), runs, agents)).starts.len(), starts, "{successes}");
    }
}
