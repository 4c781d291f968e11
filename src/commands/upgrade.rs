//! `upgrade`: `install` where something must be there already.

use super::{
    Exit, Failure,
    install::{self, Options},
};

/// Bring an install to this version, or change it
///
/// The same as `install`, but refuses where nothing is installed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    options: Options,
}

impl Args {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        install::run(self.options, install::Purpose::Upgrade).await
    }
}
