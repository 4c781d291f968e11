//! What a schedule is made of, and how it goes: jobs come, some are cancelled, and in the end all of them have ended.

use std::time::Duration;

use kubectl_ado::{
    config::{Config, Registration},
    core::Recipe,
    sandbox::{JobSpec, Phase},
};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    books::Books,
    dice::Dice,
    orchestrator::{Orchestrator, config},
    organization::Organization,
    storm::Storm,
};

/// How long an agent may go on whose job has ended: it does so where its job was cancelled before the agent took it up.
const HANGS_AFTER: Duration = Duration::from_secs(300);

/// A registration that a dead orchestrator left behind is two minutes old when it goes; then comes the next look.
const SWEPT_AFTER: Duration = Duration::from_secs(240);

/// A job of a schedule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Coming {
    at: Duration,
    pool: usize,
    /// After what time it is cancelled.
    cancelled: Option<Duration>,
}

/// What a schedule is made of.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    pub(crate) pools: Vec<String>,
    pub(crate) jobs: Vec<Coming>,
    /// How long the storm lasts.
    pub(crate) lasts: Duration,
    /// The chance of a call to go wrong.
    pub(crate) rate: f64,
    /// The chance of an agent to die before it is online.
    pub(crate) deaths: f64,
    /// Whether the orchestrators die, too.
    pub(crate) dies: bool,
    /// How many orchestrators there are at once.
    pub(crate) orchestrators: usize,
    /// Whether the only one knows that whoever acted before it has stopped.
    pub(crate) elected: bool,
    /// How agents get the right to work.
    pub(crate) registration: Registration,
    pub(crate) polling: Option<u64>,
    pub(crate) max_agents: Option<u64>,
}

impl Schedule {
    /// Draws one whose jobs all come within a time, in milliseconds.
    pub(crate) fn drawn(dice: &Dice, within: u64) -> Self {
        let pools = if dice.chance(0.3) { vec!["Linux", "Windows Builds"] } else { vec!["Linux"] };
        let cancels = dice.chance(0.25);
        let coming = |_| Coming {
            cancelled: (cancels && dice.chance(0.4)).then(|| dice.time(100..=2 * within)),
            pool: usize::try_from(dice.number(0..=pools.len() as u64 - 1)).unwrap(),
            at: dice.time(0..=within),
        };
        let mut jobs: Vec<Coming> = (0..dice.number(1..=12)).map(coming).collect();
        jobs.sort();
        let orchestrators = if dice.chance(0.15) { 2 } else { 1 };
        Self {
            elected: orchestrators == 1 && dice.chance(0.5),
            registration: Registration::Only(Recipe::Token),
            orchestrators,
            lasts: dice.time(within / 2..=within * 5 / 2),
            rate: dice.pick(&[0.02, 0.1, 0.3, 0.6]),
            deaths: if dice.chance(0.25) { 0.3 } else { 0.0 },
            dies: dice.chance(0.6),
            polling: dice.chance(0.3).then(|| dice.number(500..=4_000)),
            max_agents: dice.chance(0.2).then(|| dice.number(1..=3)),
            pools: pools.into_iter().map(str::to_owned).collect(),
            jobs,
        }
    }

    /// The same with another way for agents to get the right to work.
    pub(crate) fn registering(self, registration: Registration) -> Self {
        Self { registration, ..self }
    }

    /// The same with just-in-time agents and one orchestrator, which never has to wait until another one has had its time.
    pub(crate) fn just_in_time_and_alone(self) -> Self {
        Self { orchestrators: 1, elected: true, ..self.registering(Registration::Only(Recipe::JustInTime)) }
    }

    /// The same without jobs that are cancelled.
    pub(crate) fn without_cancellations(mut self) -> Self {
        self.jobs.iter_mut().for_each(|coming| coming.cancelled = None);
        self
    }

    pub(crate) fn config(&self, namespace: &str, idle_timeout: Duration) -> Config {
        let pools = self.pools.join(",");
        let numbers = [("POLLING_DELAY", self.polling), ("MAXIMUM_AGENT_COUNT", self.max_agents)];
        let numbers = numbers.map(|(name, number)| (name, number.map(|number| number.to_string()).unwrap_or_default()));
        let mut variables = vec![("AGENT_POOLS", pools.as_str()), ("JOB_NAMESPACE", namespace)];
        variables.extend(numbers.iter().map(|(name, number)| (*name, number.as_str())));
        let mut config = Config { idle_timeout, ..config(&variables) };
        config.agents.values_mut().for_each(|agent| agent.registration = self.registration);
        config
    }
}

/// Tells a schedule to its end, with orchestrators that begin again whenever they die. `patience` is how long after the
/// storm everything has to be done, `aftermath` for how long it is watched then. `remains` tells what is left then and must
/// not be, if it stays.
pub(crate) async fn tell(
    schedule: &Schedule,
    books: &Books,
    orchestrator: &Orchestrator,
    (patience, aftermath): (Duration, Duration),
    remains: impl AsyncFn() -> Vec<String>,
) -> Result<(), String> {
    let Storm { ends, .. } = *books.storm();
    let organization = books.organization();
    let orchestrators = (0..schedule.orchestrators).map(|_| {
        let orchestrator = Orchestrator { storm: orchestrator.storm.fork(), ..orchestrator.clone() };
        orchestrator.live_again_and_again(schedule.dies)
    });
    let story = async {
        bring(schedule, books).await;
        until_all_ended(organization, ends + patience).await?;
        sleep_until(ends.max(Instant::now()) + aftermath).await;
        // What is surplus is taken back when it has idled for long enough.
        for _ in 0..(HANGS_AFTER + orchestrator.config.idle_timeout + aftermath).as_secs() {
            if books.surplus() == 0 {
                break;
            }
            sleep(Duration::from_secs(1)).await;
        }
        books.check()?;
        for _ in 0..(SWEPT_AFTER + aftermath).as_secs() {
            if remains().await.is_empty() {
                break;
            }
            sleep(Duration::from_secs(1)).await;
        }
        let remains = remains().await;
        if remains.is_empty() { books.check() } else { Err(format!("{remains:?}")) }
    };
    tokio::select! {
        biased;
        result = story => result,
        _ = futures::future::join_all(orchestrators) => Err("the orchestrators ended".to_owned()),
    }
}

/// Lets the jobs come, and those that are cancelled be cancelled.
async fn bring(schedule: &Schedule, books: &Books) {
    let begun = Instant::now();
    let (organization, log) = (books.organization(), &books.storm().log);
    for (number, coming) in schedule.jobs.iter().enumerate() {
        sleep_until(begun + coming.at).await;
        let request = organization.change(|state, now| {
            let pool = state.pool_named(&schedule.pools[coming.pool]).unwrap().id;
            state.queue(pool, JobSpec::new("pipeline", format!("job {number}")), now).unwrap()
        });
        log.note(format!("job request {request} is queued"));
        if let Some(time) = coming.cancelled {
            let (organization, log) = (organization.clone(), log.clone());
            tokio::spawn(async move {
                sleep(time).await;
                log.note(format!("job request {request} is cancelled"));
                organization.change(|state, now| state.cancel(request, now)).unwrap();
            });
        }
    }
}

async fn until_all_ended(organization: &Organization, deadline: Instant) -> Result<(), String> {
    let unfinished =
        || organization.see(|state| state.requests().filter(|request| request.phase() != Phase::Finished).count());
    while unfinished() > 0 {
        if Instant::now() > deadline {
            return Err(format!("{} jobs are not served", unfinished()));
        }
        sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}
