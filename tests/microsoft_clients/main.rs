//! Microsoft's own clients against the sandbox: what they can do with Azure DevOps, they can do with it.
//!
//! They come from PyPI and npm; `tests/microsoft_clients/run` installs them and runs this.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use std::process::Stdio;

use kubectl_ado::sandbox::{AgentSpec, JobResult, JobSpec, Sandbox, Settings};
use serde_json::Value;
use tokio::process::Command;

const POOL: &str = "Linux Builds";

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; run tests/microsoft_clients/run"))
}

fn start() -> (Sandbox, i64) {
    let sandbox = Sandbox::start("127.0.0.1:0".parse().unwrap(), Settings::default()).unwrap();
    let pool = sandbox.add_pool(POOL).unwrap();
    sandbox.add_agent(pool, AgentSpec::named("placeholder").disabled()).unwrap();
    (sandbox, pool)
}

/// Runs a client's script to its good end; what it says it has seen.
async fn run(program: &str, script: &str, sandbox: &Sandbox, more: &[(&str, String)]) -> Value {
    // The Python client remembers there what earlier sandboxes said of their locations.
    let cache = tempfile::tempdir().unwrap();
    let output = Command::new(program)
        .arg(format!("{}/tests/microsoft_clients/{script}", env!("CARGO_MANIFEST_DIR")))
        .env("SANDBOX_URL", sandbox.url())
        .env("SANDBOX_TOKEN", sandbox.token())
        .env("SANDBOX_POOL", POOL)
        .env("AZURE_DEVOPS_CACHE_DIR", cache.path())
        .env("NO_PROXY", "127.0.0.1")
        .env("no_proxy", "127.0.0.1")
        .envs(more.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
#[ignore = "needs packages of PyPI: tests/microsoft_clients/run"]
async fn the_python_client_does_the_calls_for_pools_and_agents() {
    let (sandbox, pool) = start();
    let seen = run(&variable("MICROSOFT_CLIENTS_PYTHON"), "client.py", &sandbox, &[]).await;
    assert_eq!(seen["pool"], pool);
    let names: Vec<_> = sandbox.agents(pool).into_iter().map(|agent| agent.name).collect();
    assert_eq!(names, ["placeholder"]);
    let calls = sandbox.calls();
    assert_eq!(calls["DELETE distributedtask/pools/{id}/agents/{id}"], 1);
    // Through its Connection it asks where everything is.
    assert!(calls["GET resourceareas"] >= 1, "{calls:?}");
}

#[tokio::test]
#[ignore = "needs packages of npm: tests/microsoft_clients/run"]
async fn the_node_client_does_the_calls_of_managers_of_agents_and_of_their_workers() {
    let (sandbox, pool) = start();
    let request = sandbox.queue(pool, JobSpec::new("ci", "build").step("work", "true")).unwrap();
    let more = [("SANDBOX_REQUEST", request.to_string()), ("NODE_PATH", variable("MICROSOFT_CLIENTS_NODE_MODULES"))];
    let seen = run("node", "client.js", &sandbox, &more).await;
    assert_eq!((&seen["pool"], &seen["request"]), (&pool.into(), &request.into()));
    assert_eq!(sandbox.request(request).unwrap().result, Some(JobResult::Succeeded));
    assert_eq!(sandbox.agents(pool).len(), 1);
}
