//! Ending runs that were seen, and deleting their groups.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, timeout};

use super::{ContainerInstancesHost, ledger::Log, logs, observe::Seen, refusal::is_transition, secrets};
use crate::{
    core::{Progress, Run, RunPhase, StopReason, StopRun},
    hosts::HostError,
};

/// After this time a group goes without its log.
const LOG_PATIENCE: Duration = Duration::from_secs(60);

/// A log that takes longer to come is read later: others wait to be put away.
const LOG_DEADLINE: Duration = Duration::from_secs(3);

impl ContainerInstancesHost {
    pub(super) async fn stop_run(&self, stop: &StopRun) -> Result<(), HostError> {
        let name = stop.name.as_str();
        if self.ledger().held.remove(name).is_some() {
            return Ok(());
        }
        let (known, expected) = {
            let ledger = self.ledger();
            (ledger.groups.get(name).cloned(), ledger.expectations.expects(name))
        };
        let Some(known) = known else {
            if expected {
                let message = format!("the container group \"{name}\" is not seen yet; a later pass stops it");
                return Err(HostError::Unavailable(message));
            }
            return Ok(());
        };
        if known.is_going() {
            return Ok(());
        }
        if !known.may_be_deleted() {
            let message =
                format!("the container group \"{name}\" could not be deleted a moment ago; a later pass does it");
            return Err(HostError::Unavailable(message));
        }
        let mut seen = known.seen;
        if stop.reason == StopReason::NotNeeded {
            let look = self.look_at(name).await;
            let look =
                look.map_err(|error| self.refused(&error, &format!("look at the container group \"{name}\""), &[]))?;
            let Some(Ok(now)) = look else { return Ok(()) };
            seen = now;
            self.ledger().looked(name, Some(seen.clone()));
            // Its agent may be at work by now.
            if matches!(seen.run.progress, Progress::Running | Progress::Ended) {
                return Err(HostError::Unavailable(format!("\"{name}\" has started meanwhile")));
            }
        }
        self.keep_log(&seen, known.log).await.ok();
        let now = Timestamp::now();
        let phase = match &stop.reason {
            // The next attempt is another one, and does not come at once.
            StopReason::NeverCame(_) | StopReason::NeverRegistered => {
                Some(RunPhase::Failed(now, stop.reason.to_string()))
            }
            StopReason::AgentEnded => Some(match seen.exit_code {
                Some(code) if code != 0 => RunPhase::Failed(now, format!("its agent ended with exit code {code}")),
                _ => RunPhase::Succeeded(now),
            }),
            StopReason::NotNeeded | StopReason::TakenBack | StopReason::NeverReady | StopReason::Hangs => None,
        };
        self.delete(&seen, phase).await
    }

    /// Deletes the group of a run, of which `phase` is remembered, or what was seen of it if it has ended.
    pub(super) async fn delete(&self, seen: &Seen, phase: Option<RunPhase>) -> Result<(), HostError> {
        let Run { name, created_at, .. } = &seen.run;
        match self.arm.delete(&self.group_path(name)).await {
            Ok(()) => {}
            Err(error) if is_transition(&error) => {
                self.ledger().not_deleted(name, None);
                let message = format!("the container group \"{name}\" is still on its way; it is deleted later");
                return Err(HostError::Unavailable(message));
            }
            Err(error) => {
                let refused = self.refused(&error, &format!("delete the container group \"{name}\""), &[]);
                self.ledger().not_deleted(name, Some(refused.clone()));
                return Err(refused);
            }
        }
        let mut ledger = self.ledger();
        ledger.deleted(name, *created_at, Timestamp::now());
        let phase = phase.unwrap_or_else(|| seen.run.phase.clone());
        ledger.remember(Run { phase, progress: Progress::Ended, trouble: None, ..seen.run.clone() });
        Ok(())
    }

    /// Writes the end of an agent's log into ours. An error if it should be tried again before the group goes.
    pub(super) async fn keep_log(&self, seen: &Seen, log: Log) -> Result<(), HostError> {
        if log == Log::Kept {
            return Ok(());
        }
        let name = seen.run.name.as_str();
        let since = match log {
            Log::Tried(since) => since,
            Log::Unread | Log::Kept => Instant::now(),
        };
        // Noted first: whoever waits for this may give up at any time.
        if let Some(known) = self.ledger().groups.get_mut(name).filter(|known| known.log == Log::Unread) {
            known.log = Log::Tried(since);
        }
        let late = || HostError::Unavailable("its log does not come".to_owned());
        let outcome = match seen.has_run {
            true => timeout(LOG_DEADLINE, self.read_log(seen)).await.unwrap_or_else(|_| Err(late())),
            false => Ok(()),
        };
        let log = match &outcome {
            Err(error @ HostError::Unavailable(_)) if since.elapsed() < LOG_PATIENCE => {
                tracing::debug!(run = name, %error, "the log is read later");
                Log::Tried(since)
            }
            Err(error) => {
                tracing::warn!(run = name, "the end of its log is lost: {error}");
                Log::Kept
            }
            Ok(()) => Log::Kept,
        };
        if let Some(known) = self.ledger().groups.get_mut(name) {
            known.log = log;
        }
        if log == Log::Kept { Ok(()) } else { outcome }
    }

    async fn read_log(&self, seen: &Seen) -> Result<(), HostError> {
        let path =
            format!("{}/containers/{}/logs?tail={}", self.group_path(&seen.run.name), seen.container, logs::LINES);
        let answer = self.arm.get(&path).await.map_err(|error| self.refused(&error, "read the agent's log", &[]))?;
        let mut hidden = Vec::new();
        hidden.extend(self.token.current().await.ok());
        if let Some(agent) = self.agents.get(&(seen.run.pool.clone(), seen.run.template.clone())) {
            hidden.extend(agent.container_group.iter().flat_map(|template| secrets::of_group(&template.body)));
        }
        logs::keep(&seen.run, &answer, &hidden);
        Ok(())
    }
}
