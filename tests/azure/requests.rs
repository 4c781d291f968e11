//! Fifty requests, with the five variables of the README.

use kubectl_ado::sandbox::azure::AzureRules;

use crate::stage::{By, Stage, calls, in_time};

const REQUESTS: usize = 50;

async fn fifty(by: By) {
    let stage = Stage::new(AzureRules::default());
    let requests = stage.queue(REQUESTS, "echo work is done");
    let serve = stage.serve(by).start();
    in_time("agents run", || stage.azure.running() > 0).await;
    stage.no_secret_can_be_read();
    stage.all_are_served_and_nothing_is_left(&requests).await;
    stage.one_group_for_each(&requests, by);
    stage.no_secret_was_left();
    assert_eq!(calls(&stage.azure, "PUT"), REQUESTS as u64);
    let log = serve.log();
    for secret in [stage.azure.secret().to_owned(), stage.devops.token().to_owned()] {
        assert!(!log.contains(&secret));
    }
    let kept = serve.lines().iter().filter(|line| line["target"] == "agent_log").count();
    assert_eq!(kept, REQUESTS, "the end of each log is kept");
    assert!(log.contains("the end of its log"), "{log}");
    println!("{by:?}: calls {:?}, answers {:?}", stage.azure.calls(), stage.azure.answers());
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_requests_take_fifty_groups_that_are_all_deleted() {
    fifty(By::Token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_just_in_time_agents_take_fifty_groups_that_are_all_deleted() {
    fifty(By::Files).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn single_passes_serve_requests_too() {
    for by in [By::Token, By::Files] {
        let stage = Stage::new(AzureRules::default());
        let requests = stage.queue(3, "true");
        let (code, log) = stage.serve(by).once().await;
        assert_eq!(code, 0, "{log}");
        stage.all_are_served(&requests).await;
        in_time("the agents are gone", || stage.azure.running() == 0).await;
        let (code, log) = stage.serve(by).once().await;
        assert_eq!(code, 0, "{log}");
        in_time("all groups are deleted", || stage.azure.groups().is_empty()).await;
        stage.one_group_for_each(&requests, by);
    }
}
