//! The verbs of the command line, one file each: an args struct and `run`.

mod demo;
mod exit;
mod logging;
mod sandbox;
mod serve;
mod signals;
mod simulate;
mod version;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use exit::{Exit, Failure};

/// Azure Pipelines agents on Kubernetes, one for each queued pipeline job.
#[derive(Debug, Parser)]
#[command(name = "kubectl-ado", bin_name = "kubectl ado", version, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Simulate(simulate::Args),
    Version(version::Args),
    #[command(hide = true)]
    Serve(serve::Args),
    #[command(hide = true)]
    Sandbox(sandbox::Args),
    #[command(hide = true)]
    SandboxAgent(sandbox::AgentArgs),
}

/// Runs the command that the process's arguments ask for and says how it ended.
#[must_use]
pub fn main() -> ExitCode {
    // kube and reqwest both use whatever provider is installed; without one they panic.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(cli.command)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            // Nobody is left to tell when standard error is closed.
            let _ = std::io::Write::write_all(&mut std::io::stderr(), failure.to_string().as_bytes());
            failure.exit.into()
        }
    }
}

async fn run(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Demo(args) => args.run().await,
        Command::Simulate(args) => args.run(),
        Command::Version(args) => args.run(),
        Command::Serve(args) => args.run().await,
        Command::Sandbox(args) => args.run().await,
        Command::SandboxAgent(args) => args.run().await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
