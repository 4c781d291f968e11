//! The lives of an orchestrator: all that `serve` does between its clients, begun again whenever it died.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use kube::Client;
use kubectl_ado::{
    azure::OrganizationToken,
    clock::ServerClock,
    config::{AgentSpec, Config, Environment, HostConfig, KubernetesConfig},
    core::Policy,
    hosts::{
        HostError,
        kubernetes::{KubernetesHost, prepare},
    },
    orchestrator::{Board, Engine, Leadership, Metrics, Outcome, Settings, Stopper, Wish, stop_pair},
};
use tokio::time::{sleep, timeout};

use crate::{clock, devops::FakeAzureDevOps, faulty, organization::Organization, storm::Storm};

/// What an orchestrator is started with, each time anew.
#[derive(Clone)]
pub(crate) struct Orchestrator {
    pub(crate) config: Config,
    pub(crate) upstream: Client,
    pub(crate) organization: Organization,
    pub(crate) storm: Storm,
    /// Whether it knows that whoever acted before it has stopped.
    pub(crate) elected: bool,
    /// How many lives there were, of all orchestrators.
    pub(crate) lives: Arc<AtomicU64>,
    /// What the one that lives says of itself.
    pub(crate) board: Slot,
    /// What all of them have counted.
    pub(crate) metrics: Arc<Metrics>,
}

/// Where the board of the orchestrator that lives is found, while one lives.
pub(crate) type Slot = Arc<Mutex<Option<Arc<Board>>>>;

/// How a life ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Death {
    Never,
    /// At whatever it waits for then.
    AfterPolls(u64),
    AfterTime(Duration),
}

/// A configuration from variables, as a person would set them.
pub(crate) fn config(variables: &[(&str, &str)]) -> Config {
    let usual = [
        ("HOST_TYPE", "kubernetes"),
        ("ORG_URL", "https://dev.azure.com/contoso"),
        ("ORG_PAT", "a-token-of-the-right-length"),
        ("JOB_IMAGE", "registry.example/agent:1"),
    ];
    let environment: Environment = usual.iter().chain(variables).copied().collect();
    Config::load(&environment, None).unwrap()
}

impl Orchestrator {
    fn kubernetes(&self) -> &KubernetesConfig {
        match &self.config.host {
            HostConfig::Kubernetes(settings) => settings,
            other => panic!("not a cluster: {other:?}"),
        }
    }

    /// One life, from the first call on. `once` is a single pass, else it ends by dying alone.
    pub(crate) async fn live(&self, once: bool) -> Result<Outcome, HostError> {
        let settings = self.kubernetes();
        let api_clock = ServerClock::default();
        let client = faulty::client(self.upstream.clone(), self.storm.fork(), &settings.namespace, api_clock.clone());
        let azure_devops = FakeAzureDevOps {
            organization: self.organization.clone(),
            storm: self.storm.fork(),
            clock: ServerClock::default(),
        };
        let installation = prepare(&client, settings, self.config.installation_id.as_deref()).await?;
        // Nobody ever had this name before.
        self.storm.weather.life_begins();
        let identity = format!("orchestrator-{}", self.lives.fetch_add(1, Ordering::Relaxed));
        let token = OrganizationToken::of(&self.config).unwrap();
        let host = KubernetesHost::new(client, &self.config, settings, installation.clone(), token)?;
        let host = host.known_as(&identity).by(api_clock);
        host.apply_documents().await;
        let policy = Policy { identity, ..self.config.policy(installation) };
        let settings = Settings {
            polling: self.config.polling,
            respect_parallel_jobs: self.config.respect_parallel_jobs,
            now: clock::of_orchestrator,
        };
        let leadership = if self.elected { Leadership::alone() } else { Leadership::none() };
        let wish = |agent: &AgentSpec| Wish { registration: agent.registration, obstacle: None };
        let wishes = self.config.agents.iter().map(|(of, agent)| (of.clone(), wish(agent))).collect();
        let board = Arc::new(Board::serving(&policy));
        let engine = Engine::new(&azure_devops, &host, policy, settings, Arc::clone(&self.metrics));
        let mut engine = engine.under(leadership).wishing(wishes).reporting_to(Arc::clone(&board));
        *self.board.lock().unwrap() = Some(board);
        let (_stopper, stop): (Stopper, _) = stop_pair();
        if once {
            return Ok(engine.run_once(&stop).await);
        }
        engine.run(&stop).await;
        Ok(Outcome::default())
    }

    /// One life that ends by a death, or by itself where it cannot begin.
    pub(crate) async fn live_until(&self, death: Death) {
        let life = self.live(false);
        let ended = match death {
            Death::Never => Some(life.await),
            Death::AfterPolls(polls) => Mortal::new(life, polls).await,
            Death::AfterTime(time) => timeout(time, life).await.ok(),
        };
        *self.board.lock().unwrap() = None;
        self.storm.log.note(format!("the orchestrator ended: {death:?}, {ended:?}"));
    }

    /// Life after life, each of which ends badly while the storm lasts.
    pub(crate) async fn live_again_and_again(self, dies: bool) {
        let dice = self.storm.dice.fork();
        loop {
            let death = match dice.number(0..=2) {
                _ if !dies || self.storm.is_over() => Death::Never,
                0 => Death::AfterTime(dice.time(0..=20_000)),
                _ => Death::AfterPolls(dice.number(1..=200)),
            };
            self.live_until(death).await;
            sleep(dice.time(10..=4_000)).await;
        }
    }
}

/// A future that is dropped after so many polls, wherever it is then.
pub(crate) struct Mortal<F> {
    life: Option<Pin<Box<F>>>,
    left: u64,
}

impl<F: Future> Mortal<F> {
    pub(crate) fn new(life: F, polls: u64) -> Self {
        Self { life: Some(Box::pin(life)), left: polls }
    }
}

impl<F: Future> Future for Mortal<F> {
    /// `None` if it died.
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.left > 0
            && let Some(life) = &mut self.life
            && let Poll::Ready(output) = life.as_mut().poll(context)
        {
            return Poll::Ready(Some(output));
        }
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            self.life = None;
            return Poll::Ready(None);
        }
        Poll::Pending
    }
}
