//! Compares each second what the orchestrator does and says with what is true.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use hyper::Method;
use kubectl_ado::{
    config::Registration,
    core::{Code, Finding, PoolReport, Recipe, Report},
    sandbox::{Phase, Request},
};
use tokio::time::{Instant, sleep};

use crate::{
    clock,
    cluster::resource::{CONFIG_MAPS, JOBS, PODS, Resource, SECRETS},
    history::{History, Life},
    orchestrator::Slot,
    organization::Organization,
    weather::{API_DEADLINE, CALL_DEADLINE, Call, Weather},
};

use super::{
    happening::Wanted,
    scene::{Scene, Served},
};

/// The longest time from one poll to the next where nothing else is set.
const POLLED_EVERY: Duration = Duration::from_secs(5);

/// The longest wait of the loop after a failure, with all the shorter ones before it: 1, 2, 4, 8, 16, 30.
const BACK_OFFS: Duration = Duration::from_secs(61);

/// What is looked at again only now and then (a pool's number by its name, a whole list instead of a watch) is looked at within
/// this time, and half a minute for the look itself.
const SELDOM: Duration = Duration::from_secs(330);

/// For everything that takes no time of its own here: a pass, the events of a watch, 16 starts at once.
pub(super) const SLACK: Duration = Duration::from_secs(15);

/// An image that has not been seen to work yet is tried by so many agents first.
const FIRST_TRIES: usize = 4;

/// After so many failures in a row the next agent waits longest.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(300);

/// A failure is remembered for at least so long: until then agents come one at a time.
const REMEMBERED: Duration = Duration::from_secs(600);

/// How often what is refused may be asked for again in a minute: waits that double from a second give six.
const REFUSALS_A_MINUTE: usize = 10;

/// What is true of a pool at a moment.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    /// Job requests that no agent has received.
    waiting: usize,
    /// Runs that may take one.
    supply: usize,
    /// Runs that are there, with those of which the cluster may not have told yet that they are not.
    occupied: usize,
    /// Runs that are there.
    live: usize,
}

/// Since when something is not as it should be.
#[derive(Clone, Copy, Debug, Default)]
struct Since(Option<Instant>);

impl Since {
    /// How long it has been so, if it is so.
    fn is(&mut self, is_so: bool) -> Option<Duration> {
        let now = Instant::now();
        self.0 = if is_so { Some(self.0.unwrap_or(now)) } else { None };
        self.0.map(|since| now - since)
    }
}

/// What is watched of one pool.
#[derive(Debug, Default)]
struct Watched {
    short: Since,
    fewer: Since,
    silent: Since,
    unserved: Since,
    /// Since when it is said to be full and is not.
    full: Since,
    /// How many runs occupied a place, a while back.
    occupied: VecDeque<(Instant, usize)>,
}

/// Who compares.
pub(super) struct Overseer {
    pub(super) scene: Scene,
    pub(super) wanted: Wanted,
    pub(super) history: History,
    pub(super) organization: Organization,
    pub(super) weather: Weather,
    pub(super) board: Slot,
    /// For everything that takes no time of its own: [`SLACK`], and more where time is real.
    pub(super) slack: Duration,
    /// Which orchestrator lives, and since when.
    pub(super) began: Mutex<Option<(usize, Instant)>>,
}

impl Overseer {
    /// Goes on until it is dropped. To be run beside everything else.
    pub(super) async fn watch(self) {
        let pools = self.wanted.pools.lock().unwrap().clone();
        let mut watched: Vec<Watched> = pools.iter().map(|_| Watched::default()).collect();
        let mut second = 0_u64;
        loop {
            sleep(Duration::from_secs(1)).await;
            second += 1;
            self.note_life();
            for (pool, watched) in pools.iter().zip(&mut watched) {
                self.look(pool, watched);
            }
            if second.is_multiple_of(5) {
                self.listen(&pools, &mut watched);
            }
        }
    }

    fn is_served(&self, pool: &Served) -> bool {
        self.wanted.pools.lock().unwrap().iter().any(|served| served.name == pool.name)
    }

    fn facts(&self, pool: &Served) -> Facts {
        let number = self.organization.pool_named(&pool.name);
        // Azure DevOps waits for an agent that is dead as for one that is alive, and so does everybody else.
        let is_alive =
            |name: &str| self.history.see(|lives| lives.values().any(|life| life.name == name && life.is_supply()));
        let waits = |request: &&Request| match request.phase() {
            Phase::Queued => true,
            Phase::Assigned => request.agent.as_ref().is_some_and(|agent| is_alive(&agent.name)),
            _ => false,
        };
        let waiting =
            self.organization.see(|state| number.map_or(0, |number| state.unfinished_in(number).filter(waits).count()));
        let told_by = Instant::now().checked_sub(self.tells_late()).unwrap_or_else(Instant::now);
        let ended = |life: &Life| [life.done, life.ended, life.gone].into_iter().flatten().min();
        self.history.see(|lives| {
            let of_pool = lives.values().filter(|life| life.pool == pool.name);
            let mut facts = Facts { waiting, ..Facts::default() };
            for life in of_pool {
                facts.supply += usize::from(life.is_supply());
                facts.live += usize::from(!life.is_over());
                facts.occupied += usize::from(ended(life).is_none_or(|ended| ended > told_by));
            }
            facts
        })
    }

    /// How late the cluster may tell that a run has ended.
    fn tells_late(&self) -> Duration {
        let tempo = &self.scene.tempo;
        Duration::from_millis(tempo.tells_end.end() + tempo.lingers.end() + tempo.tells.end()) + Duration::from_secs(2)
    }

    /// Why no agent has to be started at this moment.
    fn excuse(&self, pool: &Served) -> Option<&'static str> {
        let now = Instant::now();
        let name = Some(pool.name.as_str());
        let slow = |call| self.weather.delay(call, name) >= CALL_DEADLINE;
        let api = |method, resource: &Resource| self.weather.api_delay(&method, resource.plural) >= API_DEADLINE;
        let secrets = |method| api(method, SECRETS);
        if self.life_began(Duration::ZERO) {
            Some("no orchestrator, or a new one")
        } else if slow(Call::Pool) || slow(Call::Requests) || slow(Call::Agents) {
            Some("no answer of Azure DevOps")
        } else if self.weather.lied(&pool.name, now) || self.weather.was_unreadable(&pool.name, now) {
            Some("lists are not whole")
        } else if self.registers() && (self.weather.is_read_only(name) || slow(Call::Register) || slow(Call::Session)) {
            Some("no agent can be registered")
        } else if api(Method::POST, JOBS) || api(Method::GET, JOBS) || api(Method::GET, PODS) {
            Some("no answer of the API server")
        } else if secrets(Method::POST) || secrets(Method::PATCH) || secrets(Method::PUT) || secrets(Method::GET) {
            Some("no Secret can be made")
        } else if api(Method::GET, CONFIG_MAPS) && !self.has_made_a_run() {
            Some("the Secrets that were made are not known")
        } else if self.backs_off(pool) {
            Some("agents fail")
        } else {
            None
        }
    }

    /// Whether agents are, or may be, registered in their place.
    fn registers(&self) -> bool {
        self.scene.registration != Registration::Only(Recipe::Token)
    }

    /// Whether there is no orchestrator, or the one that lives has done so for no longer than this.
    fn life_began(&self, ago: Duration) -> bool {
        match *self.began.lock().unwrap() {
            Some((_, began)) => began + ago >= Instant::now(),
            None => true,
        }
    }

    /// Whether the orchestrator that lives has made a run.
    fn has_made_a_run(&self) -> bool {
        let Some((_, began)) = *self.began.lock().unwrap() else { return false };
        self.history.see(|lives| lives.values().any(|life| life.made > began))
    }

    /// Notes when the orchestrator that lives began.
    fn note_life(&self) {
        let board = self.board.lock().unwrap().as_ref().map(|board| Arc::as_ptr(board) as usize);
        let mut began = self.began.lock().unwrap();
        *began = match (board, *began) {
            (None, _) => None,
            (Some(board), Some((known, at))) if board == known => Some((known, at)),
            (Some(board), _) => Some((board, Instant::now())),
        };
    }

    /// Whether the last agents of the pool failed so lately that the next one has to wait.
    fn backs_off(&self, pool: &Served) -> bool {
        let failures = self.history.failures(&pool.name);
        let Some(last) = failures.iter().max() else { return false };
        let doublings = u32::try_from(failures.len() - 1).unwrap_or(u32::MAX).min(5);
        let wait = LONGEST_BACK_OFF.min(Duration::from_secs(10) * 2_u32.pow(doublings));
        // The cluster tells of it when it likes, and who has just begun sees it for the first time.
        Instant::now() < *last + wait + self.tells_late() || self.life_began(wait)
    }

    /// Within what time an agent that is missing has to be started, if it has been missing since a moment: by the delays of the
    /// calls that a start cannot do without.
    fn bound(&self, pool: &Served, since: Instant) -> Duration {
        // A look that began before may have to end first.
        let since = since.checked_sub(Duration::from_secs(120)).unwrap_or(since);
        let takes = |call| self.weather.longest_delay(call, Some(&pool.name), since).min(CALL_DEADLINE);
        // What is slow is asked for again: once because its parts lie far apart, once to be sure.
        let look = takes(Call::Pool) + 3 * takes(Call::Requests) + 3 * takes(Call::Agents);
        let api = |method, of: &Resource| self.weather.longest_api_delay(&method, of.plural, since).min(API_DEADLINE);
        let create = api(Method::POST, JOBS) + api(Method::POST, SECRETS);
        let trial = if self.registers() {
            2 * (takes(Call::Register) + takes(Call::Update) + 3 * takes(Call::Session) + takes(Call::Agents))
        } else {
            Duration::ZERO
        };
        let needed = [Call::Pool, Call::Requests, Call::Agents, Call::Register, Call::Session];
        let reads = [api(Method::GET, JOBS), api(Method::GET, PODS), api(Method::GET, SECRETS)];
        let writes = [Method::POST, Method::PATCH, Method::PUT].map(|method| api(method, SECRETS));
        let fails = self.scene.rate > 0.0
            || needed.into_iter().any(|call| takes(call) >= CALL_DEADLINE)
            || reads.into_iter().chain(writes).chain([api(Method::POST, JOBS)]).any(|delay| delay >= API_DEADLINE)
            || self.weather.lied(&pool.name, since)
            || self.weather.was_unreadable(&pool.name, since)
            || self.registers() && self.weather.was_read_only(Some(&pool.name), since);
        let broken = self.broke_after(since);
        self.scene.polling.unwrap_or(POLLED_EVERY)
            + 2 * look
            + create
            + trial
            + self.tells_late()
            + if fails { BACK_OFFS } else { Duration::ZERO }
            + if broken { SELDOM } else { Duration::ZERO }
            + self.slack
    }

    /// Whether something happened, since a moment or little before it, that is noticed only by what is looked at now and then.
    fn broke_after(&self, since: Instant) -> bool {
        self.wanted.broken.lock().unwrap().iter().any(|&at| at + SELDOM > since)
    }

    /// How many agents of the pool that may take a job request there should be, at the least.
    fn wanted_supply(&self, pool: &Served, facts: Facts, wanted: usize) -> usize {
        let max = pool.max.map_or(usize::MAX, |max| max as usize);
        let most = self.scene.most.map_or(usize::MAX, |most| most as usize);
        let elsewhere: usize = self.elsewhere(pool);
        let room = max.saturating_sub(facts.occupied).min(most.saturating_sub(facts.occupied + elsewhere));
        let wanted = wanted.min(facts.supply + room);
        let is_proven =
            self.history.see(|lives| lives.values().any(|life| life.pool == pool.name && life.online.is_some()));
        match (self.fails(pool), is_proven) {
            (true, _) => wanted.min(1),
            (false, false) => wanted.min(FIRST_TRIES),
            (false, true) => wanted,
        }
    }

    /// Whether an agent has failed so lately that they come one at a time.
    fn fails(&self, pool: &Served) -> bool {
        self.history.failures(&pool.name).iter().any(|failed| *failed + REMEMBERED > Instant::now())
    }

    /// Runs of other pools that occupy a place; an idle one of a pool that is no longer served has to go and does not count, once
    /// that can be known.
    fn elsewhere(&self, pool: &Served) -> usize {
        let served = self.wanted.pools.lock().unwrap().clone();
        let since = Instant::now();
        let is_known = !self.broke_after(since.checked_sub(self.bound(pool, since)).unwrap_or(since));
        self.history.see(|lives| {
            let others =
                lives.values().filter(|life| life.pool != pool.name && life.gone.is_none() && life.ended.is_none());
            let occupies = |life: &&Life| served.iter().any(|pool| pool.name == life.pool) || !life.is_supply();
            others.filter(|life| !is_known || occupies(life)).count()
        })
    }

    fn look(&self, pool: &Served, watched: &mut Watched) {
        let facts = self.facts(pool);
        watched.occupied.push_back((Instant::now(), facts.occupied));
        if !self.is_served(pool) {
            self.look_at_unserved(pool, watched);
            return;
        }
        let Facts { waiting, supply, live, .. } = facts;
        let excuse = self.excuse(pool);
        let owed = self.wanted_supply(pool, facts, waiting);
        if let Some(time) = watched.short.is(supply < owed && excuse.is_none()) {
            let bound = self.bound(pool, Instant::now() - time);
            if time > bound {
                self.history.wrong(
                    "alive",
                    format!(
                        "pool {} starts nothing: {waiting} requests wait, {supply} runs may take them, {live} are live, \
                         for {} s; by the delays {} s would do",
                        pool.name,
                        time.as_secs(),
                        bound.as_secs()
                    ),
                );
            }
        }
        let idle = self.wanted_supply(pool, facts, waiting + pool.idle as usize);
        let min = if self.fails(pool) { pool.min.min(1) } else { pool.min };
        let is_fewer = pool.idle > 0 && supply < idle || live < min as usize;
        if let Some(time) = watched.fewer.is(is_fewer && excuse.is_none()) {
            let bound = self.bound(pool, Instant::now() - time);
            if time > bound {
                self.history.wrong(
                    "enough",
                    format!(
                        "pool {} lacks agents: {live} are live of at least {}, {supply} may take a job, {waiting} \
                         requests wait and {} should be idle beside, for {} s; by the delays {} s would do",
                        pool.name,
                        pool.min,
                        pool.idle,
                        time.as_secs(),
                        bound.as_secs()
                    ),
                );
            }
        }
        let is_silent = supply < waiting && !self.gives_a_reason(pool) && !self.is_blinded(pool);
        if let Some(time) = watched.silent.is(is_silent) {
            let bound = self.bound(pool, Instant::now() - time) + BACK_OFFS;
            if time > bound {
                self.history.wrong(
                    "told",
                    format!(
                        "pool {} gives no reason: {waiting} requests wait and {supply} runs may take them, for {} s; the \
                         status names no cause",
                        pool.name,
                        time.as_secs()
                    ),
                );
            }
        }
    }

    /// Whether nobody could know that anything waits.
    fn is_blinded(&self, pool: &Served) -> bool {
        self.life_began(Duration::ZERO) || self.weather.lied(&pool.name, Instant::now())
    }

    /// Agents of a pool that is no longer served go when they have nothing to do.
    fn look_at_unserved(&self, pool: &Served, watched: &mut Watched) {
        let idle = self.history.see(|lives| {
            lives.values().filter(|life| life.pool == pool.name && life.is_supply() && life.online.is_some()).count()
        });
        if let Some(time) = watched.unserved.is(idle > 0) {
            let bound = self.scene.tempo.idle_timeout + self.bound(pool, Instant::now() - time);
            if time > bound {
                self.history.wrong(
                    "enough",
                    format!(
                        "agents of pool {} stay: it is no longer served, and {idle} have idled for {} s",
                        pool.name,
                        time.as_secs()
                    ),
                );
            }
        }
    }

    fn report(&self) -> Option<Report> {
        let board = self.board.lock().unwrap().clone()?;
        board.report(clock::of_orchestrator())
    }

    fn gives_a_reason(&self, pool: &Served) -> bool {
        let Some(report) = self.report() else { return false };
        let of_pool = report.pools.iter().find(|known| known.name == pool.name);
        // That clocks differ keeps nobody waiting.
        report.findings.iter().any(|finding| finding.code.reason() != "ClocksDiffer")
            || of_pool.is_some_and(|known| {
                let has_code = |request: &kubectl_ado::core::RequestReport| {
                    request.verdict.as_ref().is_some_and(|verdict| verdict.code.is_some())
                };
                !known.findings.is_empty() || known.requests.iter().any(has_code)
            })
    }

    /// What is said has to be true.
    fn listen(&self, pools: &[Served], watched: &mut [Watched]) {
        let Some(report) = self.report() else { return };
        for (pool, watched) in pools.iter().zip(watched) {
            if let Some(said) = report.pools.iter().find(|known| known.name == pool.name) {
                self.hear(pool, said, &report.findings, watched);
            }
        }
    }

    fn hear(&self, pool: &Served, said: &PoolReport, of_all: &[Finding], watched: &mut Watched) {
        for finding in &said.findings {
            let is_false = match finding.code {
                Code::AgentsFail => self.history.failures(&pool.name).is_empty(),
                Code::StartTimeout => !self.history.see(|lives| {
                    lives.values().any(|life| life.pool == pool.name && life.online.is_none() && life.gone.is_some())
                }),
                _ => false,
            };
            if is_false {
                let (code, message) = (finding.code, &finding.message);
                self.history.wrong("told", format!("{code} of pool {} is false: \"{message}\"", pool.name));
            }
        }
        // What could not be seen since is told as it was, and the report says that it could not.
        let unseen = [
            Code::HostFailing,
            Code::Unreachable,
            Code::ServiceFailing,
            Code::Throttled,
            Code::TokenRejected,
            Code::TokenLacksRights,
            Code::PoolNotFound,
            Code::OrganizationNotFound,
        ];
        if of_all.iter().chain(&said.findings).any(|finding| unseen.contains(&finding.code)) {
            watched.full = Since::default();
            return;
        }
        let says_full = said.requests.iter().find_map(|request| {
            let verdict = request.verdict.as_ref()?;
            (verdict.code == Some(Code::AtMaximum)).then_some(&verdict.message)
        });
        let Some(message) = says_full else {
            watched.full = Since::default();
            return;
        };
        let known_by = self.bound(pool, Instant::now());
        let lately = watched.occupied.iter().rev().take_while(|(at, _)| *at + known_by > Instant::now());
        let peak = lately.map(|(_, occupied)| *occupied).max().unwrap_or_default() + self.elsewhere(pool);
        let limits = [pool.max, self.scene.most].into_iter().flatten();
        // One that is being made counts before the API server has it, for as long as its call may take.
        let is_false = !limits.into_iter().any(|limit| peak >= limit as usize);
        if watched.full.is(is_false).is_some_and(|time| time > known_by) {
            self.history.wrong(
                "told",
                format!("pool {} is not full: \"{message}\", and at most {peak} runs were there lately", pool.name),
            );
        }
    }

    /// What can be said only when all is over.
    pub(super) fn sum_up(&self, metrics: &str) {
        if let Some((what, times)) = self.weather.asked_too_often(REFUSALS_A_MINUTE, Duration::from_secs(60)) {
            self.history.wrong("calm", format!("refused {times} times in a minute and asked for again: {what}"));
        }
        let made = self.history.see(std::collections::BTreeMap::len);
        let counted: f64 = metrics
            .lines()
            .filter(|line| line.starts_with("kubectl_ado_agents_started_total"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum();
        #[allow(clippy::cast_precision_loss, reason = "a handful of runs")]
        let made_as_counted = made as f64;
        if counted > made_as_counted {
            self.history.wrong(
                "told",
                format!("agents_started_total counts too much: {counted} agents, and {made} Jobs were ever made"),
            );
        }
    }
}
