//! `permissions`: the Role that a command needs, for whoever gives out rights.

mod rules;

use std::io::Write;

use serde_json::json;

use super::{Exit, Failure};
use crate::output::{table, write_json, write_yaml};
use rules::{Needs, Rule, TABLE, needs};

/// Print what a command needs in the cluster, as a Role
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  # What each command needs
  kubectl ado permissions
  # Give it to somebody
  kubectl ado permissions status -o yaml | kubectl apply -n ado-system -f -
  kubectl create rolebinding kubectl-ado-status -n ado-system --role=kubectl-ado-status --user=anna")]
pub(super) struct Args {
    /// A command, such as status or config set [default: all of them]
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
    /// How it is shown
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    #[default]
    Table,
    /// Roles for kubectl apply
    Yaml,
    /// Roles as a List
    Json,
}

impl Args {
    #[allow(clippy::unused_async, reason = "one of the family of commands")]
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let chosen: Vec<&Needs> = if self.command.is_empty() {
            TABLE.iter().collect()
        } else {
            let command = self.command.join(" ");
            let found = needs(&command);
            let within: Vec<&Needs> =
                TABLE.iter().filter(|needs| needs.command.starts_with(&format!("{command} "))).collect();
            match found {
                Some(found) => vec![found],
                None if !within.is_empty() => within,
                None => {
                    let names: Vec<_> = TABLE.iter().map(|needs| needs.command).collect();
                    let message = format!("no command \"{command}\" talks to a cluster");
                    return Err(Failure::new(
                        Exit::Usage,
                        message,
                        Some(format!("those that do: {}", names.join(", "))),
                    ));
                }
            }
        };
        let mut out = std::io::stdout().lock();
        match self.output {
            Format::Table => write!(
                out,
                "{}",
                table(["COMMAND", "GROUP", "RESOURCES", "VERBS"], chosen.iter().flat_map(|needs| rows(needs)))
            )?,
            Format::Json => {
                let items: Vec<_> = chosen.iter().map(|needs| role(needs)).collect();
                write_json(&mut out, &json!({"apiVersion": "v1", "kind": "List", "items": items}))?;
            }
            Format::Yaml => {
                for (index, needs) in chosen.iter().enumerate() {
                    if index > 0 {
                        writeln!(out, "---")?;
                    }
                    writeln!(
                        out,
                        "# kubectl ado {}, in the namespaces of the install and of its agents",
                        needs.command
                    )?;
                    if !needs.note.is_empty() {
                        writeln!(out, "# {}", needs.note)?;
                    }
                    write_yaml(&mut out, &role(needs))?;
                }
            }
        }
        Ok(Exit::Done)
    }
}

fn rows(needs: &Needs) -> Vec<[String; 4]> {
    let row = |(index, rule): (usize, &Rule)| {
        let command = if index == 0 { needs.command } else { "" };
        let group = rule.api_groups.join(",");
        let group = if group.is_empty() { "core".to_owned() } else { group };
        let names =
            if rule.resource_names.is_empty() { String::new() } else { format!("/{}", rule.resource_names.join(",")) };
        [command.to_owned(), group, format!("{}{names}", rule.resources.join(",")), rule.verbs.join(",")]
    };
    needs.rules.iter().enumerate().map(row).collect()
}

fn role(needs: &Needs) -> serde_json::Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": format!("kubectl-ado-{}", needs.command.replace(' ', "-"))},
        "rules": needs.rules,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::*;

    /// The commands that have kubectl's flags, by the words that are typed.
    fn talking(command: &clap::Command, words: &[&str], found: &mut BTreeSet<String>) {
        if command.get_subcommands().next().is_none() {
            if command.get_arguments().any(|argument| argument.get_id() == "kubeconfig") {
                found.insert(words.join(" "));
            }
            return;
        }
        for below in command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help") {
            talking(below, &[words, &[below.get_name()]].concat(), found);
        }
    }

    #[test]
    fn every_command_that_talks_to_a_cluster_is_in_the_table() {
        let mut talk = BTreeSet::new();
        talking(&super::super::Cli::command(), &[], &mut talk);
        let listed: BTreeSet<String> = TABLE.iter().map(|needs| needs.command.to_owned()).collect();
        let missing: Vec<_> = talk.difference(&listed).collect();
        assert!(missing.is_empty(), "not in the table: {missing:?}");
        assert_eq!(TABLE.len(), listed.len(), "each command stands there once");
    }

    #[test]
    fn nobody_is_given_everything() {
        for needs in TABLE {
            for rule in needs.rules {
                let all = [rule.api_groups, rule.resources, rule.verbs].concat();
                assert!(!all.contains(&"*") && !rule.verbs.is_empty(), "{}", needs.command);
            }
        }
    }
}
