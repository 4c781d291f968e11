//! Walking into a template (of a Job, of a container group): what is missing (or `null`, as an empty YAML key reads) is created, and what has the
//! wrong type is refused by its path.

use serde_json::{Map, Value, json};

/// A part of a template has the wrong type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path} has to be {wanted}, not {found}")]
pub struct TemplateError {
    /// Where: `spec.template.spec.containers[0].env`.
    pub path: String,
    /// What belongs there.
    pub wanted: &'static str,
    /// What stands there.
    pub found: &'static str,
}

/// An object of the template, with its path.
pub(super) struct Node<'a> {
    pub(super) map: &'a mut Map<String, Value>,
    path: String,
}

impl<'a> Node<'a> {
    pub(super) fn root(value: &'a mut Value) -> Result<Self, TemplateError> {
        Self::of(value, String::new())
    }

    fn of(value: &'a mut Value, path: String) -> Result<Self, TemplateError> {
        if value.is_null() {
            *value = Value::Object(Map::new());
        }
        let found = kind(value);
        match value {
            Value::Object(map) => Ok(Self { map, path }),
            _ => Err(TemplateError {
                path: if path.is_empty() { "the template".to_owned() } else { path },
                wanted: "an object",
                found,
            }),
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The object at a key.
    pub(super) fn child(&mut self, key: &str) -> Result<Node<'_>, TemplateError> {
        let path = self.path_of(key);
        Node::of(self.map.entry(key).or_insert(Value::Null), path)
    }

    /// The same, for as long as this one lives.
    pub(super) fn into_child(self, key: &str) -> Result<Node<'a>, TemplateError> {
        let path = self.path_of(key);
        Node::of(self.map.entry(key).or_insert(Value::Null), path)
    }

    /// The list at a key, and its path.
    pub(super) fn list(&mut self, key: &str) -> Result<(&mut Vec<Value>, String), TemplateError> {
        let path = self.path_of(key);
        let value = self.map.entry(key).or_insert(Value::Null);
        if value.is_null() {
            *value = Value::Array(Vec::new());
        }
        let found = kind(value);
        match value {
            Value::Array(list) => Ok((list, path)),
            _ => Err(TemplateError { path, wanted: "a list", found }),
        }
    }

    /// The objects of the list at a key; none where there is no such list.
    pub(super) fn each(&mut self, key: &str) -> Result<Vec<Node<'_>>, TemplateError> {
        if !self.has(key) {
            return Ok(Vec::new());
        }
        let (list, path) = self.list(key)?;
        list.iter_mut().enumerate().map(|(index, item)| Node::of(item, format!("{path}[{index}]"))).collect()
    }

    /// Whether a key has a value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|value| !value.is_null())
    }

    /// The string at a key.
    pub(super) fn text(&self, key: &str) -> Result<Option<&str>, TemplateError> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(TemplateError { path: self.path_of(key), wanted: "a string", found: kind(other) }),
        }
    }

    pub(super) fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.map.insert(key.to_owned(), value.into());
    }

    /// Sets a key that has no value.
    pub(super) fn set_default(&mut self, key: &str, value: impl Into<Value>) {
        if !self.has(key) {
            self.set(key, value);
        }
    }

    pub(super) fn remove(&mut self, key: &str) {
        self.map.shift_remove(key);
    }
}

/// Gives a container a variable, in place of one of that name. `list` is the key of its variables.
pub(super) fn set_variable(container: &mut Node<'_>, list: &str, name: &str, value: &str) -> Result<(), TemplateError> {
    let mut is_there = false;
    for mut variable in container.each(list)? {
        if variable.text("name")? == Some(name) {
            is_there = true;
            replace_value(&mut variable, value);
        }
    }
    if !is_there {
        container.list(list)?.0.push(json!({"name": name, "value": value}));
    }
    Ok(())
}

/// Gives a container a variable that it does not have.
pub(super) fn set_default_variable(
    container: &mut Node<'_>,
    list: &str,
    name: &str,
    value: &str,
) -> Result<(), TemplateError> {
    for variable in container.each(list)? {
        if variable.text("name")? == Some(name) {
            return Ok(());
        }
    }
    container.list(list)?.0.push(json!({"name": name, "value": value}));
    Ok(())
}

/// Whatever a variable's value comes from otherwise (of a pod, of a container group).
fn replace_value(variable: &mut Node<'_>, value: &str) {
    variable.remove("valueFrom");
    variable.remove("secureValue");
    variable.set("value", value);
}

/// A name that none of these have: the base itself, else with a number.
pub(super) fn free(base: &str, taken: &[String]) -> String {
    let is_free = |name: &String| !taken.contains(name);
    let numbered = (2..).map(|number| format!("{base}-{number}"));
    std::iter::once(base.to_owned()).chain(numbered).find(is_free).unwrap_or_default()
}

/// Whether a text stands anywhere in a document.
pub(super) fn contains_text(value: &Value, text: &str) -> bool {
    match value {
        Value::String(string) => string.contains(text),
        Value::Array(list) => list.iter().any(|item| contains_text(item, text)),
        Value::Object(map) => map.iter().any(|(key, item)| key.contains(text) || contains_text(item, text)),
        _ => false,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
