//! Schedules of the world, each drawn from a seed.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use hyper::Method;
use kubectl_ado::{config::Registration, core::Recipe};

use crate::{
    clock::Machine,
    cluster::resource::{CONFIG_MAPS, JOBS, PODS, SECRETS},
    dice::Dice,
    schedules::{number, seeds_of},
    weather::{Adversity, Call, Shape, Spell},
};

use super::{
    happening::{Happening, Scheduled},
    play::play,
    scene::{Job, Scene},
};

const SCHEDULES: u64 = 500;

/// Jobs come within this time, in seconds.
const WITHIN: u64 = 600;

fn drawn(dice: &Dice, seed: u64) -> Scene {
    let names: &[&str] = match dice.number(0..=9) {
        0..=5 => &["Linux"],
        6..=8 => &["Linux", "Windows Builds"],
        _ => &["Linux", "Windows Builds", "Mac"],
    };
    let mut scene = Scene::of(names).lasts(WITHIN);
    for pool in &mut scene.pools {
        pool.min = if dice.chance(0.2) { small(dice, 1..=2) } else { 0 };
        pool.idle = if dice.chance(0.3) { small(dice, 1..=2) } else { 0 };
        let least = pool.min.max(pool.idle).max(1);
        pool.max = dice.chance(0.4).then(|| least + small(dice, 0..=4));
    }
    let pool = |dice: &Dice| dice.pick(names).to_owned();
    let in_bursts = dice.chance(0.4);
    let mut at = dice.time(0..=60_000);
    for _ in 0..dice.number(2..=16) {
        if !in_bursts || dice.chance(0.3) {
            at += dice.time(0..=WITHIN * 1_000 / 12);
        }
        let cancelled_after = dice.chance(0.05).then(|| dice.time(100..=60_000));
        scene.jobs.push(Job { at, pool: pool(dice), cancelled_after });
    }
    scene.registration = match seed % 4 {
        0 | 1 => Registration::Only(Recipe::Token),
        2 => Registration::Only(Recipe::JustInTime),
        _ => Registration::Auto,
    };
    scene.elected = dice.chance(0.5);
    scene.dies = dice.chance(0.2);
    scene.rate = dice.pick(&[0.0, 0.0, 0.03]);
    scene.polling = dice.chance(0.2).then(|| dice.time(500..=8_000));
    scene.fate.deaths = if dice.chance(0.1) { 0.2 } else { 0.0 };
    scene.fate.evictions = if dice.chance(0.1) { 0.1 } else { 0.0 };
    scene.fate.variables = if dice.chance(0.1) { 100 } else { 0 };
    draw_tempo(dice, &mut scene);
    if scene.registration == Registration::Only(Recipe::Token) && dice.chance(0.2) {
        scene.queue = Some(10_000..=200_000);
    }
    for _ in 0..dice.number(0..=4) {
        scene.spells.push(spell(dice, names));
    }
    draw_happenings(dice, names, &mut scene);
    scene
}

fn small(dice: &Dice, range: std::ops::RangeInclusive<u64>) -> u32 {
    u32::try_from(dice.number(range)).unwrap()
}

/// Short jobs, or such that take longer than the startTimeout; kubelets that tell at once, or late.
fn draw_tempo(dice: &Dice, scene: &mut Scene) {
    scene.tempo.work = match dice.number(0..=2) {
        0 => 1_000..=5_000,
        1 => 5_000..=60_000,
        _ => 60_000..=240_000,
    };
    if dice.chance(0.5) {
        scene.start_timeout = Duration::from_secs(60);
    }
    if dice.chance(0.3) {
        scene.tempo.tells = 500..=8_000;
        scene.tempo.tells_end = 500..=8_000;
    }
}

fn spell(dice: &Dice, names: &[&str]) -> Spell {
    let from = dice.time(0..=WITHIN * 1_000);
    let lasts = if dice.chance(0.2) { Duration::from_secs(2 * WITHIN) } else { dice.time(3_000..=200_000) };
    let a_pool = || dice.pick(names).to_owned();
    let pool = dice.chance(0.5).then(a_pool);
    let what = match dice.number(0..=9) {
        0..=3 => {
            let call = dice.chance(0.7).then(|| dice.pick(&Call::ALL));
            let by = match dice.number(0..=3) {
                0 => dice.time(500..=4_000),
                1 | 2 => dice.time(4_000..=14_000),
                _ => dice.time(14_000..=29_000),
            };
            Adversity::SlowCall { call, pool, by }
        }
        4 | 5 => {
            let call = dice.pick(&[Call::Requests, Call::Agents]);
            let shape = dice.pick(&[Shape::Empty, Shape::Halved, Shape::Doubled, Shape::Misshapen]);
            Adversity::BadList { call, pool, shape }
        }
        6 => Adversity::ReadOnly { pool },
        7 => Adversity::OutOfSight { pool: a_pool() },
        _ => {
            let (method, plural) = dice.pick(&[
                (0, JOBS.plural),
                (1, JOBS.plural),
                (2, JOBS.plural),
                (3, JOBS.plural),
                (0, PODS.plural),
                (1, SECRETS.plural),
                (2, SECRETS.plural),
                (2, PODS.plural),
                (0, CONFIG_MAPS.plural),
            ]);
            let method = [Method::GET, Method::POST, Method::PATCH, Method::DELETE][method].clone();
            let by = if dice.chance(0.4) { Duration::from_secs(3_600) } else { dice.time(500..=9_000) };
            Adversity::SlowApi { method, plural, by }
        }
    };
    Spell { from, until: from + lasts, what }
}

fn draw_happenings(dice: &Dice, names: &[&str], scene: &mut Scene) {
    let mut happens = |at: Duration, what| scene.happenings.push(Scheduled { at, what });
    let some_time = || dice.time(0..=WITHIN * 1_000);
    if dice.chance(0.05) {
        happens(some_time(), Happening::RenamePool(dice.pick(names).to_owned()));
    } else if dice.chance(0.05) {
        happens(some_time(), Happening::DeletePool(dice.pick(names).to_owned()));
    }
    if dice.chance(0.07) {
        let (one, other) = (some_time(), some_time());
        happens(one.min(other), Happening::Backup);
        happens(one.max(other), Happening::Restore);
    }
    if dice.chance(0.1) {
        happens(some_time(), Happening::Leftovers(dice.pick(names).to_owned(), small(dice, 1..=60)));
    }
    if dice.chance(0.25) {
        for machine in [Machine::Orchestrator, Machine::ApiServer, Machine::AzureDevOps] {
            for _ in 0..dice.number(0..=2) {
                let ahead = i64::try_from(dice.number(0..=7_200)).unwrap() - 3_600;
                happens(some_time(), Happening::Clock(machine, if dice.chance(0.5) { ahead / 12 } else { ahead }));
            }
        }
    }
}

/// DISORDER_SEED is one seed instead of all of them, to look at it (with `--nocapture`); DISORDER_SCHEDULES are more of
/// them, to look for trouble.
#[test]
#[ignore = "known faults: at least seeds 0, 20, 21, 29 and 44 break an invariant"]
fn in_five_hundred_bad_worlds_every_invariant_holds() {
    let seeds = seeds_of(SCHEDULES);
    let next = AtomicU64::new(seeds.start);
    let runs = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    // With DISORDER_ALL the test goes on, to see which invariants do not hold how often.
    let most_failures = if number("DISORDER_ALL").is_some() { usize::MAX } else { 5 };
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get).min(8);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || failures.lock().unwrap().len() >= most_failures {
                        return;
                    }
                    let played = play(drawn(&Dice::of(seed), seed), seed);
                    if seeds.end - seeds.start == 1 {
                        println!("{}", played.lines.join("\n"));
                    }
                    runs.fetch_add(played.runs, Ordering::Relaxed);
                    if !played.wrongs.is_empty() {
                        failures.lock().unwrap().push((seed, played));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort_by_key(|(seed, _)| *seed);
    if let Some((seed, shortest)) = failures.iter().min_by_key(|(_, played)| played.lines.len()) {
        let all: Vec<_> = failures.iter().map(|(seed, played)| format!("seed {seed}: {}", played.wrongs[0])).collect();
        panic!(
            "{}\n\n{} in all; DISORDER_SEED={seed} repeats this one: {:?}\n{}",
            all.join("\n"),
            failures.len(),
            shortest.wrongs,
            shortest.lines.join("\n")
        );
    }
    let (runs, all) = (runs.into_inner() as u64, seeds.end - seeds.start);
    println!("{runs} runs in {all} worlds");
    assert!(all == 1 || runs > 4 * all, "too little happened: {runs} runs");
}

#[test]
fn the_same_seed_gives_the_same_world_to_the_last_line() {
    for seed in [2, 71, 828] {
        let lines = || play(drawn(&Dice::of(seed), seed), seed).lines;
        let (one, other) = (lines(), lines());
        for (one, other) in one.iter().zip(&other) {
            assert_eq!(one, other, "seed {seed}");
        }
        assert_eq!(one.len(), other.len(), "seed {seed}");
    }
}
