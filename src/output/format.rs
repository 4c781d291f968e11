//! The forms that `-o` asks for, and documents for machines.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;

use crate::text::steers;

/// `-o` of commands that list things.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// For people with wide terminals
    Wide,
    /// For machines
    Json,
    /// For machines and people
    Yaml,
    /// Names alone, for `xargs`
    Name,
}

/// Writes a document as JSON, indented, with a line feed at its end. Texts of others stay what they are, and what steers a
/// terminal is escaped as JSON does it.
///
/// # Errors
///
/// Nobody reads it any more, or the disk is full.
pub fn write_json(out: &mut impl Write, document: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string_pretty(document)?;
    // Outside of texts JSON has nothing but ASCII, and line feeds that we want.
    out.write_all(
        escaped(
            &text,
            |c| c != '\n' && steers(c),
            |c, text| {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    text.push_str(&format!("\\u{unit:04x}"));
                }
            },
        )
        .as_bytes(),
    )?;
    writeln!(out)
}

/// Writes a document as YAML that kubectl reads the same way. Texts of others stay what they are, as in [`write_json`].
///
/// # Errors
///
/// As [`write_json`].
pub fn write_yaml(out: &mut impl Write, document: &impl Serialize) -> io::Result<()> {
    let mut text = serde_yaml::to_string(document).map_err(io::Error::other)?;
    if text.chars().any(is_raw) {
        // The writer quotes and escapes control characters, but no direction marks. So each mark stands as a number between two
        // control characters while it is written.
        let mut document = serde_json::to_value(document)?;
        mark(&mut document);
        text = unmarked(&serde_yaml::to_string(&document).map_err(io::Error::other)?);
    }
    out.write_all(text.as_bytes())
}

/// What stands around the number of a character that must not stand in YAML as it is, before it is written and after.
const MARK: char = '\u{1}';
const WRITTEN_MARK: &str = "\\x01";

/// What YAML may not hold as it is. Line feeds and tabs are its own.
fn is_raw(c: char) -> bool {
    !matches!(c, '\n' | '\t') && steers(c)
}

fn mark(value: &mut Value) {
    let marked = |text: &str| {
        escaped(
            text,
            |c| !c.is_control() && steers(c),
            |c, text| {
                text.push_str(&format!("{MARK}{:04x}{MARK}", u32::from(c)));
            },
        )
    };
    match value {
        Value::String(text) => *text = marked(text),
        Value::Array(values) => values.iter_mut().for_each(mark),
        Value::Object(fields) => {
            let old = std::mem::take(fields);
            fields.extend(old.into_iter().map(|(name, mut value)| {
                mark(&mut value);
                (marked(&name), value)
            }));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn unmarked(text: &str) -> String {
    let mut unmarked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(WRITTEN_MARK) {
        unmarked.push_str(before);
        let number = after.get(..4).filter(|_| after[4..].starts_with(WRITTEN_MARK));
        match number.filter(|number| number.bytes().all(|c| c.is_ascii_hexdigit())) {
            Some(number) => {
                unmarked.push_str(&format!("\\u{number}"));
                rest = &after[4 + WRITTEN_MARK.len()..];
            }
            None => {
                unmarked.push_str(WRITTEN_MARK);
                rest = after;
            }
        }
    }
    unmarked + rest
}

/// The text with some of its characters written in another way.
fn escaped(text: &str, which: impl Fn(char) -> bool, write: impl Fn(char, &mut String)) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if which(c) {
            write(c, &mut escaped);
        } else {
            escaped.push(c);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::text::tests::STEERING;

    #[test]
    fn documents_keep_the_text_of_others_and_hold_nothing_that_steers() {
        for (text, _) in STEERING {
            let document = json!({"pipeline": format!("a{text}b"), format!("k{text}"): [format!("{text}: - x")]});
            let (mut json, mut yaml) = (Vec::new(), Vec::new());
            write_json(&mut json, &document).unwrap();
            write_yaml(&mut yaml, &document).unwrap();
            let (json, yaml) = (String::from_utf8(json).unwrap(), String::from_utf8(yaml).unwrap());
            assert!(!json.chars().chain(yaml.chars()).any(is_raw), "{json:?} {yaml:?}");
            assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), document, "{json}");
            assert_eq!(serde_yaml::from_str::<Value>(&yaml).unwrap(), document, "{yaml}");
        }
    }
}
