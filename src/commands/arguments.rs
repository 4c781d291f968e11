//! kubectl takes its flags anywhere: `kubectl ado -n agents status` is `kubectl ado status -n agents`.

use std::ffi::OsString;

use clap::{Args as _, Command, CommandFactory as _};

use super::{Cli, cluster_flags::ClusterFlags};

/// The process's arguments with kubectl's flags moved behind the command that they stand before.
pub(super) fn behind_the_command(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let (ours, kubectls) = (Cli::command(), ClusterFlags::augment_args(Command::new("kubectl")));
    let mut arguments = arguments.into_iter();
    let mut before: Vec<OsString> = arguments.next().into_iter().collect();
    let mut moved = Vec::new();
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy().into_owned();
        let (to, flag) = match (flag(&kubectls, &text), flag(&ours, &text)) {
            (Some(flag), _) => (&mut moved, flag),
            (None, Some(flag)) => (&mut before, flag),
            (None, None) => {
                before.push(argument);
                break;
            }
        };
        to.push(argument);
        if flag == Flag::WithoutItsValue {
            to.extend(arguments.next());
        }
    }
    let mut all: Vec<OsString> = before.into_iter().chain(arguments).collect();
    let end = all.iter().position(|argument| argument == "--").unwrap_or(all.len());
    all.splice(end..end, moved);
    all
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flag {
    Whole,
    WithoutItsValue,
}

/// Whether the text is one of the command's flags, and whether the next argument is its value.
fn flag(command: &Command, text: &str) -> Option<Flag> {
    let by_long =
        text.strip_prefix("--").map(|rest| rest.split_once('=').map_or((rest, false), |(name, _)| (name, true)));
    let found = match by_long {
        Some((name, has_value)) => {
            let argument = command.get_arguments().find(|argument| argument.get_long() == Some(name))?;
            (argument, has_value)
        }
        None => {
            let mut letters = text.strip_prefix('-')?.chars();
            let letter = letters.next()?;
            let argument = command.get_arguments().find(|argument| argument.get_short() == Some(letter))?;
            (argument, !letters.as_str().is_empty())
        }
    };
    let (argument, has_value) = found;
    Some(if argument.get_action().takes_values() && !has_value { Flag::WithoutItsValue } else { Flag::Whole })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_kubectl_go_behind_the_command_and_all_others_stay() {
        for (given, taken) in [
            ("ado status -n a", "ado status -n a"),
            ("ado -n a status -w", "ado status -w -n a"),
            ("ado --as jane --context=c install --org u", "ado install --org u --as jane --context=c"),
            ("ado -na -v 6 --color never config view", "ado -v 6 --color never config view -na"),
            ("ado -n a logs -- job", "ado logs -n a -- job"),
            ("ado --help", "ado --help"),
            ("ado --nonsense status", "ado --nonsense status"),
            ("ado -n", "ado -n"),
        ] {
            let arguments = behind_the_command(given.split(' ').map(OsString::from));
            assert_eq!(arguments, taken.split(' ').map(OsString::from).collect::<Vec<_>>(), "{given}");
        }
    }
}
