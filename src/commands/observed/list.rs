//! Lists as `kubectl get` prints them: `-o table|wide|json|yaml|name`, `-w`, `-A`, `--no-headers`.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use serde_json::{Value, json};

use super::repeat::LOOK_AGAIN;
use crate::{
    commands::{Exit, Failure},
    core::API_VERSION,
    output::{Format, aligned, harmless, write_json, write_yaml},
};

/// The flags of a list.
#[derive(Clone, Debug, Default, clap::Args)]
pub(in crate::commands) struct ListFlags {
    /// How to print it
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(in crate::commands) output: Format,
    /// Go on and print what changes
    #[arg(short, long)]
    pub(in crate::commands) watch: bool,
    /// The installs of all namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub(in crate::commands) all_namespaces: bool,
    /// Leave out the table's head
    #[arg(long)]
    pub(in crate::commands) no_headers: bool,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub(in crate::commands) struct Column {
    head: &'static str,
    is_wide: bool,
    passes: bool,
}

impl Column {
    /// One that is always shown.
    pub(in crate::commands) const fn new(head: &'static str) -> Self {
        Self { head, is_wide: false, passes: false }
    }

    /// One that changes as time passes, which is no news.
    pub(in crate::commands) const fn passing(head: &'static str) -> Self {
        Self { head, is_wide: false, passes: true }
    }

    /// One that `-o wide` shows.
    pub(in crate::commands) const fn wide(head: &'static str) -> Self {
        Self { head, is_wide: true, passes: false }
    }
}

/// A row, with a cell for each column.
#[derive(Clone, Debug)]
pub(in crate::commands) struct Row {
    /// The install's namespace.
    pub(in crate::commands) namespace: String,
    /// What `-o name` prints.
    pub(in crate::commands) name: String,
    /// Its cells; others' text need not be harmless yet.
    pub(in crate::commands) cells: Vec<String>,
    /// What `-o json` prints.
    pub(in crate::commands) document: Value,
}

/// What one look found.
pub(in crate::commands) struct Listed {
    /// The namespace, for the line that says that there is nothing.
    pub(in crate::commands) place: String,
    /// What there is.
    pub(in crate::commands) rows: Vec<Row>,
    /// What the reader should know; each is said once, on standard error.
    pub(in crate::commands) notes: Vec<String>,
}

/// Prints a list, and with `-w` what changes of it, until the process is interrupted.
pub(in crate::commands) async fn print_list(
    flags: &ListFlags,
    kind: &'static str,
    columns: &[Column],
    look: impl AsyncFn() -> Result<Listed, Failure>,
) -> Result<Exit, Failure> {
    let mut listed = look().await?;
    let mut said: Vec<String> = Vec::new();
    tell(&listed.notes, &mut said);
    if listed.rows.is_empty() && flags.output != Format::Json && flags.output != Format::Yaml {
        let place = if flags.all_namespaces || listed.place.is_empty() {
            String::new()
        } else {
            format!(" in {} namespace", listed.place)
        };
        let _ = writeln!(io::stderr(), "No resources found{place}.");
    }
    print(flags, kind, columns, &listed.rows, !flags.no_headers)?;
    let mut has_head = !listed.rows.is_empty();
    if !flags.watch {
        return Ok(Exit::Done);
    }
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        let next = match look().await {
            Ok(next) => next,
            Err(failure) => {
                tell(&[failure.to_string().trim_end().to_owned()], &mut said);
                continue;
            }
        };
        tell(&next.notes, &mut said);
        let before: BTreeMap<_, _> = listed.rows.iter().map(|row| (key(row), news(columns, row))).collect();
        let is_new = |row: &&Row| before.get(&key(row)) != Some(&news(columns, row));
        let changed: Vec<Row> = next.rows.iter().filter(is_new).cloned().collect();
        let is_document = matches!(flags.output, Format::Json | Format::Yaml);
        if is_document && (!changed.is_empty() || next.rows.len() != listed.rows.len()) {
            print(flags, kind, columns, &next.rows, false)?;
        } else if !is_document && !changed.is_empty() {
            print(flags, kind, columns, &changed, !has_head && !flags.no_headers)?;
            has_head = true;
        }
        listed = next;
    }
}

fn tell(notes: &[String], said: &mut Vec<String>) {
    for note in notes {
        if !said.contains(note) {
            let _ = writeln!(io::stderr(), "{}", note.lines().map(harmless).collect::<Vec<_>>().join("\n"));
            said.push(note.clone());
        }
    }
}

fn key(row: &Row) -> (&str, &str) {
    (&row.namespace, &row.name)
}

fn news<'a>(columns: &[Column], row: &'a Row) -> Vec<&'a str> {
    let cells = columns.iter().zip(&row.cells).filter(|(column, _)| !column.passes);
    cells.map(|(_, cell)| cell.as_str()).collect()
}

fn print(flags: &ListFlags, kind: &str, columns: &[Column], rows: &[Row], with_head: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let document = || {
        let items: Vec<_> = rows.iter().map(|row| &row.document).collect();
        json!({ "apiVersion": API_VERSION, "kind": kind, "items": items })
    };
    match flags.output {
        Format::Json => write_json(&mut out, &document())?,
        Format::Yaml => write_yaml(&mut out, &document())?,
        Format::Name => rows.iter().try_for_each(|row| writeln!(out, "{}", harmless(&row.name)))?,
        Format::Table | Format::Wide if rows.is_empty() => {}
        Format::Table | Format::Wide => out.write_all(lines(flags, columns, rows, with_head).as_bytes())?,
    }
    out.flush()
}

fn lines(flags: &ListFlags, columns: &[Column], rows: &[Row], with_head: bool) -> String {
    let is_shown = |column: &Column| !column.is_wide || flags.output == Format::Wide;
    let shown = |cells: &[String]| {
        let cells = columns.iter().zip(cells).filter(|(column, _)| is_shown(column));
        cells.map(|(_, cell)| if cell.is_empty() { "<none>".to_owned() } else { harmless(cell) }).collect::<Vec<_>>()
    };
    let head = columns.iter().filter(|column| is_shown(column)).map(|column| column.head.to_owned());
    let head = with_head.then(|| place(flags, "NAMESPACE", head.collect()));
    aligned(head.into_iter().chain(rows.iter().map(|row| place(flags, &row.namespace, shown(&row.cells)))))
}

fn place(flags: &ListFlags, namespace: &str, mut cells: Vec<String>) -> Vec<String> {
    if flags.all_namespaces {
        cells.insert(0, namespace.to_owned());
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[Column::new("NAME"), Column::wide("LINK"), Column::passing("AGE")];

    fn row(name: &str, age: &str) -> Row {
        let cells = [name, "", age].map(str::to_owned).to_vec();
        Row { namespace: "ns".into(), name: name.into(), cells, document: Value::Null }
    }

    #[test]
    fn wide_columns_and_namespaces_are_shown_where_they_are_asked_for() {
        let rows = [row("a\u{1b}", "5s")];
        assert_eq!(lines(&ListFlags::default(), COLUMNS, &rows, true), "NAME      AGE\na\\u{1b}   5s\n");
        let flags = ListFlags { output: Format::Wide, all_namespaces: true, ..ListFlags::default() };
        assert_eq!(lines(&flags, COLUMNS, &rows, false), "ns   a\\u{1b}   <none>   5s\n");
    }

    #[test]
    fn that_time_passes_is_no_news() {
        assert_eq!(news(COLUMNS, &row("a", "5s")), news(COLUMNS, &row("a", "7s")));
        assert_ne!(news(COLUMNS, &row("a", "5s")), news(COLUMNS, &row("b", "5s")));
    }
}
