//! A crash at every single await point of a pass. Whatever the dead orchestrator had sent still arrives; the next one
//! finds things as they are and leaves exactly one Job for each job request.

use std::{collections::BTreeSet, time::Duration};

use kubectl_ado::sandbox::JobSpec;
use serde_json::json;
use tokio::time::sleep;

use crate::{
    clock,
    cluster::{Cluster, Object, resource::JOBS},
    dice::Dice,
    orchestrator::{Mortal, Orchestrator, config},
    organization::Organization,
    storm::{Log, Storm, Tempo},
};

const NAMESPACE: &str = "agents";
const POOL: &str = "Linux";

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
    fn new() -> Self {
        clock::begin();
        let log = Log::default();
        let storm = Storm::new(Dice::of(1), Tempo::LIFELIKE, log, 0.0, Duration::ZERO);
        let cluster = Cluster::with_namespace(NAMESPACE);
        let organization = Organization::with_pools(&[POOL.to_owned()]);
        let config = config(&[("AGENT_POOLS", POOL), ("JOB_NAMESPACE", NAMESPACE)]);
        let upstream = cluster.client();
        let orchestrator = Orchestrator { config, upstream, organization: organization.clone(), storm };
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
fn crash_everywhere(before: &impl AsyncFn(&Scene), expected: &[(&str, &str)]) -> u64 {
    let expected: BTreeSet<(String, String)> =
        expected.iter().map(|(request, attempt)| ((*request).to_owned(), (*attempt).to_owned())).collect();
    for polls in 1..MANY {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let ended = runtime.block_on(async {
            let scene = Scene::new();
            before(&scene).await;
            let ended = scene.pass_until(polls).await;
            scene.pass().await;
            scene.pass().await;
            let made = scene.made();
            assert_eq!(made.len(), expected.len(), "after a crash at poll {polls}: {made:?}");
            assert_eq!(made.into_iter().collect::<BTreeSet<_>>(), expected, "after a crash at poll {polls}");
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
    let points = crash_everywhere(&async |scene: &Scene| scene.queue(3), &expected);
    println!("{points} await points");
    assert!(points > 10, "a pass has more await points than {points}");
}

#[test]
fn a_crash_at_any_await_point_of_a_pass_that_replaces_an_agent_leaves_one_job_for_each_attempt() {
    let before = async |scene: &Scene| {
        scene.queue(1);
        scene.pass().await;
        scene.lose_an_agent();
        sleep(Duration::from_secs(60)).await;
    };
    let points = crash_everywhere(&before, &[("1", "1"), ("1", "2")]);
    println!("{points} await points");
    assert!(points > 10, "a pass has more await points than {points}");
}
