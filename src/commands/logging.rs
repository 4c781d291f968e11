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
    let lines = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(verbose(level))).with_writer(std::io::stderr);
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
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second subscriber in one process (tests) is no reason to fail.
    let _ = if json {
        lines.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    } else {
        lines.with_ansi(colour).with_target(false).try_init()
    };
}
