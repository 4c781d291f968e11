//! Where log lines go and how they look: JSON in a cluster, readable ones on a terminal.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

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

/// What this project has to say, and warnings of others. kube logs each connection that fails, in each pass; we tell it
/// once.
const QUIET: &str = "warn,kube_client::client::builder=off,kubectl_ado=info";

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
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second subscriber in one process (tests) is no reason to fail.
    let _ = if json {
        lines.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    } else {
        lines.with_ansi(colour).with_target(false).try_init()
    };
}
