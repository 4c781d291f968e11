//! Where log lines go and how they look: JSON in a cluster, readable ones on a terminal.

use std::io::{self, IsTerminal, Stderr, Write};

use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::text::steers;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogFormat {
    /// JSON in a cluster or where no terminal is, else text
    #[default]
    Auto,
    /// One JSON object a line
    Json,
    /// For people
    Text,
}

/// What this project has to say, and warnings of others. kube logs each connection that fails or breaks, again and again;
/// we tell it once.
const QUIET: &str = "warn,kube_client=off,kubectl_ado=info,agent_log=info";

/// What `-v` shows. Requests are told by method and address, answers by what they say of themselves; neither what is sent
/// nor a header of it, so that no credential is ever among it.
fn verbose(level: u8) -> &'static str {
    match level {
        0 => QUIET,
        1..=3 => "warn,kube_client=off,kubectl_ado=info,agent_log=info",
        4..=5 => "warn,kube_client=off,kubectl_ado=debug,agent_log=info",
        6..=7 => "warn,kube_client::client::builder=debug,kube_client=info,kubectl_ado=debug",
        8.. => "info,kube_client=debug,tower=debug,hyper_util=debug,kubectl_ado=trace",
    }
}

/// Starts telling, on standard error, what a command does: `-v`.
pub(super) fn start_verbose(level: u8) {
    let lines = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(verbose(level)));
    let lines = lines.with_writer(Harmless { form: Form::Text });
    let _ = lines.with_ansi(false).with_target(level >= 8).try_init();
}

/// Starts logging to standard error. RUST_LOG chooses what is logged; without it, what this project has to say.
pub(super) fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(QUIET));
    let terminal = std::io::stderr().is_terminal();
    let in_cluster = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    let json = match format {
        LogFormat::Auto => in_cluster || !terminal,
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    let colour = terminal
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    let form = match (json, colour) {
        (true, _) => Form::Json,
        (false, true) => Form::Coloured,
        (false, false) => Form::Text,
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Harmless { form });
    // A second subscriber in one process (tests) is no reason to fail.
    let _ = if json {
        lines.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    } else {
        lines.with_ansi(colour).with_target(false).try_init()
    };
}

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Text,
    /// With escape sequences of our own. Those of others are escaped before.
    Coloured,
}

/// Standard error, on which an event is one line and nothing in it steers a terminal or reorders what is read: messages and
/// fields hold names and demands that anybody may have written.
#[derive(Clone, Copy)]
struct Harmless {
    form: Form,
}

impl<'a> MakeWriter<'a> for Harmless {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { form: self.form, out: io::stderr() }
    }
}

struct Line {
    form: Form,
    out: Stderr,
}

impl Write for Line {
    /// The subscriber writes each event by one call.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.out.write_all(line(&String::from_utf8_lossy(event), self.form).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// An event as one harmless line.
fn line(event: &str, form: Form) -> String {
    let mut line = String::with_capacity(event.len());
    for character in event.strip_suffix('\n').unwrap_or(event).chars() {
        match form {
            _ if !steers(character) => line.push(character),
            Form::Coloured if character == '\u{1b}' => line.push(character),
            // All of them have one unit.
            Form::Json => line.push_str(&format!("\\u{:04x}", u32::from(character))),
            Form::Text | Form::Coloured => line.extend(character.escape_default()),
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::STEERING;

    #[test]
    fn an_event_is_one_line_that_steers_nothing() {
        for (text, shown) in STEERING {
            let event = format!("INFO demand \"a{text}b\" pool=\"Default\"\n");
            assert_eq!(line(&event, Form::Text), format!("INFO demand \"a{shown}b\" pool=\"Default\"\n"));
            let json = serde_json::json!({"message": format!("a{text}b")});
            let written = line(&format!("{json}\n"), Form::Json);
            assert!(!written.trim_end_matches('\n').chars().any(steers), "{written:?}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), json);
        }
        assert_eq!(
            line("\u{1b}[32m INFO\u{1b}[0m a\u{202e}\n", Form::Coloured),
            "\u{1b}[32m INFO\u{1b}[0m a\\u{202e}\n"
        );
        assert_eq!(line("no end", Form::Text), "no end\n");
    }
}
