//! Golden transcripts: what each command of the observing kind prints. With UPDATE_GOLDEN=1 they are written anew.

use std::{fmt::Write as _, path::Path};

use control_plane::pods;
use serde_json::json;

use crate::stage::{Ran, Stage, VERSION, linux, plugin, report, waits};

/// What differs from run to run: the namespace, the version, moments, and ages that count seconds.
fn steady(text: &str, namespace: &str) -> String {
    let text = text.replace(namespace, "NAMESPACE").replace(VERSION, "VERSION");
    let mut steady = String::new();
    let mut word = String::new();
    let end = |word: &mut String, steady: &mut String| {
        let number = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
        let of_seconds = word.strip_suffix('s').map(|rest| rest.split_once('m').unwrap_or(("0", rest)));
        let seconds = of_seconds.is_some_and(|(minutes, seconds)| number(minutes) && number(seconds));
        let moment = word.len() >= 20 && word.as_bytes()[10] == b'T' && word.ends_with('Z') && word.starts_with("20");
        steady.push_str(if seconds {
            "#s"
        } else if moment {
            "TIME"
        } else {
            word
        });
        word.clear();
    };
    for c in text.chars() {
        if c.is_alphanumeric() || matches!(c, ':' | '-' | '.') {
            word.push(c);
        } else {
            end(&mut word, &mut steady);
            steady.push(c);
        }
    }
    end(&mut word, &mut steady);
    steady
}

pub(crate) struct Transcript {
    text: String,
    namespace: String,
}

impl Transcript {
    pub(crate) fn new(namespace: &str) -> Self {
        Self { text: String::new(), namespace: namespace.to_owned() }
    }

    pub(crate) fn add(&mut self, note: &str, arguments: &[&str], ran: &Ran) {
        let note = if note.is_empty() { String::new() } else { format!("# {note}\n") };
        let _ = writeln!(self.text, "{note}$ kubectl ado {}", arguments.join(" "));
        self.text.push_str(&steady(&ran.out, &self.namespace).replace('\u{1b}', "ESC"));
        for line in steady(&ran.err, &self.namespace).lines() {
            let _ = writeln!(self.text, "2> {line}");
        }
        let _ = writeln!(self.text, "exit {}\n", ran.code.unwrap());
    }

    #[track_caller]
    pub(crate) fn is(&self, name: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/plugin/golden/{name}.txt"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &self.text).unwrap();
            return;
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            golden == self.text,
            "{name} is not as its golden transcript; UPDATE_GOLDEN=1 writes it anew:\n{}",
            self.text
        );
    }
}

#[test]
fn help_is_as_it_was() {
    for command in ["status", "pools", "agents", "jobs", "queue", "explain", "logs", "pause", "resume", "version"] {
        let mut transcript = Transcript::new("no namespace");
        let arguments = [command, "--help"];
        transcript.add("", &arguments, &Ran::of(plugin(&arguments)).ends(0));
        let arguments = [command, "--no-such-flag"];
        transcript.add("", &arguments, &Ran::of(plugin(&arguments)).ends(2));
        transcript.is(&format!("help-{command}"));
    }
}

#[tokio::test]
async fn what_is_printed_is_as_it_was() {
    let stage = Stage::new("transcripts").await;
    let namespace = stage.namespace.name();
    for (name, request) in [("agent-job-abc-5", 5), ("agent-job-abc-7", 7)] {
        let pod = stage.job(name, request).await;
        match request {
            5 => pods::set_pod_running(&stage.client, namespace, &pod).await.unwrap(),
            _ => {
                pods::set_image_pull_error(&stage.client, namespace, &pod, "registry.example/agent:typo")
                    .await
                    .unwrap();
            }
        }
    }
    let verdict = json!({"reason": "ImageNotPulled", "code": "ADO401", "run": "agent-job-abc-7",
        "message": "the image cannot be pulled (agent-job-abc-7): ErrImagePull: not found",
        "fix": "correct the image: kubectl ado config set pools.linux.templates.default.image=IMAGE"});
    // Anew for each command, so that nothing grows old meanwhile.
    let waiting = || {
        let mut waiting = report();
        waits(&mut waiting, &verdict);
        waiting
    };
    let commands: [(&str, &[&[&str]]); 8] = [
        (
            "status",
            &[
                &["status"],
                &["status", "Big GPU"],
                &["status", "-o", "wide"],
                &["status", "-o", "json"],
                &["status", "-o", "yaml"],
            ],
        ),
        ("pools", &[&["pools"], &["pools", "-o", "wide"], &["pools", "-o", "json"], &["pools", "-o", "name"]]),
        (
            "agents",
            &[&["agents"], &["agents", "-o", "wide"], &["agents", "Big GPU"], &["agents", "Big GPU", "-o", "json"]],
        ),
        ("queue", &[&["queue"], &["queue", "-o", "wide"], &["queue", "-o", "json"], &["queue", "Big GPU"]]),
        ("jobs", &[&["jobs", "-o", "name"], &["jobs", "Big GPU"]]),
        (
            "explain",
            &[
                &["explain", "7"],
                &["explain", "linux"],
                &["explain", "5"],
                &["explain", "Big GPU"],
                &["explain", "99"],
                &["explain", "7", "-o", "json"],
                &["explain", "ADO401"],
            ],
        ),
        (
            "pause",
            &[
                &["pause"],
                &["pause", "windows"],
                &["pause", "linux", "--dry-run=client"],
                &["resume", "linux", "--dry-run=server"],
            ],
        ),
        ("version", &[&["version"], &["version", "-o", "json"], &["version", "-o", "yaml"], &["version", "--client"]]),
    ];
    for (name, all) in commands {
        let mut transcript = Transcript::new(namespace);
        for arguments in all {
            stage.play(&waiting()).await;
            transcript.add("", arguments, &stage.run(arguments));
        }
        let first = all[0];
        stage.play(&waiting()).await;
        let mut narrow = stage.command(first);
        narrow.env("COLUMNS", "60");
        transcript.add("on 60 columns", first, &Ran::of(narrow));
        let mut plain = stage.command(first);
        plain.env("NO_COLOR", "1").env("TERM", "xterm");
        let plain = Ran::of(plain);
        assert!(!plain.out.contains('\u{1b}'), "{plain:?}");
        let coloured = [first, &["--color", "always"]].concat();
        transcript.add("", &coloured, &stage.run(&coloured));
        let absent = [first, &["-n", "no-such-namespace"]].concat();
        transcript.add("", &absent, &stage.run(&absent));
        transcript.is(name);
    }
    let mut old = waiting();
    old.reported_at = crate::stage::ago(3000);
    linux(&mut old).requests.clear();
    stage.play(&old).await;
    let mut transcript = Transcript::new(namespace);
    for arguments in [["status"].as_slice(), &["pools"], &["explain", "linux"]] {
        transcript.add("the status is old", arguments, &stage.run(arguments));
    }
    transcript.is("stale");
}
