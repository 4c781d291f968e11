//! Clocks of several machines that differ.

use std::time::{Duration, Instant};

use jiff::SignedDuration;
use serde_json::Value;

use crate::world::{PATIENCE, Running, World};

/// The findings of the status about all pools.
async fn findings(serve: &Running) -> Vec<Value> {
    let answer = reqwest::get(format!("http://{}/status", serve.address().await)).await.unwrap();
    let status = answer.json::<Value>().await.unwrap_or_default();
    status["findings"].as_array().cloned().unwrap_or_default()
}

/// Where the API server's clock were not known as well, the finding would blame this machine's.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_differs_is_found_by_the_answers_of_azure_devops_and_of_the_api_server() {
    let world = World::new("clocks").await;
    world.pool("Default");
    world.sandbox.set_clock_ahead(SignedDuration::from_mins(10));
    let serve = world.serve("Default").start();
    let expected = "Azure DevOps' clock is about 10 min ahead of that of the orchestrator's machine and its host";
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = findings(&serve).await;
        if found.iter().any(|finding| finding["code"] == "ADO509" && finding["message"] == expected) {
            return;
        }
        assert!(Instant::now() < deadline, "{found:?}:\n{}", serve.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
