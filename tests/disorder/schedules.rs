//! A thousand schedules, each drawn from a seed: jobs come, calls fail, orchestrators die, rivals appear. In the end every
//! job was served, by exactly as many Jobs as were needed.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use kubectl_ado::{config::Registration, core::Recipe};

use crate::{
    books::Books,
    clock,
    cluster::Cluster,
    dice::Dice,
    garbage,
    orchestrator::Orchestrator,
    organization::Organization,
    remains::Remains,
    storm::{Log, Storm, Tempo},
    story::{Schedule, tell},
    yard,
};

const NAMESPACE: &str = "agents";

const SCHEDULES: u64 = 1_000;

/// In how many of a hundred schedules, at the least, there were exactly as many Jobs as served jobs. In the others
/// jobs were cancelled, or calls took so long that somebody else had served the job by then.
const EXACT_PERCENT: u64 = 85;

/// All jobs come within this time, in milliseconds.
const WITHIN: u64 = 20_000;

const PATIENCE: Duration = Duration::from_secs(1_800);
const AFTERMATH: Duration = Duration::from_secs(60);

/// How a schedule went.
struct Played {
    lines: Vec<String>,
    /// What was wrong, else whether there was no Job more than served jobs, and how many agents could not sign in.
    result: Result<(bool, usize), String>,
}

/// Half of them with the organization's token, and the others with registrations of ours, which in some is asked for and
/// in some is tried first.
fn registration(seed: u64) -> Registration {
    match seed % 4 {
        0 | 1 => Registration::Only(Recipe::Token),
        2 => Registration::Only(Recipe::JustInTime),
        _ => Registration::Auto,
    }
}

/// Plays a schedule in virtual time.
fn play(seed: u64) -> Played {
    // What draws from here (jitter) is to be repeatable, too.
    fastrand::seed(seed);
    let log = Log::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let result = runtime.block_on(async {
        clock::begin();
        let dice = Dice::of(seed);
        let schedule = Schedule::drawn(&dice, WITHIN).registering(registration(seed));
        log.note(format!("seed {seed}: {schedule:?}"));
        let storm = Storm::new(dice.fork(), Tempo::LIFELIKE, log.clone(), schedule.rate, schedule.lasts);
        let cluster = Cluster::with_namespace(NAMESPACE);
        let organization = Organization::with_pools(&schedule.pools);
        let books = Books::new(&schedule, organization.clone(), storm.fork());
        tokio::spawn(yard::attend(cluster.clone(), books.clone()));
        tokio::spawn(garbage::collect(cluster.clone(), dice.fork()));
        tokio::spawn(organization.clone().age());
        let remains = async || {
            let remains = Remains::of(&cluster, NAMESPACE);
            [remains.half_done(), remains.orphans(&organization)].concat()
        };
        let orchestrator = Orchestrator {
            config: schedule.config(NAMESPACE, storm.tempo.idle_timeout),
            upstream: cluster.client(),
            organization: organization.clone(),
            storm,
            elected: schedule.elected,
            lives: Arc::default(),
            board: Arc::default(),
            metrics: Arc::default(),
        };
        let told = tell(&schedule, &books, &orchestrator, (PATIENCE, AFTERMATH), remains).await;
        told.map(|()| (books.is_exact(), books.strangers()))
    });
    Played { lines: log.lines(), result }
}

/// DISORDER_SEED is one seed instead of all of them, to look at it (with `--nocapture`); DISORDER_SCHEDULES are more of
/// them, to look for trouble. With DISORDER_TRACE the orchestrators' own log is printed, too.
fn seeds() -> Range<u64> {
    seeds_of(SCHEDULES)
}

/// The same where so many are usual.
pub(crate) fn seeds_of(usual: u64) -> Range<u64> {
    match number("DISORDER_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("DISORDER_SCHEDULES").unwrap_or(usual),
    }
}

/// A number from the environment.
pub(crate) fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|number| number.parse().ok())
}

#[test]
fn after_a_thousand_storms_there_are_as_many_jobs_as_job_requests() {
    let seeds = seeds();
    if std::env::var("DISORDER_TRACE").is_ok() {
        tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_ansi(false).init();
    }
    let next = AtomicU64::new(seeds.start);
    let exact = AtomicUsize::new(0);
    let [enrolled, again, strangers] = [const { AtomicUsize::new(0) }; 3];
    let failures = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get).min(8);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || failures.lock().unwrap().len() >= 5 {
                        return;
                    }
                    let Played { lines, result } = play(seed);
                    if seeds.end - seeds.start == 1 {
                        println!("{}", lines.join("\n"));
                    }
                    for (count, what) in [(&enrolled, " the key "), (&again, " is registered anew")] {
                        let found =
                            lines.iter().filter(|line| line.contains(what) && !line.contains("placeholder")).count();
                        count.fetch_add(found, Ordering::Relaxed);
                    }
                    match result {
                        Ok((is_exact, count)) => {
                            exact.fetch_add(usize::from(is_exact), Ordering::Relaxed);
                            strangers.fetch_add(count, Ordering::Relaxed);
                        }
                        Err(why) => failures.lock().unwrap().push((seed, why, lines)),
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    if let Some((seed, why, lines)) = failures.iter().min_by_key(|failure| failure.2.len()) {
        let all: Vec<_> = failures.iter().map(|(seed, why, _)| format!("seed {seed}: {why}")).collect();
        panic!("{}\n\nDISORDER_SEED={seed} repeats this one: {why}\n{}", all.join("\n"), lines.join("\n"));
    }
    let (exact, all) = (exact.into_inner() as u64, seeds.end - seeds.start);
    println!("{exact} of {all} schedules had exactly as many Jobs as served jobs");
    let [enrolled, again, strangers] = [enrolled, again, strangers].map(AtomicUsize::into_inner);
    println!(
        "{enrolled} registrations in an agent's place, {again} of them anew; {strangers} agents that could not \
         sign in"
    );
    assert!(all == 1 || enrolled > again && again > 10, "too little happened: {enrolled}, {again}");
    assert!(all == 1 || exact * 100 >= all * EXACT_PERCENT, "{exact} of {all} schedules were exact");
}

#[test]
fn the_same_seed_gives_the_same_schedule_to_the_last_line() {
    for seed in [3, 14, 159, 265, 358] {
        let (one, other) = (play(seed).lines, play(seed).lines);
        for (one, other) in one.iter().zip(&other) {
            assert_eq!(one, other, "seed {seed}");
        }
        assert_eq!(one.len(), other.len(), "seed {seed}");
    }
}
