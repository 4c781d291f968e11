//! What is shown of groups and operations. Nothing secret is.

use serde_json::{Value, json};

use super::{
    Groups, Refusal,
    container_group::CONTAINER_GROUP,
    model::{Container, Doing, Event, Group},
};

impl Groups {
    /// One group, with its instance view.
    ///
    /// # Errors
    ///
    /// There is none of that name.
    pub fn get(&self, resource_group: &str, name: &str) -> Result<Value, Refusal> {
        let group = self.groups.get(&Self::key(resource_group, name));
        group.map(|group| self.view(group, true)).ok_or_else(|| Refusal::not_found(resource_group, name))
    }

    /// The region of a group, empty if there is none of that name.
    #[must_use]
    pub fn region_of(&self, resource_group: &str, name: &str) -> String {
        self.groups.get(&Self::key(resource_group, name)).map(Group::location).unwrap_or_default()
    }

    /// One page of a resource group's groups, or of all, without their instance views: those after the one of this
    /// name, and whether there are more.
    #[must_use]
    pub fn list(&self, resource_group: Option<&str>, after: Option<&str>, most: usize) -> (Vec<Value>, Option<String>) {
        let inside = |group: &&Group| resource_group.is_none_or(|name| group.resource_group.eq_ignore_ascii_case(name));
        let key = |group: &Group| format!("{}/{}", group.resource_group, group.name).to_lowercase();
        let later = |group: &&Group| after.is_none_or(|after| *key(group) > *after);
        let mut groups = self.groups.values().filter(inside).filter(later);
        let page: Vec<&Group> = groups.by_ref().take(most.max(1)).collect();
        let next = groups.next().and(page.last()).map(|last| key(last));
        (page.into_iter().map(|group| self.view(group, false)).collect(), next)
    }

    /// The number of the process whose output is a container's log; `None` where none has run or the container only seems
    /// to run.
    ///
    /// # Errors
    ///
    /// There is no such group or container.
    pub fn process_of(&self, resource_group: &str, name: &str, container: &str) -> Result<Option<u64>, Refusal> {
        let key = Self::key(resource_group, name);
        let group = self.groups.get(&key).ok_or_else(|| Refusal::not_found(resource_group, name))?;
        let Some(at) = group.containers.iter().position(|one| one.name == container) else {
            let message = format!("The container '{container}' is not found in container group '{name}'.");
            return Err(Refusal::new(404, "ContainerNotFound", message));
        };
        let last = || self.history.get(group.record)?.processes.last().copied();
        Ok(if at == group.agent_at() { last() } else { None })
    }

    /// How an operation stands; whether it is over; and what it was about, if that is still there.
    ///
    /// # Errors
    ///
    /// There is none of that number.
    pub fn operation(&self, number: u64, id: &str) -> Result<(Value, bool, Option<Value>), Refusal> {
        let Some(operation) = self.operations.get(&number) else {
            return Err(Refusal::new(404, "OperationNotFound", format!("The operation '{number}' is not found.")));
        };
        let mut view = json!({
            "id": id,
            "name": number.to_string(),
            "status": operation.status(),
            "startTime": operation.started.to_string(),
        });
        if let Some(ended) = operation.ended {
            view["endTime"] = json!(ended.to_string());
        }
        if let Some((code, message)) = &operation.error {
            view["error"] = json!({ "code": code, "message": message });
        }
        let group = self.groups.get(&operation.of).filter(|_| !operation.deletes);
        Ok((view, operation.ended.is_some(), group.map(|group| self.view(group, true))))
    }

    pub(super) fn view(&self, group: &Group, with_instances: bool) -> Value {
        let Group { resource_group, name, .. } = group;
        let mut view = group.body.clone();
        CONTAINER_GROUP.redact(&mut view);
        let id = format!(
            "/subscriptions/{}/resourceGroups/{resource_group}/providers/Microsoft.ContainerInstance/containerGroups/{name}",
            self.subscription
        );
        view["id"] = json!(id);
        view["name"] = json!(name);
        view["type"] = json!("Microsoft.ContainerInstance/containerGroups");
        let properties = &mut view["properties"];
        properties["provisioningState"] = json!(group.stage.provisioning_state());
        if properties["sku"].is_null() {
            properties["sku"] = json!("Standard");
        }
        if !with_instances {
            return view;
        }
        properties["instanceView"] = json!({ "events": [], "state": group.state() });
        if let Some(containers) = properties["containers"].as_array_mut() {
            for (shown, container) in containers.iter_mut().zip(&group.containers) {
                shown["properties"]["instanceView"] = instance(container);
            }
        }
        view
    }
}

fn instance(container: &Container) -> Value {
    let mut view = json!({
        "restartCount": container.restarts,
        "currentState": state(&container.doing),
        "events": container.events.iter().map(event).collect::<Vec<_>>(),
    });
    if let Some(before) = &container.before {
        view["previousState"] = state(before);
    }
    view
}

fn state(doing: &Doing) -> Value {
    match doing {
        Doing::Waiting { why } => json!({ "state": "Waiting", "detailStatus": why }),
        Doing::Running { since } => json!({ "state": "Running", "startTime": since.to_string(), "detailStatus": "" }),
        Doing::Terminated { since, at, code } => {
            let mut state = json!({
                "state": "Terminated",
                "exitCode": code,
                "finishTime": at.to_string(),
                "detailStatus": if *code == 0 { "Completed" } else { "Error" },
            });
            if let Some(since) = since {
                state["startTime"] = json!(since.to_string());
            }
            state
        }
    }
}

fn event(event: &Event) -> Value {
    let at = event.at.to_string();
    json!({
        "count": 1,
        "firstTimestamp": at,
        "lastTimestamp": at,
        "name": event.name,
        "message": event.message,
        "type": event.kind,
    })
}
