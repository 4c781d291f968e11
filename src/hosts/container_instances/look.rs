//! Looking at Azure: one list for all groups, and looks at single ones where a list does not tell enough.

use std::time::Duration;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::{
    ContainerInstancesHost,
    observe::{Seen, seen},
    refusal::quota_fix,
    tags::{FORMER_GRACE, Whose, former, whose},
};
use crate::{
    azure::{
        arm::{ArmError, Sort},
        readable,
    },
    hosts::HostError,
};

/// The least time between two lists.
const LISTS: Duration = Duration::from_secs(2);

/// Where Azure lets us read only so many times more, everything takes so many times as long.
const LOW: [(u64, u32); 2] = [(25, 10), (100, 4)];

/// How long all looks after a list may take together.
const ASIDE: Duration = Duration::from_secs(15);

/// How long one of them may take.
const LOOK: Duration = Duration::from_secs(5);

/// Looks in flight at once.
const AT_ONCE: usize = 8;

impl ContainerInstancesHost {
    /// Looks at Azure again, if it is time.
    pub(super) async fn refresh(&self) -> Result<(), HostError> {
        let slower = self.slower();
        if self.ledger().listed_at.is_some_and(|at| at.elapsed() < LISTS * slower) {
            return Ok(());
        }
        let begun = Instant::now();
        let list = self.arm.list(&self.groups_path()).await;
        let list = list.map_err(|error| self.refused(&error, "list the container groups", &[]))?;
        let now = Timestamp::now();
        let (mut ours, mut others) = (Vec::new(), Vec::new());
        for group in &list {
            match self.whose(group) {
                (name, Whose::Ours(tagged)) => ours.push(seen(&name, *tagged, group, now)),
                (name, Whose::Anothers(who)) => others.extend(former(&name, &group["tags"], who)),
            }
        }
        for new in self.ledger().listed_former(others) {
            tracing::warn!(
                run = new.name,
                "this container group belongs to {}: it is deleted {:.0} if nobody has done so by then; a former \
                 INSTALLATION_ID or organization of this orchestrator may have made it, and `uninstall --config` with that one \
                 deletes it now",
                new.who,
                new.deadline + FORMER_GRACE
            );
        }
        if self.ledger().listed(ours, begun) > 0 {
            self.quota.group_is_gone();
        }
        let aside = async {
            self.look_at_single_ones(slower).await;
            self.ask_for_operations().await;
        };
        // What is not looked at in this time is looked at after the next list; the loop does not wait for it.
        let _ = timeout(ASIDE, aside).await;
        Ok(())
    }

    /// Looks at a group of that name: whose it is, and how it is if it is ours. `None` if there is none.
    pub(super) async fn look_at(&self, name: &str) -> Result<Option<Result<Seen, String>>, ArmError> {
        match self.arm.get(&self.group_path(name)).await {
            Ok(group) => Ok(Some(match self.whose(&group) {
                (_, Whose::Ours(tagged)) => Ok(seen(name, *tagged, &group, Timestamp::now())),
                (_, Whose::Anothers(who)) => Err(who),
            })),
            // Without its resource group, nothing is certain.
            Err(error) if error.is_not_found() && !error.has_code("ResourceGroupNotFound") => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn whose(&self, group: &Value) -> (String, Whose) {
        // Names are lower case where they are made; Azure tells no two apart by it.
        let name = group["name"].as_str().unwrap_or_default().to_lowercase();
        (name, whose(&group["tags"], &self.owner, self.pools()))
    }

    fn slower(&self) -> u32 {
        let left = self.arm.left(Sort::Read);
        let by = |left: u64| LOW.iter().find(|(low, _)| left < *low).map(|(_, by)| *by);
        left.and_then(by).unwrap_or(1)
    }

    async fn look_at_single_ones(&self, slower: u32) {
        let due = self.ledger().to_look_at(slower);
        let mut looks = stream::iter(due)
            .map(async |name| {
                let look = timeout(LOOK, self.look_at(&name)).await;
                (name, look.unwrap_or_else(|_| Err(ArmError::Unreachable("no answer in time".to_owned()))))
            })
            .buffer_unordered(AT_ONCE);
        while let Some((name, look)) = looks.next().await {
            match look {
                Ok(Some(Ok(seen))) => self.ledger().looked(&name, Some(seen)),
                // Somebody has taken its name meanwhile, or its tags away.
                Ok(None | Some(Err(_))) => self.ledger().looked(&name, None),
                Err(error) => {
                    tracing::debug!(run = name, %error, "a container group is not looked at");
                    self.ledger().not_looked(&name);
                    // The others would have no more luck; what is known of them stays.
                    if matches!(error, ArmError::Throttled { .. }) {
                        return;
                    }
                }
            }
        }
    }

    /// Looks for groups of which it is not known whether they were made, whenever that is due: what nobody has an answer for
    /// is expected further on.
    pub(super) async fn settle_doubts(&self) {
        let doubts = self.ledger().expectations.doubts(Timestamp::now());
        let mut looks = stream::iter(doubts)
            .map(async |name| {
                let look = timeout(LOOK, self.look_at(&name)).await;
                (name, look)
            })
            .buffer_unordered(AT_ONCE);
        while let Some((name, look)) = looks.next().await {
            let mut ledger = self.ledger();
            match look {
                Ok(Ok(Some(Ok(seen)))) => {
                    ledger.expectations.started(&name, seen.run.created_at, None);
                    ledger.looked(&name, Some(seen));
                }
                // It is not there, or another's: the next merge gives it up.
                Ok(Ok(_)) => {}
                Ok(Err(_)) | Err(_) => ledger.expectations.still_in_doubt(&name, Timestamp::now()),
            }
        }
    }

    /// Asks what became of groups that Azure has taken and no list has shown.
    async fn ask_for_operations(&self) {
        let due = self.ledger().operations_to_ask();
        for (name, operation) in due {
            let Ok(answer) = self.arm.operation(&operation.url).await else { continue };
            let status = answer["status"].as_str().unwrap_or_default();
            if !["failed", "canceled", "cancelled"].contains(&status.to_lowercase().as_str()) {
                continue;
            }
            let text = |key: &str| readable(answer["error"][key].as_str().unwrap_or_default());
            let why = format!("{}: {}", text("code"), text("message"));
            let is_quota = why.to_lowercase().contains("quota");
            if is_quota {
                self.quota.refused(&why);
                tracing::warn!(
                    run = name,
                    fix = quota_fix(&self.aci),
                    "Azure has no room for the container group: {why}"
                );
            }
            let remembered = (!is_quota).then_some(why);
            self.ledger().came_to_nothing(&name, operation.created_at, remembered, Timestamp::now());
        }
    }
}
