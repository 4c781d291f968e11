//! The rules of the house that a compiler does not hold: which room may import which.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use std::{fs, path::Path};

/// Each room with the rooms that it may import from.
const LADDER: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("config", &["core"]),
    ("azure", &["core", "config"]),
    ("cluster", &["core", "config"]),
    ("azure_devops", &["core", "config", "azure", "cluster"]),
    ("hosts", &["core", "config", "azure", "cluster"]),
    ("orchestrator", &["core", "config", "azure", "cluster", "azure_devops", "hosts"]),
    ("sandbox", &["core"]),
    ("simulation", &["core", "sandbox"]),
    ("output", &[]),
    (
        "commands",
        &[
            "core",
            "config",
            "azure",
            "cluster",
            "azure_devops",
            "hosts",
            "orchestrator",
            "sandbox",
            "simulation",
            "output",
        ],
    ),
];

/// What the pure heart may use besides the standard library's data structures.
const CORE_MAY_USE: &[&str] = &["crate", "super", "std", "jiff", "serde", "sha2", "thiserror", "proptest"];

/// Parts of the standard library that touch the world outside.
const CORE_MUST_NOT_USE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "SystemTime",
    "::now()",
    "async fn",
];

fn rust_files(folder: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
    files
}

fn source() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The code of a file without its comments and its tests.
fn code(text: &str) -> String {
    let before_tests = text.split("#[cfg(test)]").next().unwrap_or_default();
    before_tests.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The rooms that a piece of code names, be it in a path or in a braced import.
fn rooms_named(code: &str) -> Vec<String> {
    let mut named = Vec::new();
    for after in code.split("crate::").skip(1) {
        let group = match after.strip_prefix('{') {
            Some(group) => group.split(';').next().unwrap_or_default().to_owned(),
            None => after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect(),
        };
        let mut depth = 0;
        let mut word = String::new();
        let mut first_of_item = true;
        for c in group.chars() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => first_of_item = true,
                c if c.is_alphanumeric() || c == '_' => {
                    if depth == 0 && first_of_item {
                        word.push(c);
                    }
                    continue;
                }
                _ => {}
            }
            if !word.is_empty() {
                named.push(std::mem::take(&mut word));
                first_of_item = false;
            }
        }
        if !word.is_empty() {
            named.push(word);
        }
    }
    named
}

#[test]
fn every_room_is_on_the_ladder() {
    for entry in fs::read_dir(source()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let room = path.file_name().unwrap().to_str().unwrap().to_owned();
            assert!(LADDER.iter().any(|(name, _)| *name == room), "src/{room} is not on the ladder");
        }
    }
}

#[test]
fn a_room_imports_only_from_rooms_that_stand_above_it() {
    for (room, may) in LADDER {
        for (path, text) in rust_files(&source().join(room)) {
            for named in rooms_named(&code(&text)) {
                let is_room = LADDER.iter().any(|(name, _)| *name == named);
                assert!(!is_room || named == *room || may.contains(&named.as_str()), "{path} imports from {named}");
            }
        }
    }
}

#[test]
fn the_core_is_pure() {
    for (path, text) in rust_files(&source().join("core")) {
        let code = code(&text);
        for forbidden in CORE_MUST_NOT_USE {
            assert!(!code.contains(forbidden), "{path} uses {forbidden}");
        }
        for line in code.lines().filter_map(|line| line.trim().strip_prefix("use ")) {
            let root: String = line.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            assert!(CORE_MAY_USE.contains(&root.as_str()), "{path} uses {root}");
        }
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for (path, text) in rust_files(&source()) {
        assert!(text.starts_with("//!"), "{path} does not start with a line that says what it is for");
    }
}

#[test]
fn braced_and_plain_imports_are_both_seen() {
    let code = "use crate::{config::Polling, core::{Plan, Run}};\nlet x = crate::hosts::Host;";
    assert_eq!(rooms_named(code), ["config", "core", "hosts"]);
}
