//! The verbs of the command line, one file each: an args struct and `run`.

mod agents;
mod arguments;
mod auth;
mod check;
mod cluster_flags;
mod completion;
mod config;
mod demo;
mod exit;
mod explain;
mod install;
mod installed;
mod jobs;
mod logging;
mod logs;
mod observed;
mod pause;
mod permissions;
mod pools;
mod queue;
mod resume;
mod sandbox;
mod serve;
mod signals;
mod simulate;
mod status;
mod template;
mod token_input;
mod uninstall;
mod upgrade;
mod version;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use exit::{Exit, Failure};

use crate::output::{ColorChoice, choose_color};

/// Azure Pipelines agents on Kubernetes, one for each queued pipeline job.
#[derive(Debug, Parser)]
#[command(name = "kubectl-ado", bin_name = "kubectl ado", version, propagate_version = true, max_term_width = 100)]
struct Cli {
    /// When to colour what is printed
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN", help_heading = "Output")]
    color: ColorChoice,
    /// How much to tell of what is done: 4, 6 with requests, 8 with more
    #[arg(short = 'v', long = "v", global = true, default_value_t = 0, value_name = "LEVEL", help_heading = "Output")]
    verbosity: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Args),
    Install(install::Args),
    Upgrade(upgrade::Args),
    Uninstall(uninstall::Args),
    Config(config::Args),
    Auth(auth::Args),
    Status(status::Args),
    Pools(pools::Args),
    Agents(agents::Args),
    Jobs(jobs::Args),
    Queue(queue::Args),
    Explain(explain::Args),
    Logs(logs::Args),
    Pause(pause::Args),
    Resume(resume::Args),
    Template(template::Args),
    Demo(demo::Args),
    Simulate(simulate::Args),
    Version(version::Args),
    Completion(completion::Args),
    Permissions(permissions::Args),
    #[command(name = "__complete", hide = true)]
    Complete(completion::CompleteArgs),
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
    let cli = Cli::parse_from(arguments::behind_the_command(std::env::args_os()));
    choose_color(cli.color);
    if cli.verbosity > 0 && !matches!(cli.command, Command::Serve(_)) {
        logging::start_verbose(cli.verbosity);
    }
    // kube and reqwest both use whatever provider is installed; without one they panic.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(run(cli.command));
            // A name that is still being resolved is nothing to wait for.
            runtime.shutdown_background();
            result
        }
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

/// Each command is boxed: the stack of the main thread must not hold what the largest of them needs, once for each level.
async fn run(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Check(args) => Box::pin(args.run()).await,
        Command::Install(args) => Box::pin(args.run()).await,
        Command::Upgrade(args) => Box::pin(args.run()).await,
        Command::Uninstall(args) => Box::pin(args.run()).await,
        Command::Config(args) => Box::pin(args.run()).await,
        Command::Auth(args) => Box::pin(args.run()).await,
        Command::Status(args) => Box::pin(args.run()).await,
        Command::Pools(args) => Box::pin(args.run()).await,
        Command::Agents(args) => Box::pin(args.run()).await,
        Command::Jobs(args) => Box::pin(args.run()).await,
        Command::Queue(args) => Box::pin(args.run()).await,
        Command::Explain(args) => Box::pin(args.run()).await,
        Command::Logs(args) => Box::pin(args.run()).await,
        Command::Pause(args) => Box::pin(args.run()).await,
        Command::Resume(args) => Box::pin(args.run()).await,
        Command::Template(args) => Box::pin(args.run()).await,
        Command::Demo(args) => Box::pin(args.run()).await,
        Command::Simulate(args) => args.run(),
        Command::Version(args) => Box::pin(args.run()).await,
        Command::Completion(args) => Box::pin(args.run()).await,
        Command::Permissions(args) => Box::pin(args.run()).await,
        Command::Complete(args) => Box::pin(args.run()).await,
        Command::Serve(args) => Box::pin(args.run()).await,
        Command::Sandbox(args) => Box::pin(args.run()).await,
        Command::SandboxAgent(args) => Box::pin(args.run()).await,
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
