//! Golden transcripts of the commands that set up, as far as they need no cluster: success, empty, error, each `-o`, on a
//! narrow terminal, without colour. With UPDATE_GOLDEN=1 they are written anew.

use std::{fs, path::Path, process::Command};

use crate::{
    stage::{Ran, plugin},
    transcripts::Transcript,
};

const GOOD: &str =
    "organization: {url: https://dev.azure.com/contoso}\npools:\n- name: Linux\n  limits: {maxAgents: 4}\n";
const BAD: &str =
    "organization: {url: https://dev.azure.com/contoso}\npools:\n- name: Linux\n  limits: {maxAgent: 4}\n";
const JOB: &str = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: build}\nspec:\n  template:\n    spec:\n      containers:\n      - name: agent\n        image: registry.example/agent:1\n";
const BAD_JOB: &str = "apiVersion: batch/v1\nkind: Job\nspec:\n  template:\n    spec:\n      containers:\n      - name: agent\n        imagee: registry.example/agent:1\n";

fn run_in(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = plugin(arguments);
    command.current_dir(folder);
    command
}

/// Each line with the exit code that it has to end with, whatever its `-o`.
const LINES: &[(&str, &[(&str, i32)])] = &[
    (
        "install",
        &[
            ("install", 2),
            ("install --org https://dev.azure.com/contoso --pool Linux --dry-run=client -o yaml", 0),
            ("install --org https://dev.azure.com/contoso --pool Linux --dry-run=client -o name", 0),
            ("install --org nonsense --pool Linux --dry-run=client -o yaml", 2),
            ("install -f bad.yaml --dry-run=client", 2),
            ("install -f missing.yaml --dry-run=client", 2),
            ("install --org https://dev.azure.com/contoso --pool Linux --pat-file token", 2),
            ("upgrade --max-agents 3", 2),
            ("uninstall -y", 2),
        ],
    ),
    (
        "config",
        &[
            ("config validate -f good.yaml", 0),
            ("config validate -f good.yaml -o json", 0),
            ("config validate -f bad.yaml", 3),
            ("config validate -f bad.yaml -o json", 3),
            ("config validate -f empty.yaml", 3),
            ("config validate -f missing.yaml", 2),
            ("config view", 2),
            ("config set limits.maxAgents=4", 2),
            ("auth set --pat-file missing", 2),
            ("auth test", 2),
        ],
    ),
    (
        "template",
        &[
            ("template init", 0),
            ("template validate -f job.yaml", 0),
            ("template validate -f job.yaml -o json", 0),
            ("template validate -f bad-job.yaml", 3),
            ("template validate -f bad-job.yaml -o json", 3),
            ("template validate -f empty.yaml", 3),
            ("template validate -f missing.yaml", 2),
        ],
    ),
    ("permissions", &[("permissions status", 0), ("permissions nonsense", 2), ("completion nonsense", 2)]),
];

#[test]
fn what_commands_that_set_up_print_is_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let files = [("good.yaml", GOOD), ("bad.yaml", BAD), ("job.yaml", JOB), ("bad-job.yaml", BAD_JOB)];
    for (name, text) in files.into_iter().chain([("empty.yaml", ""), ("token", "secret-of-the-organization")]) {
        fs::write(folder.join(name), text).unwrap();
    }
    for (name, lines) in LINES {
        let mut transcript = Transcript::new("no namespace");
        for (line, code) in *lines {
            let arguments: Vec<&str> = line.split(' ').collect();
            let ran = Ran::of(run_in(folder, &arguments)).ends(*code);
            assert!(!format!("{ran:?}").contains("secret-of-the-organization"), "{line}");
            transcript.add("", &arguments, &ran);
            // A pipe has neither width nor colour, whatever the terminal around it says.
            let mut other = run_in(folder, &arguments);
            other.envs([("COLUMNS", "60"), ("NO_COLOR", "1"), ("TERM", "dumb")]);
            let other = Ran::of(other).ends(*code);
            assert_eq!((&other.out, &other.err), (&ran.out, &ran.err), "{line}");
        }
        transcript.is(&format!("setup-{name}"));
    }
}
