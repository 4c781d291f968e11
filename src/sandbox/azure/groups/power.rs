//! What can be done with a group besides putting and deleting it: stop, start, restart, and other tags.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    Accepted, Groups, Order, Refusal, after,
    check::tags_alone,
    model::{Doing, Stage, tags},
};

impl Groups {
    /// Stops a group's containers. The group stays.
    ///
    /// # Errors
    ///
    /// There is no such group, or it is in transition.
    pub fn stop(&mut self, resource_group: &str, name: &str, now: Timestamp) -> Result<Accepted, Refusal> {
        self.settled(resource_group, name, now)?;
        let group = self.find(resource_group, name)?;
        group.stopped = true;
        group.due = None;
        let process = group.process;
        for container in &mut group.containers {
            if let Doing::Running { since } = container.doing {
                container.now_does(Doing::Terminated { since: Some(since), at: now, code: 0 });
            }
        }
        self.orders.extend(process.map(Order::Stop));
        self.changed();
        Ok(Accepted::Done(None))
    }

    /// Starts a group that was stopped or has ended.
    ///
    /// # Errors
    ///
    /// As [`Self::stop`].
    pub fn start(&mut self, resource_group: &str, name: &str, now: Timestamp) -> Result<Accepted, Refusal> {
        self.settled(resource_group, name, now)?;
        let operation = self.begin(&Self::key(resource_group, name), false, now);
        let scheduling = self.rules.scheduling;
        let group = self.find(resource_group, name)?;
        group.stage = Stage::Pending;
        group.stopped = false;
        group.operation = Some(operation);
        group.due = Some(after(now, scheduling));
        group.reset_containers();
        let process = group.process.take();
        self.orders.extend(process.map(Order::Stop));
        self.changed();
        self.advance(now);
        Ok(Accepted::GoingOn(operation))
    }

    /// Starts all containers anew, in place.
    ///
    /// # Errors
    ///
    /// As [`Self::stop`].
    pub fn restart(&mut self, resource_group: &str, name: &str, now: Timestamp) -> Result<Accepted, Refusal> {
        self.start(resource_group, name, now).map(|_| Accepted::Done(None))
    }

    /// Other tags, and nothing else: nothing is restarted.
    ///
    /// # Errors
    ///
    /// There is no such group, it is in transition, or there is more than tags in the body.
    pub fn tag(&mut self, resource_group: &str, name: &str, body: &Value, now: Timestamp) -> Result<Accepted, Refusal> {
        self.settled(resource_group, name, now)?;
        tags_alone(body)?;
        let group = self.find(resource_group, name)?;
        group.body["tags"] = body["tags"].clone();
        let (record, tags) = (group.record, tags(&group.body));
        if let Some(record) = self.history.get_mut(record) {
            record.tags = tags;
        }
        self.changed();
        self.get(resource_group, name).map(|view| Accepted::Done(Some(view)))
    }

    fn settled(&mut self, resource_group: &str, name: &str, now: Timestamp) -> Result<(), Refusal> {
        self.advance(now);
        let is_busy = self.find(resource_group, name)?.stage.is_transition();
        if is_busy { Err(Refusal::transitioning(name)) } else { Ok(()) }
    }
}
