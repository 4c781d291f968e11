//! A name that is taken: by ourselves, who were interrupted, or by somebody whose agent is not ours to touch.

use std::net::SocketAddr;

use kubectl_ado::{
    azure_devops::{AzureDevOps as _, Error, NewAgent, PoolId, RestClient},
    config::TokenSource,
    core::{Capabilities, INSTALLATION_CAPABILITY},
    sandbox::{AgentSpec, Sandbox, Settings},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

fn scene() -> (Sandbox, i64, RestClient) {
    let sandbox = Sandbox::start(SocketAddr::from(([127, 0, 0, 1], 0)), Settings::default()).unwrap();
    let pool = sandbox.add_pool("Default").unwrap();
    let token = TokenSource::Value(SecretString::from(sandbox.token().to_owned()));
    let client = RestClient::new(&sandbox.url(), token, None).unwrap();
    (sandbox, pool, client)
}

fn new_agent(installation: &str) -> NewAgent {
    let capabilities: Capabilities = [(INSTALLATION_CAPABILITY, installation)].into_iter().collect();
    NewAgent { name: "a-1".into(), pool: "Default".into(), installation: installation.into(), capabilities }
}

#[tokio::test]
async fn an_agent_of_ours_that_never_came_is_registered_anew_under_another_number() {
    let (sandbox, pool, client) = scene();
    let number = |files: &kubectl_ado::azure_devops::AgentFiles| {
        let settings: Value = serde_json::from_str(files[".agent"].expose_secret()).unwrap();
        settings["agentId"].as_i64().unwrap()
    };
    let first = client.enroll(PoolId(pool), &new_agent("us")).await.unwrap();
    let second = client.enroll(PoolId(pool), &new_agent("us")).await.unwrap();
    assert_ne!(number(&first), number(&second));
    let [agent] = &sandbox.agents(pool)[..] else { panic!("one agent") };
    assert_eq!(agent.id, number(&second));
    assert!(second.contains_key(".credentials") && second.contains_key(".credentials_rsaparams"));
    assert!(second["packages"].expose_secret().starts_with("linux-x64 http"), "where the agent's software is");
}

#[tokio::test]
async fn another_installation_s_agent_is_left_alone_and_so_is_one_without_a_mark() {
    let (sandbox, pool, client) = scene();
    client.enroll(PoolId(pool), &new_agent("them")).await.unwrap();
    let taken = client.enroll(PoolId(pool), &new_agent("us")).await.unwrap_err();
    assert!(matches!(taken, Error::Taken(_)), "{taken:?}");
    let theirs = sandbox.agents(pool)[0].id;
    sandbox.remove_agent(pool, theirs).unwrap();

    let plain = sandbox.add_agent(pool, AgentSpec::named("a-1")).unwrap();
    let taken = client.enroll(PoolId(pool), &new_agent("us")).await.unwrap_err();
    assert!(matches!(taken, Error::Taken(_)), "{taken:?}");
    assert_eq!(sandbox.agents(pool)[0].id, plain);
}
