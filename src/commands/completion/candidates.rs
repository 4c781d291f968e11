//! What may be typed next, from the tree of commands and flags alone. Where values of the cluster are wanted, it says
//! which.

use clap::{Arg, Command};

/// What completes the last word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Candidates {
    /// These, each with what it is.
    Known(Vec<(String, String)>),
    /// Values that are found in the cluster or the kubeconfig, which begin with `typed` and are written after `before`.
    Values {
        /// Which.
        kind: Kind,
        /// `--namespace=`, where the flag and its value are one word.
        before: String,
        /// What has been typed of the value.
        typed: String,
    },
}

/// Values that are not known from the command line alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Namespaces,
    Contexts,
    Pools,
    Jobs,
    PoolsAndJobs,
}

/// What may complete the last of these words, which are those after `kubectl ado`.
pub(super) fn candidates(root: &Command, words: &[String]) -> Candidates {
    let mut root = root.clone();
    root.build();
    let (typed, before) = match words.split_last() {
        Some((typed, before)) => (typed.as_str(), before),
        None => ("", &[][..]),
    };
    let mut command = &root;
    let mut waiting: Option<&Arg> = None;
    let mut positionals = 0;
    let mut only_positionals = false;
    for word in before {
        if waiting.take().is_some() {
            continue;
        }
        if word == "--" {
            only_positionals = true;
        } else if !only_positionals && word.starts_with('-') {
            waiting = flag(command, word).filter(|flag| takes_value(flag) && !word.contains('='));
        } else if let Some(below) = command.find_subcommand(word).filter(|_| !only_positionals) {
            command = below;
        } else {
            positionals += 1;
        }
    }
    if let Some(flag) = waiting {
        return values(flag, "", typed);
    }
    if !only_positionals && typed.starts_with('-') {
        if let Some((name, value)) = typed.split_once('=') {
            return match flag(command, name) {
                Some(flag) => values(flag, &format!("{name}="), value),
                None => Candidates::Known(Vec::new()),
            };
        }
        return Candidates::Known(flags(command, typed));
    }
    let below: Vec<_> = command
        .get_subcommands()
        .filter(|below| !below.is_hide_set() && below.get_name().starts_with(typed))
        .map(|below| (below.get_name().to_owned(), about(below.get_about())))
        .collect();
    if command.has_subcommands() {
        return Candidates::Known(below);
    }
    let mut all = command.get_positionals();
    let positional = all.nth(positionals).or_else(|| command.get_positionals().last().filter(|last| is_many(last)));
    positional.map_or_else(|| Candidates::Known(Vec::new()), |positional| values(positional, "", typed))
}

fn is_many(argument: &Arg) -> bool {
    argument.get_num_args().is_some_and(|range| range.max_values() > 1)
        || matches!(argument.get_action(), clap::ArgAction::Append)
}

fn takes_value(argument: &Arg) -> bool {
    argument.get_action().takes_values()
}

fn flag<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let name = word.split('=').next().unwrap_or(word);
    command.get_arguments().find(|argument| match name.strip_prefix("--") {
        Some(long) => {
            argument.get_long() == Some(long) || argument.get_all_aliases().is_some_and(|all| all.contains(&long))
        }
        None => {
            let mut letters = name.chars().skip(1);
            argument.get_short().is_some() && argument.get_short() == letters.next() && letters.next().is_none()
        }
    })
}

fn flags(command: &Command, typed: &str) -> Vec<(String, String)> {
    command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set())
        .filter_map(|argument| Some((format!("--{}", argument.get_long()?), about(argument.get_help()))))
        .filter(|(flag, _)| flag.starts_with(typed))
        .collect()
}

fn values(argument: &Arg, before: &str, typed: &str) -> Candidates {
    let possible = argument.get_possible_values();
    if !possible.is_empty() {
        let known = possible.iter().filter(|value| !value.is_hide_set() && value.get_name().starts_with(typed));
        return Candidates::Known(
            known.map(|value| (format!("{before}{}", value.get_name()), about(value.get_help()))).collect(),
        );
    }
    let name =
        argument.get_value_names().and_then(|names| names.first()).map(clap::builder::Str::as_str).unwrap_or_default();
    let kind = match (argument.get_long(), name) {
        (Some("namespace" | "agents-namespace"), _) => Kind::Namespaces,
        (Some("context"), _) => Kind::Contexts,
        (_, "POOL") => Kind::Pools,
        (_, "JOB") => Kind::Jobs,
        (_, name) if name.contains("POOL") => Kind::PoolsAndJobs,
        _ => return Candidates::Known(Vec::new()),
    };
    Candidates::Values { kind, before: before.to_owned(), typed: typed.to_owned() }
}

/// The first line of a help text.
fn about(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn complete(words: &[&str]) -> Candidates {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        candidates(&super::super::super::Cli::command(), &words)
    }

    fn names(words: &[&str]) -> Vec<String> {
        match complete(words) {
            Candidates::Known(known) => known.into_iter().map(|(name, _)| name).collect(),
            other @ Candidates::Values { .. } => vec![format!("{other:?}")],
        }
    }

    #[test]
    fn commands_are_completed_by_their_beginning_and_hidden_ones_are_not() {
        assert_eq!(names(&["ch"]), ["check"]);
        assert_eq!(names(&["template", ""]), ["init", "render", "validate", "help"]);
        assert!(!names(&[""]).iter().any(|name| name == "serve" || name.starts_with("__")));
    }

    #[test]
    fn flags_and_their_values_are_completed_wherever_they_stand() {
        assert_eq!(names(&["check", "--fail"]), ["--fail-on"]);
        assert_eq!(names(&["check", "--fail-on", ""]), ["error", "warning", "never"]);
        assert_eq!(names(&["check", "--fail-on=w"]), ["--fail-on=warning"]);
        assert_eq!(names(&["check", "-n", "x", "-o", "j"]), ["json"]);
        assert_eq!(names(&["check", "--as-g"]), ["--as-group"]);
        assert_eq!(names(&["check", "--no-such=x"]), [""; 0]);
    }

    #[test]
    fn values_of_the_cluster_are_asked_for_by_their_kind() {
        let wanted =
            |kind, before: &str, typed: &str| Candidates::Values { kind, before: before.into(), typed: typed.into() };
        assert_eq!(complete(&["check", "-n", "ado"]), wanted(Kind::Namespaces, "", "ado"));
        assert_eq!(complete(&["check", "--namespace=ado"]), wanted(Kind::Namespaces, "--namespace=", "ado"));
        assert_eq!(complete(&["status", "--context", ""]), wanted(Kind::Contexts, "", ""));
        assert_eq!(complete(&["check", "--pool", "L"]), wanted(Kind::Pools, "", "L"));
    }
}
