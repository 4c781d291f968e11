//! What Jobs tell, from their JSON.

use serde_json::{Value, json};

use super::*;

const URL: &str = "https://dev.azure.com/contoso";

fn job(conditions: &Value) -> Value {
    json!({
        "metadata": {
            "name": "agent-job-abcde-1", "uid": "u1", "creationTimestamp": "2026-11-24T08:00:00Z",
            "labels": {
                "app.kubernetes.io/managed-by": "kubectl-ado", "kubectl-ado/installation": "us",
                "kubectl-ado/request": "17", "kubectl-ado/attempt": "2", "theirs": "kept out",
            },
            "annotations": {
                "kubectl-ado/organization": URL, "kubectl-ado/pool": "Linux Builds", "kubectl-ado/template": "default",
                "kubectl-ado/token-secret": "s1", "kubectl-ado/managed-ttl": "true",
            },
        },
        "spec": {"ttlSecondsAfterFinished": 600, "template": {}},
        "status": {"conditions": conditions},
    })
}

fn kept(job: Value) -> KeptJob {
    serde_json::from_value::<SlimJob>(job).unwrap().keep(URL)
}

fn phase(conditions: &Value) -> RunPhase {
    kept(job(conditions)).run.unwrap().phase
}

#[test]
fn a_job_tells_what_it_is_for() {
    let found = kept(job(&json!([])));
    let run = found.run.unwrap();
    assert_eq!((run.pool.as_str(), run.template.as_str(), run.attempt), ("Linux Builds", "default", 2));
    assert_eq!(run.purpose, Purpose::Request(RequestId(17)));
    assert!(run.is_live());
    assert_eq!((found.token_secret.as_deref(), found.ttl, found.managed_ttl), (Some("s1"), Some(600), true));
}

#[test]
fn conditions_that_are_true_tell_how_it_ended() {
    let at = "2026-11-24T08:05:00Z";
    let condition = |kind: &str, status: &str| json!([{"type": kind, "status": status, "lastTransitionTime": at, "reason": "R", "message": "m"}]);
    for kind in ["Complete", "SuccessCriteriaMet"] {
        assert_eq!(phase(&condition(kind, "True")), RunPhase::Succeeded(at.parse().unwrap()), "{kind}");
    }
    for kind in ["Failed", "FailureTarget"] {
        assert_eq!(phase(&condition(kind, "True")), RunPhase::Failed(at.parse().unwrap(), "R: m".into()), "{kind}");
        assert_eq!(kept(job(&condition(kind, "True"))).failure.as_deref(), Some("R"));
    }
    for (kind, status) in [("Complete", "False"), ("Suspended", "True")] {
        assert_eq!(phase(&condition(kind, status)), RunPhase::Live, "{kind} {status}");
    }
}

#[test]
fn a_job_that_is_being_deleted_counts_no_more() {
    let mut deleted = job(&json!([]));
    deleted["metadata"]["deletionTimestamp"] = json!("2026-11-24T08:05:00Z");
    assert!(!kept(deleted).run.unwrap().is_live());
}

#[test]
fn another_organization_s_jobs_are_not_ours_but_their_secrets_are_in_use() {
    let mut other = job(&json!([]));
    other["metadata"]["annotations"]["kubectl-ado/organization"] = json!("https://dev.azure.com/fabrikam");
    let found = kept(other);
    assert!(found.run.is_none() && found.token_secret.is_some());
}

#[test]
fn a_job_without_its_labels_is_left_alone() {
    let mut broken = job(&json!([]));
    broken["metadata"]["labels"]["kubectl-ado/request"] = json!("seventeen");
    assert!(kept(broken).run.is_none());
}

#[test]
fn a_collision_names_the_owner() {
    let us = Installation::new("us");
    let owner = |change: fn(&mut Value), pool: &str| {
        let mut job = job(&json!([]));
        change(&mut job["metadata"]["labels"]);
        serde_json::from_value::<SlimJob>(job).unwrap().belongs_to(&us, URL, pool)
    };
    assert_eq!(owner(|_| {}, "Linux Builds"), Ok(()));
    assert!(owner(|_| {}, "Other").unwrap_err().contains("Linux Builds"));
    let other = owner(|labels| labels["kubectl-ado/installation"] = json!("them"), "Linux Builds");
    assert!(other.unwrap_err().contains("\"them\""));
    assert!(owner(|labels| *labels = json!({}), "Linux Builds").unwrap_err().contains("somebody else"));
    let helm = owner(|labels| *labels = json!({"app.kubernetes.io/managed-by": "Helm"}), "Linux Builds");
    assert!(helm.unwrap_err().contains("Helm"));
}

#[test]
fn a_job_that_others_suspend_waits_in_their_queue_and_one_that_we_hold_does_not() {
    let suspended_at = "2026-11-24T08:00:01Z";
    let mut queued = job(&json!([{"type": "Suspended", "status": "True", "lastTransitionTime": suspended_at}]));
    queued["spec"]["suspend"] = json!(true);
    let run = kept(queued.clone()).run.unwrap();
    assert_eq!((run.progress, run.progress_since), (Progress::Queued, Some(suspended_at.parse().unwrap())));
    queued["metadata"]["annotations"]["kubectl-ado/held"] = json!("me 2026-11-24T08:00:00Z");
    assert_eq!(kept(queued).run.unwrap().progress, Progress::Pending, "it is ours to resume");

    let mut resumed =
        job(&json!([{"type": "Suspended", "status": "False", "lastTransitionTime": "2026-11-24T09:00:00Z"}]));
    resumed["status"]["startTime"] = json!("2026-11-24T09:00:00Z");
    let run = kept(resumed).run.unwrap();
    assert_eq!((run.progress, run.progress_since), (Progress::Pending, Some("2026-11-24T09:00:00Z".parse().unwrap())));
}

#[test]
fn the_letter_case_of_the_organization_or_the_pool_makes_no_other_job() {
    let mut other = job(&json!([]));
    other["metadata"]["annotations"]["kubectl-ado/organization"] = json!("https://dev.azure.com/Contoso");
    assert!(kept(other.clone()).run.is_some());
    let slim: SlimJob = serde_json::from_value(other).unwrap();
    assert!(slim.belongs_to(&Installation::new("us"), URL, "LINUX Builds").is_ok());
    assert!(slim.belongs_to(&Installation::new("us"), URL, "Linux").is_err());
}
