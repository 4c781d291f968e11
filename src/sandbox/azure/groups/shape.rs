//! A published shape of JSON: what may be there, what has to be, and what is never shown again. Bodies are checked
//! against it and answers redacted by it.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Map, Value};

use super::Refusal;

/// What a value has to be.
#[derive(Debug)]
pub(super) enum Shape {
    Text,
    Number,
    Whole,
    Bool,
    /// One of these, regardless of case.
    OneOf(&'static [&'static str]),
    List(&'static Shape),
    /// Any names, with values of this shape.
    Map(&'static Shape),
    /// Text that is base64.
    Base64,
    /// Whatever; its use lies outside of this stand-in.
    Any,
    Object(&'static str, &'static [Field]),
}

/// A member of an object.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Optional,
    Required,
    /// Optional; comes in and never goes out.
    Secret,
    /// Optional and a map, of which the names go out and the values do not.
    SecretValues,
    /// Goes out; where it comes in it is passed over.
    ReadOnly,
}

pub(super) const fn may(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, kind: Kind::Optional }
}

pub(super) const fn must(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, kind: Kind::Required }
}

pub(super) const fn secret(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, kind: Kind::Secret }
}

pub(super) const fn read_only(name: &'static str) -> Field {
    Field { name, shape: Shape::Any, kind: Kind::ReadOnly }
}

impl Shape {
    /// Checks a value, and takes out what is read-only.
    pub(super) fn check(&self, value: &mut Value, path: &str) -> Result<(), Refusal> {
        let wrong = |what: &str| Err(Refusal::content(&format!("Error converting value to {what}. Path '{path}'")));
        match self {
            Self::Any => Ok(()),
            Self::Text if value.is_string() => Ok(()),
            Self::Text => wrong("type 'System.String'"),
            Self::Number if value.is_number() => Ok(()),
            Self::Number => wrong("type 'System.Double'"),
            Self::Whole if value.is_i64() || value.is_u64() => Ok(()),
            Self::Whole => wrong("type 'System.Int32'"),
            Self::Bool if value.is_boolean() => Ok(()),
            Self::Bool => wrong("type 'System.Boolean'"),
            Self::OneOf(known) => match value.as_str() {
                Some(text) if known.iter().any(|name| name.eq_ignore_ascii_case(text)) => Ok(()),
                _ => wrong(&format!("one of {}", known.join(", "))),
            },
            Self::Base64 => match value.as_str() {
                Some(text) if BASE64_STANDARD.decode(text).is_ok() => Ok(()),
                _ => Err(Refusal::new(
                    400,
                    "InvalidSecretVolumeContent",
                    format!("The content of the secret at '{path}' is not a valid base64 encoded string."),
                )),
            },
            Self::List(shape) => {
                let Value::Array(items) = value else { return wrong("a list") };
                items.iter_mut().enumerate().try_for_each(|(at, item)| shape.check(item, &format!("{path}[{at}]")))
            }
            Self::Map(shape) => {
                let Value::Object(members) = value else { return wrong("an object") };
                members.retain(|_, member| !member.is_null());
                members.iter_mut().try_for_each(|(name, member)| shape.check(member, &within(path, name)))
            }
            Self::Object(kind, fields) => {
                let Value::Object(members) = value else { return wrong(&format!("type '{kind}'")) };
                check_members(kind, fields, members, path)
            }
        }
    }

    /// Takes out what is never shown.
    pub(super) fn redact(&self, value: &mut Value) {
        match (self, value) {
            (Self::List(shape), Value::Array(items)) => items.iter_mut().for_each(|item| shape.redact(item)),
            (Self::Map(shape), Value::Object(members)) => {
                members.values_mut().for_each(|member| shape.redact(member));
            }
            (Self::Object(_, fields), Value::Object(members)) => {
                for field in *fields {
                    match (field.kind, members.get_mut(field.name)) {
                        (Kind::Secret, _) => {
                            members.shift_remove(field.name);
                        }
                        (Kind::SecretValues, Some(Value::Object(map))) => {
                            map.values_mut().for_each(|value| *value = Value::Null);
                        }
                        (_, Some(member)) => field.shape.redact(member),
                        (_, None) => {}
                    }
                }
            }
            _ => {}
        }
    }
}

fn check_members(kind: &str, fields: &[Field], members: &mut Map<String, Value>, path: &str) -> Result<(), Refusal> {
    members.retain(|_, member| !member.is_null());
    for (name, member) in members.iter_mut() {
        let Some(field) = fields.iter().find(|field| field.name == name) else {
            let path = within(path, name);
            let what = format!("Could not find member '{name}' on object of type '{kind}'. Path '{path}'");
            return Err(Refusal::content(&what));
        };
        field.shape.check(member, &within(path, name))?;
    }
    let missing = |field: &&Field| field.kind == Kind::Required && !members.contains_key(field.name);
    if let Some(field) = fields.iter().find(missing) {
        let what = format!("Required property '{}' not found in JSON. Path '{path}'", field.name);
        return Err(Refusal::content(&what));
    }
    members.retain(|name, _| !fields.iter().any(|field| field.name == name && field.kind == Kind::ReadOnly));
    Ok(())
}

fn within(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
