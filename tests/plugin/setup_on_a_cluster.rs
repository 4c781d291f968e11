//! Golden transcripts of the commands that set up, with a cluster: success, empty, error, `-o json`. With UPDATE_GOLDEN=1
//! they are written anew.

use std::time::Duration;

use crate::{
    place::Place,
    stage::Ran,
    staged::{Ended, Staged},
    transcripts::Transcript,
};

/// What was printed, without what differs from run to run: ports, milliseconds, ages, names that an installation's id is
/// part of, and how often it was waited.
fn steady(text: &str, names: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (name, stands_for) in names {
        text = text.replace(name, stands_for);
    }
    let mut lines = Vec::new();
    for line in text.split_inclusive('\n').filter(|line| !line.starts_with("waiting for the orchestrator")) {
        let mut words: Vec<String> = line.split(' ').map(without_the_id).collect();
        for index in 1..words.len() {
            let number = words[index - 1].trim_start_matches(['(', '"']);
            let timed = words[index].starts_with("ms") || words[index] == "s" && words.get(index + 1).is_some();
            if timed && !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()) {
                words[index - 1] = words[index - 1].replace(number, "#");
            }
        }
        lines.push(words.join(" "));
    }
    // What goes is listed by name, and an installation's id is part of some.
    lines.chunk_by_mut(|one, next| [one, next].iter().all(|line| line.ends_with(" deleted\n"))).for_each(<[_]>::sort);
    lines.concat()
}

/// The word with `ID` where a name has the installation's short id, and what is derived from it behind it.
fn without_the_id(word: &str) -> String {
    for (before, after) in [("agent-job-", ""), ("kubectl-ado-token-", ""), ("kubectl-ado-", "-control")] {
        let Some((start, rest)) = word.split_once(before) else { continue };
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        match name.strip_suffix(after) {
            Some(id) if !id.is_empty() => return format!("{start}{before}ID{after}{behind}"),
            _ => {}
        }
    }
    word.to_owned()
}

fn ran(code: i32, out: &str, err: &str, names: &[(&str, &str)]) -> Ran {
    Ran { code: Some(code), out: steady(out, names), err: steady(err, names), took: Duration::ZERO }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_config_auth_and_template_print_what_they_printed() {
    let staged = Staged::new("setup", &["Linux"]).await;
    let pod = staged.pod_runs().await;
    staged.healthy(&["Linux"]).await;
    let folder = staged.world.folder.path();
    let token = folder.join("good-token");
    std::fs::write(&token, staged.world.sandbox.token()).unwrap();
    let bad = folder.join("bad-token");
    std::fs::write(&bad, "some-other-token").unwrap();
    let (token, bad) = (token.to_str().unwrap(), bad.to_str().unwrap());
    let (url, cluster) = (staged.world.sandbox.url(), staged.world.plane.url());
    let address = url.trim_start_matches("http://").split('/').next().unwrap();
    let names = [
        (url.as_str(), "URL"),
        (address, "ADDRESS"),
        (cluster.trim_end_matches('/'), "CLUSTER"),
        (pod.as_str(), "POD"),
        (folder.to_str().unwrap(), "FOLDER"),
    ];
    let lines: &[(&str, &[&[&str]])] = &[
        (
            "check",
            &[
                &["check"],
                &["check", "-o", "short"],
                &["check", "-o", "json"],
                &["check", "-o", "yaml"],
                &["check", "--pat-file", token],
                &["check", "--pat-file", bad],
                &["check", "--pre", "--org", &url, "--pool", "Nope", "--pat-file", token],
                &["check", "-n", "nowhere"],
            ],
        ),
        (
            "config",
            &[
                &["config", "view"],
                &["config", "view", "-o", "json"],
                &["config", "set", "limits.maxAgents=61", "--dry-run"],
                &["config", "set", "limits.maxAgents=61"],
                &["config", "set", "limits.maxAgents=61"],
                &["config", "set", "limits.maxAgents=many"],
                &["config", "set", "pools.Nope.limits.maxAgents=3"],
                &["config", "view", "-n", "nowhere"],
            ],
        ),
        (
            "auth",
            &[
                &["auth", "test"],
                &["auth", "test", "--pat-file", bad],
                &["auth", "set", "--pat-file", bad],
                &["auth", "set", "--pat-file", token],
            ],
        ),
        ("template", &[&["template", "render"], &["template", "render", "--pool", "Nope"]]),
    ];
    for (name, lines) in lines {
        let mut transcript = Transcript::new(staged.namespace());
        for arguments in *lines {
            let Ended { code, out, err, .. } = staged.run(arguments);
            let shown: Vec<String> = arguments.iter().map(|argument| steady(argument, &names)).collect();
            let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
            transcript.add("", &shown, &ran(code, &out, &err, &names));
        }
        transcript.is(&format!("cluster-{name}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn install_upgrade_and_uninstall_print_what_they_printed() {
    let place = Place::new("install-prints").await;
    let _kubelet = place.kubelet();
    let orchestrator = place.orchestrator();
    let url = place.sandbox.url();
    let address = url.trim_start_matches("http://").split('/').next().unwrap().to_owned();
    let folder = place.folder.path().to_str().unwrap().to_owned();
    let names = [(url.as_str(), "URL"), (address.as_str(), "ADDRESS"), (folder.as_str(), "FOLDER")];
    let mut transcript = Transcript::new(place.name());
    let mut add = |arguments: &[&str], said: crate::place::Said| {
        transcript.add("", arguments, &ran(said.code.unwrap(), &said.out, &said.err, &names));
    };
    let ado = |arguments: &[&str]| place.ado(&[arguments, &["-n", place.name()]].concat());
    add(&["upgrade", "--max-agents", "3"], ado(&["upgrade", "--max-agents", "3"]));
    add(&["install", "…"], place.install(&[]));
    add(&["install", "…"], place.install(&[]));
    add(
        &["upgrade", "--max-agents", "3", "--dry-run=server"],
        ado(&["upgrade", "--max-agents", "3", "--dry-run=server"]),
    );
    add(&["upgrade", "--max-agents", "3", "-o", "name"], ado(&["upgrade", "--max-agents", "3", "-o", "name"]));
    add(&["upgrade", "--pool", "Nope"], ado(&["upgrade", "--pool", "Nope"]));
    add(&["uninstall"], ado(&["uninstall"]));
    add(&["uninstall", "--dry-run=server"], ado(&["uninstall", "--dry-run=server"]));
    add(&["uninstall", "-y"], ado(&["uninstall", "-y"]));
    orchestrator.stop().await;
    transcript.is("cluster-install");
}
