//! What happens at one moment and changes the world for good.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use kubectl_ado::{core::INSTALLATION_CAPABILITY, sandbox::AgentSpec};
use serde_json::json;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    books::Books,
    clock::{self, Machine},
    cluster::{Backup, Cluster, Object, resource::JOBS},
    dice::Dice,
    history::Departure,
};

use super::scene::{INSTALLATION, Served};

/// What happens.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    /// The pool gets another name, and a new pool gets its name.
    RenamePool(String),
    /// The pool is deleted, and a new one is made of its name.
    DeletePool(String),
    /// The API server's data are saved.
    Backup,
    /// The API server's data are what they were when they were saved.
    Restore,
    /// A machine's clock is set, by so many seconds before or behind the right time.
    Clock(Machine, i64),
    /// These registrations of ours were left behind long ago.
    Leftovers(String, u32),
    /// The pool is taken out of the configuration, which the orchestrator reads anew.
    Unserve(String),
    /// The same, and the orchestrator is another process from then on, which knows nothing of the pool.
    UnserveAndRestart(String),
}

impl Happening {
    /// Whether there is a pool afterwards that we have served and serve no more.
    pub(crate) fn loses_a_pool(&self) -> bool {
        !matches!(self, Self::Backup | Self::Restore | Self::Clock(..) | Self::Leftovers(..))
    }
}

/// Something that happens at a time.
#[derive(Clone, Debug)]
pub(crate) struct Scheduled {
    pub(crate) at: Duration,
    pub(crate) what: Happening,
}

/// Which pools are served, as somebody may change it.
#[derive(Clone, Default)]
pub(crate) struct Wanted {
    pub(crate) pools: Arc<Mutex<Vec<Served>>>,
    pub(crate) changed: Arc<Notify>,
    /// Whether the same process goes on, which remembers what it has served.
    pub(crate) reloads: Arc<Mutex<bool>>,
    /// When something happened after which a view of the world is out of date without a word of it.
    pub(crate) broken: Arc<Mutex<Vec<Instant>>>,
}

/// Lets everything happen in its time.
pub(crate) async fn happen(scheduled: Vec<Scheduled>, cluster: Cluster, books: Books, wanted: Wanted) {
    let begun = Instant::now();
    let mut scheduled = scheduled;
    scheduled.sort_by_key(|one| one.at);
    let mut backup: Option<Backup> = None;
    for Scheduled { at, what } in scheduled {
        sleep_until(begun + at).await;
        books.storm().log.note(format!("it happens: {what:?}"));
        let organization = books.organization();
        match what {
            Happening::RenamePool(pool) => organization.rename_and_make_anew(&pool),
            Happening::DeletePool(pool) => organization.delete_and_make_anew(&pool),
            Happening::Backup => {
                backup = Some(cluster.backup());
                continue;
            }
            Happening::Restore => {
                if let Some(backup) = &backup {
                    for job in cluster.all(JOBS, super::scene::NAMESPACE) {
                        books.history().departs(job.metadata("uid"), Departure::Lost);
                    }
                    cluster.restore(backup);
                    for job in cluster.all(JOBS, super::scene::NAMESPACE) {
                        books.history().stays(job.metadata("uid"));
                    }
                }
            }
            Happening::Clock(machine, seconds) => {
                clock::set(machine, seconds);
                continue;
            }
            Happening::Leftovers(pool, count) => {
                let Some(number) = organization.pool_named(&pool) else { continue };
                organization.change(|state, now| {
                    for one in 0..count {
                        let name = format!("agent-job-left-{one}");
                        let spec = AgentSpec::named(name).with(INSTALLATION_CAPABILITY, INSTALLATION);
                        let id = state.register(number, spec, now).unwrap();
                        state.backdate(number, id, now - Duration::from_secs(86_400)).unwrap();
                    }
                });
                continue;
            }
            Happening::Unserve(ref pool) | Happening::UnserveAndRestart(ref pool) => {
                wanted.pools.lock().unwrap().retain(|served| served.name != *pool);
                *wanted.reloads.lock().unwrap() = matches!(what, Happening::Unserve(_));
                wanted.changed.notify_one();
                if matches!(what, Happening::Unserve(_)) {
                    continue;
                }
            }
        }
        wanted.broken.lock().unwrap().push(Instant::now());
    }
}

/// A queue of the cluster (as Kueue's): it resumes each suspended Job when its time has come.
pub(crate) async fn queue(cluster: Cluster, books: Books, dice: Dice, keeps: std::ops::RangeInclusive<u64>) {
    let mut waiter = cluster.waiter();
    let mut seen = 0;
    loop {
        waiter.look();
        for change in cluster.happened_since(seen) {
            seen += 1;
            let is_suspended = |object: &Object| object.value["spec"]["suspend"] == json!(true);
            let Some(job) = change.after.as_ref().filter(|job| is_suspended(job)) else { continue };
            // A backup that is restored may bring one back as it was.
            if change.key.plural != JOBS.plural || change.before.as_deref().is_some_and(is_suspended) {
                continue;
            }
            let (cluster, books, key, uid) =
                (cluster.clone(), books.clone(), change.key, job.metadata("uid").to_owned());
            let time = dice.time(keeps.clone());
            tokio::spawn(async move {
                // The books note the Job first.
                sleep(Duration::from_millis(1)).await;
                books.history().queued(&uid, true);
                sleep(time).await;
                books.history().queued(&uid, false);
                cluster.change(JOBS, &key, &json!({"spec": {"suspend": false}}));
            });
        }
        waiter.changed().await;
    }
}
