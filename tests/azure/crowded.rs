//! Where Azure has no room, or wants to be left alone.

use std::time::{Duration, Instant};

use kubectl_ado::sandbox::azure::{AzureFaultKind, AzureRules};
use serde_json::Value;

use crate::{
    stage::{By, PATIENCE, Stage, calls, count, in_time},
    world::Running,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_of_twenty_is_filled_waited_for_and_drained() {
    for (quota_status, by) in [(409, By::Token), (503, By::Files)] {
        let rules = AzureRules { groups_per_region: 20, quota_status, ..AzureRules::default() };
        let stage = Stage::new(rules);
        let requests = stage.queue(50, "sleep 2");
        let serve = stage.serve(by).start();
        in_time("the quota is used up", || stage.azure.peak_groups() == 20).await;
        serve.says("quota").await;
        stage.all_are_served_and_nothing_is_left(&requests).await;
        stage.one_group_for_each(&requests, by);
        let refused = calls(&stage.azure, "PUT") - 50;
        println!("{by:?}: {refused} refused, calls {:?}", stage.azure.calls());
        assert!(refused <= 16, "{refused} groups were asked for in vain");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_room_for_one_group_requests_are_served_one_after_the_other() {
    for may_count in [true, false] {
        let stage = Stage::new(AzureRules { groups_per_region: 1, ..AzureRules::default() });
        if !may_count {
            // A role on the resource group does not reach as far as the subscription's count.
            stage.azure.inject(AzureFaultKind::Forbidden.always().on("/usages"));
        }
        let requests = stage.queue(3, "true");
        let serve = stage.serve(By::Files).start();
        stage.all_are_served_and_nothing_is_left(&requests).await;
        stage.one_group_for_each(&requests, By::Files);
        drop(serve);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_is_held_to_by_all_calls_of_its_kind() {
    /// How long no group may be put.
    const THROTTLED: Duration = Duration::from_secs(30);
    let stage = Stage::new(AzureRules::default());
    stage.azure.inject(AzureFaultKind::Throttled(THROTTLED).times(1).on("PUT "));
    let requests = stage.queue(20, "true");
    let serve = stage.serve(By::Token).start();
    let throttled = || stage.azure.answers().get(&429).copied().unwrap_or_default();
    in_time("a group is throttled", || throttled() == 1).await;
    let since = Instant::now();
    let lists = || count(&stage.azure, "GET containerGroups");
    let then = lists();
    // What was in flight together with it is let be.
    in_time("groups are listed once more", || lists() >= then + 2).await;
    let (puts, listed, from) = (calls(&stage.azure, "PUT"), lists(), Instant::now());
    in_time("groups are listed again and again", || lists() >= listed + 3).await;
    let (put, listed, listing) = (calls(&stage.azure, "PUT"), lists() - listed, from.elapsed());
    assert!(since.elapsed() < THROTTLED, "too late to tell: {:?}", since.elapsed());
    assert_eq!(put, puts, "no group is put meanwhile");
    assert!(listed <= 2 + listing.as_secs() / 2, "{listed} lists in {listing:?}: reads go on at their own pace");
    stage.all_are_served_and_nothing_is_left(&requests).await;
    stage.one_group_for_each(&requests, By::Token);
    assert_eq!(throttled(), 1);
    drop(serve);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "known fault, seen in 2 of 5 runs: without an election, where an agent takes another request and the other orchestrator's \
            list of groups is older than its list of requests, one group too many is made (attempt 2 of the first request)"]
async fn two_orchestrators_at_once_make_no_group_twice() {
    served_by_two(By::Token, async |stage, requests| {
        stage.all_are_served_and_nothing_is_left(requests).await;
        stage.one_group_for_each(requests, By::Token);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_orchestrators_at_once_make_each_just_in_time_attempt_once() {
    // One that was registered anew by the other cannot sign in; its request gets another attempt, and it is kept.
    served_by_two(By::Files, async |stage, requests| {
        stage.all_are_served(requests).await;
        in_time("no agent is left", || stage.azure.running() == 0).await;
        stage.each_attempt_once_and_one_that_works(requests);
    })
    .await;
}

/// Two orchestrators serve 20 requests, and each of them sees all that the other one has made before anything is tidied up.
async fn served_by_two(by: By, check: impl AsyncFnOnce(&Stage, &[i64])) {
    let stage = Stage::new(AzureRules::default());
    let gate = stage.folder.path().join("gate");
    let requests = stage.queue(20, &format!("until [ -e '{}' ]; do sleep 0.1; done", gate.display()));
    let quick = "defaults: {startTimeout: 45s, idleTimeout: 5s}\n";
    let both = [stage.serve_file(by, quick).start(), stage.serve_file(by, quick).start()];
    for serve in &both {
        until_busy(serve, requests.len()).await;
    }
    std::fs::write(&gate, "").unwrap();
    check(&stage, &requests).await;
    println!("{by:?}: {} groups for 20 requests", stage.azure.history().len());
    drop(both);
}

/// Waits until an orchestrator says that so many agents are at work.
async fn until_busy(serve: &Running, agents: usize) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/status", serve.address().await);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = http.get(&url).send().await.unwrap().bytes().await.unwrap();
        let status: Value = serde_json::from_slice(&answer).unwrap_or_default();
        if status["pools"][0]["busy"] == agents {
            return;
        }
        assert!(Instant::now() < deadline, "{status:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
