//! The garbage collector: a Secret goes some time after the Job that it belongs to, and so does one that comes too late.

use std::ops::RangeInclusive;

use tokio::time::sleep;

use crate::{
    cluster::{
        Cluster,
        resource::{JOBS, SECRETS},
    },
    dice::Dice,
};

/// How long it takes, in milliseconds.
const WITHIN: RangeInclusive<u64> = 50..=3_000;

/// Looks after all Secrets. To be run beside everything else.
pub(crate) async fn collect(cluster: Cluster, dice: Dice) {
    let mut waiter = cluster.waiter();
    let mut seen = 0;
    loop {
        waiter.look();
        for change in cluster.happened_since(seen) {
            seen += 1;
            let owner = match (change.key.plural, &change.before, &change.after) {
                (plural, Some(job), None) if plural == JOBS.plural => job.metadata("uid").to_owned(),
                (plural, None, Some(secret)) if plural == SECRETS.plural => {
                    let Some(owner) = secret.owner() else { continue };
                    let jobs = cluster.all(JOBS, &change.key.namespace);
                    if jobs.iter().any(|job| job.metadata("uid") == owner) {
                        continue;
                    }
                    owner.to_owned()
                }
                _ => continue,
            };
            let (cluster, namespace, time) = (cluster.clone(), change.key.namespace, dice.time(WITHIN));
            tokio::spawn(async move {
                sleep(time).await;
                cluster.collect_secrets_of(&namespace, &owner);
            });
        }
        waiter.changed().await;
    }
}
