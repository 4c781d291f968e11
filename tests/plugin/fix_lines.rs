//! The commands that fix lines name: each of ours is one that our command line takes, and a shell to which a line is pasted
//! passes on every name as it is.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use kubectl_ado::core::{HostKind, LimitScope, Verdict, shell_operand, shell_word};

use crate::stage::plugin;

const HOSTILE: [&str; 14] = [
    "My Pool",
    "it's",
    "a\"b",
    "$(touch pwned)",
    "`touch pwned`",
    "a;touch pwned",
    "a && touch pwned",
    "back\\slash",
    "two\nlines",
    "tab\there",
    "*",
    "~",
    "!x",
    "Größe: ✓ #1",
];

/// Words that begin the prose behind a command.
const PROSE: &[&str] = &[
    "shows", "takes", "tells", "waits", "goes", "begins", "winds", "before", "prints", "makes", "moves", "checks",
    "says", "changes", "mends", "with", "as", "too", "removes", "starts", "lists", "once", "it", "and", "or", "in",
    "on", "again", "then", "knows", "ends", "does", "gives", "to", "asks", "is", "can", "reads", "runs", "never",
    "has", "there", "that", "first", "of", "works", "needs", "where", "for", "from", "at", "by", "stores", "may",
    "stays", "writes", "names", "restores", "brings", "replaces", "puts", "sets", "deletes", "applies", "keeps",
    "lets",
];

/// A shell's arguments of a line, by a `kubectl` that writes them down.
fn arguments(line: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("kubectl");
    fs::write(&program, "#!/bin/bash\nprintf '%s\\0' \"$@\" >>arguments\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let status = Command::new("bash").args(["-c", line]).current_dir(folder.path()).env("PATH", path).status().unwrap();
    assert!(status.success(), "{line}");
    assert!(!folder.path().join("pwned").exists(), "{line}");
    let written = fs::read_to_string(folder.path().join("arguments")).unwrap();
    written.split_terminator('\0').map(str::to_owned).collect()
}

/// Whether our command line has all of these flags and commands; nothing is run.
fn is_ours(arguments: &[String]) -> Result<(), String> {
    let mut all: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let at = all.iter().position(|argument| *argument == "--").unwrap_or(all.len());
    all.insert(at, "--help");
    let output = plugin(&all).output().unwrap();
    match output.status.code() {
        Some(0) => Ok(()),
        _ => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

#[test]
fn a_shell_passes_on_every_name_as_it_is() {
    for name in HOSTILE {
        assert!(!shell_word(name).contains('\n'));
        assert_eq!(arguments(&format!("kubectl {}", shell_word(name))), [name]);
        assert_eq!(arguments(&format!("kubectl {}", shell_operand(name))), [name]);
    }
    assert_eq!(arguments(&format!("kubectl {}", shell_operand("-x"))), ["--", "-x"]);
}

#[test]
fn what_a_verdict_says_names_the_pool_whatever_it_is_called() {
    for pool in HOSTILE {
        let at = |scope| Verdict::AtMaximum { scope, limit: 4, template: "gpu big".into() };
        let paused = Verdict::Paused { reason: None, until: None };
        let fails = Verdict::BackingOff { until: jiff::Timestamp::UNIX_EPOCH, attempt: 2, reason: "r".into() };
        for verdict in [at(LimitScope::Pool), at(LimitScope::Template), paused, fails] {
            let fix = verdict.report(pool, HostKind::Kubernetes).fix.unwrap();
            let given = arguments(&fix);
            assert_eq!(given[0], "ado", "{fix}");
            assert!(given.iter().any(|argument| named(argument) == pool), "{fix}: {given:?}");
            assert_eq!(is_ours(&given[1..]), Ok(()), "{fix}");
        }
    }
}

/// The pool that an argument names: itself, the value of a flag, or the second part of a setting's path.
fn named(argument: &str) -> String {
    if let Some((_, value)) = argument.split_once("--pool=") {
        return value.to_owned();
    }
    let Some(path) = argument.strip_prefix("pools.\"") else { return argument.to_owned() };
    let mut name = String::new();
    let mut characters = path.chars();
    while let Some(c) = characters.next().filter(|c| *c != '"') {
        name.extend(if c == '\\' { characters.next() } else { Some(c) });
    }
    name
}

/// The commands in the texts of the program that begin with `kubectl ado`, without the prose around them. What is filled in
/// is `x`.
fn commands() -> BTreeSet<String> {
    let mut commands = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap();
            for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
                for rest in line.split("kubectl ado ").skip(1) {
                    commands.extend(command(rest));
                }
            }
        }
    }
    commands
}

/// A command at the beginning of a text that goes on with prose or with the end of its literal.
fn command(text: &str) -> Option<String> {
    let end = text.find(['`', '"', ';', '(', '|', '\\', '\'', '>']).unwrap_or(text.len());
    let mut words: Vec<String> = Vec::new();
    for word in text[..end].split_whitespace() {
        if PROSE.contains(&word.trim_end_matches([',', '.', ':'])) {
            break;
        }
        let mut filled = String::new();
        let mut depth = 0;
        for c in word.chars() {
            match c {
                '{' => depth += 1,
                '}' => {
                    depth -= 1;
                    filled.push('x');
                }
                c if depth == 0 => filled.push(c),
                _ => {}
            }
        }
        let ends = filled.ends_with([',', '.', ':']);
        words.push(filled.trim_end_matches([',', '.', ':']).to_owned());
        if ends {
            break;
        }
    }
    // A command that is filled in while the program runs cannot be looked at here.
    let first = words.first().filter(|first| *first != "x")?;
    (first.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !first.is_empty()).then(|| words.join(" "))
}

#[test]
fn every_command_of_ours_that_a_text_names_is_one_that_we_have() {
    let commands = commands();
    assert!(commands.len() > 25, "{commands:?}");
    for line in &commands {
        let set = line.starts_with("config set ");
        let filled = |word: &str| if set && word == "x" { "limits.maxAgents=1".to_owned() } else { word.to_owned() };
        let words: Vec<String> = line.split(' ').map(filled).collect();
        assert_eq!(is_ours(&words), Ok(()), "kubectl ado {line}");
    }
}
