//! A Kubernetes API server in this process, below kube's `Client` and above any socket, so that it lives in paused time.
//!
//! It knows the calls and the answers that this project and those who play in its tests make; `contract` sends the same
//! calls to the real one.

mod json_patch;
mod problem;
mod read;
pub(crate) mod resource;
mod selector;
mod server;
mod store;
mod watch;
mod write;

use std::sync::{Arc, Mutex};

use kube::Client;
use serde_json::{Value, json};

pub(crate) use problem::Problem;
pub(crate) use store::{Backup, Change, Key, Object};

use resource::{NAMESPACES, PODS, Resource, SECRETS};
use server::Server;
pub(crate) use server::refusal;
use store::Store;

use crate::versions::Waiter;

/// Header of a call: how old a view its answer may be, in milliseconds. Only the faults set it.
pub(crate) const STALE: &str = "x-fake-stale-millis";

/// Header of a watch: how late its events come, in milliseconds. Only the faults set it.
pub(crate) const LATE: &str = "x-fake-late-millis";

/// The whole cluster. All who hold it hold the same one.
#[derive(Clone, Debug)]
pub(crate) struct Cluster(Arc<Mutex<Store>>);

impl Cluster {
    /// An empty cluster with one namespace.
    pub(crate) fn with_namespace(name: &str) -> Self {
        let cluster = Self(Arc::new(Mutex::new(Store::new())));
        cluster.see(|store| {
            let namespace = json!({"metadata": {"name": name}});
            write::create(store, NAMESPACES, "", namespace).map(drop).unwrap();
        });
        cluster
    }

    /// A client that knows no faults.
    pub(crate) fn client(&self) -> Client {
        Client::new(Server(self.clone()), "default")
    }

    fn see<T>(&self, look: impl FnOnce(&mut Store) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    /// Waits for newer versions.
    pub(crate) fn waiter(&self) -> Waiter {
        self.see(|store| store.waiter())
    }

    /// All that happened after a version.
    pub(crate) fn changes_since(&self, version: u64) -> Vec<Change> {
        self.see(|store| store.changes_since(version).to_vec())
    }

    /// All that happened after so many things had, whatever became of the API server meanwhile.
    pub(crate) fn happened_since(&self, count: usize) -> Vec<Change> {
        self.see(|store| store.happened_since(count).to_vec())
    }

    /// Everything as it is now.
    pub(crate) fn backup(&self) -> Backup {
        self.see(|store| store.backup())
    }

    /// Makes everything what it was then.
    pub(crate) fn restore(&self, backup: &Backup) {
        self.see(|store| store.restore(backup));
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.see(|store| store.get(key).cloned())
    }

    /// Adds an object as one of the cluster's own controllers would.
    pub(crate) fn add(&self, resource: &Resource, namespace: &str, body: Value) {
        self.see(|store| {
            // A namesake is as good; nobody here depends on which.
            let _ = write::create(store, resource, namespace, body);
        });
    }

    /// Changes an object as one of the cluster's own controllers would. One that is gone stays so.
    pub(crate) fn change(&self, resource: &Resource, key: &Key, patch: &Value) {
        self.see(|store| {
            let _ = write::merge(store, resource, &key.namespace, &key.name, patch);
        });
    }

    /// Deletes a Job and its pods, as the TTL controller does.
    pub(crate) fn put_away(&self, job: &Key) {
        self.see(|store| {
            if let Some(removed) = store.remove(job) {
                write::remove_dependents(store, PODS, &job.namespace, removed.metadata("uid"));
            }
        });
    }

    /// All objects of a kind in a namespace.
    pub(crate) fn all(&self, resource: &Resource, namespace: &str) -> Vec<Arc<Object>> {
        self.see(|store| store.list(resource, namespace, store.version()).into_values().collect())
    }

    /// Deletes the Secrets of a Job that is gone, as the garbage collector does.
    pub(crate) fn collect_secrets_of(&self, namespace: &str, job_uid: &str) {
        self.see(|store| write::remove_dependents(store, SECRETS, namespace, job_uid));
    }
}
