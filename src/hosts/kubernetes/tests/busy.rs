//! Marking the pods of busy agents.

use std::time::Duration;

use tokio::time::sleep;

use super::*;

const SOON: Duration = Duration::from_millis(100);

/// A host that sees three Jobs with a pod each; the last pod has ended.
async fn host(fake: &Fake) -> KubernetesHost {
    for (request, phase) in [(1, "Running"), (2, "Running"), (3, "Succeeded")] {
        fake.add("jobs", &job(request));
        fake.add("pods", &pod(request, &json!({"phase": phase})));
    }
    let host = fake.host();
    host.runs().await.unwrap();
    host
}

fn runs(requests: &[i64]) -> BTreeSet<String> {
    requests.iter().map(|request| start(*request).name).collect()
}

#[tokio::test(start_paused = true)]
async fn the_pods_of_busy_agents_are_marked_once() {
    let fake = Fake::default();
    let host = host(&fake).await;
    host.mark_busy(&runs(&[1, 3, 4])).await.unwrap();
    let (_, patch) = fake.with(|server| server.calls.last().cloned()).unwrap();
    assert_eq!(patch, json!({"metadata": {"uid": "p1", "labels": {"kubectl-ado/busy": "true"}}}));
    assert_eq!(fake.count("patch pods"), 1, "neither one that ended nor one that is not there");

    let mut marked = pod(1, &json!({"phase": "Running"}));
    marked["metadata"]["labels"] = json!({"kubectl-ado/busy": "true"});
    fake.tell("pods", "MODIFIED", &marked);
    sleep(SOON).await;
    host.mark_busy(&runs(&[1])).await.unwrap();
    host.mark_busy(&BTreeSet::new()).await.unwrap();
    assert_eq!(fake.count("patch pods"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_missing_right_is_no_error_and_costs_one_call_now_and_then() {
    let fake = Fake::default();
    let host = host(&fake).await;
    fake.with(|server| server.refused.insert("patch", (403, "Forbidden")));
    for _ in 0..10 {
        host.mark_busy(&runs(&[1])).await.unwrap();
    }
    assert_eq!(fake.count("patch pods"), 1);
    sleep(Duration::from_secs(601)).await;
    fake.with(|server| server.refused.clear());
    host.mark_busy(&runs(&[1])).await.unwrap();
    assert_eq!(fake.count("patch pods"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_has_gone_meanwhile_is_no_error_and_an_api_server_that_fails_is_one() {
    let fake = Fake::default();
    let host = host(&fake).await;
    fake.with(|server| server.refused_once = vec![("patch pods", 404, "NotFound")]);
    host.mark_busy(&runs(&[1])).await.unwrap();
    fake.with(|server| server.refused_once = vec![("patch pods", 500, "InternalError")]);
    assert_eq!(host.mark_busy(&runs(&[1])).await.unwrap_err().reason(), "unavailable");
}
