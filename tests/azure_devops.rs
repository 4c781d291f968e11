//! The REST client against the sandbox, over HTTP: what is asked for is done, and is read back as it was meant.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use std::net::SocketAddr;

use kubectl_ado::{
    azure_devops::{AzureDevOps, Error, PoolId, RestClient},
    config::TokenSource,
    core::{Agent, AgentId, AgentRef, Capabilities, JobRequest, Placeholder, RequestId, Stage},
    sandbox::{AgentSpec, FaultKind, JobSpec, Phase, Sandbox, Settings},
};
use reqwest::Method;
use serde_json::{Value, json};

const POOL: &str = "Linux Builds";

/// A sandbox with one empty pool, and the client under test.
struct World {
    sandbox: Sandbox,
    client: RestClient,
    pool: PoolId,
}

impl World {
    async fn new(settings: Settings) -> Self {
        let anywhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let sandbox = Sandbox::start(anywhere, settings).unwrap();
        sandbox.add_pool(POOL).unwrap();
        let token = TokenSource::Value(sandbox.token().into());
        let client = RestClient::new(&sandbox.url(), token, None).unwrap();
        let pool = client.pool(POOL).await.unwrap();
        Self { sandbox, client, pool }
    }

    async fn agents(&self) -> Vec<Agent> {
        self.client.agents(self.pool).await.unwrap()
    }

    async fn agent(&self, id: AgentId) -> Agent {
        self.agents().await.into_iter().find(|agent| agent.id == id).unwrap()
    }

    async fn request(&self, id: i64) -> JobRequest {
        let requests = self.client.job_requests(self.pool).await.unwrap();
        requests.into_iter().find(|request| request.id.0 == id).unwrap()
    }

    /// An agent's own call.
    async fn call(&self, method: Method, path: &str, body: Value) -> Value {
        let url = format!("{}/_apis/distributedtask/pools/{}/{path}", self.sandbox.url(), self.pool.0);
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let call = http.request(method, url).basic_auth("", Some(self.sandbox.token())).json(&body);
        let response = call.send().await.unwrap();
        assert!(response.status().is_success(), "{path}: {}", response.status());
        response.json().await.unwrap()
    }

    /// An agent that has opened its session, and so is online.
    async fn online_agent(&self, name: &str) -> AgentId {
        let id = self.sandbox.add_agent(self.pool.0, AgentSpec::named(name)).unwrap();
        let session = json!({ "ownerName": "here", "agent": { "id": id, "version": "4.260.0" } });
        self.call(Method::POST, "sessions", session).await;
        AgentId(id)
    }

    async fn receive(&self, request: i64) {
        self.call(Method::PATCH, &format!("jobrequests/{request}?lockToken=0"), json!({ "requestId": request })).await;
    }

    async fn finish(&self, request: i64) {
        let path = format!("jobrequests/{request}?lockToken=0&result=succeeded&agentShuttingDown=true");
        self.call(Method::DELETE, &path, json!({})).await;
    }

    fn calls(&self, route: &str) -> u64 {
        self.sandbox.calls().get(route).copied().unwrap_or_default()
    }
}

fn placeholder(capabilities: &[(&str, &str)]) -> Placeholder {
    let capabilities = capabilities.iter().copied().collect();
    Placeholder { name: "placeholder-gpu".to_owned(), template: "gpu".to_owned(), capabilities }
}

fn gpu() -> Placeholder {
    placeholder(&[("gpu", "true"), ("Agent.OS", "Linux"), ("Agent.Version", "99.999.9"), ("bash", "")])
}

fn job(demands: &[&str]) -> JobSpec {
    demands.iter().fold(JobSpec::new("ci", "build"), |job, demand| job.demand(*demand))
}

/// Every kind of server that lists and versions differ between.
fn all_servers() -> impl Iterator<Item = Settings> {
    let versions = [(7, 2), (7, 0), (6, 0), (5, 1)];
    versions.into_iter().flat_map(|latest_api_version| {
        [false, true].map(|other| Settings {
            latest_api_version,
            bare_lists: other,
            omit_matched_agents: other,
            ..Settings::default()
        })
    })
}

#[tokio::test]
async fn a_placeholder_is_registered_disabled_and_offline_and_reads_as_it_was_meant() {
    for settings in all_servers() {
        let world = World::new(settings).await;
        world.client.register(world.pool, &gpu()).await.unwrap();
        let agents = world.agents().await;
        let [agent] = agents.as_slice() else { panic!("{agents:?}") };
        assert_eq!(agent.name, "placeholder-gpu");
        assert_eq!((agent.enabled, agent.online, agent.assigned), (false, false, None));
        assert_eq!(agent.capabilities, gpu().capabilities);
        assert!(agent.created_at.is_some() && agent.status_changed_at == agent.created_at);
        assert_eq!(agent.last_finished_at, None);
        assert_eq!(world.sandbox.agents(world.pool.0)[0].version, "99.999.9");
    }
}

#[tokio::test]
async fn a_job_waits_for_what_a_placeholder_stands_for_and_fails_without_one() {
    for settings in all_servers() {
        let world = World::new(settings).await;
        let demands = ["gpu", "Agent.Version -gtVersion 5.0"];
        let failed = world.sandbox.queue(world.pool.0, job(&demands)).unwrap();
        assert!(world.sandbox.request(failed).unwrap().was_unservable());

        world.client.register(world.pool, &gpu()).await.unwrap();
        let waiting = world.sandbox.queue(world.pool.0, job(&demands)).unwrap();
        let requests = world.client.job_requests(world.pool).await.unwrap();
        assert_eq!(requests.iter().map(|request| request.id.0).collect::<Vec<_>>(), [waiting]);
        assert_eq!(requests[0].stage, Stage::Waiting);
    }
}

#[tokio::test]
async fn an_update_replaces_what_a_placeholder_stands_for_and_disables_it_again() {
    let world = World::new(Settings::default()).await;
    world.client.register(world.pool, &gpu()).await.unwrap();
    let id = world.agents().await[0].id;
    let owners = json!({ "id": id.0, "enabled": true, "userCapabilities": { "team": "a" } });
    world.call(Method::PATCH, &format!("agents/{}", id.0), owners).await;

    let cuda = placeholder(&[("gpu", "true"), ("cuda", "12.4")]);
    for _ in 0..2 {
        world.client.update(world.pool, id, &cuda).await.unwrap();
        let agent = world.agent(id).await;
        assert!(!agent.enabled && !agent.online);
        let mut expected: Capabilities = cuda.capabilities.clone();
        expected.set("team", "a");
        assert_eq!(agent.capabilities, expected, "the owner's word stays");
    }
    assert_eq!(world.agents().await.len(), 1);
    let gone = world.sandbox.queue(world.pool.0, job(&["Agent.OS -equals Linux"])).unwrap();
    assert!(world.sandbox.request(gone).unwrap().was_unservable());
    let there = world.sandbox.queue(world.pool.0, job(&["cuda"])).unwrap();
    assert_eq!(world.request(there).await.stage, Stage::Waiting);
}

#[tokio::test]
async fn a_disabled_agent_is_given_no_job_and_goes_on_with_the_one_it_has() {
    let world = World::new(Settings::default()).await;
    let [idle, busy] = [world.online_agent("idle").await, world.online_agent("busy").await];
    world.client.disable(world.pool, idle).await.unwrap();
    let first = world.sandbox.queue(world.pool.0, job(&[])).unwrap();
    let busy_ref = AgentRef { id: busy, name: "busy".to_owned() };
    assert_eq!(world.request(first).await.stage, Stage::Assigned(busy_ref.clone()));

    world.receive(first).await;
    for _ in 0..2 {
        world.client.disable(world.pool, busy).await.unwrap();
    }
    let second = world.sandbox.queue(world.pool.0, job(&[])).unwrap();
    assert_eq!(world.request(first).await.stage, Stage::Running(Some(busy_ref)));
    let agent = world.agent(busy).await;
    assert_eq!((agent.enabled, agent.online, agent.assigned), (false, true, Some(RequestId(first))));

    world.finish(first).await;
    assert_eq!(world.request(second).await.stage, Stage::Waiting, "both agents are disabled");
}

#[tokio::test]
async fn a_busy_agent_is_deregistered_only_after_its_job_and_tells_when_that_ended() {
    for settings in all_servers() {
        let world = World::new(settings).await;
        let agent = world.online_agent("a").await;
        let before = world.agent(agent).await;
        assert!(before.online && before.last_finished_at.is_none());
        assert!(before.status_changed_at >= before.created_at);
        let request = world.sandbox.queue(world.pool.0, job(&[])).unwrap();
        // It has been sent the request, then it works on it.
        for received in [false, true] {
            if received {
                world.receive(request).await;
            }
            let error = world.client.deregister(world.pool, agent).await.unwrap_err();
            assert!(matches!(&error, Error::Busy(said) if said.contains("is running a job")), "{error:?}");
        }

        world.finish(request).await;
        let after = world.agent(agent).await;
        assert_eq!((after.assigned, after.created_at), (None, before.created_at));
        assert_eq!(after.last_finished_at, world.sandbox.request(request).unwrap().finished_at);

        world.client.deregister(world.pool, agent).await.unwrap();
        assert_eq!(world.agents().await, []);
    }
}

#[tokio::test]
async fn an_agent_that_is_gone_is_no_trouble_but_a_pool_is() {
    let world = World::new(Settings::default()).await;
    let gone = AgentId(99);
    assert_eq!(world.client.disable(world.pool, gone).await, Ok(()));
    assert_eq!(world.client.deregister(world.pool, gone).await, Ok(()));
    assert!(matches!(world.client.update(world.pool, gone, &gpu()).await, Err(Error::Gone(_))));

    let nowhere = PoolId(99);
    assert!(matches!(world.client.disable(nowhere, gone).await, Err(Error::NotFound(_))));
    assert!(matches!(world.client.deregister(nowhere, gone).await, Err(Error::NotFound(_))));
    assert!(matches!(world.client.register(nowhere, &gpu()).await, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn a_registration_whose_answer_was_lost_is_not_repeated_blindly_and_found_by_looking() {
    let world = World::new(Settings::default()).await;
    let agents = "POST distributedtask/pools/{id}/agents";
    world.sandbox.inject(FaultKind::LostReply.times(1).on("POST"));
    let error = world.client.register(world.pool, &gpu()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
    assert_eq!(world.calls(agents), 1);

    assert_eq!(world.agents().await.len(), 1, "it was done");
    let error = world.client.register(world.pool, &gpu()).await.unwrap_err();
    assert!(matches!(error, Error::Taken(_)), "{error:?}");
    assert_eq!((world.agents().await.len(), world.calls(agents)), (1, 2));
}

#[tokio::test]
async fn a_removal_whose_answer_was_lost_is_a_success_the_second_time() {
    let world = World::new(Settings::default()).await;
    world.client.register(world.pool, &gpu()).await.unwrap();
    let id = world.agents().await[0].id;
    world.sandbox.inject(FaultKind::LostReply.times(1).on("DELETE"));
    world.client.deregister(world.pool, id).await.unwrap_err();
    assert_eq!(world.client.deregister(world.pool, id).await, Ok(()));
    assert_eq!(world.calls("DELETE distributedtask/pools/{id}/agents/{id}"), 2);
}

#[tokio::test]
async fn a_job_that_is_queued_survives_the_removal_of_its_placeholder() {
    let world = World::new(Settings::default()).await;
    world.client.register(world.pool, &gpu()).await.unwrap();
    let request = world.sandbox.queue(world.pool.0, job(&["gpu"])).unwrap();
    let id = world.agents().await[0].id;
    world.client.deregister(world.pool, id).await.unwrap();
    assert_eq!(world.sandbox.request(request).unwrap().phase(), Phase::Queued);
}
