//! What happens by itself: groups are created, their processes end, and those that are deleted go.

use jiff::Timestamp;

use super::{
    Fate, Groups, Order, Start, after,
    model::{Doing, Key, Stage},
};

impl Groups {
    /// Lets the time pass until `now`.
    pub fn advance(&mut self, now: Timestamp) {
        loop {
            let due = |(key, group): (&Key, &super::Group)| Some((group.due.filter(|due| *due <= now)?, key.clone()));
            // What was due first happens first.
            let Some((at, key)) = self.groups.iter().filter_map(due).min() else { return };
            self.step(&key, at);
            self.changed();
        }
    }

    fn step(&mut self, key: &Key, at: Timestamp) {
        let Some(group) = self.groups.get_mut(key) else { return };
        group.due = None;
        match (group.stage, group.fate) {
            (Stage::Pending, _) => {
                group.stage = Stage::Creating;
                group.due = Some(after(at, self.rules.pulling));
                for container in &mut group.containers {
                    container.note(at, "Normal", "Pulling", "pulling image".to_owned());
                }
            }
            (Stage::Creating, Fate::Unpullable) => {
                let message = "Failed to pull image: the manifest is unknown or access to it is denied.";
                self.fail(key, "InaccessibleImage", message, at);
            }
            (Stage::Creating, Fate::Fail) => {
                self.fail(key, "InternalServerError", "The container group could not be created.", at);
            }
            (Stage::Creating, _) => {
                group.stage = Stage::Created;
                let operation = group.operation.take();
                for container in &mut group.containers {
                    container.note(at, "Normal", "Started", "Started container".to_owned());
                    container.now_does(Doing::Running { since: at });
                    container.before = None;
                }
                self.end(operation, None, at);
                self.run(key, at);
            }
            (Stage::Created, _) => self.run(key, at),
            // Whose process still has to end is gone when that is told.
            (Stage::Deleting, _) if group.process.is_none() => self.gone(key, at),
            (Stage::Deleting | Stage::Failed, _) => {}
        }
    }

    fn fail(&mut self, key: &Key, code: &'static str, message: &str, at: Timestamp) {
        let Some(group) = self.groups.get_mut(key) else { return };
        group.stage = Stage::Failed;
        for container in &mut group.containers {
            container.note(at, "Warning", "Failed", message.to_owned());
            container.doing = Doing::Waiting { why: "ErrImagePull" };
        }
        let operation = group.operation.take();
        self.end(operation, Some((code, message.to_owned())), at);
    }

    /// Starts the agent.
    fn run(&mut self, key: &Key, at: Timestamp) {
        self.last_process += 1;
        let process = self.last_process;
        let Some(group) = self.groups.get_mut(key) else { return };
        group.process = Some(process);
        let Some(agent) = group.agent() else { return };
        if !matches!(agent.doing, Doing::Running { .. }) {
            agent.now_does(Doing::Running { since: at });
            agent.restarts += 1;
        }
        let name = agent.name.clone();
        self.orders.push(Order::Start(process, Start::of(&group.body, &name)));
        if let Some(record) = self.history.get_mut(group.record) {
            record.starts += 1;
            record.processes.push(process);
        }
    }

    /// A process has ended.
    pub fn ended(&mut self, process: u64, code: i32, now: Timestamp) {
        self.advance(now);
        let Some(record) = self.history.iter_mut().rev().find(|record| record.processes.contains(&process)) else {
            return;
        };
        record.exit_code = Some(code);
        let found = self.groups.iter().find(|(_, group)| group.process == Some(process));
        let Some(key) = found.map(|(key, _)| key.clone()) else { return };
        let Some(group) = self.groups.get_mut(&key) else { return };
        group.process = None;
        let again = group.stage == Stage::Created && !group.stopped && group.restarts_after(code);
        if let Some(agent) = group.agent() {
            let since = match agent.doing {
                Doing::Running { since } => Some(since),
                Doing::Terminated { since, .. } => since,
                Doing::Waiting { .. } => None,
            };
            let terminated = Doing::Terminated { since, at: now, code };
            agent.doing = terminated.clone();
            if again {
                agent.before = Some(terminated);
                agent.doing = Doing::Waiting { why: "CrashLoopBackOff" };
            }
        }
        if again {
            group.due = Some(after(now, self.rules.restart_delay));
        }
        let is_gone = group.stage == Stage::Deleting && group.due.is_none();
        if is_gone {
            self.gone(&key, now);
        }
        self.changed();
    }
}
