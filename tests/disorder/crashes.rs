//! A crash at every single await point of a pass. Whatever the dead orchestrator had sent still arrives; the next one
//! finds things as they are and leaves exactly one Job for each job request, and nothing half done.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use kubectl_ado::{config::Registration, core::Recipe, sandbox::JobSpec};
use serde_json::json;
use tokio::time::sleep;

use crate::{
    agent::Files,
    clock,
    cluster::{
        Cluster, Key, Object,
        resource::{JOBS, SECRETS},
    },
    dice::Dice,
    orchestrator::{Mortal, Orchestrator, config},
    organization::{Organization, has_key},
    remains::Remains,
    storm::{Log, Storm, Tempo},
};

const NAMESPACE: &str = "agents";
const POOL: &str = "Linux";

/// After this time everything that was sent has arrived.
const ARRIVED: Duration = Duration::from_secs(1);

/// A pass of a good orchestrator takes no more polls than this.
const MANY: u64 = 100_000;

/// Until then nobody takes up what another one was doing, who may go on with it.
const HELD: Duration = Duration::from_secs(61);

/// After this time the registrations of the dead are swept.
const SWEPT: Duration = Duration::from_secs(121);

/// How agents get the right to work, and whether each orchestrator knows that the one before it has stopped.
#[derive(Clone, Copy)]
struct Way {
    recipe: Recipe,
    elected: bool,
}

const TOKEN: Way = Way { recipe: Recipe::Token, elected: false };
const JUST_IN_TIME: Way = Way { recipe: Recipe::JustInTime, elected: false };
const ELECTED: Way = Way { recipe: Recipe::JustInTime, elected: true };

struct Scene {
    cluster: Cluster,
    organization: Organization,
    orchestrator: Orchestrator,
}

impl Scene {
    fn new(Way { recipe, elected }: Way) -> Self {
        clock::begin();
        let log = Log::default();
        let storm = Storm::new(Dice::of(1), Tempo::LIFELIKE, log, 0.0, Duration::ZERO);
        let cluster = Cluster::with_namespace(NAMESPACE);
        let organization = Organization::with_pools(&[POOL.to_owned()]);
        let mut config = config(&[("AGENT_POOLS", POOL), ("JOB_NAMESPACE", NAMESPACE)]);
        config.agents.values_mut().for_each(|agent| agent.registration = Registration::Only(recipe));
        let (upstream, lives) = (cluster.client(), Arc::default());
        let organization_of_it = organization.clone();
        let (board, metrics) = Default::default();
        let orchestrator =
            Orchestrator { config, upstream, organization: organization_of_it, storm, elected, lives, board, metrics };
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

    /// What is not as it has to be: every live Job goes on, and its agent can sign in with what is in its Secret.
    fn wrongs(&self) -> Vec<String> {
        let remains = Remains::of(&self.cluster, NAMESPACE);
        let mut wrongs = [remains.half_done(), remains.orphans(&self.organization)].concat();
        let secrets = self.cluster.all(SECRETS, NAMESPACE);
        let files = secrets.iter().filter(|secret| secret.owner().is_some());
        for secret in files {
            let Files { pool, agent, serial } = Files::of(&secret.value);
            let fits = self.organization.see(|state| has_key(state, pool, agent, &serial));
            let job = self.cluster.get(&Key::new(JOBS, NAMESPACE, secret.metadata("name")));
            let is_live = job.is_some_and(|job| job.value["status"]["conditions"].is_null());
            if is_live && !fits {
                wrongs.push(format!("the agent {} cannot sign in", secret.metadata("name")));
            }
        }
        wrongs
    }

    /// Whether a Job waits for its agent's files.
    fn holds(&self) -> bool {
        let jobs = self.cluster.all(JOBS, NAMESPACE);
        jobs.iter().any(|job| !job.value["metadata"]["annotations"]["kubectl-ado/held"].is_null())
    }

    /// The only agent dies.
    fn lose_an_agent(&self) {
        let changes = self.cluster.changes_since(0);
        let first = changes.iter().find(|change| change.key.plural == JOBS.plural).unwrap();
        let at = clock::written(clock::of_api_server());
        let failed =
            json!({"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "lastTransitionTime": at});
        self.cluster.change(JOBS, &first.key, &json!({"status": {"conditions": [failed]}}));
    }
}

/// Runs a scene with a crash after each number of polls there is, and gives how many there were.
fn crash_everywhere(way: Way, before: &impl AsyncFn(&Scene), expected: &[(&str, &str)]) -> u64 {
    let expected: BTreeSet<(String, String)> =
        expected.iter().map(|(request, attempt)| ((*request).to_owned(), (*attempt).to_owned())).collect();
    for polls in 1..MANY {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let ended = runtime.block_on(async {
            let scene = Scene::new(way);
            before(&scene).await;
            let ended = scene.pass_until(polls).await;
            scene.pass().await;
            if way.recipe == Recipe::JustInTime && !way.elected {
                sleep(HELD).await;
            }
            scene.pass().await;
            let made = scene.made();
            assert_eq!(made.len(), expected.len(), "after a crash at poll {polls}: {made:?}");
            assert_eq!(made.into_iter().collect::<BTreeSet<_>>(), expected, "after a crash at poll {polls}");
            if !scene.wrongs().is_empty() {
                sleep(SWEPT).await;
                scene.pass().await;
            }
            assert_eq!(scene.wrongs(), [""; 0], "after a crash at poll {polls}");
            assert_eq!(scene.made().len(), expected.len(), "after a crash at poll {polls}");
            ended
        });
        if ended {
            return polls;
        }
    }
    panic!("a pass does not come to its end");
}

fn of_the_first_pass(way: Way) -> u64 {
    let expected = [("1", "1"), ("2", "1"), ("3", "1")];
    let points = crash_everywhere(way, &async |scene: &Scene| scene.queue(3), &expected);
    assert!(points > 10, "a pass has more await points than {points}");
    points
}

fn of_a_pass_that_replaces_an_agent(way: Way) -> u64 {
    let before = async |scene: &Scene| {
        scene.queue(1);
        scene.pass().await;
        scene.lose_an_agent();
        sleep(Duration::from_secs(60)).await;
    };
    let points = crash_everywhere(way, &before, &[("1", "1"), ("1", "2")]);
    assert!(points > 10, "a pass has more await points than {points}");
    points
}

/// For each death of the one before that leaves a held Job.
fn of_a_pass_that_takes_up_a_held_job(way: Way) -> u64 {
    let mut left = 0;
    for first in 1..MANY {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (ended, holds) = runtime.block_on(async {
            let scene = Scene::new(way);
            scene.queue(1);
            (scene.pass_until(first).await, scene.holds())
        });
        if holds {
            left += 1;
            let before = async |scene: &Scene| {
                scene.queue(1);
                scene.pass_until(first).await;
                if !way.elected {
                    sleep(HELD).await;
                }
            };
            crash_everywhere(way, &before, &[("1", "1")]);
        }
        if ended {
            break;
        }
    }
    assert!(left > 3, "{left} deaths left a held Job");
    left
}

#[test]
fn a_crash_at_any_await_point_of_the_first_pass_leaves_one_job_for_each_request() {
    println!("{} await points", of_the_first_pass(TOKEN));
}

#[test]
fn a_crash_at_any_await_point_of_a_pass_that_replaces_an_agent_leaves_one_job_for_each_attempt() {
    println!("{} await points", of_a_pass_that_replaces_an_agent(TOKEN));
}

#[test]
fn a_crash_at_any_await_point_of_registering_agents_leaves_nothing_half_done() {
    println!("{} and {} await points", of_the_first_pass(JUST_IN_TIME), of_the_first_pass(ELECTED));
}

#[test]
fn a_crash_at_any_await_point_of_replacing_a_registered_agent_leaves_nothing_half_done() {
    println!(
        "{} and {} await points",
        of_a_pass_that_replaces_an_agent(JUST_IN_TIME),
        of_a_pass_that_replaces_an_agent(ELECTED)
    );
}

#[test]
fn a_crash_at_any_await_point_of_taking_up_what_a_dead_one_left_leaves_nothing_half_done() {
    let left = [JUST_IN_TIME, ELECTED].map(of_a_pass_that_takes_up_a_held_job);
    println!("{left:?} deaths that leave a held Job, each followed by one at every await point");
}
