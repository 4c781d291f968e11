//! What happens to Jobs in the fake cluster: the Job controller, the scheduler, the kubelet and the TTL controller, and
//! the agents in their pods.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{
    task::AbortHandle,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    agent::{self, CannotSignIn, Files},
    books::Books,
    clock,
    cluster::{
        Cluster, Key, Object,
        resource::{JOBS, PODS, SECRETS},
    },
    history::Departure,
};

/// Attends to every Job. To be run beside everything else.
pub(crate) async fn attend(cluster: Cluster, books: Books) {
    let mut waiter = cluster.waiter();
    let mut seen = 0;
    let mut lives: HashMap<String, AbortHandle> = HashMap::new();
    loop {
        waiter.look();
        for change in cluster.happened_since(seen) {
            seen += 1;
            if change.key.plural != JOBS.plural {
                continue;
            }
            match (change.before, change.after) {
                (None, Some(job)) => {
                    books.made(job.metadata("uid"), &job.value);
                    let (cluster, books) = (cluster.clone(), books.clone());
                    let yard = Yard { cluster, books, key: change.key, conditions: Vec::new() };
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
        waiter.changed().await;
    }
}

/// Where one Job lives.
struct Yard {
    cluster: Cluster,
    books: Books,
    key: Key,
    conditions: Vec<Value>,
}

impl Yard {
    async fn life(mut self, job: Arc<Object>) {
        let storm = self.books.storm().fork();
        let (dice, tempo) = (storm.dice, storm.tempo);
        sleep(dice.time(tempo.pod)).await;
        self.until_resumed().await;
        let pod = Key::new(PODS, &self.key.namespace, &format!("{}-x1y2z", self.key.name));
        self.cluster.add(PODS, &self.key.namespace, pod_of(&pod.name, &job));
        self.report(&json!({"active": 1, "ready": 0, "startTime": written_now()}));
        sleep(dice.time(tempo.place)).await;
        let scheduled = json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": written_now()});
        let placed = json!({"spec": {"nodeName": "node"}, "status": {"conditions": [scheduled]}});
        self.cluster.change(PODS, &pod, &placed);
        let pod_spec = &job.value["spec"]["template"]["spec"];
        let container = pod_spec["containers"][0].clone();
        let files = self.mount(&pod, pod_spec, &container).await;
        sleep(dice.time(tempo.cold_start)).await;
        let uid = job.metadata("uid");
        let mut dies = self.books.dies(uid, &dice);
        if !dies {
            let told = self.tell_running(&pod, &container, dice.time(tempo.tells));
            let plan = self.books.plan(&container, files, &dice);
            let takes = |step| self.books.takes(uid, step);
            let life = agent::live(self.books.organization(), &plan, &takes);
            let evicted_after = self.books.evicted_after(&dice);
            let ended = match evicted_after {
                Some(time) => timeout(time, life).await.ok(),
                None => Some(life.await),
            };
            told.abort();
            match ended {
                Some(Ok(())) => self.books.worked(uid),
                Some(Err(CannotSignIn)) => {
                    self.books.cannot_sign_in(uid);
                    dies = true;
                }
                None => {
                    self.books.evicted(uid);
                    dies = true;
                }
            }
        }
        let (code, phase) = if dies { (1, "Failed") } else { (0, "Succeeded") };
        let ended = json!({"exitCode": code, "reason": phase, "finishedAt": written_now()});
        self.report_pod(&pod, phase, &container, &json!({"terminated": ended}));
        sleep(dice.time(tempo.tells_end)).await;
        let (early, late, reason, count) = if dies {
            ("FailureTarget", "Failed", "BackoffLimitExceeded", "failed")
        } else {
            ("SuccessCriteriaMet", "Complete", "CompletionsReached", "succeeded")
        };
        self.add_condition(early, "True", reason);
        self.report(&json!({"active": 0, "ready": 0, "conditions": self.conditions}));
        self.add_condition(late, "True", reason);
        self.report(&json!({count: 1, "conditions": self.conditions}));
        self.put_away_in_time().await;
    }

    /// The kubelet tells of a container that runs, sooner or later.
    fn tell_running(&self, pod: &Key, container: &Value, after: Duration) -> AbortHandle {
        let Self { cluster, books, key, .. } = self;
        let yard = Yard { cluster: cluster.clone(), books: books.clone(), key: key.clone(), conditions: Vec::new() };
        let (pod, container) = (pod.clone(), container.clone());
        let state = json!({"running": {"startedAt": written_now()}});
        let tell = move || {
            yard.report_pod(&pod, "Running", &container, &state);
            yard.report(&json!({"ready": 1}));
        };
        if after.is_zero() {
            tell();
            return tokio::spawn(async {}).abort_handle();
        }
        tokio::spawn(async move {
            sleep(after).await;
            tell();
        })
        .abort_handle()
    }

    /// A suspended Job has no pod.
    async fn until_resumed(&mut self) {
        let is_suspended = |job: Arc<Object>| job.value["spec"]["suspend"] == json!(true);
        let mut waiter = self.cluster.waiter();
        while self.cluster.get(&self.key).is_some_and(is_suspended) {
            if self.conditions.is_empty() {
                self.add_condition("Suspended", "True", "JobSuspended");
                self.report(&json!({"conditions": self.conditions}));
            }
            waiter.changed().await;
        }
        if !self.conditions.is_empty() {
            self.conditions.clear();
            self.add_condition("Suspended", "False", "JobResumed");
            self.report(&json!({"conditions": self.conditions}));
        }
    }

    fn add_condition(&mut self, kind: &str, status: &str, reason: &str) {
        let (kind, status) = (json!(kind), json!(status));
        self.conditions.push(json!({
            "type": kind, "status": status, "reason": reason, "lastTransitionTime": written_now(), "message": "",
        }));
    }

    /// The kubelet waits for the Secret that a pod mounts. What is read is how it is then.
    async fn mount(&self, pod: &Key, pod_spec: &Value, container: &Value) -> Option<Files> {
        let secret = Key::new(SECRETS, &self.key.namespace, Files::secret_of(pod_spec)?);
        let mut waiter = self.cluster.waiter();
        loop {
            if let Some(found) = self.cluster.get(&secret) {
                return Some(Files::of(&found.value));
            }
            self.report_pod(pod, "Pending", container, &json!({"waiting": {"reason": "ContainerCreating"}}));
            waiter.changed().await;
        }
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
                self.books.history().departs(found.metadata("uid"), Departure::Expired);
                return self.cluster.put_away(&self.key);
            }
            sleep_until(due).await;
        }
    }
}

fn written_now() -> String {
    clock::written(clock::of_api_server())
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
