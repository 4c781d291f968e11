//! `explain`: what a code means, what a Job is at, and what the answer looks like when nothing stops a job request.

use control_plane::pods;
use serde_json::json;

use crate::stage::{Ran, Stage, ago, linux, plugin, report, waits};

#[test]
fn a_code_is_explained_without_a_cluster() {
    let ran = Ran::of(plugin(&["explain", "ado101"])).ends(0);
    assert!(ran.out.starts_with("ADO101 Azure DevOps does not accept the token (Error)\n\n"), "{}", ran.out);
    assert!(ran.out.contains("kubectl ado auth set"), "{}", ran.out);
    let json = Ran::of(plugin(&["explain", "ADO209", "-o", "json"])).ends(0).json();
    assert_eq!((&json["kind"], &json["code"]), (&json!("CodeExplanation"), &json!("ADO209")));
    let unknown = Ran::of(plugin(&["explain", "ADO999"])).ends(2);
    assert!(unknown.err.starts_with("error: there is no code ADO999\nfix: one of ADO101 "), "{}", unknown.err);
}

#[tokio::test]
async fn a_pool_and_a_job_may_be_called_like_a_code() {
    let stage = Stage::new("explain-names").await;
    let mut named = report();
    linux(&mut named).name = "ADO2022".to_owned();
    named.pools[1].name = "ADO101".to_owned();
    stage.play(&named).await;
    let explained = stage.run(&["explain", "ado2022"]).ends(0);
    assert!(explained.out.contains("pool ADO2022 is served"), "{}", explained.out);
    // A code that exists is the code; the pool has another way to be named.
    let code = stage.run(&["explain", "ADO101"]).ends(0);
    assert!(code.out.starts_with("ADO101 Azure DevOps does not accept the token"), "{}", code.out);
    stage.run(&["explain", "ADO3033"]).ends(2);
}

#[tokio::test]
async fn a_job_is_explained_by_its_pod_its_agent_and_what_it_works_on() {
    let stage = Stage::new("explain-job").await;
    let pod = stage.job("agent-job-abc-7", 7).await;
    let explained = stage.run(&["explain", "agent-job-abc-7"]).ends(0);
    assert!(explained.out.contains("a pod that waits for a node"), "{}", explained.out);
    assert!(explained.out.ends_with("It is starting.\n"), "{}", explained.out);

    let namespace = stage.namespace.name();
    pods::set_image_pull_error(&stage.client, namespace, &pod, "registry.example/agent:typo").await.unwrap();
    let explained = stage.run(&["explain", "job.batch/agent-job-abc-7"]).ends(3);
    assert!(explained.out.contains("STOP ADO401 agent-job-abc-7: ImagePullBackOff"), "{}", explained.out);
    assert!(explained.out.contains("\nfix: correct the image"), "{}", explained.out);
    // The job request that it was started for has the same trouble, whatever the planner says.
    let mut waiting = report();
    waits(&mut waiting, &json!({"reason": "Starting", "message": "starting agent", "run": "agent-job-abc-7"}));
    stage.play(&waiting).await;
    let explained = stage.run(&["explain", "7"]).ends(3);
    assert!(explained.out.contains("STOP ADO401 agent-job-abc-7: ImagePullBackOff"), "{}", explained.out);

    let pod = stage.job("agent-job-abc-5", 5).await;
    pods::set_pod_running(&stage.client, namespace, &pod).await.unwrap();
    let explained = stage.run(&["explain", "agent-job-abc-5"]).ends(0);
    assert!(explained.out.contains("runs on node node"), "{}", explained.out);
    assert!(explained.out.contains("its agent is registered: Busy"), "{}", explained.out);
    assert!(explained.out.ends_with("It works on job request 5 \"Build app\".\n"), "{}", explained.out);

    let pod = stage.job("agent-job-abc-8", 8).await;
    pods::set_pod_failed(&stage.client, namespace, &pod, 137, "OOMKilled").await.unwrap();
    let mut explained = stage.run(&["explain", "agent-job-abc-8"]);
    // The Job controller needs a moment to see it.
    for _ in 0..100 {
        if explained.code == Some(3) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        explained = stage.run(&["explain", "agent-job-abc-8"]);
    }
    let explained = explained.ends(3);
    assert!(explained.out.contains("STOP ADO405 it failed: OOMKilled"), "{}", explained.out);
    assert!(explained.out.contains("fix: kubectl ado logs agent-job-abc-8"), "{}", explained.out);

    let unknown = stage.run(&["explain", "nothing-of-that-name"]).ends(1);
    assert!(unknown.err.contains("the pools: linux, Big GPU"), "{}", unknown.err);
}

#[tokio::test]
async fn a_job_without_a_pod_is_explained_by_what_refuses_it() {
    let stage = Stage::new("explain-quota").await;
    let namespace = stage.namespace.name();
    stage.plane.kubectl(&["-n", namespace, "create", "quota", "agents", "--hard=pods=2"]).unwrap();
    // The orchestrator's pod has one of the two places.
    stage.job("agent-job-abc-1", 1).await;
    let labels = "--dry-run=client";
    let made = stage.plane.kubectl(&["create", "job", "agent-job-abc-2", "--image=x", labels, "-o", "json"]).unwrap();
    let mut job: serde_json::Value = serde_json::from_str(&made).unwrap();
    job["metadata"]["namespace"] = json!(namespace);
    job["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "kubectl-ado", "kubectl-ado/request": "2"});
    stage.plane.apply(namespace, &job.to_string()).unwrap();
    let mut explained = stage.run(&["explain", "agent-job-abc-2"]);
    for _ in 0..100 {
        if explained.code == Some(3) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        explained = stage.run(&["explain", "agent-job-abc-2"]);
    }
    let explained = explained.ends(3);
    assert!(explained.out.contains("STOP ADO305 "), "{}", explained.out);
    assert!(explained.out.contains("exceeded quota: agents"), "{}", explained.out);
}

#[tokio::test]
async fn a_job_request_that_nothing_stops_is_told_with_all_its_evidence() {
    let stage = Stage::new("explain-request").await;
    let mut waiting = report();
    waits(&mut waiting, &json!({"reason": "Covered", "message": "an agent is free for it or starting"}));
    linux(&mut waiting).requests[0].pipeline = Some("Deploy\u{1b}[2J".to_owned());
    stage.play(&waiting).await;
    let explained = stage.run(&["explain", "7"]).ends(0);
    assert!(explained.out.contains("job request 7 \"Deploy\\u{1b}[2J\" (20260101.2) queued 6m2"), "{}", explained.out);
    assert!(explained.out.contains("meets its demands: docker, Agent.Version -gtVersion 2.163.1"), "{}", explained.out);
    assert!(explained.out.ends_with("Nothing stops it: an agent is free for it or starting.\n"), "{}", explained.out);

    let received = stage.run(&["explain", "5"]).ends(0);
    assert!(received.out.contains("agent-job-abc-5 received it 24m ago"), "{}", received.out);

    linux(&mut waiting).requests_omitted = 40;
    stage.play(&waiting).await;
    let unknown = stage.run(&["explain", "99"]).ends(1);
    assert!(unknown.out.contains("STOP ADO510"), "{}", unknown.out);
    assert!(unknown.out.contains("40 more job requests are not in the status"), "{}", unknown.out);
    assert!(unknown.out.contains("\nfix: kubectl ado queue"), "{}", unknown.out);

    // Two job requests of one pipeline run are told one after the other.
    let run = linux(&mut waiting).requests[0].url.clone();
    linux(&mut waiting).requests[1].url.clone_from(&run);
    linux(&mut waiting).last_polled_at = Some(ago(4));
    stage.play(&waiting).await;
    let both = stage.run(&["explain", run.as_deref().unwrap(), "-o", "json"]).ends(0).json();
    assert_eq!(both["explanations"].as_array().unwrap().len(), 2);
}
