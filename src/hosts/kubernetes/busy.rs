//! Marking the pods of agents that have a job request, so that the PodDisruptionBudget `kubectl-ado-busy-agents` covers
//! them: who drains a node waits for them, and may take the idle ones.
//!
//! A mark stays: an agent runs one job, and its pod ends with it.

use std::collections::{BTreeSet, HashSet};

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{PartialObjectMeta, Patch, PatchParams},
};
use serde_json::json;
use tokio::time::Instant;

use super::{KubernetesHost, failure::refused, keys, patches};
use crate::{
    cluster::{ErrorKind, call},
    hosts::HostError,
};

/// For how long nothing is marked after it was refused: a missing right is told once, and costs nothing from then on.
const PAUSE: std::time::Duration = std::time::Duration::from_secs(600);

/// What becomes of the marks.
#[derive(Debug, Default)]
pub(super) struct Marks {
    refused: Option<Instant>,
    told: bool,
}

impl KubernetesHost {
    pub(super) async fn mark_busy_pods(&self, names: &BTreeSet<String>) -> Result<(), HostError> {
        if names.is_empty() || self.marks().refused.is_some_and(|at| at.elapsed() < PAUSE) {
            return Ok(());
        }
        let api: &Api<PartialObjectMeta<Pod>> = &Api::namespaced(self.client.clone(), &self.namespace);
        let patches = self.unmarked(names).into_iter().map(|(name, uid)| async move {
            let patch = Patch::Merge(json!({"metadata": {"uid": uid, "labels": {keys::BUSY: "true"}}}));
            let what = format!("mark the pod \"{name}\" in namespace \"{}\" as busy", self.namespace);
            call(&what, api.patch(&name, &PatchParams::default(), &patch)).await
        });
        match patches::make(patches).await {
            Err(error) if error.kind == ErrorKind::Forbidden => {
                let mut marks = self.marks();
                marks.refused = Some(Instant::now());
                if !std::mem::replace(&mut marks.told, true) {
                    tracing::warn!(fix = error.fix, "nothing keeps busy agents from being evicted: {error}");
                }
                Ok(())
            }
            made => made.map_err(|error| refused(error, &self.namespace)),
        }
    }

    /// The pods of these runs that go on and are not marked, with their uids.
    fn unmarked(&self, names: &BTreeSet<String>) -> Vec<(String, String)> {
        let state = self.watching().view().state();
        let uid = |name: &String| Some(state.jobs.items.get(name)?.kept.uid.as_str());
        let jobs: HashSet<&str> = names.iter().filter_map(uid).collect();
        let pods = state.pods.items.iter().map(|(name, entry)| (name, &entry.kept));
        let unmarked = pods.filter(|(_, pod)| !pod.has_ended && !pod.is_busy && jobs.contains(pod.job.as_str()));
        let mut unmarked: Vec<_> = unmarked.map(|(name, pod)| (name.clone(), pod.uid.clone())).collect();
        unmarked.sort_unstable();
        unmarked
    }
}
