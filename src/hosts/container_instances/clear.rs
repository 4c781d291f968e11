//! Deleting all groups of an installation, when it is given up.

use std::time::Duration;

use futures::{StreamExt, stream};
use tokio::time::{Instant, sleep};

use super::{ContainerInstancesHost, ledger::Known, observe::Seen};
use crate::hosts::HostError;

/// Deletions in flight at once.
const AT_ONCE: usize = 8;

/// Between two looks at whether all are gone.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A group that takes longer than this to go is told as still there.
const PATIENCE: Duration = Duration::from_secs(180);

impl ContainerInstancesHost {
    /// Deletes the groups of the pools that are served, or with `all` those of this installation's other pools too, whatever
    /// they do, and waits until they are gone.
    ///
    /// # Errors
    ///
    /// Azure does not answer or refuses, or groups are still there after three minutes.
    pub async fn clear(&self, all: bool) -> Result<(), HostError> {
        self.ledger().held.clear();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let there = self.those_that_are_there(all).await?;
            if there.is_empty() {
                return Ok(());
            }
            let count = there.len();
            let may_go = |seen: &Seen| self.ledger().groups.get(&seen.run.name).is_none_or(Known::may_be_deleted);
            let asked: Vec<Seen> = there.into_iter().filter(|seen| !seen.is_going() && may_go(seen)).collect();
            let mut deleting = stream::iter(asked)
                .map(async |seen: Seen| {
                    let log = self.ledger().groups.get(&seen.run.name).map(|known| known.log);
                    if let Some(log) = log {
                        self.keep_log(&seen, log).await.ok();
                    }
                    self.delete(&seen, None).await
                })
                .buffer_unordered(AT_ONCE);
            let mut first_error = None;
            while let Some(deleted) = deleting.next().await {
                match deleted {
                    // On its way, or Azure wants fewer calls: the next round asks again.
                    Ok(()) | Err(HostError::Unavailable(_)) => {}
                    Err(error) => first_error = first_error.or(Some(error)),
                }
            }
            if let Some(error) = first_error {
                return Err(error);
            }
            if Instant::now() >= deadline {
                let message = format!("{count} container groups are still there after {} s", PATIENCE.as_secs());
                return Err(HostError::Unavailable(message));
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// What a list shows now, however short ago the last one was.
    async fn those_that_are_there(&self, all: bool) -> Result<Vec<Seen>, HostError> {
        self.ledger().listed_at = None;
        self.refresh().await?;
        let serves = |pool: &str| self.pools().any(|served| served == pool);
        let ledger = self.ledger();
        let there = ledger.groups.values().map(|known| &known.seen);
        Ok(there.filter(|seen| all || serves(&seen.run.pool)).cloned().collect())
    }
}
