//! When a view is trusted, and when it is not.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::*;

const SOON: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn the_first_question_waits_for_both_lists() {
    let fake = Fake::default();
    fake.add("jobs", &job(1));
    let host = fake.host();
    assert_eq!(host.runs().await.unwrap().len(), 1);
    for call in ["list jobs", "watch jobs", "list pods", "watch pods"] {
        assert_eq!(fake.count(call), 1, "{call}");
    }
    host.runs().await.unwrap();
    assert_eq!(fake.count("list jobs"), 1, "the second question costs nothing");
    let (_, first) = fake.with(|server| server.calls[0].clone());
    let selector = "labelSelector=app.kubernetes.io%2Fmanaged-by%3Dkubectl-ado%2Ckubectl-ado%2Finstallation%3Dus";
    assert!(first["query"].as_str().unwrap().contains(selector), "{first}");
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_does_not_answer_is_no_empty_list() {
    let fake = Fake::default();
    fake.with(|server| server.hanging.push("list"));
    let error = fake.host().runs().await.unwrap_err();
    assert!(
        matches!(&error, HostError::Unavailable(message) if message.contains("did not answer within 10 s")),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_watch_it_says_so_at_once_and_names_the_role() {
    let fake = Fake::default();
    fake.with(|server| server.refused.insert("watch", (403, "Forbidden")));
    let host = fake.host();
    let error = host.runs().await.unwrap_err();
    assert_eq!(error.reason(), "forbidden");
    assert!(error.to_string().starts_with("cannot watch the "), "{error}");
    assert!(error.fix().unwrap().contains("manifests/role.yaml"));

    fake.with(|server| server.refused.clear());
    timeout(Duration::from_secs(30), async {
        while host.runs().await.is_err() {
            host.changed().await;
        }
    })
    .await
    .expect("it goes on by itself when the Role is mended");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_breaks_goes_on_from_where_it_was() {
    let fake = Fake::default();
    let host = fake.host();
    host.runs().await.unwrap();
    fake.add("jobs", &job(1));
    sleep(SOON).await;
    fake.with(|server| server.watches.clear());
    sleep(2 * SOON).await;
    fake.add("jobs", &job(2));
    sleep(SOON).await;
    assert_eq!(host.runs().await.unwrap().len(), 2);
    assert_eq!(fake.count("list jobs"), 1);
    let versions = fake.with(|server| {
        let watches = server.calls.iter().filter(|(call, _)| call == "watch jobs");
        watches
            .map(|(_, call)| call["query"].as_str().unwrap().rsplit('=').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    });
    assert_eq!(versions, ["100", "101"]);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_too_old_is_listed_anew() {
    let fake = Fake::default();
    fake.add("jobs", &job(1));
    let host = fake.host();
    host.runs().await.unwrap();
    fake.with(|server| server.objects.clear());
    let gone = json!({"kind": "Status", "apiVersion": "v1", "code": 410, "reason": "Expired", "message": "too old"});
    fake.tell("jobs", "ERROR", &gone);
    sleep(2 * SOON).await;
    assert!(host.runs().await.unwrap().is_empty());
    assert_eq!(fake.count("list jobs"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_view_is_stale_after_half_a_minute_without_a_sign_of_life_and_well_again_with_the_next() {
    let fake = Fake::default();
    let host = fake.host();
    host.runs().await.unwrap();
    let began = Instant::now();
    // The connections stay open and nothing comes: neither events nor answers to new watches.
    fake.with(|server| server.hanging.push("watch"));
    let stale = timeout(Duration::from_secs(120), async {
        loop {
            match host.runs().await {
                Ok(_) => sleep(SOON).await,
                Err(error) => return error,
            }
        }
    });
    let error = stale.await.unwrap();
    assert!((30..33).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert!(matches!(&error, HostError::Unavailable(message) if message.contains("has told nothing")), "{error}");

    fake.with(|server| server.hanging.clear());
    timeout(Duration::from_secs(30), host.changed()).await.expect("it tells that it is well again");
    sleep(SOON).await;
    host.runs().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_stays_trusted_for_hours() {
    let fake = Fake::default();
    let host = fake.host();
    for _ in 0..3600 {
        host.runs().await.unwrap();
        sleep(2 * SOON).await;
    }
    // All is listed anew every five minutes, more or less.
    let lists = fake.count("list jobs");
    assert!((19..=33).contains(&lists), "{lists}");
    assert_eq!(fake.count("list events"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_was_restored_from_a_backup_is_seen_as_it_is_within_minutes() {
    let fake = Fake::default();
    fake.add("jobs", &job(1));
    let host = fake.host();
    assert_eq!(host.runs().await.unwrap().len(), 1);
    // The watch begins at a version that is yet to come: it is answered, and nothing is told.
    fake.with(|server| server.objects.clear());
    let seen = timeout(Duration::from_secs(380), async {
        while !host.runs().await.unwrap().is_empty() {
            sleep(SOON).await;
        }
    });
    seen.await.expect("the Job is gone");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_goes_back_means_that_all_is_listed_anew() {
    let fake = Fake::default();
    let host = fake.host();
    host.runs().await.unwrap();
    sleep(SOON).await;
    let bookmark =
        |version: &str| json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"resourceVersion": version}});
    fake.tell("jobs", "BOOKMARK", &bookmark("4552"));
    sleep(3 * SOON).await;
    assert_eq!(fake.count("list jobs"), 1);
    fake.tell("jobs", "BOOKMARK", &bookmark("477"));
    sleep(3 * SOON).await;
    assert_eq!(fake.count("list jobs"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_where_listing_anew_fails() {
    let fake = Fake::default();
    let host = fake.host();
    host.runs().await.unwrap();
    fake.with(|server| server.refused.insert("list", (500, "InternalError")));
    for _ in 0..600 {
        host.runs().await.unwrap();
        sleep(SOON).await;
    }
    assert!(fake.count("list jobs") > 3, "it is tried again");
    fake.add("jobs", &job(1));
    sleep(SOON).await;
    assert_eq!(host.runs().await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_gone_watches_no_more() {
    let fake = Fake::default();
    let host = fake.host();
    host.runs().await.unwrap();
    drop(host);
    sleep(SOON).await;
    let before = fake.with(|server| server.calls.len());
    sleep(Duration::from_secs(300)).await;
    assert_eq!(fake.with(|server| server.calls.len()), before);
}
