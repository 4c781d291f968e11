//! `explain`.

use super::{Exit, Failure, cluster_flags::ClusterFlags};

/// Say why a job request still waits, or what a code means
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    cluster: ClusterFlags,
}

impl Args {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let _ = self.cluster.open()?;
        Err(Failure::new(Exit::Failed, "not there yet", None))
    }
}
