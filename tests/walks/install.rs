//! Install, upgrade, downgrade, other pools, another namespace of agents, another organization, another id, uninstall: in any
//! order, with calls that fail. In the end the cluster holds what the last command that succeeded says, or a command said
//! what is missing.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    at_once,
    commands::Person,
    holdings::{Key, lacking, look},
    model::Model,
    place::Said,
    seeds, walk,
};

/// Words by which a command that failed says that something is other than it was, or how to finish.
const ADMITS: [&str; 9] = [
    "objects are applied",
    "may have been applied",
    "is out of use, and stays",
    "the orchestrator goes on as before",
    "was asked to retire",
    "still asked to retire",
    "the orchestrator is stopped",
    "is still there",
    "the same command again",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 24)]
async fn whatever_fails_the_cluster_holds_what_the_last_command_says_or_it_is_said_what_is_missing() {
    walk(seeds(16), at_once(3), one_walk).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 24)]
async fn an_install_goes_on_waiting_while_the_cluster_does_not_answer() {
    let person = Person::new("patient", 1).await;
    let namespace = person.place.name().to_owned();
    let url = person.place.sandbox.url();
    let arguments =
        ["install", "-n", &namespace, "--org", &url, "--pool", "Linux", "--pat-file", "pat", "--skip-checks", "-y"];
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kubectl-ado"));
    command.args(arguments).current_dir(person.place.folder.path()).env("KUBECONFIG", person.proxy.kubeconfig());
    let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let deployment = ["get", "deployment", "kubectl-ado", "-n", &namespace];
    crate::world::eventually("all is applied", || person.place.plane.kubectl(&deployment).is_ok()).await;
    tokio::time::sleep(std::time::Duration::from_millis(800)).await;
    person.proxy.cut(true);
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let _kubelet = person.place.kubelet();
    let _orchestrator = person.place.orchestrator();
    person.proxy.cut(false);
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("all is applied, and this goes on waiting"), "{said}");
}

async fn one_walk(seed: u64) {
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut person = Person::new(&format!("walk-{seed}"), seed ^ 0x5eed).await;
    let mut model: Option<Model> = None;
    for _ in 0..dice.usize(4..9) {
        let (command, wanted) = draw(&mut dice, &person, model.as_ref());
        if let Some(model) = &model
            && dice.f64() < 0.3
        {
            person.orchestrator_ran(model).await;
        }
        if model.is_some() && dice.f64() < 0.15 {
            let version = if dice.bool() { "0.0.1" } else { "9.0.0" };
            person.story += &format!("\n(version {version} runs)\n");
            version_runs(&person, version);
        }
        let before = look(&person.place.client, &person.namespaces()).await;
        let chance = [0.0, 0.02, 0.06, 0.2][dice.usize(..4)];
        let mut command = command;
        let mut said = person.run(chance, &command);
        if said.err.contains("--allow-downgrade installs") {
            assert_eq!(said.code, Some(2), "seed {seed}: {}", person.story);
            command.push("--allow-downgrade".to_owned());
            said = person.run(chance, &command);
        }
        if !succeeded(&said, wanted.is_none()) {
            let after = look(&person.place.client, &person.namespaces()).await;
            assert!(said.err.contains("error: "), "seed {seed}: {}", person.story);
            let changed: Vec<&Key> =
                differing(&before, &after).into_iter().filter(|(_, _, name)| !name.contains("-status")).collect();
            let orchestrators = |key: &&Key| key.0 == "Lease" || key.2.starts_with("kubectl-ado-token-");
            let changed: Vec<&Key> =
                changed.into_iter().filter(|key| !orchestrators(key) || !after.contains_key(*key)).collect();
            assert!(
                changed.is_empty() || ADMITS.iter().any(|words| said.err.contains(words)),
                "seed {seed}: {changed:?} changed, and nothing says so: {}",
                person.story
            );
            // The same command, where nothing fails, does the rest.
            said = person.run(0.0, &command);
            if said.err.contains("--allow-downgrade installs") {
                command.push("--allow-downgrade".to_owned());
                said = person.run(0.0, &command);
            }
        }
        assert!(succeeded(&said, wanted.is_none()), "seed {seed}: {said:#?} {}", person.story);
        model = wanted;
        holds(seed, &person, model.as_ref(), &said).await;
    }
}

/// An uninstall without an orchestrator cannot know what is registered, and says so with 1.
fn succeeded(said: &Said, uninstalls: bool) -> bool {
    let mut errors = said.err.lines().filter(|line| line.starts_with("error: "));
    match said.code {
        Some(0) => true,
        Some(1) if uninstalls => {
            errors.all(|line| line.contains("registered")) || said.err.contains("is not installed in namespace")
        }
        _ => false,
    }
}

fn differing<'a>(before: &'a BTreeMap<Key, Value>, after: &'a BTreeMap<Key, Value>) -> Vec<&'a Key> {
    let mut keys: Vec<&Key> =
        before.iter().filter(|(key, value)| after.get(*key) != Some(value)).map(|(key, _)| key).collect();
    keys.extend(after.keys().filter(|key| !before.contains_key(*key)));
    keys
}

/// As if an install by a plugin of that version had been the last one.
fn version_runs(person: &Person, version: &str) {
    let image = format!("orchestrator=ghcr.io/kubectl-ado/kubectl-ado:{version}");
    let arguments =
        ["set", "image", "deployment/kubectl-ado", "-n", person.place.name(), &image, "--field-manager=kubectl-ado"];
    person.place.plane.kubectl(&arguments).unwrap();
}

/// A command, and what the cluster has to hold after it; `None` for nothing.
fn draw(dice: &mut fastrand::Rng, person: &Person, model: Option<&Model>) -> (Vec<String>, Option<Model>) {
    let namespace = person.place.name().to_owned();
    if model.is_some() && dice.f64() < 0.2 {
        let mut command =
            vec!["uninstall".to_owned(), "-n".to_owned(), namespace, "-y".to_owned(), "--timeout=15s".to_owned()];
        command.extend(["--drain", "--force"].get(dice.usize(..3)).map(|flag| (*flag).to_owned()));
        return (command, None);
    }
    let fresh = Model {
        url: person.place.sandbox.url(),
        pools: vec!["Linux".to_owned()],
        agents: namespace.clone(),
        id: None,
        max: None,
        idle: None,
        template: false,
        our_secret: true,
        replicas: 1,
        memory: None,
    };
    let of_file = dice.f64() < 0.25;
    let mut wanted = model.cloned().unwrap_or_else(|| fresh.clone());
    let verb = if model.is_some() && !of_file && dice.bool() { "upgrade" } else { "install" };
    let mut command: Vec<String> =
        [verb, "-n", &namespace, "--skip-checks", "--wait=false", "-y"].map(str::to_owned).into();
    let flag = |command: &mut Vec<String>, name: &str, value: &str| command.extend([name.to_owned(), value.to_owned()]);
    let is_first = model.is_none();
    if of_file {
        // A file replaces what the configuration says; where agents live stays where it does not say that.
        let mut file = Model {
            agents: wanted.agents.clone(),
            our_secret: wanted.our_secret,
            replicas: wanted.replicas,
            memory: wanted.memory.clone(),
            ..fresh
        };
        file.pools = vec!["Linux".to_owned(), "Deploy".to_owned()];
        file.id = dice.bool().then(|| ["one", "two"][dice.usize(..2)].to_owned());
        file.max = Some(dice.u32(3..9));
        file.template = dice.bool();
        let path = person.place.folder.path().join("ado.yaml");
        std::fs::write(&path, serde_yaml::to_string(&file.configuration(&namespace)).unwrap()).unwrap();
        flag(&mut command, "-f", "ado.yaml");
        wanted = file;
    }
    if !of_file && (is_first || dice.f64() < 0.2) {
        let other = format!("https://dev.azure.com/{namespace}");
        wanted.url = if dice.f64() < 0.7 { person.place.sandbox.url() } else { other };
        flag(&mut command, "--org", &wanted.url);
    }
    if !of_file && (is_first || dice.f64() < 0.3) {
        wanted.pools = [vec!["Linux"], vec!["Deploy"], vec!["Linux", "Größe: ✓ #1"]][dice.usize(..3)]
            .iter()
            .map(|it| (*it).to_owned())
            .collect();
        flag(&mut command, "--pool", &wanted.pools.join(","));
    }
    if dice.f64() < 0.2 {
        wanted.agents = person.namespaces()[dice.usize(..2)].clone();
        flag(&mut command, "--agents-namespace", &wanted.agents);
    }
    if is_first || dice.f64() < 0.2 {
        wanted.our_secret = dice.f64() < 0.6;
        match wanted.our_secret {
            true => flag(&mut command, "--pat-file", &person.token_file().display().to_string()),
            false => flag(&mut command, "--existing-secret", "mine:pat"),
        }
    }
    if dice.f64() < 0.3 {
        wanted.max = Some(dice.u32(3..9));
        flag(&mut command, "--max-agents", &wanted.max.unwrap().to_string());
    }
    if dice.f64() < 0.2 {
        wanted.idle = Some(dice.u32(0..3));
        flag(&mut command, "--idle-agents", &wanted.idle.unwrap().to_string());
    }
    if dice.f64() < 0.15 {
        wanted.template = true;
        flag(&mut command, "--template", "job.yaml");
    }
    if dice.f64() < 0.15 {
        wanted.replicas = dice.u32(1..4);
        flag(&mut command, "--replicas", &wanted.replicas.to_string());
    }
    if dice.f64() < 0.15 {
        wanted.memory = Some(format!("{}Mi", dice.u32(100..200)));
        flag(&mut command, "--limits", &format!("memory={}", wanted.memory.as_ref().unwrap()));
    }
    (command, Some(wanted))
}

/// The cluster holds exactly that, and what an orchestrator made for somebody else was named.
async fn holds(seed: u64, person: &Person, model: Option<&Model>, said: &Said) {
    let namespace = person.place.name().to_owned();
    let found = look(&person.place.client, &person.namespaces()).await;
    let story = &person.story;
    let mut wanted: BTreeMap<Key, Value> = BTreeMap::new();
    if let Some(model) = model {
        for object in rendered(person, model) {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let place = text(&object["metadata"]["namespace"]);
            wanted.insert((text(&object["kind"]), place, text(&object["metadata"]["name"])), object);
        }
    }
    for (key, object) in &wanted {
        let is_excused =
            said.err.contains("it has to be there already") && ["settings", "pull"].contains(&key.2.as_str());
        // A Secret of a Job template is not stored, and a move leaves it behind, which is said.
        let is_excused =
            is_excused || (key.2 == "pull" && story.contains("until --template gives the Job template again"));
        let Some(live) = found.get(key) else {
            assert!(is_excused, "seed {seed}: {key:?} is missing: {story}");
            continue;
        };
        let mut object = object.clone();
        let mut live = live.clone();
        match key.2.as_str() {
            "kubectl-ado-config" => {
                let (ours, theirs) = (configuration(&object, &namespace), configuration(&live, &namespace));
                assert_eq!(ours, theirs, "seed {seed}: {story}");
                let keys = |map: &Value| {
                    map["data"].as_object().unwrap().keys().cloned().collect::<std::collections::BTreeSet<_>>()
                };
                let (ours, theirs) = (keys(&object), keys(&live));
                // A template that was there stays beside the configuration, whether that names it or not.
                assert!(ours.is_subset(&theirs) && theirs.len() <= 2, "seed {seed}: {theirs:?} {story}");
                object.as_object_mut().unwrap().remove("data");
                live["data"] = Value::Null;
            }
            "kubectl-ado-token" | "pull" => {
                use base64::{Engine, engine::general_purpose::STANDARD};
                if key.2 == "kubectl-ado-token" {
                    assert_eq!(
                        live["data"]["token"],
                        STANDARD.encode(person.place.sandbox.token()),
                        "seed {seed}: {story}"
                    );
                }
                continue;
            }
            _ => {}
        }
        let lacks = lacking(&object, &live, "");
        assert!(lacks.is_none(), "seed {seed}: {key:?}: {}: {story}", lacks.unwrap_or_default());
    }
    let current = match model {
        Some(model) => Some((person.installation(model).await.short().to_owned(), model.agents.clone())),
        None => None,
    };
    for (key, object) in found.iter().filter(|(key, _)| !wanted.contains_key(*key)) {
        let (kind, place, name) = key;
        let labels = &object["metadata"]["labels"];
        let is_ours = labels["app.kubernetes.io/part-of"] == "kubectl-ado"
            || labels["app.kubernetes.io/managed-by"] == "kubectl-ado";
        let is_of_orchestrator = kind == "Lease"
            || name.starts_with("kubectl-ado-token-")
            || name.ends_with("-status")
            || name.ends_with("-control");
        let is_current =
            current.as_ref().is_some_and(|(short, agents)| name.contains(short.as_str()) && place == agents);
        assert!(
            !is_ours || (is_of_orchestrator && (is_current || person.named.contains(name))),
            "seed {seed}: {kind}/{name} in {place} is left and was not named (now {current:?}): {story}"
        );
    }
    if let Some(model) = model {
        // Nothing holds the orchestrator back.
        let lease = person.lease(model).await;
        let control = ("ConfigMap".to_owned(), model.agents.clone(), kubectl_ado::cluster::control_name(&lease));
        let text = found.get(&control).and_then(|map| map["data"]["control.json"].as_str()).unwrap_or("{}");
        let control: Value = serde_json::from_str(text).unwrap();
        assert_ne!(control["retire"], json!(true), "seed {seed}: {story}");
    }
}

/// What `ado.yaml` of a ConfigMap says. A namespace that is the install's own may be written down or not.
fn configuration(map: &Value, namespace: &str) -> Value {
    let text = map["data"]["ado.yaml"].as_str().unwrap();
    let mut document: Value = serde_yaml::from_str(text).unwrap();
    if document["namespace"] == namespace {
        document.as_object_mut().unwrap().remove("namespace");
    }
    document
}

/// The objects that an install renders that knows nothing of what was before.
fn rendered(person: &Person, model: &Model) -> Vec<Value> {
    let namespace = person.place.name();
    let path = person.place.folder.path().join("model.yaml");
    std::fs::write(path, serde_yaml::to_string(&model.configuration(namespace)).unwrap()).unwrap();
    let replicas = format!("--replicas={}", model.replicas);
    let mut arguments = vec![
        "install",
        "-n",
        namespace,
        "-f",
        "model.yaml",
        "--dry-run=client",
        "-o",
        "json",
        "--create-namespace=false",
        &replicas,
    ];
    let limits = model.memory.as_ref().map(|memory| format!("--limits=memory={memory}"));
    arguments.extend(limits.as_deref());
    if !model.our_secret {
        arguments.extend(["--existing-secret", "mine:pat"]);
    }
    let said = tokio::task::block_in_place(|| person.place.ado_as(None, &arguments)).ends(0);
    let list: Value = serde_json::from_str(&said.out).unwrap();
    let mut objects = list["items"].as_array().unwrap().clone();
    for object in &mut objects {
        if object["kind"] == "ConfigMap" {
            object["metadata"].as_object_mut().unwrap().remove("annotations");
        }
    }
    objects
}
