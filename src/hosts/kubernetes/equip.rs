//! Making a held Job ready: its agent's files go into a Secret that is named like it, then it may have its pod.
//!
//! Whoever made the Job does so at once. Whoever finds it held claims it first, by replacing the mark that they saw with
//! one of their own; of several only one finds the mark that it tests for. The resume tests for our mark once more and
//! takes it away, so that a process which was held up does not start a Job that is another's by then.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    KubernetesHost,
    failure::refused,
    grips::Grip,
    keys,
    secret_calls::{SecretDraft, Secrets},
    slim_job::held_mark,
};
use crate::{
    cluster::{ClusterError, ErrorKind},
    core::{EquipRun, Held},
    hosts::{AgentFiles, HostError},
};

/// How often a Secret is made that is there again each time.
const TRIES: u32 = 3;

/// What a held Job turns out to be.
enum Found {
    /// It is ours to make ready.
    Ours(Grip),
    /// It is ready already. It was made then.
    Ready(Timestamp),
}

impl KubernetesHost {
    pub(super) async fn claim_job(&self, run: &EquipRun) -> Result<(), HostError> {
        let name = run.name.as_str();
        let since = Instant::now();
        let mark = held_mark(&Held { by: self.identity.clone(), since: self.clock.now() });
        let grip = match self.grips.get(name).or_else(|| self.seen(name, since)) {
            Some(known) => Grip { mark, since, tried: false, ..known },
            None => {
                let job = self.get(name).await?.ok_or_else(|| gone(name))?;
                Grip { mark, ..Grip::of(&job, since).ok_or_else(|| claimed(name))? }
            }
        };
        let operations = json!([
            {"op": "test", "path": "/metadata/uid", "value": grip.uid},
            {"op": "test", "path": held_path(), "value": held_mark(&run.held)},
            {"op": "replace", "path": held_path(), "value": grip.mark},
        ]);
        match self.patch("claim", name, &operations).await {
            Ok(()) => {
                self.grips.insert(name, grip);
                Ok(())
            }
            Err(error) => {
                self.grips.let_go(name);
                Err(self.why_not(error, name))
            }
        }
    }

    pub(super) async fn equip_job(&self, name: &str, files: &AgentFiles) -> Result<(), HostError> {
        let grip = match self.grips.get(name).filter(|grip| !grip.tried) {
            Some(grip) => grip,
            None => match self.look(name).await? {
                Found::Ours(grip) => grip,
                Found::Ready(created_at) => {
                    self.is_ready(name, created_at);
                    return Ok(());
                }
            },
        };
        self.grips.insert(name, Grip { tried: true, ..grip.clone() });
        self.put_files(name, &grip, files).await?;
        self.resume(name, &grip).await
    }

    /// What the watch says of it.
    fn seen(&self, name: &str, since: Instant) -> Option<Grip> {
        let state = self.watching().view().state();
        let job = &state.jobs.items.get(name)?.kept;
        let (uid, own_suspend) = (job.uid.clone(), job.own_suspend);
        let created_at = job.run.as_ref()?.created_at;
        Some(Grip { uid, created_at, mark: String::new(), own_suspend, since, tried: false })
    }

    /// Looks at the Job itself: ours to make ready, ready already, or another's.
    async fn look(&self, name: &str) -> Result<Found, HostError> {
        let known = self.grips.get(name);
        let job = self.get(name).await?.filter(|job| !job.is_being_deleted()).ok_or_else(|| gone(name))?;
        let is_it = known.as_ref().is_none_or(|known| known.uid == job.uid());
        if is_it && job.mark().is_none() && (!job.is_suspended() || job.is_suspended_by_others()) {
            return Ok(Found::Ready(job.created_at()));
        }
        let is_ours = match &known {
            Some(known) => is_it && job.mark() == Some(known.mark.as_str()),
            None => job.held().is_some_and(|held| held.by == self.identity),
        };
        let since = known.map_or_else(Instant::now, |known| known.since);
        match Grip::of(&job, since).filter(|_| is_ours) {
            Some(grip) => Ok(Found::Ours(grip)),
            None => {
                self.grips.let_go(name);
                Err(claimed(name))
            }
        }
    }

    /// Makes the Secret. One that is there is from an attempt that was given up: nobody knows whether it fits the key that
    /// the agent is registered with now, so it goes first. It goes by its uid: a deletion that arrives late must not take
    /// its successor.
    async fn put_files(&self, name: &str, grip: &Grip, files: &AgentFiles) -> Result<(), HostError> {
        let secrets = Secrets { client: &self.client, namespace: &self.namespace };
        let draft = SecretDraft {
            name,
            component: "agent-files",
            installation: &self.installation,
            owner: Some(owner(name, &grip.uid)),
            data: files.iter().map(|(file, content)| (*file, content)).collect::<BTreeMap<_, _>>(),
        };
        let refused = |error| refused(error, &self.namespace);
        for _ in 0..TRIES {
            if !grip.holds() {
                let message = format!("the agent \"{name}\" took too long to be made ready; a later pass begins anew");
                return Err(HostError::Unavailable(message));
            }
            match secrets.create(&draft).await {
                Ok(()) => return Ok(()),
                Err(error) if error.kind == ErrorKind::AlreadyExists => {
                    if let Some(found) = secrets.find(name).await.map_err(refused)? {
                        if let Some(owner) = found.other_owner(&self.installation) {
                            return Err(HostError::Collision { name: name.to_owned(), owner });
                        }
                        // The uid may be that of somebody's who has claimed the run meanwhile.
                        let Found::Ours(_) = self.look(name).await? else { return Ok(()) };
                        secrets.delete(name, Some(&found.uid)).await.map_err(refused)?;
                    }
                }
                Err(error) => return Err(refused(error)),
            }
        }
        Err(HostError::Unavailable(format!("the Secret \"{name}\" is there again whenever it was deleted")))
    }

    /// Lets the Job have its pod, if it is ours still. When it is not, or is gone, the Secret stays: the one who claimed
    /// it replaces it, and what its Job has left behind goes by the garbage collector, which knows one Job from another of
    /// its name.
    async fn resume(&self, name: &str, grip: &Grip) -> Result<(), HostError> {
        let mut operations = vec![
            json!({"op": "test", "path": "/metadata/uid", "value": grip.uid}),
            json!({"op": "test", "path": held_path(), "value": grip.mark}),
            json!({"op": "remove", "path": held_path()}),
        ];
        if !grip.own_suspend {
            operations.push(json!({"op": "replace", "path": "/spec/suspend", "value": false}));
        }
        match self.patch("resume", name, &Value::from(operations)).await {
            Ok(()) => {
                self.is_ready(name, grip.created_at);
                Ok(())
            }
            // Somebody else's by now, or ready: an answer was lost, or it was sent twice on its way.
            Err(error) if is_changed(&error) => match self.look(name).await? {
                Found::Ready(created_at) => {
                    self.is_ready(name, created_at);
                    Ok(())
                }
                Found::Ours(_) => Err(self.why_not(error, name)),
            },
            Err(error) => Err(self.why_not(error, name)),
        }
    }

    fn is_ready(&self, name: &str, created_at: Timestamp) {
        self.grips.let_go(name);
        self.expectations().equipped(name, created_at, self.clock.now());
    }

    fn why_not(&self, error: ClusterError, name: &str) -> HostError {
        match error.kind {
            ErrorKind::NotFound => gone(name),
            _ if is_changed(&error) => claimed(name),
            _ => refused(error, &self.namespace),
        }
    }
}

/// Whether a test of a JSON patch failed, or the Job changed all the time. The second is no different to us: a later pass
/// looks again.
fn is_changed(error: &ClusterError) -> bool {
    matches!(error.kind, ErrorKind::Invalid | ErrorKind::Conflict)
}

fn claimed(name: &str) -> HostError {
    HostError::Unavailable(format!("the Job \"{name}\" was claimed by another, or has changed since it was seen"))
}

fn gone(name: &str) -> HostError {
    HostError::Unavailable(format!("the Job \"{name}\" is gone"))
}

/// The mark's place, as a JSON pointer.
fn held_path() -> String {
    format!("/metadata/annotations/{}", keys::HELD.replace('/', "~1"))
}

/// The Secret goes with its Job. It does not hold the Job's deletion up: for `blockOwnerDeletion` one has to have the right
/// to change the Job's finalizers.
fn owner(name: &str, uid: &str) -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid})
}
