//! Plays a scene in virtual time, and says what did not hold.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use kubectl_ado::{
    core::PoolPolicy,
    sandbox::{JobSpec, Phase},
};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    books::Books,
    clock,
    cluster::Cluster,
    dice::Dice,
    garbage,
    history::{History, Promises},
    orchestrator::{Death, Orchestrator},
    organization::Organization,
    remains::Remains,
    storm::{Log, Storm},
    weather::Weather,
    yard,
};

use super::{
    happening::{Wanted, happen, queue},
    overseer::{Overseer, SLACK},
    scene::{NAMESPACE, Scene},
};

/// How long after all that is wrong everything has to be done: a lost agent's job request is given up by Azure DevOps after ten
/// minutes, and the longest wait after failures comes on top of it.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// What is left half done has to be tidied up within this time: a registration that a dead orchestrator left behind is two
/// minutes old when it goes, what somebody holds is given up after one, and then comes the next look.
const TIDIED: Duration = Duration::from_secs(400);

/// How a scene went.
pub(super) struct Played {
    pub(super) lines: Vec<String>,
    /// What did not hold.
    pub(super) wrongs: Vec<String>,
    pub(super) runs: usize,
}

/// Plays a scene. The same seed gives the same lines.
pub(super) fn play(scene: Scene, seed: u64) -> Played {
    fastrand::seed(seed);
    let log = Log::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (wrongs, runs) = runtime.block_on(act(scene, Dice::of(seed), log.clone()));
    Played { lines: log.lines(), wrongs, runs }
}

async fn act(scene: Scene, dice: Dice, log: Log) -> (Vec<String>, usize) {
    clock::begin();
    log.note(format!("{scene:?}"));
    let weather = Weather::of(scene.spells.clone());
    let storm = Storm::new(dice.fork(), scene.tempo.clone(), log, scene.rate, scene.lasts).in_weather(weather.clone());
    let cluster = Cluster::with_namespace(NAMESPACE);
    let names: Vec<String> = scene.pools.iter().map(|pool| pool.name.clone()).collect();
    let organization = Organization::with_pools(&names);
    let config = scene.config(&scene.pools);
    let promises = Promises {
        start_timeout: scene.start_timeout,
        keep_finished: config.retention.finished,
        is_shown_the_present: scene.rate == 0.0,
    };
    let history = History::new(weather.clone(), Some(promises));
    let books = Books::of_world(organization.clone(), storm.fork(), history.clone(), scene.fate);
    let wanted = Wanted::default();
    wanted.pools.lock().unwrap().clone_from(&scene.pools);
    let orchestrator = Orchestrator {
        config,
        upstream: cluster.client(),
        organization: organization.clone(),
        storm: storm.fork(),
        elected: scene.elected,
        lives: Arc::default(),
        board: Arc::default(),
        metrics: Arc::default(),
    };
    let overseer = || Overseer {
        scene: scene.clone(),
        wanted: wanted.clone(),
        history: history.clone(),
        organization: organization.clone(),
        weather: weather.clone(),
        board: Arc::clone(&orchestrator.board),
        slack: SLACK,
        began: Mutex::default(),
    };
    let last = overseer();
    tokio::spawn(yard::attend(cluster.clone(), books.clone()));
    tokio::spawn(garbage::collect(cluster.clone(), dice.fork()));
    tokio::spawn(organization.clone().age());
    tokio::spawn(happen(scene.happenings.clone(), cluster.clone(), books.clone(), wanted.clone()));
    if let Some(keeps) = scene.queue.clone() {
        tokio::spawn(queue(cluster.clone(), books.clone(), dice.fork(), keeps));
    }
    tokio::spawn(overseer().watch());
    tokio::spawn(bring(scene.clone(), books.clone()));
    let story = async {
        until_all_is_done(&scene, &organization, &history, weather.ends()).await;
        // Registrations in a pool that nobody serves any more are nobody's.
        let loses_pools = scene.happenings.iter().any(|one| one.what.loses_a_pool());
        until_tidy(&cluster, &organization, &history, loses_pools).await;
    };
    tokio::select! {
        biased;
        () = story => {}
        () = serve(&scene, &wanted, &orchestrator) => {}
    }
    last.sum_up(&orchestrator.metrics.text().unwrap());
    (history.wrongs(), history.see(std::collections::BTreeMap::len))
}

/// Orchestrators, one after the other, each with what is wanted when it begins.
pub(super) async fn serve(scene: &Scene, wanted: &Wanted, orchestrator: &Orchestrator) {
    let dice = orchestrator.storm.dice.fork();
    let mut served = Vec::new();
    loop {
        let pools = wanted.pools.lock().unwrap().clone();
        let mut config = scene.config(&pools);
        let is_wanted = |pool: &PoolPolicy| pools.iter().any(|wanted| wanted.name == pool.name);
        if std::mem::take(&mut *wanted.reloads.lock().unwrap()) {
            config.pools.extend(served.into_iter().filter(|pool| !is_wanted(pool)).map(PoolPolicy::without_agents));
        }
        served = config.pools.clone();
        let orchestrator = Orchestrator { config, ..orchestrator.clone() };
        let death = match dice.number(0..=2) {
            _ if !scene.dies || orchestrator.storm.is_over() => Death::Never,
            0 => Death::AfterTime(dice.time(0..=120_000)),
            _ => Death::AfterPolls(dice.number(1..=2_000)),
        };
        tokio::select! {
            biased;
            () = wanted.changed.notified() => *orchestrator.board.lock().unwrap() = None,
            () = orchestrator.live_until(death) => {}
        }
        sleep(dice.time(10..=4_000)).await;
    }
}

/// Lets the jobs come, and those that are cancelled be cancelled.
pub(super) async fn bring(scene: Scene, books: Books) {
    let begun = Instant::now();
    let (organization, log) = (books.organization(), &books.storm().log);
    let mut jobs = scene.jobs;
    jobs.sort_by_key(|job| job.at);
    for (number, job) in jobs.into_iter().enumerate() {
        sleep_until(begun + job.at).await;
        let Some(pool) = organization.pool_named(&job.pool) else { continue };
        let request = organization
            .change(|state, now| state.queue(pool, JobSpec::new("pipeline", format!("job {number}")), now))
            .unwrap();
        log.note(format!("job request {request} is queued in {}", job.pool));
        if let Some(time) = job.cancelled_after {
            let (organization, log) = (organization.clone(), log.clone());
            tokio::spawn(async move {
                sleep(time).await;
                log.note(format!("job request {request} is cancelled"));
                let _ = organization.change(|state, now| state.cancel(request, now));
            });
        }
    }
}

pub(super) async fn until_all_is_done(
    scene: &Scene,
    organization: &Organization,
    history: &History,
    weather_ends: Instant,
) {
    let begun = Instant::now();
    sleep_until((begun + scene.lasts).max(weather_ends)).await;
    let deadline = Instant::now() + PATIENCE;
    let last_job = scene.jobs.iter().map(|job| job.at).max().unwrap_or_default();
    sleep_until(begun + last_job).await;
    // What waits in a pool that was renamed, deleted or is no longer served is nobody's.
    let numbers = || scene.pools.iter().filter_map(|pool| organization.pool_named(&pool.name));
    let unfinished = || {
        organization.see(|state| {
            let of_pool =
                |number| state.unfinished_in(number).filter(|request| request.phase() != Phase::Finished).count();
            numbers().map(of_pool).sum::<usize>()
        })
    };
    while unfinished() > 0 && Instant::now() < deadline && history.wrongs().is_empty() {
        sleep(Duration::from_millis(500)).await;
    }
    if unfinished() > 0 && history.wrongs().is_empty() {
        history.wrong("alive", format!("jobs are not served: {} of them in the end", unfinished()));
    }
}

/// What is half done stays only where something is wrong.
async fn until_tidy(cluster: &Cluster, organization: &Organization, history: &History, loses_pools: bool) {
    let remains = || {
        let remains = Remains::of(cluster, NAMESPACE);
        let mut left = remains.half_done();
        if !loses_pools {
            left.extend(remains.orphans(organization));
        }
        left
    };
    let deadline = Instant::now() + TIDIED;
    while !remains().is_empty() && Instant::now() < deadline && history.wrongs().is_empty() {
        sleep(Duration::from_secs(1)).await;
    }
    if !remains().is_empty() && history.wrongs().is_empty() {
        history.wrong("tidy", format!("something is left: {:?}", remains()));
    }
}
