//! What runs look like between our own calls, the watches and the Events.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::*;
use crate::core::{Progress, StopReason, TroubleKind};

const SOON: Duration = Duration::from_millis(100);

fn stop(request: i64) -> StopRun {
    StopRun { name: start(request).name, pool: "Default".into(), reason: StopReason::TakenBack, agent: None }
}

fn not_needed(request: i64) -> StopRun {
    StopRun { reason: StopReason::NotNeeded, ..stop(request) }
}

#[tokio::test(start_paused = true)]
async fn what_was_just_started_counts_although_the_watch_lags() {
    let fake = Fake::default();
    let host = fake.host();
    host.runs().await.unwrap();
    assert_eq!(host.start(&start(1)).await, Ok(Started::Created));
    let runs = host.runs().await.unwrap();
    assert_eq!((runs.len(), runs[0].is_live(), runs[0].progress), (1, true, Progress::Pending));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(host.runs().await.unwrap().len(), 1, "the watch lags for a minute");

    fake.add("jobs", &job(1));
    sleep(SOON).await;
    assert_eq!(host.runs().await.unwrap().len(), 1);
    fake.tell("jobs", "DELETED", &job(1));
    sleep(SOON).await;
    assert!(host.runs().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_refused_start_is_no_run_and_one_without_an_answer_is_one_for_seconds() {
    let fake = Fake::default();
    let host = fake.host();
    host.runs().await.unwrap();
    fake.with(|server| server.refused.insert("create", (422, "Invalid")));
    assert_eq!(host.start(&start(1)).await.unwrap_err().reason(), "invalid");
    assert!(host.runs().await.unwrap().is_empty());
    fake.with(|server| server.refused.insert("create", (504, "Timeout")));
    assert_eq!(host.start(&start(1)).await.unwrap_err().reason(), "unavailable");
    assert_eq!(host.runs().await.unwrap().len(), 1);
    sleep(Duration::from_secs(4)).await;
    assert!(host.runs().await.unwrap().is_empty(), "it may be tried again");
}

#[tokio::test(start_paused = true)]
async fn a_stop_names_the_uid_takes_the_pods_along_and_counts_at_once() {
    let fake = Fake::default();
    fake.add("jobs", &job(1));
    let host = fake.host();
    host.runs().await.unwrap();
    host.stop(&stop(1)).await.unwrap();
    let (_, call) = fake.with(|server| server.calls.iter().find(|(call, _)| call == "delete jobs").cloned().unwrap());
    assert_eq!(call["preconditions"], json!({"uid": "j1"}));
    assert_eq!(call["propagationPolicy"], "Background");
    assert!(host.runs().await.unwrap().is_empty(), "the watch lags");

    host.stop(&stop(2)).await.expect("what is not there is stopped");
    assert_eq!(fake.count("delete jobs"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_namesake_with_another_uid_is_success_and_is_left_alone() {
    let fake = Fake::default();
    fake.add("jobs", &job(1));
    fake.with(|server| server.refused.insert("delete", (409, "Conflict")));
    let host = fake.host();
    host.runs().await.unwrap();
    host.stop(&stop(1)).await.unwrap();
    fake.with(|server| server.refused.insert("delete", (500, "InternalError")));
    host.stop(&stop(1)).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_has_found_a_place_since_it_was_looked_at_is_left_alone() {
    let fake = Fake::default();
    fake.add("jobs", &job(1));
    let mut waiting = pod(1, &json!({"phase": "Pending"}));
    waiting["spec"]["nodeName"] = serde_json::Value::Null;
    fake.add("pods", &waiting);
    let host = fake.host();
    assert_eq!(host.runs().await.unwrap()[0].progress, Progress::Pending);

    // The watch has not told of it yet.
    fake.with(|server| server.objects.insert("pods", vec![pod(1, &json!({"phase": "Running"}))]));
    let error = host.stop(&not_needed(1)).await.unwrap_err();
    assert!(error.to_string().contains("is left alone"), "{error}");
    assert_eq!((fake.count("delete jobs"), host.runs().await.unwrap().len()), (0, 1));

    fake.with(|server| server.objects.insert("pods", vec![waiting]));
    fake.with(|server| server.refused.insert("delete", (409, "Conflict")));
    host.stop(&not_needed(1)).await.expect_err("it found a place between the look and the deletion");
    assert_eq!(host.runs().await.unwrap().len(), 1);

    fake.with(|server| server.refused.clear());
    host.stop(&not_needed(1)).await.unwrap();
    assert!(host.runs().await.unwrap().is_empty());
    let (_, deletion) = fake.with(|server| server.calls.last().cloned()).unwrap();
    assert_eq!(deletion["preconditions"], json!({"uid": "j1", "resourceVersion": "101"}));
}

#[tokio::test(start_paused = true)]
async fn what_was_just_started_is_stopped_once_it_is_seen() {
    let fake = Fake::default();
    let host = fake.host();
    host.runs().await.unwrap();
    host.start(&start(1)).await.unwrap();
    assert_eq!(host.stop(&stop(1)).await.unwrap_err().reason(), "unavailable");
    fake.add("jobs", &job(1));
    sleep(SOON).await;
    host.stop(&stop(1)).await.unwrap();
    assert!(host.runs().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_change_is_told_once_and_what_changes_nothing_is_not() {
    let fake = Fake::default();
    fake.add("jobs", &job(1));
    let host = fake.host();
    host.runs().await.unwrap();
    let told = async || timeout(Duration::from_secs(15), host.changed()).await.is_ok();
    fake.tell("jobs", "MODIFIED", &job(1));
    assert!(!told().await, "nothing that matters is different");
    fake.add("pods", &pod(1, &json!({"phase": "Pending"})));
    assert!(told().await);
    assert!(told().await, "until somebody has looked");
    assert_eq!(host.runs().await.unwrap()[0].progress, Progress::Placed);
    assert!(!told().await);
}

#[tokio::test(start_paused = true)]
async fn a_refused_pod_is_recognized_within_seconds_and_forgotten_when_it_is_there() {
    let fake = Fake::default();
    let host = fake.host();
    host.runs().await.unwrap();
    fake.add("jobs", &job(1));
    let message = "Error creating: pods \"p1\" is forbidden: exceeded quota: q, requested: pods=1";
    let event = |message: &str, at: &str| json!({"involvedObject": {"uid": "j1"}, "reason": "FailedCreate", "message": message, "lastTimestamp": at});
    fake.add("events", &event("Error creating: admission webhook said no", "2026-11-24T08:00:01Z"));
    fake.add("events", &event(message, "2026-11-24T08:00:02Z"));
    let began = tokio::time::Instant::now();
    sleep(SOON).await;
    while host.runs().await.unwrap()[0].trouble.is_none() {
        host.changed().await;
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let trouble = host.runs().await.unwrap().remove(0).trouble.unwrap();
    assert_eq!(trouble.kind, TroubleKind::Quota);
    assert!(trouble.message.starts_with("pods \"p1\" is forbidden: exceeded quota"));

    let running = json!({"phase": "Running", "containerStatuses": [{"name": "agent", "state": {"running": {}}}]});
    fake.add("pods", &pod(1, &running));
    sleep(SOON).await;
    let run = host.runs().await.unwrap().remove(0);
    assert_eq!((run.trouble, run.progress), (None, Progress::Running));
    let looks = fake.count("list events");
    sleep(Duration::from_secs(600)).await;
    assert_eq!(fake.count("list events"), looks, "when all is well nobody asks");
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_cannot_be_mounted_is_recognized_and_asked_for_less_and_less_often() {
    let fake = Fake::default();
    fake.add("jobs", &job(1));
    let creating = json!({"phase": "Pending", "containerStatuses": [{"name": "agent", "state": {"waiting": {"reason": "ContainerCreating"}}}]});
    fake.add("pods", &pod(1, &creating));
    let host = fake.host();
    host.runs().await.unwrap();
    sleep(Duration::from_secs(600)).await;
    let looks = fake.count("list events");
    assert!((15..40).contains(&looks), "{looks}");
    let message = "MountVolume.SetUp failed for volume \"token\" : secret \"the-secret\" not found";
    fake.add(
        "events",
        &json!({"involvedObject": {"uid": "p1"}, "reason": "FailedMount", "type": "Warning", "message": message}),
    );
    sleep(Duration::from_secs(35)).await;
    let trouble = host.runs().await.unwrap().remove(0).trouble.unwrap();
    assert_eq!((trouble.kind, trouble.message), (TroubleKind::Volume, format!("FailedMount: {message}")));
}

#[tokio::test(start_paused = true)]
async fn a_failure_keeps_the_words_of_a_pod_that_is_gone() {
    let fake = Fake::default();
    fake.add("jobs", &job(1));
    let host = fake.host();
    host.runs().await.unwrap();
    let evicted = pod(1, &json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory."}));
    fake.add("pods", &evicted);
    let mut failed = job(1);
    failed["status"] = json!({"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded",
        "message": "Job has reached the specified backoff limit", "lastTransitionTime": "2026-11-24T08:05:00Z"}]});
    fake.tell("jobs", "MODIFIED", &failed);
    sleep(SOON).await;
    let before = host.runs().await.unwrap();
    fake.tell("pods", "DELETED", &evicted);
    sleep(SOON).await;
    let after = host.runs().await.unwrap();
    assert_eq!(before, after);
    let crate::core::RunPhase::Failed(_, reason) = &after[0].phase else { panic!("{after:?}") };
    assert_eq!(reason, "Evicted: The node was low on memory. (BackoffLimitExceeded)");
}

#[tokio::test(start_paused = true)]
async fn a_job_names_the_lease_of_its_orchestrators_and_that_of_a_single_pass_names_none() {
    for (once, has_lease) in [("false", true), ("true", false)] {
        let fake = Fake::default();
        let host = fake.host_with(&[("JOB_TOKEN_SECRET", "the-secret"), ("RUN_ONCE", once)]);
        host.runs().await.unwrap();
        host.start(&start(1)).await.unwrap();
        let made = fake.with(|server| {
            let created = server.calls.iter().find(|(call, _)| call == "create jobs").unwrap();
            created.1["metadata"]["annotations"]["kubectl-ado/lease"].as_str().map(str::to_owned)
        });
        assert_eq!(made.is_some_and(|made| made.starts_with("kubectl-ado-")), has_lease);
    }
}
