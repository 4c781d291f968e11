//! A crash at every single await point of a pass. Whatever the dead orchestrator had sent still arrives; the next one
//! finds things as they are and leaves exactly one Job for each job request.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use kubectl_ado::{config::Registration, core::Recipe, sandbox::JobSpec};
use serde_json::json;
use tokio::time::sleep;

use crate::{
    clock,
    cluster::{
        Cluster, Key, Object,
        resource::{JOBS, SECRETS},
    },
    dice::Dice,
    orchestrator::{Mortal, Orchestrator, config},
    organization::Organization,
    secrets::{Files, left_behind_in},
    storm::{Log, Storm, Tempo},
};

const NAMESPACE: &str = "agents";
const POOL: &str = "Linux";

/// After this time another one may make a held Job ready.
const HOLDS_FOR: Duration = Duration::from_secs(61);

/// After this time everything that was sent has arrived.
const ARRIVED: Duration = Duration::from_secs(1);

/// A pass of a good orchestrator takes no more polls than this.
const MANY: u64 = 100_000;

struct Scene {
    cluster: Cluster,
    organization: Organization,
    orchestrator: Orchestrator,
}

impl Scene {
    fn new(recipe: Recipe) -> Self {
        clock::begin();
        let log = Log::default();
        let storm = Storm::new(Dice::of(1), Tempo::LIFELIKE, log, 0.0, Duration::ZERO);
        let cluster = Cluster::with_namespace(NAMESPACE);
        let organization = Organization::with_pools(&[POOL.to_owned()]);
        let config = config(&[("AGENT_POOLS", POOL), ("JOB_NAMESPACE", NAMESPACE)]);
        let (upstream, registration) = (cluster.client(), Registration::Only(recipe));
        let orchestrator = Orchestrator { config, registration, upstream, organization: organization.clone(), storm };
        Self { cluster, organization, orchestrator }
    }

    fn queue(&self, count: usize) {
        for _ in 0..count {
            self.organization.change(|state, now| {
                let pool = state.pool_named(POOL).unwrap().id;
                state.queue(pool, JobSpec::new("pipeline", "job"), now).unwrap();
            });
        }
    }

    /// One pass that is left in peace.
    async fn pass(&self) {
        let outcome = self.orchestrator.live(true).await.unwrap();
        assert_eq!(outcome.failures, 0);
        sleep(ARRIVED).await;
    }

    /// One pass that dies after so many polls; whether it came to its end before.
    async fn pass_until(&self, polls: u64) -> bool {
        let ended = Mortal::new(self.orchestrator.live(true), polls).await.is_some();
        sleep(ARRIVED).await;
        ended
    }

    /// The labels of every Job that was ever made: request and attempt.
    fn made(&self) -> Vec<(String, String)> {
        let changes = self.cluster.changes_since(0);
        let made = changes.iter().filter(|change| change.key.plural == JOBS.plural && change.before.is_none());
        let label = |job: &Object, name: &str| job.value["metadata"]["labels"][name].as_str().unwrap().to_owned();
        made.filter_map(|change| change.after.as_ref())
            .map(|job| (label(job, "kubectl-ado/request"), label(job, "kubectl-ado/attempt")))
            .collect()
    }

    /// How many Jobs are held.
    fn held(&self) -> usize {
        let jobs = self.cluster.all(JOBS, NAMESPACE);
        jobs.iter().filter(|job| job.value["metadata"]["annotations"].get("kubectl-ado/held").is_some()).count()
    }

    /// Whether each just-in-time Job that goes on has been resumed, with files that fit the one registration of its agent,
    /// and nothing else is registered or in a Secret.
    fn is_ready(&self, recipe: Recipe) -> Result<(), String> {
        if recipe != Recipe::JustInTime {
            return Ok(());
        }
        let jobs = self.cluster.all(JOBS, NAMESPACE);
        let goes_on = |job: &&Arc<Object>| job.value["status"]["conditions"].is_null();
        let live: BTreeSet<&str> = jobs.iter().filter(goes_on).map(|job| job.metadata("name")).collect();
        for job in jobs.iter().filter(goes_on) {
            let name = job.metadata("name");
            if job.value["spec"]["suspend"] != false || self.held() > 0 {
                return Err(format!("{name} is not resumed"));
            }
            let secret =
                self.cluster.get(&Key::new(SECRETS, NAMESPACE, name)).ok_or(format!("{name} has no Secret"))?;
            let files = Files::read(&secret.value["data"]);
            if self.organization.see(|state| files.fit(state, POOL, name)).is_none() {
                return Err(format!("the Secret of {name} does not fit"));
            }
        }
        let registered = self.organization.see(|state| {
            let agents = state.pool_named(POOL).unwrap().agents();
            let with_key = agents.filter(|agent| agent.authorization.is_some());
            with_key.map(|agent| agent.name.clone()).collect::<Vec<_>>()
        });
        let registered: BTreeSet<&str> = registered.iter().map(String::as_str).collect();
        if registered != live {
            return Err(format!("{registered:?} are registered, {live:?} go on"));
        }
        left_behind_in(&self.cluster, NAMESPACE)
    }

    /// The only agent dies.
    fn lose_an_agent(&self) {
        let changes = self.cluster.changes_since(0);
        let first = changes.iter().find(|change| change.key.plural == JOBS.plural).unwrap();
        let at = clock::written(clock::now());
        let failed =
            json!({"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "lastTransitionTime": at});
        self.cluster.change(JOBS, &first.key, &json!({"status": {"conditions": [failed]}}));
    }
}

/// Runs a scene with a crash after each number of polls there is, and gives how many there were.
fn crash_everywhere(recipe: Recipe, before: &impl AsyncFn(&Scene), expected: &[(&str, &str)]) -> u64 {
    let expected: BTreeSet<(String, String)> =
        expected.iter().map(|(request, attempt)| ((*request).to_owned(), (*attempt).to_owned())).collect();
    for polls in 1..MANY {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let ended = runtime.block_on(async {
            let scene = Scene::new(recipe);
            before(&scene).await;
            let ended = scene.pass_until(polls).await;
            if recipe == Recipe::JustInTime {
                // Nobody knows that the dead one is dead.
                sleep(HOLDS_FOR).await;
            }
            scene.pass().await;
            scene.pass().await;
            let made = scene.made();
            assert_eq!(made.len(), expected.len(), "after a crash at poll {polls}: {made:?}");
            assert_eq!(made.into_iter().collect::<BTreeSet<_>>(), expected, "after a crash at poll {polls}");
            if let Err(why) = scene.is_ready(recipe) {
                panic!("after a crash at poll {polls}: {why}");
            }
            ended
        });
        if ended {
            return polls;
        }
    }
    panic!("a pass does not come to its end");
}

#[test]
fn a_crash_at_any_await_point_of_the_first_pass_leaves_one_job_for_each_request() {
    let expected = [("1", "1"), ("2", "1"), ("3", "1")];
    for recipe in [Recipe::Token, Recipe::JustInTime] {
        let points = crash_everywhere(recipe, &async |scene: &Scene| scene.queue(3), &expected);
        println!("{recipe}: {points} await points");
        assert!(points > 10, "a pass has more await points than {points}");
    }
}

#[test]
fn a_crash_at_any_await_point_of_a_pass_that_replaces_an_agent_leaves_one_job_for_each_attempt() {
    let before = async |scene: &Scene| {
        scene.queue(1);
        scene.pass().await;
        scene.lose_an_agent();
        sleep(Duration::from_secs(60)).await;
    };
    for recipe in [Recipe::Token, Recipe::JustInTime] {
        let points = crash_everywhere(recipe, &before, &[("1", "1"), ("1", "2")]);
        println!("{recipe}: {points} await points");
        assert!(points > 10, "a pass has more await points than {points}");
    }
}

#[test]
fn a_crash_at_any_await_point_of_a_pass_that_takes_up_what_a_dead_one_left_leaves_it_ready() {
    let mut left = 0;
    for first in 1..MANY {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let is_held = runtime.block_on(async {
            let scene = Scene::new(Recipe::JustInTime);
            scene.queue(1);
            scene.pass_until(first).await.then_some(()).map_or_else(|| Some(scene.held()), |()| None)
        });
        match is_held {
            None => break,
            Some(0) => continue,
            Some(_) => left += 1,
        }
        let before = async |scene: &Scene| {
            scene.queue(1);
            scene.pass_until(first).await;
            sleep(HOLDS_FOR).await;
        };
        crash_everywhere(Recipe::JustInTime, &before, &[("1", "1")]);
    }
    println!("{left} crashes that leave a held Job, each followed by a crash at every await point");
    assert!(left > 3, "{left} crashes left a held Job");
}
