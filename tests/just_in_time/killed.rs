//! SIGKILL at each step between a Job and its agent. The next orchestrator finds what is half done and finishes it: as many
//! agents as job requests, and nothing left behind.

use kubectl_ado::sandbox::{FaultKind, Settings};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;

use crate::{
    FILES, all_are_served, no_files_are_left_behind, node, one_agent_for_each, only_placeholders_are_registered, serve,
    world::{Running, World, eventually, project_file},
};

const REQUESTS: usize = 3;

/// By name, so that nothing but the agents themselves is registered with a key.
const FILE: &str = "defaults: {registration: just-in-time}\n";

struct Scene {
    world: World,
    pool: i64,
    requests: Vec<i64>,
}

impl Scene {
    async fn new(name: &str) -> Self {
        let world = World::with(name, Settings::default()).await;
        let pool = world.pool("Default");
        Self { world, pool, requests: Vec::new() }
    }

    fn path(&self) -> String {
        let organization = self.world.sandbox.url().rsplit('/').next().unwrap().to_owned();
        format!("/{organization}/_apis/distributedtask/pools/{}/agents", self.pool)
    }

    fn begin(&mut self) -> Running {
        self.requests = self.world.queue(self.pool, REQUESTS);
        serve(&self.world, "Default", FILE).start()
    }

    /// Agents that are registered and no placeholders.
    fn registered(&self) -> usize {
        let agents = self.world.sandbox.agents(self.pool);
        agents.iter().filter(|agent| !agent.name.contains("placeholder")).count()
    }

    async fn with_files(&self) -> usize {
        self.world.all::<Secret>().list(&ListParams::default().labels(FILES)).await.unwrap().items.len()
    }

    /// The Role without some of its rights.
    async fn take_away(&self, rule: &str, without: &str, question: [&str; 2]) {
        let role = project_file("manifests/role.yaml");
        assert!(role.contains(rule));
        let namespace = self.world.namespace.name();
        self.world.plane.apply(namespace, &role.replace(rule, without)).unwrap();
        let ask = || {
            let question = ["auth", "can-i", question[0], question[1], "-n", namespace];
            self.world.plane.kubectl_of(&self.world.kubeconfig, &question)
        };
        eventually("the right is taken away", || ask().is_err()).await;
    }

    /// The first one dies; another one finishes what it began.
    async fn dies_and_another_goes_on(self, first: Running) {
        let Self { world, pool, requests } = self;
        let log = first.kill();
        world.sandbox.clear_faults();
        world.plane.apply(world.namespace.name(), &project_file("manifests/role.yaml")).unwrap();
        let _node = node(&world);
        let running = serve(&world, "Default", FILE).start();
        all_are_served(&world, &requests).await;
        one_agent_for_each(&world, &requests);
        only_placeholders_are_registered(&world, pool).await;
        assert_eq!(world.jobs().await.len(), REQUESTS, "{log}\n---\n{}", running.log());
        assert_eq!(world.jobs_ever_made(), REQUESTS);
        for job in world.jobs().await {
            let annotations = job.metadata.annotations.unwrap_or_default();
            assert!(!annotations.contains_key("kubectl-ado/held"), "none waits any more");
        }
        no_files_are_left_behind(&world).await;
        assert!(world.sandbox.assertions().refused.is_empty());
        world.the_token_is_nowhere().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_when_the_job_is_made_and_the_registration_is_on_its_way() {
    let mut scene = Scene::new("killed-job").await;
    let post = format!("POST {}", scene.path());
    scene.world.sandbox.inject(FaultKind::Latency(Duration::from_secs(60)).always().on(post));
    let first = scene.begin();
    scene.world.until_jobs(REQUESTS).await;
    assert_eq!(scene.registered(), 0);
    scene.dies_and_another_goes_on(first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_when_the_agent_is_registered_and_nobody_knows() {
    let mut scene = Scene::new("killed-lost").await;
    let post = format!("POST {}", scene.path());
    scene.world.sandbox.inject(FaultKind::LostReply.always().on(post));
    // So that it cannot look who has the name.
    scene.world.sandbox.inject(FaultKind::ServerError.always().on("agentName="));
    let first = scene.begin();
    eventually("the agents are registered", || scene.registered() == REQUESTS).await;
    assert_eq!(scene.with_files().await, 0);
    scene.dies_and_another_goes_on(first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_when_the_agent_is_registered_and_has_no_files() {
    let mut scene = Scene::new("killed-no-files").await;
    let rule = "resources: [secrets]\n  verbs: [create, delete]";
    scene.take_away(rule, "resources: [secrets]\n  verbs: [delete]", ["create", "secrets"]).await;
    let first = scene.begin();
    eventually("the agents are registered", || scene.registered() == REQUESTS).await;
    first.says("cannot create").await;
    assert_eq!(scene.with_files().await, 0);
    scene.dies_and_another_goes_on(first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_when_the_files_are_there_and_the_job_still_waits() {
    let mut scene = Scene::new("killed-held").await;
    let rule = "verbs: [get, list, watch, create, patch, delete]";
    scene.take_away(rule, "verbs: [get, list, watch, create, delete]", ["patch", "jobs"]).await;
    let first = scene.begin();
    first.says("cannot patch").await;
    let mut files = 0;
    while files < REQUESTS {
        files = scene.with_files().await;
    }
    scene.dies_and_another_goes_on(first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_when_the_job_may_start_and_its_agent_is_not_there_yet() {
    let mut scene = Scene::new("killed-resumed").await;
    let first = scene.begin();
    scene.world.until_jobs(REQUESTS).await;
    let waits = || scene.world.stored_jobs().iter().any(|job| job["spec"]["suspend"] == true);
    eventually("all Jobs may start", || !waits()).await;
    scene.dies_and_another_goes_on(first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_when_the_agents_are_done_and_still_registered() {
    let mut scene = Scene::new("killed-done").await;
    let delete = format!("DELETE {}", scene.path());
    scene.world.sandbox.inject(FaultKind::ServerError.always().on(delete));
    let first = scene.begin();
    {
        let _node = node(&scene.world);
        all_are_served(&scene.world, &scene.requests).await;
        // A node that goes before its pods have ended leaves Jobs that seem to run.
        let complete = || scene.world.stored_jobs().iter().all(|job| job["status"]["succeeded"] == 1);
        eventually("the Jobs are complete", complete).await;
    }
    assert_eq!(scene.registered(), REQUESTS);
    scene.dies_and_another_goes_on(first).await;
}
