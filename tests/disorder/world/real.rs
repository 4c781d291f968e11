//! Twenty worlds over a real API server and a real Job controller, in real time and therefore in haste: calls are slow or
//! hang, and each waiting request has its run in time.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use control_plane::ControlPlane;
use hyper::Method;
use kubectl_ado::{config::Registration, core::Recipe};

use tokio::time::Instant;

use crate::{
    books::{Books, Fate},
    clock,
    cluster::resource::{JOBS, PODS},
    dice::Dice,
    history::{History, Promises},
    orchestrator::Orchestrator,
    organization::Organization,
    real::attend,
    storm::{Log, Storm, Tempo},
    weather::{Adversity, Call, Spell, Weather},
};

use super::{
    happening::Wanted,
    overseer::{Overseer, SLACK},
    play::{bring, serve, until_all_is_done},
    scene::{Job, Scene},
};

const SCHEDULES: u64 = 20;

/// What the real Job controller and a busy machine take beside all that is injected.
const BUSY_MACHINE: Duration = Duration::from_secs(45);

fn drawn(dice: &Dice, seed: u64, namespace: &str) -> Scene {
    let mut scene = Scene::of(&["Linux"]);
    scene.tempo = Tempo::HASTY;
    scene.lasts = Duration::from_secs(12);
    scene.namespace = namespace.to_owned();
    scene.dies = dice.chance(0.3);
    scene.elected = true;
    if seed.is_multiple_of(2) {
        scene.registration = Registration::Only(Recipe::JustInTime);
    }
    scene.jobs = (0..dice.number(1..=5))
        .map(|_| Job { at: dice.time(0..=6_000), pool: "Linux".to_owned(), cancelled_after: None })
        .collect();
    let what = match seed % 5 {
        0 => Adversity::SlowCall { call: None, pool: None, by: dice.time(500..=2_500) },
        1 => Adversity::SlowCall { call: Some(dice.pick(&Call::ALL)), pool: None, by: dice.time(1_000..=6_000) },
        2 => Adversity::SlowCall { call: Some(Call::ParallelJobs), pool: None, by: Duration::from_secs(40) },
        3 => Adversity::SlowApi { method: Method::DELETE, plural: JOBS.plural, by: Duration::from_secs(3_600) },
        _ => Adversity::SlowApi { method: Method::PATCH, plural: PODS.plural, by: Duration::from_secs(3_600) },
    };
    // It goes on until all is done, so that nothing can wait until it is over.
    scene.spells = vec![Spell { from: Duration::ZERO, until: Duration::from_secs(3_600), what }];
    scene
}

async fn play(seed: u64, plane: &ControlPlane) -> (Vec<String>, Vec<String>, usize) {
    let namespace = plane.namespace("world").await.name().to_owned();
    let client = plane.client().await;
    let (dice, log) = (Dice::of(seed), Log::default());
    let scene = drawn(&dice, seed, &namespace);
    log.note(format!("seed {seed}: {scene:?}"));
    let weather = Weather::of(scene.spells.clone());
    let storm = Storm::new(dice.fork(), scene.tempo.clone(), log.clone(), 0.0, scene.lasts).in_weather(weather.clone());
    let organization = Organization::with_pools(&["Linux".to_owned()]);
    let config = scene.config(&scene.pools);
    let promises = Promises {
        start_timeout: scene.start_timeout,
        keep_finished: config.retention.finished,
        is_shown_the_present: scene.rate == 0.0,
    };
    let history = History::new(weather.clone(), Some(promises));
    let books = Books::of_world(organization.clone(), storm.fork(), history.clone(), Fate::default());
    let wanted = Wanted::default();
    wanted.pools.lock().unwrap().clone_from(&scene.pools);
    let (lives, board, metrics) = (Arc::default(), Arc::default(), Arc::default());
    let orchestrator = Orchestrator {
        config,
        upstream: client.clone(),
        organization: organization.clone(),
        storm,
        elected: true,
        lives,
        board: Arc::clone(&board),
        metrics,
    };
    let overseer = Overseer {
        scene: scene.clone(),
        wanted: wanted.clone(),
        history: history.clone(),
        organization: organization.clone(),
        weather: weather.clone(),
        board,
        slack: SLACK + BUSY_MACHINE,
        began: Mutex::default(),
    };
    let beside = [
        tokio::spawn(organization.clone().age()),
        tokio::spawn(attend(client, namespace, books.clone())),
        tokio::spawn(overseer.watch()),
        tokio::spawn(bring(scene.clone(), books)),
    ];
    tokio::select! {
        biased;
        () = until_all_is_done(&scene, &organization, &history, Instant::now()) => {}
        () = serve(&scene, &wanted, &orchestrator) => {}
    }
    beside.iter().for_each(tokio::task::JoinHandle::abort);
    (log.lines(), history.wrongs(), history.see(std::collections::BTreeMap::len))
}

#[tokio::test]
async fn over_a_real_api_server_each_request_has_its_run_in_time_whatever_is_slow() {
    clock::end();
    let plane = ControlPlane::shared();
    let played = futures::future::join_all((0..SCHEDULES).map(|seed| play(seed, plane))).await;
    for (seed, (lines, wrongs, _)) in played.iter().enumerate() {
        assert!(wrongs.is_empty(), "seed {seed}: {}\n{}", wrongs.join("\n"), lines.join("\n"));
    }
    let runs: usize = played.iter().map(|(.., runs)| runs).sum();
    println!("{runs} runs");
    assert!(runs > 30, "{runs} runs: too little happened");
}
