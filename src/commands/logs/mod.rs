//! `logs`.

use super::{Exit, Failure, cluster_flags::ClusterFlags};

/// Print the logs of the orchestrator or of agents
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
