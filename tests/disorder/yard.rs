//! What happens to Jobs in the fake cluster: the Job controller, the scheduler, the kubelet and the TTL controller, and
//! the agents in their pods.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{
    task::AbortHandle,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    agent,
    books::Books,
    clock,
    cluster::{
        Cluster, Key, Object,
        resource::{JOBS, PODS},
    },
    secrets,
};

/// Attends to every Job. To be run beside everything else.
pub(crate) async fn attend(cluster: Cluster, books: Books) {
    let mut versions = cluster.versions();
    let mut seen = 0;
    let mut lives: HashMap<String, AbortHandle> = HashMap::new();
    loop {
        versions.borrow_and_update();
        for change in cluster.changes_since(seen) {
            seen = change.version;
            if change.key.plural != JOBS.plural {
                continue;
            }
            match (change.before, change.after) {
                (None, Some(job)) => {
                    books.made(job.metadata("uid"), &job.value);
                    let yard = Yard { cluster: cluster.clone(), books: books.clone(), key: change.key };
                    let life = tokio::spawn(yard.life(Arc::clone(&job)));
                    lives.insert(job.metadata("uid").to_owned(), life.abort_handle());
                }
                (Some(job), None) => {
                    books.deleted(job.metadata("uid"));
                    if let Some(life) = lives.remove(job.metadata("uid")) {
                        life.abort();
                    }
                }
                _ => {}
            }
        }
        if versions.changed().await.is_err() {
            return;
        }
    }
}

/// Where one Job lives.
struct Yard {
    cluster: Cluster,
    books: Books,
    key: Key,
}

impl Yard {
    async fn life(self, job: Arc<Object>) {
        let storm = self.books.storm().fork();
        let (dice, tempo) = (storm.dice, storm.tempo);
        sleep(dice.time(tempo.pod)).await;
        self.until_resumed(job.metadata("uid")).await;
        let pod = Key::new(PODS, &self.key.namespace, &format!("{}-x1y2z", self.key.name));
        self.cluster.add(PODS, &self.key.namespace, pod_of(&pod.name, &job));
        self.report(&json!({"active": 1, "ready": 0, "startTime": written_now()}));
        sleep(dice.time(tempo.place)).await;
        let scheduled = json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": written_now()});
        let placed = json!({"spec": {"nodeName": "node"}, "status": {"conditions": [scheduled]}});
        self.cluster.change(PODS, &pod, &placed);
        let files = match secrets::wanted(&job.value) {
            Some(name) => Some(secrets::mounted(&self.cluster, &self.key.namespace, name).await),
            None => None,
        };
        sleep(dice.time(tempo.cold_start)).await;
        let container = job.value["spec"]["template"]["spec"]["containers"][0].clone();
        let uid = job.metadata("uid");
        let mut dies = self.books.dies(uid, &dice);
        if !dies {
            let state = json!({"running": {"startedAt": written_now()}});
            self.report_pod(&pod, "Running", &container, &state);
            self.report(&json!({"ready": 1}));
            match agent::live(self.books.organization(), &self.books.plan(&container, files, &dice)).await {
                agent::End::Well => self.books.worked(uid),
                agent::End::Refused => {
                    self.books.refused(uid);
                    dies = true;
                }
            }
        }
        let (code, phase) = if dies { (1, "Failed") } else { (0, "Succeeded") };
        let ended = json!({"exitCode": code, "reason": phase, "finishedAt": written_now()});
        self.report_pod(&pod, phase, &container, &json!({"terminated": ended}));
        sleep(dice.time(5..=500)).await;
        let (early, late, reason, count) = if dies {
            ("FailureTarget", "Failed", "BackoffLimitExceeded", "failed")
        } else {
            ("SuccessCriteriaMet", "Complete", "CompletionsReached", "succeeded")
        };
        let condition = |kind: &str| json!({"type": kind, "status": "True", "reason": reason, "lastTransitionTime": written_now(), "message": ""});
        self.report(&json!({"active": 0, "ready": 0, "conditions": [condition(early)]}));
        self.report(&json!({count: 1, "conditions": [condition(early), condition(late)]}));
        self.put_away_in_time().await;
    }

    /// A Job that is suspended gets its pod when it is so no longer.
    async fn until_resumed(&self, uid: &str) {
        let mut versions = self.cluster.versions();
        // One that is gone stays as it was; its life ends here.
        let is_suspended = || self.cluster.get(&self.key).is_none_or(|job| job.value["spec"]["suspend"] == json!(true));
        let suspended = |status: &str| json!({"conditions": [{"type": "Suspended", "status": status, "lastTransitionTime": written_now()}]});
        if !is_suspended() {
            return;
        }
        self.report(&suspended("True"));
        while is_suspended() {
            let _ = versions.changed().await;
        }
        self.report(&suspended("False"));
        self.books.resumed(uid);
    }

    fn report(&self, status: &Value) {
        self.cluster.change(JOBS, &self.key, &json!({"status": status}));
    }

    fn report_pod(&self, pod: &Key, phase: &str, container: &Value, state: &Value) {
        let containers = json!([{"name": container["name"], "state": state, "ready": phase == "Running"}]);
        self.cluster.change(PODS, pod, &json!({"status": {"phase": phase, "containerStatuses": containers}}));
    }

    /// The TTL may be changed until it is over.
    async fn put_away_in_time(&self) {
        let ended = Instant::now();
        loop {
            let Some(found) = self.cluster.get(&self.key) else { return };
            let Some(ttl) = found.value["spec"]["ttlSecondsAfterFinished"].as_u64() else { return };
            let due = ended + Duration::from_secs(ttl);
            if Instant::now() >= due {
                return self.cluster.put_away(&self.key);
            }
            sleep_until(due).await;
        }
    }
}

fn written_now() -> String {
    clock::written(clock::now())
}

fn pod_of(name: &str, job: &Object) -> Value {
    let template = &job.value["spec"]["template"];
    let mut metadata = template["metadata"].clone();
    metadata["name"] = json!(name);
    metadata["ownerReferences"] = json!([{
        "apiVersion": "batch/v1", "kind": "Job", "controller": true, "blockOwnerDeletion": true,
        "name": job.metadata("name"), "uid": job.metadata("uid"),
    }]);
    for (label, value) in [("job-name", job.metadata("name")), ("controller-uid", job.metadata("uid"))] {
        metadata["labels"][format!("batch.kubernetes.io/{label}")] = json!(value);
        metadata["labels"][label] = json!(value);
    }
    json!({"metadata": metadata, "spec": template["spec"], "status": {"phase": "Pending"}})
}
