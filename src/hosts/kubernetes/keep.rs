//! Keeping failed Jobs for long enough, and putting away token Secrets that nobody mounts any more.
//!
//! A failed Job is the memory of its attempt: as long as it is there, the next attempt waits its time and has the next
//! number, whoever makes it.

use std::{
    collections::BTreeSet,
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::batch::v1::Job;
use kube::{
    Api,
    api::{PartialObjectMeta, Patch, PatchParams},
};
use serde_json::json;
use tokio::time::Instant;

use super::{Credential, KubernetesHost, failure::refused, job, patches, runs::FailedJob};
use crate::{
    cluster::call,
    core::{LONGEST_BACK_OFF, Retention},
    hosts::HostError,
};

/// How long tidying waits after it failed; it is never urgent.
const TIDY_PAUSE: Duration = Duration::from_secs(60);

/// What the last look left to be tidied.
#[derive(Default)]
pub(super) struct Chores {
    failed: Vec<FailedJob>,
    /// `None` until the first look.
    mounted: Option<BTreeSet<String>>,
    pause: Option<Instant>,
}

impl Chores {
    pub(super) fn note(&mut self, failed: Vec<FailedJob>, mounted: BTreeSet<String>) {
        self.failed = failed;
        self.mounted = Some(mounted);
    }
}

/// The TTL that a failed Job should have, where it is another than the one it has: never less than the longest
/// back-off, and else ours where it is ours to say.
fn wanted_ttl(job: &FailedJob, retention: Retention) -> Option<i32> {
    let least = job::ttl_seconds(LONGEST_BACK_OFF);
    let ttl = match job.ttl {
        _ if job.managed_ttl => job::ttl_seconds(retention.failed).max(least),
        Some(ttl) => ttl.max(least),
        // Without one it stays for good.
        None => return None,
    };
    (job.ttl != Some(ttl)).then_some(ttl)
}

impl KubernetesHost {
    pub(super) async fn do_chores(&self) -> Result<(), HostError> {
        let (failed, mounted) = {
            let mut chores = self.chores();
            if chores.pause.is_some_and(|since| since.elapsed() < TIDY_PAUSE) {
                return Ok(());
            }
            (std::mem::take(&mut chores.failed), chores.mounted.take())
        };
        let kept = self.keep_failed(failed).await;
        let discarded = match (&self.credential, mounted) {
            (Credential::Managed(vault), Some(mounted)) => vault.discard(&mounted).await,
            _ => Ok(()),
        };
        let outcome = kept.and(discarded);
        self.chores().pause = outcome.is_err().then(Instant::now);
        outcome
    }

    /// Failed Jobs stay longer. They are made with the short TTL, which holds when we are gone; there is time enough
    /// to raise it.
    async fn keep_failed(&self, failed: Vec<FailedJob>) -> Result<(), HostError> {
        let api: &Api<PartialObjectMeta<Job>> = &Api::namespaced(self.client.clone(), &self.namespace);
        let patches = failed.into_iter().filter_map(|job| {
            let ttl = wanted_ttl(&job, self.retention)?;
            Some(async move {
                let FailedJob { name, uid, .. } = job;
                let patch = Patch::Merge(json!({"metadata": {"uid": uid}, "spec": {"ttlSecondsAfterFinished": ttl}}));
                let what = format!("keep the failed Job \"{name}\" in namespace \"{}\"", self.namespace);
                call(&what, api.patch(&name, &PatchParams::default(), &patch)).await
            })
        });
        patches::make(patches).await.map_err(|error| refused(error, &self.namespace))
    }

    pub(super) fn chores(&self) -> MutexGuard<'_, Chores> {
        self.chores.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_jobs_are_kept_at_least_as_long_as_the_longest_back_off() {
        let wanted = |managed_ttl, ttl, keep_failed| {
            let job = FailedJob { name: "a".into(), uid: "u".into(), ttl, managed_ttl };
            let retention = Retention { finished: Duration::ZERO, failed: Duration::from_secs(keep_failed) };
            wanted_ttl(&job, retention)
        };
        let day = 24 * 3600;
        assert_eq!(wanted(true, Some(600), day), Some(86_400));
        assert_eq!(wanted(true, Some(86_400), day), None, "it is as it should be");
        assert_eq!(wanted(true, Some(600), 60), Some(300), "a shorter retention would forget attempts");
        assert_eq!(wanted(false, Some(30), day), Some(300), "a template's own is raised as far as need be");
        assert_eq!(wanted(false, Some(3600), day), None, "and no further");
        assert_eq!(wanted(false, None, day), None);
    }
}
