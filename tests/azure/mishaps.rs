//! Groups that come to nothing, and groups of others.

use std::collections::BTreeMap;

use kubectl_ado::sandbox::azure::{AzureFaultKind, AzureRules};
use serde_json::json;

use crate::stage::{By, Stage, in_time};

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_stuck_is_replaced_and_deleted() {
    for by in [By::Token, By::Files] {
        let stage = Stage::new(AzureRules::default());
        stage.azure.inject(AzureFaultKind::Stuck.times(1));
        let requests = stage.queue(1, "true");
        let serve =
            stage.serve_file(by, "defaults: {startTimeout: 20s, scheduleTimeout: 20s, pullTimeout: 20s}\n").start();
        stage.all_are_served_and_nothing_is_left(&requests).await;
        let history = stage.azure.history();
        assert_eq!((history[0].starts, history[0].exit_code), (0, None), "{history:?}");
        stage.each_attempt_once_and_one_that_works(&requests);
        assert!(history.iter().all(|group| group.deleted_at.is_some()), "{history:?}");
        let log = serve.log();
        assert!(log.contains("did not come online in time"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_fails_is_told_and_the_next_attempt_waits() {
    for (fault, told) in [(AzureFaultKind::Unpullable, "image"), (AzureFaultKind::Fail, "failed")] {
        let stage = Stage::new(AzureRules::default());
        stage.azure.inject(fault.times(1));
        let requests = stage.queue(1, "true");
        let serve = stage.serve(By::Token).start();
        serve.says(told).await;
        stage.all_are_served(&requests).await;
        let history = stage.azure.history();
        assert_eq!((history.len(), history[0].starts), (2, 0), "{history:?}");
        let waited = history[1].created_at.duration_since(history[0].created_at);
        assert!(waited.as_secs() >= 9, "{waited:?}");
        // The failed one stays as the memory of its failure.
        in_time("the other group is deleted", || stage.azure.history()[1].deleted_at.is_some()).await;
        assert_eq!(stage.azure.groups(), [history[0].name.clone()]);
        stage.each_attempt_once_and_one_that_works(&requests);
        drop(serve);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_of_others_are_never_touched() {
    let stage = Stage::new(AzureRules::default());
    let settings = stage.azure.settings();
    let path = format!(
        "{}/subscriptions/{}/resourceGroups/agents/providers/Microsoft.ContainerInstance/containerGroups/theirs?api-version=2023-05-01",
        stage.azure.url(),
        settings.subscription
    );
    let client_id = settings.applications[0].client_id.clone();
    let token = stage.azure.token(&client_id, "https://management.azure.com").unwrap();
    let tags: BTreeMap<_, _> = [("kubectl-ado-installation", "green"), ("managed-by", "kubectl-ado")].into();
    let body = json!({"location": "westeurope", "tags": tags, "properties": {"osType": "Linux", "restartPolicy": "Never",
        "containers": [{"name": "side", "properties": {"image": "x", "command": ["true"],
            "resources": {"requests": {"cpu": 1.0, "memoryInGB": 1.0}}}}]}});
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let put = http.put(path).bearer_auth(token).json(&body).send().await.unwrap();
    assert!(put.status().is_success(), "{}", put.text().await.unwrap());

    let requests = stage.queue(2, "true");
    let serve = stage.serve(By::Token).start();
    stage.all_are_served(&requests).await;
    in_time("ours are deleted", || stage.azure.groups() == ["theirs"]).await;
    let theirs = &stage.azure.history()[0];
    assert_eq!((theirs.puts, theirs.deletes), (1, 0));
    drop(serve);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_rights_is_told_the_role_that_it_lacks() {
    let stage = Stage::new(AzureRules::default());
    stage.azure.inject(AzureFaultKind::Forbidden.always().on("containerGroups"));
    let mut serve = stage.serve(By::Token).start();
    let status = serve.ended().await;
    let log = serve.log();
    assert!(!status.success() && log.contains("AuthorizationFailed") && log.contains("Contributor"), "{log}");
}
