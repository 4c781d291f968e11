//! `uninstall` in every state, whatever the orchestrator is like, with another one beside it, interrupted at any moment. No live
//! agent is ended without `--force`, no registration is forgotten without a word, and what a run says at its end leads out.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{ConfigMap, Namespace},
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use kubectl_ado::core::{Installation, lease_name};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{at_once, holdings::look, place::Place, proxy::Proxy, seeds, walk, world::eventually};

/// What the orchestrator is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    Alive,
    /// It runs, and stops writing.
    Dying,
    /// It does not run. Its last report is there.
    Silent,
    /// It does not run, and what it wrote is of another version.
    Newer,
    /// It never ran.
    New,
    /// Somebody deleted its Deployment.
    Absent,
}

/// What ends a run from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Nothing,
    Signal(&'static str),
    LostConnection,
}

struct Shared {
    writes: bool,
    readable: bool,
    /// Agents at work, each a Job.
    working: BTreeSet<String>,
    /// Jobs that ended by themselves or were taken back by the orchestrator.
    ended: BTreeSet<String>,
    /// What is registered in Azure DevOps.
    registered: BTreeSet<String>,
}

struct Stage {
    seed: u64,
    place: Place,
    proxy: Proxy,
    shared: Arc<Mutex<Shared>>,
    jobs: Vec<String>,
    forced: bool,
    story: String,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 24)]
#[ignore = "known fault: in seed 6 the command that is named after a lost connection (`resume --all`) does not lead out where the \
            orchestrator is newer; about one in 25 walks"]
async fn no_interruption_ends_an_agent_or_forgets_one_and_each_end_leads_out() {
    walk(seeds(12), at_once(8), one_walk).await;
}

async fn one_walk(seed: u64) {
    let mut dice = fastrand::Rng::with_seed(seed);
    let is = [Is::Alive, Is::Dying, Is::Silent, Is::Newer, Is::New, Is::Absent][dice.usize(..6)];
    let mut stage = Stage::new(seed).await;
    stage.story = format!("the orchestrator is {is:?}\n");
    let runs = matches!(is, Is::Alive | Is::Dying);
    let _kubelet = runs.then(|| stage.place.kubelet());
    stage.place.install(&["--wait=false", "--skip-checks"]).ends(0);
    let installation = stage.installation().await;
    for number in 0..dice.usize(..3) {
        stage.job(&format!("agent-job-{number}"), installation.id()).await;
    }
    let orchestrator = (is != Is::New).then(|| stage.orchestrator(&installation));
    if is != Is::New {
        let lease = stage.lease(&installation);
        eventually("the orchestrator reports", || {
            stage
                .place
                .plane
                .kubectl(&["get", "configmap", &format!("{lease}-status"), "-n", stage.place.name()])
                .is_ok()
        })
        .await;
    }
    if runs {
        let deployment = [
            "get",
            "deployment",
            "kubectl-ado",
            "-n",
            stage.place.name(),
            "-o",
            "jsonpath={.status.availableReplicas}",
        ];
        eventually("its pod is there", || stage.place.plane.kubectl(&deployment).unwrap() == "1").await;
    } else if is == Is::Newer {
        stage.shared.lock().unwrap().readable = false;
        sleep(Duration::from_millis(500)).await;
    }
    if !runs {
        stage.shared.lock().unwrap().writes = false;
        sleep(Duration::from_millis(300)).await;
        stage.report_is_old(&installation).await;
    }
    if is == Is::Absent {
        stage.place.plane.kubectl(&["delete", "deployment", "kubectl-ado", "-n", stage.place.name()]).unwrap();
    }
    stage.wander(&mut dice, is).await;
    if let Some(task) = orchestrator {
        task.abort();
        let _ = task.await;
    }
    stage.nothing_is_forgotten().await;
}

impl Stage {
    async fn new(seed: u64) -> Self {
        let place = Place::new(&format!("cut-{seed}")).await;
        let proxy = Proxy::start(place.client.clone(), place.folder.path(), seed).await;
        let kubectl = place.folder.path().join("kubectl");
        let script = format!(
            "#!/bin/bash\n[ \"$1\" = ado ] || exit 9\nshift\nexec {} \"$@\"\n",
            env!("CARGO_BIN_EXE_kubectl-ado")
        );
        std::fs::write(&kubectl, script).unwrap();
        std::fs::set_permissions(&kubectl, std::fs::Permissions::from_mode(0o755)).unwrap();
        let shared = Shared {
            writes: true,
            readable: true,
            working: BTreeSet::new(),
            ended: BTreeSet::new(),
            registered: BTreeSet::from(["placeholder-of-ours".to_owned()]),
        };
        Self {
            seed,
            place,
            proxy,
            shared: Arc::new(Mutex::new(shared)),
            jobs: Vec::new(),
            forced: false,
            story: String::new(),
        }
    }

    async fn installation(&self) -> Installation {
        let namespaces: Api<Namespace> = Api::all(self.place.client.clone());
        Installation::of_namespace(&namespaces.get(self.place.name()).await.unwrap().metadata.uid.unwrap())
    }

    fn lease(&self, installation: &Installation) -> String {
        lease_name(installation, &self.place.sandbox.url(), &["Linux"])
    }

    /// An agent at work.
    async fn job(&mut self, name: &str, id: &str) {
        let labels = json!({"app.kubernetes.io/managed-by": "kubectl-ado", "kubectl-ado/installation": id});
        let job = json!({"apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": name, "labels": labels, "annotations": {"kubectl-ado/pool": "Linux"}},
            "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "agent", "image": "x"}]}}}});
        let jobs: Api<Job> = Api::namespaced(self.place.client.clone(), self.place.name());
        jobs.create(&PostParams::default(), &serde_json::from_value(job).unwrap()).await.unwrap();
        self.jobs.push(name.to_owned());
        let mut shared = self.shared.lock().unwrap();
        shared.working.insert(name.to_owned());
        shared.registered.insert(name.to_owned());
    }

    /// Reports, takes idle agents back once it is asked to retire, and says when all is done.
    fn orchestrator(&self, installation: &Installation) -> tokio::task::JoinHandle<()> {
        let (client, namespace) = (self.place.client.clone(), self.place.name().to_owned());
        let (url, id, lease) = (self.place.sandbox.url(), installation.id().to_owned(), self.lease(installation));
        let shared = self.shared.clone();
        tokio::spawn(async move {
            loop {
                let writes = shared.lock().unwrap().writes;
                if writes {
                    report(&client, &namespace, &url, &id, &lease, &shared).await;
                }
                sleep(Duration::from_millis(200)).await;
            }
        })
    }

    async fn report_is_old(&self, installation: &Installation) {
        let maps: Api<ConfigMap> = Api::namespaced(self.place.client.clone(), self.place.name());
        let name = format!("{}-status", self.lease(installation));
        let Some(map) = maps.get_opt(&name).await.unwrap() else { return };
        let mut report: Value = serde_json::from_str(&map.data.unwrap()["status.json"]).unwrap();
        report["reportedAt"] = json!("2026-01-01T12:00:00Z");
        let patch = json!({"data": {"status.json": report.to_string()}});
        maps.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    fn start(&self, line: &str) -> Child {
        let mut command = Command::new("bash");
        command
            .args(["-c", &format!("exec {line}")])
            .env_clear()
            .current_dir(self.place.folder.path())
            .stdin(Stdio::null());
        let path = format!("{}:{}", self.place.folder.path().display(), std::env::var("PATH").unwrap());
        command.env("HOME", self.place.folder.path()).env("PATH", path).env("KUBECONFIG", self.proxy.kubeconfig());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Some runs that are cut, each followed by what the one before it said, until nothing is left.
    async fn wander(&mut self, dice: &mut fastrand::Rng, is: Is) {
        let namespace = self.place.name().to_owned();
        let flag = [" --timeout 3s", " --drain --timeout 4s", " --drain --timeout 2s"][dice.usize(..3)];
        let mut line = format!("kubectl ado uninstall -n {namespace}{flag}");
        let cuts = dice.usize(1..4);
        for turn in 0..12 {
            if is == Is::Dying && turn == 1 {
                self.shared.lock().unwrap().writes = false;
            }
            let is_last_cut = turn >= cuts;
            let cut = match is_last_cut {
                true => Cut::Nothing,
                false => {
                    [Cut::Nothing, Cut::Signal("-INT"), Cut::Signal("-TERM"), Cut::Signal("-KILL"), Cut::LostConnection]
                        [dice.usize(..5)]
                }
            };
            if is_last_cut || dice.f64() < 0.3 {
                self.agents_end().await;
            }
            if line.contains(" uninstall ") && (!line.contains("--timeout") || line.contains("--timeout 1h")) {
                // While agents work for ever, nobody waits for them; in the end they do not.
                let timeout = if is_last_cut { "--timeout 100s" } else { "--timeout 4s" };
                line = format!("{} {timeout}", line.replace(" --timeout 1h", ""));
            }
            let (code, said) = self.run(dice, &line, cut).await;
            self.no_live_agent_was_ended().await;
            if is_gone(code, &said) {
                return;
            }
            line = self.way_out(dice, &line, code, &said, turn);
        }
        panic!("seed {}: nothing leads out: {}", self.seed, self.story);
    }

    async fn run(&mut self, dice: &mut fastrand::Rng, line: &str, cut: Cut) -> (Option<i32>, String) {
        self.forced |= line.contains("--force");
        let yes = if line.contains(" uninstall ") || line.contains(" install ") { " -y" } else { "" };
        let quick = if line.contains(" install ") { " --skip-checks --wait=false" } else { "" };
        let line = format!("{line}{yes}{quick}");
        let child = self.start(&line);
        let pid = child.id().to_string();
        let also = (line.contains("uninstall") && dice.f64() < 0.2).then(|| self.start(&line));
        let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
        let moment = Duration::from_millis(dice.u64(50..2500));
        match cut {
            Cut::Nothing => {}
            Cut::Signal(signal) => {
                sleep(moment).await;
                let _ = Command::new("kill").args([signal, &pid]).stderr(Stdio::null()).status();
            }
            Cut::LostConnection => {
                sleep(moment).await;
                self.proxy.cut(true);
            }
        }
        let output = output.await.unwrap();
        if let Some(also) = also {
            let output = tokio::task::spawn_blocking(move || also.wait_with_output().unwrap()).await.unwrap();
            self.story += &format!("\n(beside it: {})\n", String::from_utf8(output.stderr).unwrap());
        }
        self.proxy.cut(false);
        let said = String::from_utf8(output.stderr).unwrap();
        self.story += &format!(
            "\n$ {line}\n({cut:?} after {moment:?})\n{}{said}-> {:?}\n",
            String::from_utf8(output.stdout).unwrap(),
            output.status.code()
        );
        (output.status.code(), said)
    }

    /// One of the commands that a run's last words name.
    fn way_out(&self, dice: &mut fastrand::Rng, line: &str, code: Option<i32>, said: &str, turn: usize) -> String {
        let namespace = self.place.name();
        let uninstall = format!("kubectl ado uninstall -n {namespace}");
        let quoted = said.split('`').skip(1).step_by(2);
        let mut ways: Vec<String> = quoted.filter(|it| it.starts_with("kubectl ado ")).map(str::to_owned).collect();
        for flag in ["--drain", "--force"] {
            if said.contains(&format!("{flag} waits")) || said.contains(&format!("{flag} ends")) {
                ways.push(format!("{uninstall} {flag}"));
            }
        }
        // After a resume or an install somebody asks for the uninstall anew; so does one whose command was killed, or was told
        // that nothing was changed.
        let begins_anew = code == Some(0) || code.is_none() || said.contains("goes on as before");
        let unchanged = ["cannot reach", "connection", "was cut", "not answer"].iter().any(|it| said.contains(it));
        if begins_anew || (ways.is_empty() && (unchanged || said.trim().is_empty() || is_interrupted(code))) {
            ways = vec![format!("{uninstall} --drain")];
        }
        assert!(!ways.is_empty(), "seed {}: no way out of `{line}`: {}", self.seed, self.story);
        // An end is wanted: no more agents are ended by force than chance wants, and none goes back for ever.
        let mut wanted: Vec<String> =
            ways.iter().filter(|way| turn < 4 || way.contains("uninstall")).cloned().collect();
        if wanted.is_empty() {
            wanted = vec![format!("{uninstall} --drain")];
        }
        wanted[dice.usize(..wanted.len())].clone()
    }

    /// All agents finish their work.
    async fn agents_end(&self) {
        let working: Vec<String> = {
            let mut shared = self.shared.lock().unwrap();
            let working: Vec<String> = shared.working.iter().cloned().collect();
            shared.ended.extend(working.iter().cloned());
            working
        };
        let jobs: Api<Job> = Api::namespaced(self.place.client.clone(), self.place.name());
        for name in &working {
            let _ = jobs.delete(name, &DeleteParams::background()).await;
            let mut shared = self.shared.lock().unwrap();
            shared.working.remove(name);
            // An agent that ends takes its registration back.
            shared.registered.remove(name);
        }
    }

    async fn no_live_agent_was_ended(&self) {
        let jobs: Api<Job> = Api::namespaced(self.place.client.clone(), self.place.name());
        let there: BTreeSet<String> =
            jobs.list(&ListParams::default()).await.unwrap().into_iter().filter_map(|job| job.metadata.name).collect();
        let ended = self.shared.lock().unwrap().ended.clone();
        for name in self.jobs.iter().filter(|name| !there.contains(*name) && !ended.contains(*name)) {
            assert!(self.forced, "seed {}: {name} was ended without --force: {}", self.seed, self.story);
        }
    }

    async fn nothing_is_forgotten(&self) {
        let left = look(&self.place.client, &[self.place.name().to_owned()]).await;
        let lease = self.lease(&self.installation().await);
        // The played orchestrator may write once more after its pod is gone.
        let left: Vec<_> = left.into_keys().filter(|(_, _, name)| *name != format!("{lease}-status")).collect();
        assert!(left.is_empty(), "seed {}: {left:?} is left: {}", self.seed, self.story);
        let shared = self.shared.lock().unwrap();
        for name in &shared.registered {
            let unknown = self.story.contains("no report tells which")
                || self.story.contains("more of its agents may be registered");
            assert!(
                unknown || self.story.contains(&format!("the agent {name} ")),
                "seed {}: {name} is forgotten: {}",
                self.seed,
                self.story
            );
        }
    }
}

fn is_interrupted(code: Option<i32>) -> bool {
    matches!(code, Some(130 | 143 | 137) | None)
}

/// All is removed; what may stay registered is said with 1.
fn is_gone(code: Option<i32>, said: &str) -> bool {
    let mut errors = said.lines().filter(|line| line.starts_with("error: "));
    if said.contains("the orchestrator's") && code == Some(0) && said.contains("taken back") {
        return false;
    }
    match code {
        Some(0) => said.contains("this goes from namespace"),
        Some(1) => {
            said.contains("is not installed in namespace")
                || (errors.clone().count() > 0 && errors.all(|line| line.contains("registered")))
        }
        _ => false,
    }
}

async fn report(client: &Client, namespace: &str, url: &str, id: &str, lease: &str, shared: &Arc<Mutex<Shared>>) {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let control = maps.get_opt(&kubectl_ado::cluster::control_name(lease)).await.unwrap();
    let text = control.and_then(|map| map.data).and_then(|mut data| data.remove("control.json")).unwrap_or_default();
    let control: Value = serde_json::from_str(&text).unwrap_or_default();
    let (report, labels) = {
        let mut shared = shared.lock().unwrap();
        let retired = control["retire"] == true && shared.working.is_empty();
        if retired {
            shared.registered.clear();
        }
        let agents: Vec<Value> = shared
            .registered
            .iter()
            .map(|name| json!({"id": 1, "name": name, "owner": "ours", "enabled": true, "online": true}))
            .collect();
        let condition = json!({"type": "Retired", "status": if retired { "True" } else { "False" }});
        let mut report = json!({
            "apiVersion": "kubectl-ado/v1alpha1", "kind": "Status", "reportedAt": jiff::Timestamp::now(),
            "orchestrator": {"installation": id, "lease": lease}, "organization": {"url": url}, "conditions": [condition],
            "pools": [{"name": "Linux", "busy": shared.working.len(), "agents": agents}]});
        if !shared.readable {
            report["apiVersion"] = json!("kubectl-ado/v9");
            report["pools"] = json!("elsewhere");
        }
        let labels: BTreeMap<&str, &str> = BTreeMap::from([
            ("app.kubernetes.io/name", "kubectl-ado"),
            ("app.kubernetes.io/component", "status"),
            ("app.kubernetes.io/part-of", "kubectl-ado"),
            ("kubectl-ado/installation", id),
        ]);
        (report, labels)
    };
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("{lease}-status"), "labels": labels},
        "data": {"status.json": report.to_string()}});
    let _ = maps.patch(&format!("{lease}-status"), &PatchParams::apply("played").force(), &Patch::Apply(map)).await;
}
