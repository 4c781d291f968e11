//! Changes settings in the text of `ado.yaml` and leaves all else as it was written: comments, order, quotes.
//!
//! Each change is tried on the text in a few ways, and the first result that reads as exactly what is wanted is taken.
//! Where none does (a block is to be replaced by another one), the whole file is written anew, which loses its comments.

use serde_json::{Map, Value, json};

use super::{
    error::{ConfigError, ConfigErrors},
    lines::Lines,
    near_miss,
    setting_path::SettingPath,
    yaml::{self, Dialect, Node, Place, Yaml},
};

/// A changed text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edited {
    /// All of it.
    pub text: String,
    /// Whether it had to be written anew.
    pub rewritten: bool,
}

/// Sets each path to its value, which is YAML: `40`, `10m`, `{gpu: "true"}`. An empty one takes the setting out of force.
///
/// # Errors
///
/// The text is no YAML, or a path leads through something that is not there or has no keys. Whether the result is a
/// valid configuration is not looked at.
pub fn edit(text: &str, changes: &[(SettingPath, String)]) -> Result<Edited, ConfigErrors> {
    let mut edited = Edited { text: text.to_owned(), rewritten: false };
    for (path, raw) in changes {
        let before = read(&edited.text)?;
        let mut wanted = before.as_ref().map_or_else(|| json!({}), Node::to_json);
        set(&mut wanted, &path.0, value_of(raw), path)?;
        let candidates = before.map_or_else(Vec::new, |root| candidates(&edited.text, &root, &path.0, raw, &wanted));
        let fits =
            |candidate: &String| read(candidate).is_ok_and(|node| node.is_some_and(|node| node.to_json() == wanted));
        match candidates.into_iter().find(fits) {
            Some(candidate) => edited.text = candidate,
            None => {
                let commented = edited.text.contains('#');
                edited.text = serde_yaml::to_string(&wanted).map_err(|error| refused(error.to_string(), None))?;
                edited.rewritten |= commented;
            }
        }
    }
    Ok(edited)
}

fn refused(message: String, fix: Option<String>) -> ConfigErrors {
    ConfigErrors(vec![ConfigError { message, fix }])
}

fn read(text: &str) -> Result<Option<Node>, ConfigErrors> {
    let documents = yaml::parse(text, Dialect::Strict)
        .map_err(|error| refused(error.in_file(std::path::Path::new("ado.yaml")), None))?;
    Ok(documents.into_iter().next())
}

/// The value as YAML reads it, else as a text.
fn value_of(raw: &str) -> Value {
    let read = yaml::parse(&format!("v: {raw}\n"), Dialect::Strict).ok();
    let value = read.and_then(|documents| match documents.as_slice() {
        [only] => Some(only.to_json()),
        _ => None,
    });
    match value {
        Some(Value::Object(mut map)) if map.len() == 1 => match map.remove("v").unwrap_or(Value::Null) {
            // A comment in a value would be lost without a word.
            Value::String(text) if raw.contains(" #") && !text.contains('#') => json!(raw),
            value => value,
        },
        _ => json!(raw),
    }
}

/// The item of a list that a part of a path means: by its name, in any case, or by its index.
fn item(items: &[Value], part: &str) -> Option<usize> {
    let named = |same: &dyn Fn(&str) -> bool| items.iter().position(|item| item["name"].as_str().is_some_and(same));
    named(&|name| name == part)
        .or_else(|| named(&|name| name.to_lowercase() == part.to_lowercase()))
        .or_else(|| part.parse().ok().filter(|index| *index < items.len()))
}

fn set(into: &mut Value, parts: &[String], value: Value, path: &SettingPath) -> Result<(), ConfigErrors> {
    let Some((part, rest)) = parts.split_first() else {
        *into = value;
        return Ok(());
    };
    if into.is_null() {
        *into = json!({});
    }
    match into {
        Value::Object(map) => {
            // A pool without templates has one called `default`.
            let first = rest.first().map(String::as_str);
            let empty = match first {
                Some("default") if part == "templates" => json!([{"name": "default"}]),
                Some(_) if SettingPath::is_list(part) => json!([]),
                Some(_) => Value::Object(Map::new()),
                None => Value::Null,
            };
            let entry = map.entry(part.clone()).or_insert(Value::Null);
            if entry.is_null() {
                *entry = empty;
            }
            set(entry, rest, value, path)
        }
        Value::Array(items) => match item(items, part).and_then(|index| items.get_mut(index)) {
            Some(item) => set(item, rest, value, path),
            None => Err(no_item(items, part, path)),
        },
        _ => Err(refused(format!("{path}: {part} cannot stand below a single value"), None)),
    }
}

fn no_item(items: &[Value], part: &str, path: &SettingPath) -> ConfigErrors {
    let names: Vec<&str> = items.iter().filter_map(|item| item["name"].as_str()).collect();
    let fix = match near_miss::closest(part, names.iter().copied()) {
        Some(meant) => format!("did you mean {meant}?"),
        None if names.is_empty() => "the file has none; add it by `kubectl edit` or in the file".to_owned(),
        None => format!("there are: {}", names.join(", ")),
    };
    refused(format!("{path}: there is nothing named {part}"), Some(fix))
}

/// The text with the change made in the ways that may fit.
fn candidates(text: &str, root: &Node, parts: &[String], raw: &str, wanted: &Value) -> Vec<String> {
    let (mut node, mut at, mut key) = (root, wanted, None);
    let mut rest = parts;
    while let Some((part, after)) = rest.split_first() {
        let next = match (&node.value, at) {
            (Yaml::Map(entries), Value::Object(_)) => entries
                .iter()
                .find(|(name, _)| name.name == *part)
                .map(|(name, next)| (next, &at[part.as_str()], Some(name.place))),
            (Yaml::List(nodes), Value::Array(items)) => {
                item(items, part).and_then(|index| Some((nodes.get(index)?, items.get(index)?, None)))
            }
            _ => None,
        };
        let Some((next, value, place)) = next else { break };
        (node, at, key, rest) = (next, value, place, after);
    }
    let mut all = Vec::new();
    let lines = Lines(text);
    let Some(missing) = rest.first() else {
        for written in [raw.to_owned(), flow(at)] {
            all.extend(lines.scalar_ends(node.place).into_iter().map(|end| lines.replace(node.place, end, &written)));
            all.extend(key.and_then(|key| lines.after_colon(key, &written)));
        }
        return all;
    };
    let value = &at[missing.as_str()];
    let entry = |value: &str| format!("{}: {value}", flow(&json!(missing)));
    let mut written = vec![flow(value)];
    if rest.len() == 1 {
        written.insert(0, raw.to_owned());
    }
    for written in written {
        match &node.value {
            Yaml::Null => all.extend(key.and_then(|key| lines.after_colon(key, &format!("{{{}}}", entry(&written))))),
            Yaml::Map(entries) => {
                let comma = if entries.is_empty() { "" } else { ", " };
                let indent = " ".repeat(usize::try_from(node.place.column.saturating_sub(1)).unwrap_or_default());
                if lines.rest(node.place).is_some_and(|rest| rest.starts_with('{')) {
                    if let Some((_, last)) = entries.last() {
                        let ends = lines.scalar_ends(last.place).into_iter();
                        all.extend(ends.map(|end| lines.insert(end, &format!(", {}", entry(&written)))));
                    }
                    let inside = Place { column: node.place.column + 1, ..node.place };
                    all.push(lines.insert(inside, &format!("{}{comma}", entry(&written))));
                } else {
                    all.push(lines.insert_after(last_line(node), &format!("{indent}{}", entry(&written))));
                    all.push(lines.insert_after(node.place.line - 1, &format!("{indent}{}", entry(&written))));
                }
            }
            _ => {}
        }
    }
    all
}

/// The line of the last thing in a node.
fn last_line(node: &Node) -> u64 {
    let below = match &node.value {
        Yaml::Map(entries) => entries.iter().map(|(key, value)| last_line(value).max(key.place.line)).max(),
        Yaml::List(items) => items.iter().map(last_line).max(),
        _ => None,
    };
    below.unwrap_or(0).max(node.place.line)
}

/// A value on one line.
fn flow(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let entries: Vec<_> =
                map.iter().map(|(key, value)| format!("{}: {}", flow(&json!(key)), flow(value))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::String(text) => {
            let plain = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/')
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./ ".contains(c))
                && !text.ends_with(' ')
                && value_of(text) == *value;
            if plain { text.clone() } else { value.to_string() }
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# Our file.
organization:
  url: https://dev.azure.com/contoso   # the one
limits: {maxAgents: 60, respectParallelJobs: true}   # all
defaults:

pools:
# Linux first
- name: Linux Builds
  limits: {maxAgents: 40}
  templates:
  - name: gpu
    capabilities: {gpu: \"true\"}   # quoted
    maxAgents: 4
  - name: default
    image: 'registry.example/a:1' # ours
- name: a.b   # dotted
";

    fn edited(path: &str, value: &str) -> String {
        let edited = edit(FILE, &[(path.parse().unwrap(), value.to_owned())]).unwrap();
        assert!(!edited.rewritten, "{path}: {}", edited.text);
        edited.text
    }

    fn changed(path: &str, value: &str) -> String {
        let after = edited(path, value);
        let (before, after): (Vec<_>, Vec<_>) = (FILE.lines().collect(), after.lines().collect());
        let gone = before.iter().filter(|line| !after.contains(line)).map(|line| format!("-{line}\n"));
        let new = after.iter().filter(|line| !before.contains(line)).map(|line| format!("+{line}\n"));
        gone.chain(new).collect()
    }

    #[test]
    fn one_line_changes_and_its_comment_stays() {
        for (path, value, expected) in [
            (
                "limits.maxAgents",
                "61",
                "-limits: {maxAgents: 60, respectParallelJobs: true}   # all\n+limits: {maxAgents: 61, respectParallelJobs: true}   # all\n",
            ),
            (
                "organization.url",
                "https://a/b",
                "-  url: https://dev.azure.com/contoso   # the one\n+  url: https://a/b   # the one\n",
            ),
            ("pools.Linux Builds.limits.maxAgents", "5", "-  limits: {maxAgents: 40}\n+  limits: {maxAgents: 5}\n"),
            ("pools.linux builds.templates.gpu.maxAgents", "5", "-    maxAgents: 4\n+    maxAgents: 5\n"),
            (
                "pools.Linux Builds.templates.default.image",
                "b:2",
                "-    image: 'registry.example/a:1' # ours\n+    image: b:2 # ours\n",
            ),
            (
                "pools.Linux Builds.templates.gpu.capabilities",
                "{gpu: \"2\"}",
                "-    capabilities: {gpu: \"true\"}   # quoted\n+    capabilities: {gpu: \"2\"}   # quoted\n",
            ),
        ] {
            assert_eq!(changed(path, value), expected, "{path}");
        }
    }

    #[test]
    fn a_new_key_gets_its_place() {
        for (path, value, expected) in [
            ("polling", "5s", "+polling: 5s\n"),
            ("defaults.startTimeout", "10m", "-defaults:\n+defaults: {startTimeout: 10m}\n"),
            ("organization.caFile", "/a b", "+  caFile: /a b\n"),
            ("pools.Linux Builds.templates.default.maxAgents", "4", "+    maxAgents: 4\n"),
            ("pools.\"a.b\".limits.maxAgents", "4", "+  limits: {maxAgents: 4}\n"),
            ("pools.\"a.b\".templates.default.idleAgents", "1", "+  templates: [{name: default, idleAgents: 1}]\n"),
            (
                "pools.Linux Builds.templates.gpu.capabilities.cuda",
                "\"12\"",
                "-    capabilities: {gpu: \"true\"}   # quoted\n+    capabilities: {gpu: \"true\", cuda: \"12\"}   # quoted\n",
            ),
        ] {
            // A line that stands elsewhere already (`maxAgents: 4`) is not counted as new.
            let seen = changed(path, value);
            assert!(seen == expected || (seen.is_empty() && edited(path, value).len() > FILE.len()), "{path}: {seen}");
        }
    }

    #[test]
    fn a_name_that_is_not_there_is_answered_with_what_is_meant() {
        let error = |path: &str| edit(FILE, &[(path.parse().unwrap(), "1".into())]).unwrap_err().to_string();
        assert_eq!(
            error("pools.Linux Buids.limits.maxAgents"),
            "error: pools.Linux Buids.limits.maxAgents: there is nothing named Linux Buids\nfix: did you mean Linux Builds?"
        );
        assert!(error("limits.maxAgents.more").contains("cannot stand below a single value"));
    }

    #[test]
    fn a_block_that_is_replaced_costs_the_comments_and_that_is_said() {
        let edited = edit(FILE, &[("pools".parse().unwrap(), "[{name: One}]".into())]).unwrap();
        assert!(edited.rewritten);
        assert_eq!(read(&edited.text).unwrap().unwrap().to_json()["pools"], json!([{"name": "One"}]));
    }

    #[test]
    fn an_empty_file_gets_its_first_key_and_odd_texts_are_quoted() {
        assert_eq!(edit("", &[("image".parse().unwrap(), "a: b".into())]).unwrap().text.trim(), "image: \"a: b\"");
    }
}
