//! Container groups over a real socket.

use super::*;

#[tokio::test]
async fn a_group_is_created_runs_ends_and_is_deleted() {
    let azure = start(settings());
    let answer = send(&azure, Method::PUT, &group_path(&azure, "/one"), Some(body())).await;
    assert_eq!(answer.status(), 201);
    let operation = answer.headers()["azure-asyncoperation"].to_str().unwrap().to_owned();
    assert!(answer.headers().contains_key("retry-after") && answer.headers().contains_key("location"));
    assert_eq!(answer.headers()["x-ms-ratelimit-remaining-subscription-writes"], "199");
    let created: Value = answer.json().await.unwrap();
    assert_eq!(created["properties"]["provisioningState"], "Pending");

    assert!(azure.until(PATIENCE, |groups| groups.history()[0].exit_code.is_some()).await);
    let (_, group) = call(&azure, Method::GET, "/one", None).await;
    assert_eq!(group["properties"]["provisioningState"], "Succeeded");
    assert_eq!(group["properties"]["instanceView"]["state"], "Succeeded");
    let current = &group["properties"]["containers"][0]["properties"]["instanceView"]["currentState"];
    assert_eq!((&current["state"], &current["exitCode"]), (&json!("Terminated"), &json!(0)));
    assert!(!group.to_string().contains("never seen") && !group.to_string().contains("bmV2ZXIgc2Vlbg"), "{group}");
    let told: Value = client().get(operation).bearer_auth(token(&azure)).send().await.unwrap().json().await.unwrap();
    assert_eq!(told["status"], "Succeeded");
    let (_, logs) = call(&azure, Method::GET, "/one/containers/agent/logs?tail=1", None).await;
    assert_eq!(logs["content"], "hello\n");

    let (status, _) = call(&azure, Method::DELETE, "/one", None).await;
    assert_eq!(status, 202);
    assert!(azure.until(PATIENCE, |groups| groups.count() == 0).await);
    assert_eq!(call(&azure, Method::DELETE, "/one", None).await.0, 204);
    assert_eq!(call(&azure, Method::GET, "/one", None).await.1["error"]["code"], "ResourceNotFound");
    let record = &azure.history()[0];
    assert_eq!((record.puts, record.starts, record.deletes), (1, 1, 1));
    assert!(record.deleted_at.is_some());
    assert_eq!(azure.log("one"), "hello\n");
    assert_eq!(azure.calls()["PUT containerGroups/{name}"], 1);
    assert_eq!(azure.calls()["DELETE containerGroups/{name}"], 2);
}

#[tokio::test]
async fn a_list_comes_in_pages_without_instance_views() {
    let azure = start(AzureSettings { page_size: 2, ..settings() });
    for name in ["a", "b", "c", "d", "e"] {
        assert_eq!(call(&azure, Method::PUT, &format!("/{name}"), Some(body())).await.0, 201);
    }
    let (mut names, mut pages) = (Vec::new(), 0);
    let mut next = Some(format!("{}{}?api-version=2023-05-01", azure.url(), group_path(&azure, "")));
    while let Some(url) = next {
        let answer = client().get(url).bearer_auth(token(&azure)).send().await.unwrap();
        let page: Value = answer.json().await.unwrap();
        for group in page["value"].as_array().unwrap() {
            assert!(group["properties"]["instanceView"].is_null());
            names.push(group["name"].as_str().unwrap().to_owned());
        }
        next = page["nextLink"].as_str().map(str::to_owned);
        pages += 1;
    }
    assert_eq!((names.concat(), pages), ("abcde".to_owned(), 3));
}

#[tokio::test]
async fn an_answer_can_be_lost_after_the_group_was_made() {
    let azure = start(settings());
    azure.inject(AzureFaultKind::LostReply.times(1).on("PUT"));
    assert!(try_send(&azure, Method::PUT, &group_path(&azure, "/one"), Some(body())).await.is_err());
    assert_eq!(azure.groups(), ["one"]);
}

#[tokio::test]
async fn a_group_can_be_stuck_in_pending_and_is_deleted_all_the_same() {
    let azure = start(settings());
    azure.inject(AzureFaultKind::Stuck.times(1));
    assert_eq!(call(&azure, Method::PUT, "/one", Some(body())).await.0, 201);
    assert_eq!(call(&azure, Method::PUT, "/two", Some(body())).await.0, 201);
    assert!(azure.until(PATIENCE, |groups| groups.history()[1].exit_code.is_some()).await);
    let (_, stuck) = call(&azure, Method::GET, "/one", None).await;
    assert_eq!(stuck["properties"]["provisioningState"], "Pending");
    assert_eq!(call(&azure, Method::PUT, "/one", Some(body())).await.1["error"]["code"], "ContainerGroupTransitioning");
    assert_eq!(call(&azure, Method::DELETE, "/one", None).await.0, 202);
    assert!(azure.until(PATIENCE, |groups| groups.names().eq(["two"])).await);
}

#[tokio::test]
async fn tags_alone_are_changed_without_a_restart() {
    let azure = start(AzureSettings { entry_point: "sleep 600".to_owned(), ..settings() });
    call(&azure, Method::PUT, "/one", Some(body())).await;
    assert!(azure.until(PATIENCE, |groups| groups.running() == 1).await);
    let (status, group) = call(&azure, Method::PATCH, "/one", Some(json!({ "tags": { "owner": "b" } }))).await;
    assert_eq!((status, &group["tags"]), (200, &json!({ "owner": "b" })));
    let record = &azure.history()[0];
    assert_eq!((record.puts, record.starts, record.tags["owner"].as_str()), (1, 1, "b"));
}
