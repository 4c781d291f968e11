//! What a schedule of the world is made of.

use std::{ops::RangeInclusive, path::Path, time::Duration};

use kubectl_ado::{
    config::{Config, JobTemplate, Registration},
    core::{Recipe, Timeouts},
};

use crate::{
    books::Fate,
    orchestrator::config,
    storm::Tempo,
    weather::{Adversity, Spell},
};

use super::happening::{Happening, Scheduled};

pub(crate) const NAMESPACE: &str = "agents";

/// Who we are, so that registrations can be ours that no run of this schedule made.
pub(crate) const INSTALLATION: &str = "world";

/// What is wanted of a pool.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub(crate) name: String,
    pub(crate) min: u32,
    pub(crate) idle: u32,
    pub(crate) max: Option<u32>,
}

impl Served {
    pub(crate) fn named(name: &str) -> Self {
        Self { name: name.to_owned(), min: 0, idle: 0, max: None }
    }
}

/// A job that comes.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) at: Duration,
    pub(crate) pool: String,
    pub(crate) cancelled_after: Option<Duration>,
}

/// All of it. Nothing here is left to chance but what is drawn from ranges of times.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) pools: Vec<Served>,
    /// The most agents over all pools.
    pub(crate) most: Option<u32>,
    pub(crate) jobs: Vec<Job>,
    pub(crate) spells: Vec<Spell>,
    pub(crate) happenings: Vec<Scheduled>,
    pub(crate) tempo: Tempo,
    pub(crate) fate: Fate,
    /// The chance of each call to fail by itself.
    pub(crate) rate: f64,
    /// Whether the orchestrators die, too.
    pub(crate) dies: bool,
    pub(crate) elected: bool,
    pub(crate) registration: Registration,
    pub(crate) polling: Option<Duration>,
    pub(crate) start_timeout: Duration,
    /// How long a queue of the cluster keeps each Job, in milliseconds.
    pub(crate) queue: Option<RangeInclusive<u64>>,
    /// How long it is watched at least.
    pub(crate) lasts: Duration,
    /// Where agents run.
    pub(crate) namespace: String,
}

impl Scene {
    /// A quiet world with one pool and agents that hold the token.
    pub(crate) fn of(pools: &[&str]) -> Self {
        Self {
            pools: pools.iter().map(|name| Served::named(name)).collect(),
            most: None,
            jobs: Vec::new(),
            spells: Vec::new(),
            happenings: Vec::new(),
            tempo: Tempo { lingers: 1_000..=4_000, tells: 0..=1_000, tells_end: 500..=2_000, ..Tempo::LIFELIKE },
            fate: Fate::default(),
            rate: 0.0,
            dies: false,
            elected: true,
            registration: Registration::Only(Recipe::Token),
            polling: None,
            start_timeout: Duration::from_secs(300),
            queue: None,
            lasts: Duration::from_secs(300),
            namespace: NAMESPACE.to_owned(),
        }
    }

    /// With jobs in a pool, one after the other.
    pub(crate) fn jobs(mut self, pool: &str, count: u64, first: u64, every: u64) -> Self {
        self.jobs.extend((0..count).map(|number| Job {
            at: Duration::from_secs(first + number * every),
            pool: pool.to_owned(),
            cancelled_after: None,
        }));
        self
    }

    /// With something wrong from one second to another.
    pub(crate) fn wrong(mut self, seconds: std::ops::Range<u64>, what: Adversity) -> Self {
        let (from, until) = (Duration::from_secs(seconds.start), Duration::from_secs(seconds.end));
        self.spells.push(Spell { from, until, what });
        self
    }

    /// With something that happens at a second.
    pub(crate) fn at(mut self, second: u64, what: Happening) -> Self {
        self.happenings.push(Scheduled { at: Duration::from_secs(second), what });
        self
    }

    pub(crate) fn lasts(self, seconds: u64) -> Self {
        Self { lasts: Duration::from_secs(seconds), ..self }
    }

    /// With jobs that take so many seconds.
    pub(crate) fn work(mut self, seconds: RangeInclusive<u64>) -> Self {
        self.tempo.work = seconds.start() * 1_000..=seconds.end() * 1_000;
        self
    }

    pub(crate) fn start_timeout(self, seconds: u64) -> Self {
        Self { start_timeout: Duration::from_secs(seconds), ..self }
    }

    /// What the orchestrator is started with when only these pools are served.
    pub(crate) fn config(&self, pools: &[Served]) -> Config {
        let names = pools.iter().map(|pool| pool.name.as_str()).collect::<Vec<_>>().join(",");
        let polling = self.polling.map(|polling| polling.as_millis().to_string()).unwrap_or_default();
        let variables = [
            ("AGENT_POOLS", names.as_str()),
            ("JOB_NAMESPACE", self.namespace.as_str()),
            ("INSTALLATION_ID", INSTALLATION),
            ("POLLING_DELAY", polling.as_str()),
        ];
        let mut config = config(&variables);
        config.timeouts = Timeouts::of_start(self.start_timeout);
        config.idle_timeout = self.tempo.idle_timeout;
        config.max_agents = self.most;
        for (policy, wanted) in config.pools.iter_mut().zip(pools) {
            policy.max_agents = wanted.max;
            for template in &mut policy.templates {
                (template.scale.min, template.scale.idle) = (wanted.min, wanted.idle);
                template.timeouts = Timeouts::of_start(self.start_timeout);
            }
        }
        for agent in config.agents.values_mut() {
            agent.registration = self.registration;
            if self.queue.is_some() {
                agent.job_template = Some(queued_template());
            }
        }
        config
    }
}

/// A Job template whose Jobs a queue of the cluster resumes.
fn queued_template() -> JobTemplate {
    let text = "
apiVersion: batch/v1
kind: Job
metadata:
  labels: {kueue.x-k8s.io/queue-name: agents}
spec:
  suspend: true
  template:
    spec:
      restartPolicy: Never
      containers:
      - name: agent
        image: registry.example/agent:1
";
    JobTemplate::parse(Path::new("queued.yaml"), text).unwrap()
}
