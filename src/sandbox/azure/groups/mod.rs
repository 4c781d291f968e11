//! The container groups of one subscription as a pure state machine: every method is given the time, nothing here
//! waits, reads a clock, touches a socket or starts a process. What a process has to do for it comes out as
//! [`Order`]s; what became of the process is told to it.
//!
//! Each method first lets the time pass ([`Groups::advance`]). What cannot be done is a [`Refusal`] with Resource
//! Manager's status and code. Semantics and sources: the project's facts about Azure, §6.1.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

mod advance;
mod check;
mod container_group;
mod delete;
mod model;
mod order;
mod power;
mod put;
mod quota;
mod refusal;
mod rules;
mod shape;
#[cfg(test)]
mod tests;
mod throttle;
mod view;

pub use model::{Fate, GroupRecord};
pub use order::{Order, Start};
pub use refusal::Refusal;
pub use rules::{AzureRules, Bucket};
pub use throttle::Sort;

use model::{Group, Key, Operation};
use throttle::Throttle;

/// What a call that changes something leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum Accepted {
    /// It is done.
    Done(Option<Value>),
    /// The group is new; an operation goes on.
    Created(Value, u64),
    /// The group was there; an operation goes on.
    Updated(Value, u64),
    /// An operation goes on.
    GoingOn(u64),
    /// There is no such group, and none was wanted.
    Absent,
}

/// A subscription's container groups at one moment.
#[derive(Clone, Debug)]
pub struct Groups {
    rules: AzureRules,
    subscription: String,
    groups: BTreeMap<Key, Group>,
    operations: BTreeMap<u64, Operation>,
    history: Vec<GroupRecord>,
    throttle: Throttle,
    orders: Vec<Order>,
    last_operation: u64,
    last_process: u64,
    peak: usize,
    version: u64,
}

impl Groups {
    /// A subscription without groups.
    #[must_use]
    pub fn new(subscription: impl Into<String>, rules: AzureRules) -> Self {
        Self {
            rules,
            subscription: subscription.into(),
            groups: BTreeMap::new(),
            operations: BTreeMap::new(),
            history: Vec::new(),
            throttle: Throttle::default(),
            orders: Vec::new(),
            last_operation: 0,
            last_process: 0,
            peak: 0,
            version: 0,
        }
    }

    /// The rules it goes by.
    #[must_use]
    pub fn rules(&self) -> &AzureRules {
        &self.rules
    }

    /// Other rules from now on.
    pub fn set_rules(&mut self, rules: AzureRules) {
        self.rules = rules;
        self.version += 1;
    }

    /// Counts the changes, so that one can tell whether anything happened.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The next moment at which something happens by itself. [`Self::advance`] should be called then.
    #[must_use]
    pub fn next_alarm(&self) -> Option<Timestamp> {
        self.groups.values().filter_map(|group| group.due).min()
    }

    /// What has to be done with processes since this was asked last.
    pub fn take_orders(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.orders)
    }

    /// Every group that was ever created, in the order of their creation.
    #[must_use]
    pub fn history(&self) -> &[GroupRecord] {
        &self.history
    }

    /// The names of the groups there are, those that are being deleted too.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.groups.values().map(|group| group.name.as_str())
    }

    /// How many groups there are, whatever their state.
    #[must_use]
    pub fn count(&self) -> usize {
        self.groups.len()
    }

    /// The most groups there were at once.
    #[must_use]
    pub fn peak(&self) -> usize {
        self.peak
    }

    /// How many processes run for groups.
    #[must_use]
    pub fn running(&self) -> usize {
        self.groups.values().filter(|group| group.process.is_some()).count()
    }

    /// Takes one call from a principal's bucket and says how many are left.
    ///
    /// # Errors
    ///
    /// The bucket is empty.
    pub fn throttle(&mut self, principal: &str, sort: Sort, now: Timestamp) -> Result<u32, Refusal> {
        self.throttle.take(&self.rules, principal, sort, now)
    }

    fn key(resource_group: &str, name: &str) -> Key {
        (resource_group.to_lowercase(), name.to_lowercase())
    }

    fn find(&mut self, resource_group: &str, name: &str) -> Result<&mut Group, Refusal> {
        let key = Self::key(resource_group, name);
        self.groups.get_mut(&key).ok_or_else(|| Refusal::not_found(resource_group, name))
    }

    fn begin(&mut self, of: &Key, deletes: bool, now: Timestamp) -> u64 {
        self.last_operation += 1;
        let operation = Operation { started: now, ended: None, error: None, canceled: false, of: of.clone(), deletes };
        self.operations.insert(self.last_operation, operation);
        self.last_operation
    }

    fn end(&mut self, operation: Option<u64>, error: Option<(&'static str, String)>, now: Timestamp) {
        if let Some(operation) = operation.and_then(|number| self.operations.get_mut(&number)) {
            operation.ended = Some(now);
            operation.error = error;
        }
    }

    fn changed(&mut self) {
        self.version += 1;
    }
}

/// `moment + duration`, at most the end of time.
fn after(moment: Timestamp, duration: std::time::Duration) -> Timestamp {
    moment.checked_add(duration).unwrap_or(Timestamp::MAX)
}
