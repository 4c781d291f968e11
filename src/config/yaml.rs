//! YAML as a tree that knows where each of its nodes stands, so that whatever is wrong can be said with its place,
//! and all of it at once. A typed reading would stop at the first error.

use std::{fmt, path::Path};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;
use serde_yaml::{DuplicateKeyPolicy, Location, Options, Spanned};

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) column: u64,
}

/// A node and where it begins.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Yaml,
    pub(super) place: Place,
}

/// A key of a mapping and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) place: Place,
}

/// What a node is. Mappings keep their order and their duplicates.
#[derive(Clone, Debug)]
pub(super) enum Yaml {
    Null,
    Bool(bool),
    Whole(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// How scalars are understood.
#[derive(Clone, Copy)]
pub(super) enum Dialect {
    /// YAML 1.2: `yes` is a text and `0644` a decimal number.
    Strict,
    /// As kubectl reads manifests (YAML 1.1): `yes` is true and `0644` octal.
    Kubectl,
}

/// What is wrong with the YAML as such, and where.
#[derive(Debug)]
pub(super) struct SyntaxError {
    message: String,
    place: Option<Place>,
}

impl SyntaxError {
    /// The error with the file and the place in it.
    pub(super) fn in_file(&self, path: &Path) -> String {
        let place = self.place.map(|place| format!(":{place}")).unwrap_or_default();
        format!("{}{place}: {}", path.display(), self.message)
    }
}

/// Reads all documents; empty ones are left out.
pub(super) fn parse(text: &str, dialect: Dialect) -> Result<Vec<Node>, SyntaxError> {
    let mut options = Options::default();
    options.duplicate_keys = DuplicateKeyPolicy::PassThrough;
    options.with_snippet = false;
    options.strict_booleans = matches!(dialect, Dialect::Strict);
    options.legacy_octal_numbers = matches!(dialect, Dialect::Kubectl);
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    serde_yaml::from_multiple_with_options(text, options).map_err(|error| {
        let place = error.location().filter(|location| location.line() > 0).map(Place::from);
        let message = error.without_snippet().to_string();
        // The library's texts end with their place, which we say in our own way.
        let message = message.split(" at line ").next().unwrap_or_default();
        // It may repeat a word of the file; one that looks like a token is not passed on.
        let is_harmless = super::value::quoted(message).starts_with('"');
        let message = if is_harmless { message } else { "this is not valid YAML" }.to_owned();
        SyntaxError { message, place }
    })
}

impl Node {
    /// The node of that key, if this is a mapping and has it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Yaml::Map(entries) = &self.value else { return None };
        entries.iter().find(|(name, _)| name.name == key).map(|(_, node)| node)
    }

    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Yaml::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The same without the places.
    pub(super) fn to_json(&self) -> Value {
        match &self.value {
            Yaml::Null => Value::Null,
            Yaml::Bool(value) => Value::Bool(*value),
            Yaml::Whole(value) => match (i64::try_from(*value), u64::try_from(*value)) {
                (Ok(value), _) => value.into(),
                (_, Ok(value)) => value.into(),
                _ => Value::String(value.to_string()),
            },
            Yaml::Float(value) => serde_json::Number::from_f64(*value).map_or(Value::Null, Value::Number),
            Yaml::Text(text) => Value::String(text.clone()),
            Yaml::List(nodes) => nodes.iter().map(Self::to_json).collect(),
            Yaml::Map(entries) => {
                Value::Object(entries.iter().map(|(key, node)| (key.name.clone(), node.to_json())).collect())
            }
        }
    }

    /// What kind of thing it is, with scalars shown: for messages.
    pub(super) fn describe(&self) -> String {
        match &self.value {
            Yaml::Null => "empty".to_owned(),
            Yaml::Bool(value) => value.to_string(),
            Yaml::Whole(value) => value.to_string(),
            Yaml::Float(value) => value.to_string(),
            Yaml::Text(text) => format!("the text {}", super::value::quoted(text)),
            Yaml::List(_) => "a list".to_owned(),
            Yaml::Map(_) => "a mapping".to_owned(),
        }
    }
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        Self { line: location.line(), column: location.column() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Yaml>::deserialize(deserializer)?;
        Ok(Self { value: spanned.value, place: spanned.referenced.into() })
    }
}

impl<'de> Deserialize<'de> for Yaml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(YamlVisitor)
    }
}

struct YamlVisitor;

impl<'de> Visitor<'de> for YamlVisitor {
    type Value = Yaml;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML")
    }

    fn visit_unit<E: Error>(self) -> Result<Yaml, E> {
        Ok(Yaml::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Yaml, E> {
        Ok(Yaml::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Yaml, E> {
        Ok(Yaml::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Yaml, E> {
        Ok(Yaml::Whole(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Yaml, E> {
        Ok(Yaml::Whole(value.into()))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Yaml, E> {
        Ok(Yaml::Whole(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Yaml, E> {
        Ok(Yaml::Float(value))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Yaml, E> {
        Ok(Yaml::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Yaml, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = items.next_element()? {
            nodes.push(node);
        }
        Ok(Yaml::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Yaml, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = items.next_key::<Spanned<String>>()? {
            let key = Key { name: key.value, place: key.referenced.into() };
            entries.push((key, items.next_value()?));
        }
        Ok(Yaml::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(text: &str, dialect: Dialect) -> Node {
        parse(text, dialect).unwrap().remove(0)
    }

    #[test]
    fn every_node_and_key_knows_its_place() {
        let root = one("a: 1\nb:\n- x\n- {c: yes, d: [2.5]}\n", Dialect::Strict);
        let Yaml::Map(entries) = &root.value else { panic!("{root:?}") };
        assert_eq!(entries[1].0.place, Place { line: 2, column: 1 });
        let Yaml::List(items) = &entries[1].1.value else { panic!("{root:?}") };
        assert_eq!(items[0].place, Place { line: 3, column: 3 });
        assert_eq!(items[1].get("d").unwrap().place, Place { line: 4, column: 15 });
        assert_eq!(root.to_json(), json!({"a": 1, "b": ["x", {"c": "yes", "d": [2.5]}]}));
    }

    #[test]
    fn manifests_are_understood_as_kubectl_understands_them() {
        let text = "a: yes\nb: 0644\nc: 12:30\nd: 1.10\ne: \"yes\"\nf: 0o17\ng: 10Gi\nh: off\ni: ~\nj: 2001-01-01\n";
        assert_eq!(
            one(text, Dialect::Kubectl).to_json(),
            json!({"a": true, "b": 420, "c": "12:30", "d": 1.1, "e": "yes", "f": 15, "g": "10Gi", "h": false, "i": null,
                   "j": "2001-01-01"})
        );
        assert_eq!(one("a: yes", Dialect::Strict).to_json(), json!({"a": "yes"}));
    }

    #[test]
    fn anchors_and_merges_are_followed_and_duplicates_kept() {
        let root = one("x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\nz: *x\n", Dialect::Strict);
        assert_eq!(root.to_json()["y"], json!({"a": 1, "b": 3}));
        assert_eq!(root.to_json()["z"], json!({"a": 1, "b": 2}));
        let Yaml::Map(entries) = one("a: 1\na: 2\n", Dialect::Strict).value else { panic!() };
        assert_eq!(entries.len(), 2);
    }

    #[test]
    fn empty_documents_are_left_out() {
        assert_eq!(parse("---\n# nothing\n---\na: 1\n---\n", Dialect::Kubectl).unwrap().len(), 1);
        assert_eq!(parse("# nothing\n", Dialect::Kubectl).unwrap().len(), 0);
    }

    #[test]
    fn a_syntax_error_has_a_place() {
        for text in ["a: [1\nb: 2\n", "a: 1\n  b: 2\n", "a: \"x\n", "a:\n\tb: 1\n", "a: *b\n"] {
            let error = parse(text, Dialect::Strict).unwrap_err();
            assert!(error.place.is_some(), "{text:?}: {error:?}");
            assert!(!error.message.contains("line "), "{text:?}: {error:?}");
        }
    }
}
