//! What Events alone tell. What refuses a pod (a quota, Pod Security, a webhook) leaves no mark on its Job, and a volume
//! that cannot be mounted leaves none on its pod. So Events are looked at, but only while a Job is without a pod or a
//! pod with a place does not start, and the longer that lasts the less often: while all is well it costs nothing.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::{Client, Resource, api::ListParams};
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::{
    feed::{Source, list},
    trouble,
    view::{Entry, View},
};
use crate::{
    cluster::ClusterError,
    core::{Progress, Trouble},
};

/// A Job has its pod within this time, if nobody refuses it.
const POD_IS_MADE: Duration = Duration::from_secs(2);

/// A pod's volumes are mounted within this time. Its image may take longer.
const POD_IS_SET_UP: Duration = Duration::from_secs(8);

/// How often it is seen whether there is something to look for.
const TICK: Duration = Duration::from_secs(1);

/// Times between two looks: half as long as what is looked for has lasted, within these.
const OFTEN: Duration = Duration::from_secs(2);
const SELDOM: Duration = Duration::from_secs(30);

/// The same where each has its explanation already.
const EXPLAINED: Duration = Duration::from_secs(15);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SlimEvent {
    involved_object: Involved,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
    last_timestamp: Option<Timestamp>,
    event_time: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Involved {
    #[serde(default)]
    uid: String,
}

/// Whose Events are worth a look.
#[derive(Default)]
struct Hindered {
    /// The uids of live Jobs without a pod.
    jobs: HashSet<String>,
    /// The uids of pods that have a place and do not start.
    pods: HashSet<String>,
    /// For how long the last of them that nothing explains has been so.
    unexplained: Option<Duration>,
    /// Whether others may join them soon.
    more_to_come: bool,
}

/// Looks for what hinders agents, for as long as it is polled.
pub(super) async fn follow_warnings(source: Source, view: Arc<View>) {
    let mut looked: Option<Instant> = None;
    let mut told = None;
    loop {
        let version = view.version();
        let hindered = view.hindered();
        if hindered.jobs.is_empty() && hindered.pods.is_empty() {
            if !hindered.more_to_come {
                view.changed_since(version).await;
            }
            sleep(TICK).await;
            continue;
        }
        let pause = hindered.unexplained.map_or(EXPLAINED, |since| (since / 2).clamp(OFTEN, SELDOM));
        if looked.is_some_and(|at| at.elapsed() < pause) {
            sleep(TICK).await;
            continue;
        }
        looked = Some(Instant::now());
        match look(&source.client, &source.namespace, &hindered).await {
            Ok(found) => {
                view.explain(found);
                told = None;
            }
            Err(error) => {
                if told.as_ref() != Some(&error.message) {
                    tracing::warn!(fix = error.fix, "what keeps agents from starting is not known: {error}");
                    told = Some(error.message);
                }
                sleep(OFTEN).await;
            }
        }
    }
}

/// The last Event about each of them.
async fn look(client: &Client, namespace: &str, hindered: &Hindered) -> Result<HashMap<String, Trouble>, ClusterError> {
    let mut found: HashMap<String, (Option<Timestamp>, Trouble)> = HashMap::new();
    let path = Event::url_path(&(), Some(namespace));
    let what = format!("list the Events in namespace \"{namespace}\"");
    for (uids, fields) in [
        (&hindered.jobs, "involvedObject.kind=Job,reason=FailedCreate"),
        (&hindered.pods, "involvedObject.kind=Pod,type=Warning"),
    ] {
        if uids.is_empty() {
            continue;
        }
        let keep = |event: SlimEvent| {
            let uid = event.involved_object.uid;
            let at = event.last_timestamp.or(event.event_time);
            if !uids.contains(&uid) || found.get(&uid).is_some_and(|(known, _)| *known > at) {
                return;
            }
            let trouble = match event.reason.as_str() {
                "FailedCreate" => Some(trouble::of_refused_pod(&event.message)),
                reason => trouble::of_pod_warning(reason, &event.message),
            };
            if let Some(trouble) = trouble {
                found.insert(uid, (at, trouble));
            }
        };
        list(client, &what, &path, ListParams::default().fields(fields), keep).await?;
    }
    Ok(found.into_iter().map(|(uid, (_, trouble))| (uid, trouble)).collect())
}

impl View {
    /// Whose Events are worth a look. Explanations of all others are forgotten.
    fn hindered(&self) -> Hindered {
        let mut state = self.state();
        let mut hindered = Hindered::default();
        let with_pod: HashSet<&str> = state.pods.items.values().map(|pod| pod.kept.job.as_str()).collect();
        let mut add = |uid: &str, since: Instant, patience: Duration, is_job: bool| {
            if since.elapsed() < patience {
                hindered.more_to_come = true;
                return;
            }
            if !state.warnings.contains_key(uid) {
                let since = since.elapsed();
                hindered.unexplained = Some(hindered.unexplained.map_or(since, |least| least.min(since)));
            }
            let uids = if is_job { &mut hindered.jobs } else { &mut hindered.pods };
            uids.insert(uid.to_owned());
        };
        let mut live = HashSet::new();
        for Entry { kept: job, since } in state.jobs.items.values() {
            if let Some(run) = job.run.as_ref().filter(|run| run.is_live()) {
                live.insert(job.uid.as_str());
                // One that is held, by us or by a queue, is to have no pod.
                if run.held.is_none() && run.progress != Progress::Queued && !with_pod.contains(job.uid.as_str()) {
                    add(&job.uid, *since, POD_IS_MADE, true);
                }
            }
        }
        for Entry { kept: pod, since } in state.pods.items.values() {
            let waits = pod.progress == Progress::Placed && !pod.has_ended && pod.trouble.is_none();
            if waits && live.contains(pod.job.as_str()) {
                add(&pod.uid, *since, POD_IS_SET_UP, false);
            }
        }
        state.warnings.retain(|uid, _| hindered.jobs.contains(uid) || hindered.pods.contains(uid));
        hindered
    }

    fn explain(&self, found: HashMap<String, Trouble>) {
        let mut state = self.state();
        // An Event that has gone by now (they last an hour) was true, and nothing has changed since.
        let mut changed = false;
        for (uid, trouble) in found {
            changed |= state.warnings.get(&uid) != Some(&trouble);
            state.warnings.insert(uid, trouble);
        }
        drop(state);
        if changed {
            self.has_changed();
        }
    }
}
