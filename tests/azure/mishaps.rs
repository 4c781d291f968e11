//! Groups that come to nothing, and groups of others.

use std::collections::BTreeMap;

use kubectl_ado::sandbox::azure::{AzureFaultKind, AzureRules};
use serde_json::json;

use crate::stage::{By, Stage, in_time};

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_stuck_and_one_that_fails_are_replaced_and_deleted() {
    for by in [By::Token, By::Files] {
        let stage = Stage::new(AzureRules::default());
        stage.azure.inject(AzureFaultKind::Stuck.times(1));
        let requests = stage.queue(1, "true");
        let serve = stage.serve_file(by, "defaults: {startTimeout: 20s}\n").start();
        stage.all_are_served_and_nothing_is_left(&requests).await;
        let history = stage.azure.history();
        assert_eq!(history.len(), 2, "{history:?}");
        assert!(history.iter().all(|group| group.puts == 1 && group.deleted_at.is_some()), "{history:?}");
        assert_ne!(history[0].name, history[1].name, "another attempt has another name");
        let log = serve.log();
        assert!(log.contains("did not come online in time"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_be_pulled_is_told_and_the_next_attempt_waits() {
    let stage = Stage::new(AzureRules::default());
    stage.azure.inject(AzureFaultKind::Unpullable.times(1));
    let requests = stage.queue(1, "true");
    let serve = stage.serve(By::Token).start();
    in_time("the job request is served", || stage.finished(&requests) == 1).await;
    let history = stage.azure.history();
    assert_eq!(history.len(), 2, "{history:?}");
    let waited = history[1].created_at.duration_since(history[0].created_at);
    assert!(waited.as_secs() >= 9, "{waited:?}");
    // The failed one stays as the memory of its failure.
    in_time("the other group is deleted", || stage.azure.history()[1].deleted_at.is_some()).await;
    assert_eq!(stage.azure.groups(), [history[0].name.clone()]);
    drop(serve);
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
    let put = reqwest::Client::new().put(path).bearer_auth(token).json(&body).send().await.unwrap();
    assert!(put.status().is_success(), "{}", put.text().await.unwrap());

    let requests = stage.queue(2, "true");
    let serve = stage.serve(By::Token).start();
    in_time("the job requests are served", || stage.finished(&requests) == 2).await;
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
