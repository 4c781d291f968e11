//! `template`: a Job template to begin with, the Job that is made of one, and whether it is right.

mod init;
mod render;
mod validate;

use super::{Exit, Failure};

/// Make, render and validate Job templates
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: TemplateCommand,
}

#[derive(Debug, clap::Subcommand)]
enum TemplateCommand {
    Init(init::InitArgs),
    Render(render::RenderArgs),
    Validate(validate::ValidateArgs),
}

impl Args {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        match self.command {
            TemplateCommand::Init(args) => args.run(),
            TemplateCommand::Render(args) => args.run().await,
            TemplateCommand::Validate(args) => args.run().await,
        }
    }
}
