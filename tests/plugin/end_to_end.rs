//! The plugin beside a real orchestrator from the first line to the last: an install that its own status ends, what
//! `status` and `explain` say of what it lives through, and an uninstall that it takes part in.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use control_plane::{Behaviour, Node, pods};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kubectl_ado::sandbox::{AgentSpec, FaultKind, JobResult, JobSpec};

use crate::{
    place::{Place, Said},
    staged::{Ended, Staged},
    world::{PATIENCE, eventually},
};

/// Installs, with a real orchestrator as soon as there is an account for it.
async fn install_for_real(place: &Place, arguments: &[&str]) -> Said {
    let (plane, name) = (place.plane, place.name().to_owned());
    let folder = place.folder.path().to_owned();
    let account = tokio::spawn(async move {
        eventually("the account is there", || {
            plane.kubectl(&["get", "serviceaccount", "kubectl-ado", "-n", &name]).is_ok()
        })
        .await;
        let account = plane.service_account_kubeconfig(&name, "kubectl-ado").await;
        std::fs::copy(account, folder.join("copied")).unwrap();
        std::fs::rename(folder.join("copied"), folder.join("account")).unwrap();
    });
    let said = tokio::task::block_in_place(|| place.install(arguments));
    account.await.unwrap();
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn from_an_install_to_an_uninstall_with_a_busy_agent_in_between() {
    let place = Place::new("whole").await;
    // The first agent of this node fails; here each of them works.
    std::fs::create_dir(place.folder.path().join("failed-once")).unwrap();
    let _node = place.real_node();
    let began = Instant::now();
    let said = install_for_real(&place, &["--job-image", "registry.example/agent:1", "--idle-agents", "1"]).await;
    said.ends(0).tells(&["checks: ", " 0 failed", "kubectl-ado serves \"Linux\"", "next: kubectl ado status"]);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    let ado = |arguments: &[&str]| place.ado(&[arguments, &["-n", place.name()]].concat());
    let said = ado(&["status"]).ends(0);
    assert!(said.out.contains("1/1 ready") && said.out.contains("token ok"), "{said:?}");

    let pool = place.sandbox.see(|state| state.pools().next().unwrap().id);
    let go_on = place.folder.path().join("go-on");
    let script = format!("while [ ! -e {} ]; do sleep 0.2; done", go_on.display());
    let request = place.sandbox.queue(pool, JobSpec::new("pipeline", "long").step("work", script)).unwrap();
    let names = || place.sandbox.agents(pool).into_iter().map(|agent| agent.name.clone()).collect::<Vec<_>>();
    eventually("one agent is busy, and one is idle", || {
        let out = ado(&["pools", "-o", "json"]).out;
        out.contains("\"busy\": 1") && out.contains("\"idle\": 1")
    })
    .await;
    assert!(names().len() > 2, "somebody else's, the placeholder and ours: {:?}", names());

    ado(&["uninstall", "-y"]).ends(1).tells(&["1 agents are at work", "fix: --drain"]);
    assert!(place.all().contains_key("Deployment/kubectl-ado"));
    ado(&["uninstall", "-y", "--drain", "--timeout", "8s"]).ends(4).tells(&["still at work", "nothing was deleted"]);

    let (plane, namespace) = (place.plane, place.name().to_owned());
    let finish = tokio::spawn(async move {
        eventually("the orchestrator is asked to retire", || {
            let maps = plane.kubectl(&["get", "configmaps", "-n", &namespace, "-o", "jsonpath={.items[*].data}"]);
            maps.unwrap().contains("retire\\\": true")
        })
        .await;
        std::fs::write(&go_on, "").unwrap();
    });
    let said = tokio::task::block_in_place(|| ado(&["uninstall", "-y", "--drain"]));
    finish.await.unwrap();
    said.ends(0).tells(&["waiting for 1 agents that are at work"]);
    assert_eq!(place.sandbox.request(request).unwrap().result, Some(JobResult::Succeeded));
    assert_eq!(names(), ["placeholder"], "somebody else's");
    let mut left = place.all();
    left.retain(|name, _| !name.starts_with("Pod/"));
    assert!(left.is_empty(), "{left:?}");
}

/// A file for a real `serve`: two agents at most, and templates that offer `docker`.
fn config(staged: &Staged, folder: &Path, max: u32) {
    let world = &staged.world;
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(world.folder.path().join("token"), world.sandbox.token()).unwrap();
    let text = format!(
        "organization: {{url: {}, tokenFile: {}}}\nnamespace: {}\nimage: registry.example/agent:typo\n\
         listenAddress: 127.0.0.1:0\npolling: 100ms\nlimits: {{maxAgents: {max}}}\n\
         pools:\n- name: Linux\n  templates: [{{name: default, capabilities: {{docker: \"1\"}}}}]\n",
        world.sandbox.url(),
        world.folder.path().join("token").display(),
        staged.namespace(),
    );
    std::fs::write(folder.join("ado.yaml"), text).unwrap();
}

/// Runs it until it ends so and says this: what the orchestrator knows shows some seconds later.
async fn until(staged: &Staged, arguments: &[&str], code: i32, parts: &[&str]) -> Ended {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let ended = tokio::task::block_in_place(|| staged.run(arguments));
        if ended.code == code && parts.iter().all(|part| ended.out.contains(part)) {
            return ended;
        }
        assert!(Instant::now() < deadline, "not in time: {arguments:?} with {code} and {parts:?}: {ended:#?}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_explain_tell_what_a_real_orchestrator_lives_through() {
    let staged = Staged::new("truth", &["Linux"]).await;
    let world = &staged.world;
    staged.pod_runs().await;
    // Without a kubelet no pod that is deleted ever goes.
    let _node = Node::start(world.plane, staged.namespace(), Behaviour::Idle);
    let folder = world.folder.path().join("config");
    config(&staged, &folder, 1);
    let variables = [("KUBECONFIG", world.kubeconfig.display().to_string()), ("PATH", std::env::var("PATH").unwrap())];
    let variables = variables.map(|(name, value)| (name.to_owned(), value));
    let _serve = world.serve("").only(variables).argument("--config").argument(folder.display().to_string()).start();
    let pool = world.sandbox.see(|state| state.pools().next().unwrap().id);
    // Azure DevOps lets a job wait only where some agent, online or not, satisfies its demands.
    let theirs = AgentSpec::named("theirs").with("gpu", "1").with("docker", "1").disabled();
    world.sandbox.add_agent(pool, theirs).unwrap();
    let queue = |name: &str, demand: Option<&str>| {
        let job = JobSpec::new("pipeline", name).step("work", "true");
        let job = demand.into_iter().fold(job, JobSpec::demand);
        let id = world.sandbox.queue(pool, job).unwrap();
        (id, id.to_string())
    };

    until(&staged, &["status"], 0, &["Linux", "Healthy", "token ok"]).await;
    until(&staged, &["explain", "Linux"], 0, &["Linux"]).await;

    staged.run(&["pause", "Linux", "--reason", "release day"]).with(0);
    let (paused, id) = queue("paused", None);
    until(&staged, &["status"], 0, &["Paused", "ADO208", "release day"]).await;
    until(&staged, &["explain", &id], 3, &["STOP ADO208", "fix: kubectl ado resume Linux"]).await;
    world.sandbox.cancel(paused).unwrap();
    staged.run(&["resume", "Linux"]).with(0);

    let (unmet, id) = queue("unmet", Some("gpu"));
    until(&staged, &["status"], 3, &["ADO205"]).await;
    until(&staged, &["explain", &id], 3, &["STOP ADO205", "gpu", "fix: "]).await;
    world.sandbox.cancel(unmet).unwrap();
    until(&staged, &["status"], 0, &["Healthy"]).await;

    let (first, _) = queue("first", Some("docker"));
    world.until_jobs(1).await;
    let (second, id) = queue("second", None);
    until(&staged, &["status"], 0, &["ADO209"]).await;
    let fix = "fix: kubectl ado config set limits.maxAgents=2";
    until(&staged, &["explain", &id], 3, &["STOP ADO209", fix]).await;

    for id in [first, second] {
        world.sandbox.cancel(id).unwrap();
    }
    until(&staged, &["status"], 0, &["Healthy"]).await;

    world.sandbox.inject(FaultKind::Unauthorized.always());
    until(&staged, &["status"], 3, &["ADO101", "fix: ", "kubectl ado auth set", "Degraded"]).await;
    until(&staged, &["explain", "Linux"], 3, &["STOP ADO101", "kubectl ado auth set"]).await;
    world.sandbox.clear_faults();
    until(&staged, &["status"], 0, &["Healthy", "token ok"]).await;
    until(&staged, &["explain", "Linux"], 0, &["Linux"]).await;

    // The pod, made by the real Job controller, as a kubelet leaves it that cannot pull the image.
    let (_, id) = queue("typo", None);
    world.until_jobs(1).await;
    let pods_of_jobs = ListParams::default().labels("job-name");
    let deadline = Instant::now() + PATIENCE;
    let pod = loop {
        let found = world.all::<Pod>().list(&pods_of_jobs).await.unwrap().items;
        if let Some(pod) = found.into_iter().find(|pod| pod.metadata.deletion_timestamp.is_none()) {
            break pod.metadata.name.unwrap();
        }
        assert!(Instant::now() < deadline, "the Job has no pod");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    pods::set_image_pull_error(&world.client, staged.namespace(), &pod, "registry.example/agent:typo").await.unwrap();
    until(&staged, &["status"], 3, &["ADO401"]).await;
    until(&staged, &["explain", &id], 3, &["STOP ADO401", "registry.example/agent:typo", "fix: "]).await;
}
