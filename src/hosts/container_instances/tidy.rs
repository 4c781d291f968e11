//! Putting away: groups that have ended, with the end of their logs kept before, and those whose time is up.

use futures::{StreamExt, stream};
use jiff::Timestamp;
use tokio::time::timeout;
use tracing::warn;

use super::{
    ContainerInstancesHost,
    ledger::{Chore, What},
};
use crate::{core::RunPhase, hosts::HostError};

/// Groups that are put away at once.
const AT_ONCE: usize = 8;

impl ContainerInstancesHost {
    /// Does what is due, as far as the time goes; the rest is done after a later pass.
    pub(super) async fn put_away(&self) -> Result<(), HostError> {
        let pools: std::collections::BTreeSet<&str> = self.pools().collect();
        let serves = |pool: &str| pools.contains(pool);
        let chores = self.ledger().chores(self.quota.is_short(), serves, Timestamp::now());
        let mut first_error = None;
        let work = async {
            let mut working = stream::iter(chores).map(|chore| self.put_one_away(chore)).buffer_unordered(AT_ONCE);
            while let Some(result) = working.next().await {
                if let Err(error) = result {
                    let is_new = first_error.is_none();
                    if is_new {
                        first_error = Some(error);
                    }
                }
            }
        };
        // Whatever is cut off is harmless to repeat.
        let _ = timeout(self.tidy_time, work).await;
        first_error.map_or(Ok(()), Err)
    }

    async fn put_one_away(&self, Chore { seen, log, what }: Chore) -> Result<(), HostError> {
        let kept = self.keep_log(&seen, log).await;
        match what {
            What::KeepLog => kept,
            What::Ended => {
                kept?;
                self.delete(&seen, None).await
            }
            // No log is worth a group that nobody wants any more.
            What::Overdue => {
                let hours = self.aci.max_lifetime.as_secs() / 3600;
                let message = format!("it was there for longer than a group may be ({hours} h, AZ_MAX_LIFETIME)");
                self.delete(&seen, Some(RunPhase::Failed(Timestamp::now(), message.clone()))).await?;
                warn!(run = seen.run.name, pool = seen.run.pool, "the container group is deleted: {message}");
                Ok(())
            }
        }
    }
}
