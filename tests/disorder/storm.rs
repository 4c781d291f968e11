//! How much goes wrong in a schedule, for how long, and what was seen of it.

use std::{
    collections::BTreeSet,
    ops::RangeInclusive,
    sync::{Arc, Mutex, OnceLock, atomic::AtomicUsize},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    dice::Dice,
    weather::{CALL_DEADLINE, Weather},
};

/// How long each call to Azure DevOps has, where nobody says otherwise: shorter than in life, so that some answers come
/// too late.
const DEADLINE: Duration = Duration::from_secs(20);

/// How long things take, in milliseconds: in virtual time as in life, in real time shorter.
#[derive(Clone, Debug)]
pub(crate) struct Tempo {
    /// From a Job to its pod.
    pub(crate) pod: RangeInclusive<u64>,
    /// From the pod to its place on a node.
    pub(crate) place: RangeInclusive<u64>,
    /// From its place to its agent being online.
    pub(crate) cold_start: RangeInclusive<u64>,
    /// From the message to the agent's word that it has the job.
    pub(crate) takes_up: RangeInclusive<u64>,
    /// A pipeline job.
    pub(crate) work: RangeInclusive<u64>,
    /// One call without a fault, there and back again.
    pub(crate) latency: RangeInclusive<u64>,
    /// One that is slow. A call's deadline is 10 seconds.
    pub(crate) slow: RangeInclusive<u64>,
    /// How old a stale view is; less than a pipeline job takes.
    pub(crate) stale: RangeInclusive<u64>,
    /// How long a watch holds until it is cut.
    pub(crate) cut: RangeInclusive<u64>,
    /// How long an agent that nobody needs may idle.
    pub(crate) idle_timeout: Duration,
    /// From a container's start to the kubelet's word of it.
    pub(crate) tells: RangeInclusive<u64>,
    /// From a container's end to the Job's condition.
    pub(crate) tells_end: RangeInclusive<u64>,
    /// From an agent's removal of its own registration to the end of its container.
    pub(crate) lingers: RangeInclusive<u64>,
}

impl Tempo {
    pub(crate) const LIFELIKE: Self = Self {
        pod: 50..=3_000,
        place: 0..=3_000,
        cold_start: 3_000..=15_000,
        takes_up: 50..=1_500,
        work: 5_000..=15_000,
        latency: 1..=20,
        slow: 500..=25_000,
        stale: 100..=3_000,
        cut: 0..=10_000,
        idle_timeout: Duration::from_secs(60),
        tells: 0..=0,
        tells_end: 5..=500,
        lingers: 0..=0,
    };

    pub(crate) const HASTY: Self = Self {
        pod: 0..=0,
        place: 0..=500,
        cold_start: 200..=900,
        takes_up: 10..=200,
        work: 1_500..=2_500,
        latency: 0..=2,
        slow: 100..=11_000,
        stale: 50..=500,
        cut: 0..=2_000,
        idle_timeout: Duration::from_secs(5),
        tells: 0..=0,
        tells_end: 5..=500,
        lingers: 0..=0,
    };
}

/// Where faults come from. They cease after a while, for nobody can promise anything while they go on.
#[derive(Clone, Debug)]
pub(crate) struct Storm {
    pub(crate) dice: Dice,
    pub(crate) tempo: Tempo,
    pub(crate) log: Log,
    /// The chance of each call to go wrong.
    pub(crate) rate: f64,
    pub(crate) ends: Instant,
    /// The Jobs whose creation was on its way for long.
    pub(crate) slow_creates: Arc<Mutex<BTreeSet<String>>>,
    /// Those of them that came to be when nobody waited for it any more.
    pub(crate) late_creates: Arc<Mutex<BTreeSet<String>>>,
    /// The Jobs that somebody claimed who had seen them held.
    pub(crate) claimed: Arc<Mutex<BTreeSet<String>>>,
    /// How often the job requests were shown as they had been a while ago.
    pub(crate) stale_looks: Arc<AtomicUsize>,
    /// What else is wrong with the world.
    pub(crate) weather: Weather,
    /// How long each call to Azure DevOps has.
    pub(crate) deadline: Duration,
}

impl Storm {
    /// A storm that is to come.
    pub(crate) fn new(dice: Dice, tempo: Tempo, log: Log, rate: f64, lasts: Duration) -> Self {
        Self {
            dice,
            tempo,
            log,
            rate,
            ends: Instant::now() + lasts,
            slow_creates: Arc::default(),
            late_creates: Arc::default(),
            claimed: Arc::default(),
            stale_looks: Arc::default(),
            weather: Weather::default(),
            deadline: DEADLINE,
        }
    }

    /// The same in another weather, with the real client's deadline.
    pub(crate) fn in_weather(self, weather: Weather) -> Self {
        Self { weather, deadline: CALL_DEADLINE, ..self }
    }

    /// The same weather for another part of the world.
    pub(crate) fn fork(&self) -> Self {
        Self { dice: self.dice.fork(), ..self.clone() }
    }

    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.ends
    }

    /// Whether a call goes wrong.
    pub(crate) fn strikes(&self) -> bool {
        !self.is_over() && self.dice.chance(self.rate)
    }

    pub(crate) fn latency(&self) -> Duration {
        self.dice.time(self.tempo.latency.clone())
    }
}

/// What happened, line by line: it is printed where a schedule fails, and the same seed gives the same lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>, Arc<OnceLock<Instant>>);

impl Log {
    pub(crate) fn note(&self, what: impl AsRef<str>) {
        let begun = self.1.get_or_init(Instant::now);
        let line = format!("{:10.3} {}", begun.elapsed().as_secs_f64(), what.as_ref());
        self.0.lock().unwrap().push(line);
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}
