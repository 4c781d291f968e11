//! Objects with their versions, and every change that was ever made: the fake API server's etcd.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{problem::Problem, resource::Resource};
use crate::{
    clock,
    versions::{Versions, Waiter},
};

/// Where an object is: plural, namespace, name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) plural: &'static str,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(resource: &Resource, namespace: &str, name: &str) -> Self {
        Self { plural: resource.plural, namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

/// An object at one version, without its kind, which is not part of it in lists.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) value: Value,
    text: OnceLock<String>,
}

impl Object {
    fn new(value: Value) -> Arc<Self> {
        Arc::new(Self { value, text: OnceLock::new() })
    }

    /// Its JSON, which is written once however often it is listed.
    pub(crate) fn text(&self) -> &str {
        self.text.get_or_init(|| self.value.to_string())
    }

    pub(crate) fn metadata(&self, name: &str) -> &str {
        self.value["metadata"][name].as_str().unwrap_or_default()
    }

    /// The uid of what it belongs to.
    pub(crate) fn owner(&self) -> Option<&str> {
        self.value["metadata"]["ownerReferences"][0]["uid"].as_str()
    }
}

/// One change of one object.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) at: Instant,
    pub(crate) key: Key,
    pub(crate) before: Option<Arc<Object>>,
    pub(crate) after: Option<Arc<Object>>,
    /// What was there before, at the version of this change: what one sees of it who selects it no longer.
    pub(crate) last: Option<Arc<Object>>,
}

/// All objects, and how they came to be.
#[derive(Debug)]
pub(crate) struct Store {
    version: u64,
    uids: u64,
    objects: BTreeMap<Key, Arc<Object>>,
    /// What the API server knows of the past. A restored backup takes the younger part of it away.
    changes: Vec<Change>,
    /// Everything that ever happened.
    happened: Vec<Change>,
    versions: Versions,
    /// How often a backup was restored: the connections of before are broken.
    restored: u64,
}

/// The store as it was at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Backup {
    version: u64,
    objects: BTreeMap<Key, Arc<Object>>,
}

/// The version of an empty store. The real one does not begin at 1 either, for etcd counts more than objects.
const FIRST_VERSION: u64 = 100;

impl Store {
    pub(crate) fn new() -> Self {
        let versions = Versions::default();
        let (objects, changes, happened) = Default::default();
        Self { version: FIRST_VERSION, uids: 0, objects, changes, happened, versions, restored: 0 }
    }

    pub(crate) fn backup(&self) -> Backup {
        Backup { version: self.version, objects: self.objects.clone() }
    }

    /// Everything is as it was then, the version included. What was made since is gone, what was deleted is back.
    pub(crate) fn restore(&mut self, backup: &Backup) {
        let now = std::mem::replace(&mut self.objects, backup.objects.clone());
        self.version = backup.version;
        self.changes.retain(|change| change.version <= backup.version);
        self.restored += 1;
        let keys: std::collections::BTreeSet<&Key> = now.keys().chain(backup.objects.keys()).collect();
        for key in keys {
            let (before, after) = (now.get(key).cloned(), backup.objects.get(key).cloned());
            let is_same = match (&before, &after) {
                (Some(before), Some(after)) => Arc::ptr_eq(before, after),
                _ => false,
            };
            if !is_same {
                let (version, at) = (self.version, Instant::now());
                self.happened.push(Change { version, at, key: key.clone(), before, after, last: None });
            }
        }
        self.versions.announce(u64::MAX - self.restored);
    }

    /// How often a backup was restored.
    pub(crate) fn restored(&self) -> u64 {
        self.restored
    }

    /// All that happened after so many things had.
    pub(crate) fn happened_since(&self, count: usize) -> &[Change] {
        &self.happened[count.min(self.happened.len())..]
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// The oldest version that a watch may start from.
    pub(crate) fn oldest(&self) -> u64 {
        FIRST_VERSION
    }

    /// Waits for newer versions.
    pub(crate) fn waiter(&self) -> Waiter {
        self.versions.waiter()
    }

    pub(crate) fn changes_since(&self, version: u64) -> &[Change] {
        let first = self.changes.partition_point(|change| change.version <= version);
        &self.changes[first..]
    }

    /// The version that was the newest one at a moment.
    pub(crate) fn version_at(&self, moment: Instant) -> u64 {
        let later = self.changes.partition_point(|change| change.at <= moment);
        later.checked_sub(1).map_or(FIRST_VERSION, |last| self.changes[last].version)
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<Object>> {
        self.objects.get(key)
    }

    /// All objects of a kind as they were at a version, in the order of their names.
    pub(crate) fn list(&self, resource: &Resource, namespace: &str, version: u64) -> BTreeMap<Key, Arc<Object>> {
        let is_asked_for =
            |key: &Key| key.plural == resource.plural && (namespace.is_empty() || key.namespace == namespace);
        let now = self.objects.iter().filter(|(key, _)| is_asked_for(key));
        let mut listed: BTreeMap<Key, Arc<Object>> =
            now.map(|(key, object)| (key.clone(), Arc::clone(object))).collect();
        for change in self.changes_since(version).iter().rev().filter(|change| is_asked_for(&change.key)) {
            match &change.before {
                Some(before) => listed.insert(change.key.clone(), Arc::clone(before)),
                None => listed.remove(&change.key),
            };
        }
        listed
    }

    /// Adds an object that is not there yet, with all that a new one is given.
    pub(crate) fn add(&mut self, resource: &Resource, key: Key, mut value: Value) -> Result<Arc<Object>, Problem> {
        if self.objects.contains_key(&key) {
            return Err(Problem::already_exists(resource, &key.name));
        }
        self.uids += 1;
        without_kind(&mut value);
        let metadata = &mut value["metadata"];
        metadata["uid"] = json!(format!("{:08x}-fa4e-4000-8000-000000000000", self.uids));
        metadata["creationTimestamp"] = json!(clock::written(clock::of_api_server()));
        if !key.namespace.is_empty() {
            metadata["namespace"] = json!(key.namespace);
        }
        if resource.counts_generations {
            metadata["generation"] = json!(1);
        }
        Ok(self.put(key, None, value))
    }

    /// Changes an object that is there. What changes nothing makes no new version.
    pub(crate) fn change(&mut self, resource: &Resource, key: &Key, mut value: Value) -> Result<Arc<Object>, Problem> {
        let before = self.objects.get(key).cloned().ok_or_else(|| Problem::not_found(resource, &key.name))?;
        for kept in ["uid", "creationTimestamp", "resourceVersion", "generation", "name", "namespace"] {
            if let Some(known) = before.value["metadata"].get(kept) {
                value["metadata"][kept] = known.clone();
            }
        }
        without_kind(&mut value);
        if value == before.value {
            return Ok(before);
        }
        if resource.counts_generations && value["spec"] != before.value["spec"] {
            let generation = before.value["metadata"]["generation"].as_u64().unwrap_or_default();
            value["metadata"]["generation"] = json!(generation + 1);
        }
        Ok(self.put(key.clone(), Some(before), value))
    }

    /// Takes an object away and gives what was there last.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<Arc<Object>> {
        let before = self.objects.remove(key)?;
        self.version += 1;
        let last = Object::new(self.at_this_version(before.value.clone()));
        self.note(key.clone(), Some(before), None, Some(Arc::clone(&last)));
        Some(last)
    }

    fn put(&mut self, key: Key, before: Option<Arc<Object>>, value: Value) -> Arc<Object> {
        self.version += 1;
        let object = Object::new(self.at_this_version(value));
        self.objects.insert(key.clone(), Arc::clone(&object));
        let labels = |object: &Object| object.value["metadata"]["labels"].clone();
        let relabelled = before.as_ref().filter(|before| labels(before) != labels(&object));
        let last = relabelled.map(|before| Object::new(self.at_this_version(before.value.clone())));
        self.note(key, before, Some(Arc::clone(&object)), last);
        object
    }

    fn at_this_version(&self, mut value: Value) -> Value {
        value["metadata"]["resourceVersion"] = json!(self.version.to_string());
        value
    }

    fn note(&mut self, key: Key, before: Option<Arc<Object>>, after: Option<Arc<Object>>, last: Option<Arc<Object>>) {
        let change = Change { version: self.version, at: Instant::now(), key, before, after, last };
        self.changes.push(change.clone());
        self.happened.push(change);
        self.versions.announce(self.version);
    }
}

fn without_kind(value: &mut Value) {
    if let Some(fields) = value.as_object_mut() {
        fields.remove("apiVersion");
        fields.remove("kind");
    }
}
