//! The forms that `-o` asks for, and documents for machines.

use std::io::{self, Write};

use serde::Serialize;

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

/// Writes a document as JSON, indented, with a line feed at its end.
///
/// # Errors
///
/// Nobody reads it any more, or the disk is full.
pub fn write_json(out: &mut impl Write, document: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, document)?;
    writeln!(out)
}

/// Writes a document as YAML that kubectl reads the same way.
///
/// # Errors
///
/// As [`write_json`].
pub fn write_yaml(out: &mut impl Write, document: &impl Serialize) -> io::Result<()> {
    let text = serde_yaml::to_string(document).map_err(io::Error::other)?;
    out.write_all(text.as_bytes())
}
