//! Putting away: groups that have ended, with the end of their logs kept before, and those whose time is up.

use futures::{StreamExt, stream};
use jiff::Timestamp;
use tokio::time::timeout;
use tracing::warn;

use super::{
    ContainerInstancesHost,
    ledger::{Chore, What},
    tags::{Former, former},
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
        let given_up = self.ledger().given_up(Timestamp::now());
        let mut first_error = None;
        let work = async {
            for former in given_up {
                if let Err(error) = self.delete_former(&former).await {
                    first_error = Some(error);
                }
            }
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
        // A refusal lasts until the group is gone, and not until the next pass that tries nothing.
        first_error.or_else(|| self.ledger().lasting_refusal()).map_or(Ok(()), Err)
    }

    /// Deletes a group of another installation whose time is over, if it is still the same one.
    async fn delete_former(&self, Former { name, who, deadline }: &Former) -> Result<(), HostError> {
        let what = format!("delete the container group \"{name}\"");
        match self.arm.get(&self.group_path(name)).await {
            Ok(group) if former(name, &group["tags"], who.clone()).is_some_and(|now| now.deadline == *deadline) => {}
            Ok(_) => return Ok(()),
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(self.refused(&error, &what, &[])),
        }
        self.arm.delete(&self.group_path(name)).await.map_err(|error| self.refused(&error, &what, &[]))?;
        warn!(run = name, "the container group of {who} is deleted: it was there for longer than a group may be");
        Ok(())
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
