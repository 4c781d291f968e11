//! What just-in-time agents cost: from a run to its agent's first question for work, beside an agent that registers itself,
//! in the same run; and how fast a burst of a thousand agents is registered, with what bounds it.
//!
//! `cargo bench --bench just_in_time`. The agents are the sandbox's, processes that start as the agent image does, so that
//! the figures hold what is ours and what is the protocol's; Microsoft's agent adds the start of its own runtime to each.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark prints, and fails by panicking"
)]

use std::{
    net::SocketAddr,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use kubectl_ado::{
    azure_devops::{AzureDevOps as _, NewAgent, PoolId, RestClient, just_in_time::AgentKey},
    config::{LocalConfig, TokenSource},
    core::{Capabilities, Installation, Placeholder, Purpose, Recipe, RequestId, Retention, StartRun},
    hosts::{AgentHost as _, local::LocalHost},
    sandbox::{AgentSpec, Sandbox, Settings},
};
use secrecy::SecretString;

const POOL: &str = "Default";
const AGENTS: usize = 15;
const BURST: usize = 1000;

/// As many as the orchestrator starts at once.
const AT_ONCE: usize = 16;

const PATIENCE: Duration = Duration::from_secs(30);

struct Scene {
    sandbox: Sandbox,
    pool: i64,
    client: RestClient,
    host: LocalHost,
}

impl Scene {
    fn new(folder: &Path) -> Self {
        let program = Some(env!("CARGO_BIN_EXE_kubectl-ado").into());
        let settings = Settings { agent_program: program, ..Settings::default() };
        let sandbox = Sandbox::start(SocketAddr::from(([127, 0, 0, 1], 0)), settings).unwrap();
        let pool = sandbox.add_pool(POOL).unwrap();
        sandbox.add_agent(pool, AgentSpec::named("placeholder").disabled()).unwrap();
        let token = TokenSource::Value(SecretString::from(sandbox.token().to_owned()));
        let client = RestClient::new(&sandbox.url(), token.clone(), None).unwrap();
        let retention = Retention { finished: Duration::from_secs(600), failed: Duration::from_secs(600) };
        let config = LocalConfig { folder: folder.to_owned() };
        let host = LocalHost::open(&config, &sandbox.url(), token, Installation::new("bench"), retention).unwrap();
        Self { sandbox, pool, client, host: host.known_as("bench") }
    }

    fn new_agent(&self, name: &str) -> NewAgent {
        let capabilities: Capabilities = [("Agent.Name", name)].into_iter().collect();
        NewAgent { name: name.to_owned(), pool: POOL.to_owned(), installation: "bench".to_owned(), capabilities }
    }

    /// From the run to the first question for work.
    async fn start(&self, name: &str, recipe: Recipe) -> Duration {
        let run = StartRun {
            name: name.to_owned(),
            pool: POOL.to_owned(),
            template: "default".to_owned(),
            purpose: Purpose::Request(RequestId(1)),
            attempt: 1,
            revision: String::new(),
            recipe,
        };
        let began = Instant::now();
        self.host.start(&run).await.unwrap();
        if recipe == Recipe::JustInTime {
            let files = self.client.enroll(PoolId(self.pool), &self.new_agent(name)).await.unwrap();
            self.host.equip(name, &files).await.unwrap();
        }
        let is_online = |state: &kubectl_ado::sandbox::State| {
            state.history().any(|agent| agent.name == name && agent.online_at.is_some())
        };
        let is_there = self.sandbox.until(PATIENCE, is_online).await;
        let log = || std::fs::read_to_string(self.host.log(name)).unwrap_or_default();
        assert!(is_there, "{name} does not come online:\n{}", log());
        let took = began.elapsed();
        self.host.stop(name, Duration::from_secs(5)).await.unwrap();
        took
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

async fn online(scene: &Scene) {
    let mut times = [Vec::new(), Vec::new()];
    for number in 0..AGENTS {
        // In turn, so that whatever else this machine does strikes both.
        for (recipe, times) in [Recipe::JustInTime, Recipe::Token].into_iter().zip(&mut times) {
            times.push(scene.start(&format!("agent-{recipe}-{number}"), recipe).await);
        }
    }
    let [ours, classic] = times.map(median);
    println!(
        "from the run to the agent's first question: just-in-time {ours:.0?}, registering itself {classic:.0?} (medians of \
         {AGENTS}); ratio {:.2}",
        ours.as_secs_f64() / classic.as_secs_f64()
    );
}

/// Times so many calls, as many at once as the orchestrator makes.
async fn burst<F: Future<Output = ()>>(call: impl Fn(usize) -> F) -> f64 {
    let began = Instant::now();
    stream::iter(0..BURST).map(call).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    BURST as f64 / began.elapsed().as_secs_f64()
}

fn keys_per_second() -> f64 {
    let (count, began) = (50, Instant::now());
    for _ in 0..count {
        AgentKey::generate().unwrap();
    }
    f64::from(count) / began.elapsed().as_secs_f64()
}

async fn registrations(scene: &Scene) {
    let keys = keys_per_second();
    let pool = PoolId(scene.pool);
    let plain = burst(|number| {
        let name = format!("plain-{number}");
        let capabilities: Capabilities = [("Agent.Name", name.as_str())].into_iter().collect();
        let placeholder = Placeholder { name, template: "default".to_owned(), capabilities };
        async move { scene.client.register(pool, &placeholder).await.unwrap() }
    })
    .await;
    let enrolled = burst(|number| async move {
        let agent = scene.new_agent(&format!("enrolled-{number}"));
        scene.client.enroll(pool, &agent).await.map(drop).unwrap();
    })
    .await;
    let cores = std::thread::available_parallelism().unwrap();
    println!(
        "{BURST} registrations: {enrolled:.0}/s; keys alone {keys:.1}/s on one of {cores} cores, requests alone {plain:.0}/s: \
         bound by {}",
        if keys * (cores.get() as f64) < plain { "the making of keys" } else { "requests" }
    );
}

/// Agents of the local host run the program that started them; here that is this one.
fn as_agent() -> Option<i32> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let is_agent = arguments.first().is_some_and(|first| first == "sandbox-agent");
    let run = || Command::new(env!("CARGO_BIN_EXE_kubectl-ado")).args(&arguments).status().unwrap().code().unwrap_or(1);
    is_agent.then(run)
}

fn main() {
    if let Some(code) = as_agent() {
        std::process::exit(code);
    }
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let scene = Scene::new(folder.path());
        online(&scene).await;
        registrations(&scene).await;
    });
}
