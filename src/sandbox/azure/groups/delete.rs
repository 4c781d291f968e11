//! DELETE: the processes are ended, and then the group is gone.

use jiff::Timestamp;

use super::{
    Accepted, Fate, Groups, Order, Refusal, after,
    model::{Key, Stage},
};

impl Groups {
    /// Deletes a group. It is gone when its process has ended and the deletion's time is over.
    ///
    /// # Errors
    ///
    /// It is in transition, or there were too many deletions.
    pub fn delete(&mut self, resource_group: &str, name: &str, now: Timestamp) -> Result<Accepted, Refusal> {
        self.advance(now);
        let key = Self::key(resource_group, name);
        let Some(group) = self.groups.get(&key) else { return Ok(Accepted::Absent) };
        let is_busy = match group.stage {
            Stage::Deleting => true,
            stage => stage.is_transition() && group.fate != Fate::Stuck && self.rules.refuse_deletion_in_transition,
        };
        if is_busy {
            return Err(Refusal::transitioning(name));
        }
        let view = self.view(group, true);
        self.throttle.delete(&self.rules, now)?;
        let operation = self.begin(&key, true, now);
        if let Some(group) = self.groups.get_mut(&key) {
            if let Some(going_on) = group.operation.replace(operation).and_then(|one| self.operations.get_mut(&one)) {
                going_on.ended = Some(now);
                going_on.canceled = true;
            }
            group.stage = Stage::Deleting;
            group.due = Some(after(now, self.rules.deletion));
            self.orders.extend(group.process.map(Order::Stop));
            if let Some(record) = self.history.get_mut(group.record) {
                record.deletes += 1;
            }
        }
        self.changed();
        self.advance(now);
        let gone = !self.groups.contains_key(&key);
        Ok(if gone { Accepted::Done(Some(view)) } else { Accepted::GoingOn(operation) })
    }

    pub(super) fn gone(&mut self, key: &Key, now: Timestamp) {
        let Some(group) = self.groups.remove(key) else { return };
        self.end(group.operation, None, now);
        if let Some(record) = self.history.get_mut(group.record) {
            record.deleted_at = Some(now);
        }
        self.changed();
    }
}
