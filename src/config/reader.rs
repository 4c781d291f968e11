//! Reads typed settings out of a YAML tree. What is wrong is reported with file, line, column and the key's path, and
//! reading goes on.

use std::{ops::RangeInclusive, path::Path, time::Duration};

use super::{
    environment::VARIABLES,
    error::{Problems, Wrong},
    near_miss,
    origin::{Found, Origin},
    value::{self, quoted},
    yaml::{Key, Node, Place, Yaml},
};

/// How a number becomes a text.
pub const IN_QUOTES: &str = "put it in quotes";

/// The file that is read, and where its problems go.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) problems: &'a Problems,
}

impl Source<'_> {
    fn at(&self, place: Place) -> String {
        format!("{}:{place}", self.path.display())
    }
}

/// A value that may stand in the file: its node, and the path of keys that leads to it.
#[derive(Clone)]
pub(super) struct Field<'a> {
    source: Source<'a>,
    node: &'a Node,
    key: String,
}

/// A mapping whose keys have been checked.
pub(super) struct Map<'a> {
    field: Field<'a>,
    entries: &'a [(Key, Node)],
}

impl<'a> Field<'a> {
    /// The whole document.
    pub(super) fn root(source: Source<'a>, node: &'a Node) -> Self {
        Self { source, node, key: String::new() }
    }

    pub(super) fn origin(&self) -> Origin {
        let key = if self.key.is_empty() { "the file".to_owned() } else { self.key.clone() };
        Origin::File { place: self.source.at(self.node.place), key }
    }

    pub(super) fn report(&self, wrong: Wrong) {
        self.source.problems.wrong(self.origin(), wrong);
    }

    fn found<T>(&self, value: Result<T, Wrong>) -> Option<Found<T>> {
        match value {
            Ok(value) => Some(Found { value, origin: self.origin() }),
            Err(wrong) => {
                self.report(wrong);
                None
            }
        }
    }

    fn expected(&self, what: &str) -> Wrong {
        Wrong::new(format!("is {}; it has to be {what}", self.node.describe()))
    }

    /// A mapping with these keys and no others.
    pub(super) fn map(&self, known: &[&str]) -> Option<Map<'a>> {
        let map = self.any_map()?;
        for (key, _) in map.entries {
            if !known.contains(&key.name.as_str()) {
                self.report_unknown(key, known);
            }
        }
        Some(map)
    }

    /// A mapping with any keys.
    pub(super) fn any_map(&self) -> Option<Map<'a>> {
        let Yaml::Map(entries) = &self.node.value else {
            self.report(self.expected("a mapping of keys to values"));
            return None;
        };
        for (index, (key, _)) in entries.iter().enumerate() {
            if let Some((first, _)) = entries[..index].iter().find(|(earlier, _)| earlier.name == key.name) {
                let place = self.source.at(key.place);
                let path = self.path_to(&key.name);
                self.source
                    .problems
                    .error(format!("{place}: {path} stands there already at line {}", first.place.line));
            }
        }
        Some(Map { field: self.clone(), entries })
    }

    /// A list with at least one item.
    pub(super) fn list(&self) -> Option<Vec<Self>> {
        match &self.node.value {
            Yaml::List(nodes) if !nodes.is_empty() => {
                let item = |(index, node)| Self { node, key: format!("{}[{index}]", self.key), ..self.clone() };
                Some(nodes.iter().enumerate().map(item).collect())
            }
            Yaml::List(_) => {
                self.report(Wrong::new("is empty; it has to have at least one item"));
                None
            }
            _ => {
                self.report(self.expected("a list"));
                None
            }
        }
    }

    /// A text that the parser accepts. Numbers and booleans are no texts: `1.10` would become 1.1.
    pub(super) fn text<T>(&self, parse: impl FnOnce(&str) -> Result<T, Wrong>) -> Option<Found<T>> {
        let text = match &self.node.value {
            Yaml::Text(text) => text.trim(),
            Yaml::Bool(_) | Yaml::Whole(_) | Yaml::Float(_) => {
                self.report(self.expected("a text").mend(IN_QUOTES));
                return None;
            }
            _ => {
                self.report(self.expected("a text"));
                return None;
            }
        };
        if text.is_empty() {
            self.report(Wrong::new("is empty"));
            return None;
        }
        self.found(parse(text))
    }

    /// A number, as it is written.
    pub(super) fn number(&self) -> Option<Found<String>> {
        match &self.node.value {
            Yaml::Whole(number) => self.found(Ok(number.to_string())),
            Yaml::Float(number) => self.found(Ok(number.to_string())),
            Yaml::Text(text) if text.trim().parse::<f64>().is_ok() => {
                self.found(Err(self.expected("a number").mend("leave the quotes out")))
            }
            _ => self.found(Err(self.expected("a number"))),
        }
    }

    /// A whole number.
    pub(super) fn count(&self, range: &RangeInclusive<u32>) -> Option<Found<u32>> {
        match &self.node.value {
            Yaml::Whole(number) => self.found(value::count_in(range, *number)),
            Yaml::Text(text) if text.trim().parse::<u32>().is_ok() => {
                let wrong = value::wrong_count(range, &self.node.describe());
                self.found(Err(wrong.mend("leave the quotes out")))
            }
            _ => self.found(Err(value::wrong_count(range, &self.node.describe()))),
        }
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self) -> Option<Found<bool>> {
        match self.node.value {
            Yaml::Bool(value) => self.found(Ok(value)),
            _ => self.found(Err(self.expected("true or false"))),
        }
    }

    /// A duration with its unit.
    pub(super) fn duration(&self, range: RangeInclusive<Duration>) -> Option<Found<Duration>> {
        match &self.node.value {
            Yaml::Text(text) => self.found(value::duration(range)(text.trim())),
            Yaml::Whole(number) => {
                let wrong = value::wrong_duration(&range, &format!("{number}, which has no unit"));
                self.found(Err(wrong.mend(format!("write {number}s if seconds are meant"))))
            }
            _ => self.found(Err(value::wrong_duration(&range, &self.node.describe()))),
        }
    }

    fn path_to(&self, key: &str) -> String {
        if self.key.is_empty() { key.to_owned() } else { format!("{}.{key}", self.key) }
    }

    fn report_unknown(&self, key: &Key, known: &[&str]) {
        let place = self.source.at(key.place);
        let within = if self.key.is_empty() { String::new() } else { format!(" in {}", self.key) };
        let name = quoted(&key.name);
        let name = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(&name);
        let message = format!("{place}: unknown key `{name}`{within}");
        if matches!(key.name.as_str(), "token" | "pat" | "password" | "ORG_PAT" | "personalAccessToken") {
            let fix = "a token does not belong in this file: put it into a file of its own and name that in tokenFile, \
                       or set ORG_PAT";
            return self.source.problems.error_with_fix(message, fix);
        }
        let fix = match near_miss::closest(&key.name, known.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => match key_of_variable(&key.name) {
                Some(path) => format!("write it as `{path}`"),
                None => format!("the keys here are {}", known.join(", ")),
            },
        };
        self.source.problems.error_with_fix(message, fix);
    }
}

impl<'a> Map<'a> {
    /// The value of a key; one that is left empty counts as not there.
    pub(super) fn get(&self, key: &str) -> Option<Field<'a>> {
        self.get_even_empty(key).filter(|field| !matches!(field.node.value, Yaml::Null))
    }

    /// The value of a key, also an empty one.
    pub(super) fn get_even_empty(&self, key: &str) -> Option<Field<'a>> {
        let (_, node) = self.entries.iter().find(|(name, _)| name.name == key)?;
        Some(Field { node, key: self.field.path_to(key), ..self.field.clone() })
    }

    /// All keys with their values.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'a str, Field<'a>)> {
        let field = |key: &str, node| Field { node, key: self.field.path_to(key), ..self.field.clone() };
        self.entries.iter().map(move |(key, node)| (key.name.as_str(), field(&key.name, node)))
    }

    /// Where the mapping itself stands.
    pub(super) fn field(&self) -> &Field<'a> {
        &self.field
    }
}

/// The key that says what a variable of that name says: `JOB_NAMESPACE` or `jobNamespace` is `namespace`.
fn key_of_variable(name: &str) -> Option<&'static str> {
    let variable = near_miss::closest(name, VARIABLES.iter().map(|(name, _)| *name))?;
    VARIABLES.iter().find(|(name, key)| *name == variable && !key.is_empty()).map(|(_, key)| *key)
}
