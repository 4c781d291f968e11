//! PUT: a new group, or an update, which restarts what runs.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    Accepted, Fate, GroupRecord, Groups, Order, Refusal, after,
    check::{check, cores, images, list},
    model::{Group, Key, Stage, region, tags},
};

impl Groups {
    /// Creates or updates a group.
    ///
    /// # Errors
    ///
    /// The body is not of the published shape, the group is in transition, or there is no room for it.
    pub fn put(
        &mut self,
        resource_group: &str,
        name: &str,
        body: Value,
        fate: Fate,
        now: Timestamp,
    ) -> Result<Accepted, Refusal> {
        self.advance(now);
        let body = check(body, name, &self.rules)?;
        let key = Self::key(resource_group, name);
        let before = self.groups.get(&key);
        if before.is_some_and(|group| group.stage.is_transition()) {
            return Err(Refusal::transitioning(name));
        }
        if let Some(before) = before
            && !may_become(&before.body, &body)
        {
            let message = format!(
                "The updates on container group '{name}' are invalid. If you are going to update the os type, restart \
                 policy, network profile, CPU, memory or GPU resources for a container group, you must delete it first \
                 and then create a new one."
            );
            return Err(Refusal::new(400, "InvalidContainerGroupUpdate", message));
        }
        self.fits(&region(&body), cores(&body), &key)?;
        let is_new = before.is_none();
        if is_new {
            self.throttle.create(&self.rules, now)?;
        }
        let operation = self.begin(&key, false, now);
        if is_new {
            self.create(&key, (resource_group, name), body, fate, operation, now);
        } else {
            self.update(&key, body, operation, now);
        }
        self.peak = self.peak.max(self.groups.len());
        self.changed();
        let view = self.groups.get(&key).map(|group| self.view(group, true)).unwrap_or_default();
        // Short delays may be over already.
        self.advance(now);
        Ok(if is_new { Accepted::Created(view, operation) } else { Accepted::Updated(view, operation) })
    }

    fn create(
        &mut self,
        key: &Key,
        (resource_group, name): (&str, &str),
        body: Value,
        fate: Fate,
        operation: u64,
        now: Timestamp,
    ) {
        let unpullable = images(list(&body["properties"]["containers"])).any(|image| image.contains("unpullable"));
        let fate = if unpullable && fate == Fate::Run { Fate::Unpullable } else { fate };
        self.history.push(GroupRecord {
            resource_group: resource_group.to_owned(),
            name: name.to_owned(),
            location: region(&body),
            tags: tags(&body),
            puts: 1,
            starts: 0,
            deletes: 0,
            created_at: now,
            deleted_at: None,
            exit_code: None,
            processes: Vec::new(),
        });
        let mut group = Group {
            resource_group: resource_group.to_owned(),
            name: name.to_owned(),
            body,
            stage: Stage::Pending,
            fate,
            due: (fate != Fate::Stuck).then(|| after(now, self.rules.scheduling)),
            containers: Vec::new(),
            operation: Some(operation),
            process: None,
            stopped: false,
            record: self.history.len() - 1,
        };
        group.reset_containers();
        self.groups.insert(key.clone(), group);
    }

    /// All its containers begin anew.
    fn update(&mut self, key: &Key, body: Value, operation: u64, now: Timestamp) {
        let Some(group) = self.groups.get_mut(key) else { return };
        group.body = body;
        group.stage = Stage::Pending;
        group.fate = Fate::Run;
        group.stopped = false;
        group.operation = Some(operation);
        group.due = Some(after(now, self.rules.scheduling));
        group.reset_containers();
        // What it ends with is not this group's any more.
        self.orders.extend(group.process.take().map(Order::Stop));
        if let Some(record) = self.history.get_mut(group.record) {
            record.puts += 1;
            record.tags = tags(&group.body);
        }
    }
}

/// Whether only that changes which may.
fn may_become(before: &Value, after: &Value) -> bool {
    let properties = ["osType", "restartPolicy", "subnetIds", "sku", "priority"];
    let resources = |body: &Value| -> Vec<Value> {
        let containers = list(&body["properties"]["containers"]);
        containers.iter().map(|container| container["properties"]["resources"].clone()).collect()
    };
    properties.iter().all(|name| before["properties"][name] == after["properties"][name])
        && resources(before) == resources(after)
        && region(before) == region(after)
}
