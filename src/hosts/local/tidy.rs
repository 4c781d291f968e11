//! Putting away: what ended runs do not need, records and logs that are old, folders that were never finished.

use std::{path::Path, time::Duration};

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use super::{
    LocalHost, Shared,
    folder::{failed, names_in, read, remove, write},
    is_run_name,
    observe::{modified, phase},
};
use crate::{
    azure::OrganizationToken,
    config::TokenSource,
    core::{Retention, Run, RunPhase},
    hosts::HostError,
};

/// How often old logs are looked for at most; there may be a day's worth of them.
const LOGS_INTERVAL: Duration = Duration::from_secs(60);

impl LocalHost {
    /// Removes all that ended runs left (those of these pools, where some are named), however young, and, when no run is left,
    /// the folder itself. For `demo`, and when an installation is given up; stop the runs first.
    ///
    /// # Errors
    ///
    /// Something cannot be removed.
    pub async fn clear(&self, pools: Option<Vec<String>>) -> Result<(), HostError> {
        self.blocking(move |shared| shared.clear(pools.as_deref())).await
    }

    /// The token that may have changed since the agents were started that run.
    pub(super) async fn renewed_token(&self, runs: &[Run]) -> Option<SecretString> {
        let token = &self.shared.launcher.token;
        let may_change = !matches!(token, OrganizationToken::Pat(TokenSource::Value(_)));
        if !may_change || !runs.iter().any(Run::is_live) {
            return None;
        }
        // What is wrong with the token is said when an agent is started with it.
        token.current().await.ok()
    }
}

impl Shared {
    pub(super) fn tidy(&self, runs: &[Run], token: Option<&SecretString>) -> Result<(), HostError> {
        self.renew_tokens(runs, token)?;
        self.clean_ended(runs)?;
        let _lock = self.folder.lock()?;
        self.put_away(runs, self.retention)?;
        // Last, so that everything else is done.
        self.folder.all_readable()
    }

    /// Ends and removes what ended runs left. Each is looked at once more: since `runs` was told, the run may have been
    /// removed and made anew.
    fn clean_ended(&self, runs: &[Run]) -> Result<(), HostError> {
        let mut ended = Vec::new();
        for name in runs.iter().filter(|run| !run.is_live()).map(|run| &run.name) {
            if !self.folder.has_leftovers(name) {
                continue;
            }
            let Ok(Some(record)) = self.folder.record(name) else { continue };
            if phase(&self.folder, name, &record, false)? != RunPhase::Live {
                ended.push(name);
            }
        }
        self.clean(&ended)
    }

    /// Removes what is old. The caller holds the lock, so that nobody is making what looks half made.
    fn put_away(&self, runs: &[Run], retention: Retention) -> Result<(), HostError> {
        let now = Timestamp::now();
        for run in runs.iter().filter(|run| is_old(&run.phase, retention, now)) {
            self.remove_old(&run.name, retention, now)?;
        }
        for name in self.folder.names()? {
            let path = self.folder.run(&name);
            if is_run_name(&name) && !path.join("run.json").exists() {
                remove(&path).map_err(failed("remove", &path))?;
            }
        }
        self.remove_old_logs(retention.finished.max(retention.failed))
    }

    /// Removes a run that is old by another look, for the same reason.
    fn remove_old(&self, name: &str, retention: Retention, now: Timestamp) -> Result<(), HostError> {
        let Ok(Some(record)) = self.folder.record(name) else { return Ok(()) };
        if is_old(&phase(&self.folder, name, &record, false)?, retention, now) {
            let path = self.folder.run(name);
            remove(&path).map_err(failed("remove", &path))?;
        }
        Ok(())
    }

    fn remove_old_logs(&self, age: Duration) -> Result<(), HostError> {
        {
            let mut last = self.logs_tidied.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if last.is_some_and(|last| last.elapsed() < LOGS_INTERVAL.min(age)) {
                return Ok(());
            }
            *last = Some(Instant::now());
        }
        let (logs, now) = (self.folder.logs(), Timestamp::now());
        for file in names_in(&logs).map_err(failed("read the folder", &logs))? {
            let Some(name) = file.strip_suffix(".log") else { continue };
            let path = logs.join(&file);
            let old = modified(&path).is_some_and(|at| is_past(at, age, now));
            if old && !self.folder.run(name).exists() {
                remove(&path).map_err(failed("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Gives a token that has changed to the agents that run: they sign in with it once more when they leave.
    fn renew_tokens(&self, runs: &[Run], token: Option<&SecretString>) -> Result<(), HostError> {
        let Some(token) = token else { return Ok(()) };
        for run in runs.iter().filter(|run| run.is_live()) {
            let path = self.folder.run(&run.name).join("token");
            if read(&path)?.is_some_and(|old| old != token.expose_secret()) {
                write(&path, token.expose_secret().as_bytes()).map_err(failed("write", &path))?;
            }
        }
        Ok(())
    }

    fn clear(&self, pools: Option<&[String]>) -> Result<(), HostError> {
        let none = Retention { finished: Duration::ZERO, failed: Duration::ZERO };
        let mut runs = self.runs()?;
        runs.retain(|run| pools.is_none_or(|pools| pools.contains(&run.pool)));
        self.clean_ended(&runs)?;
        let _lock = self.folder.lock()?;
        self.put_away(&runs, none)?;
        let root = self.folder.root();
        if self.folder.names()?.is_empty() {
            for name in ["installation-id", "lock"] {
                let path = root.join(name);
                remove(&path).map_err(failed("remove", &path))?;
            }
            // What is not ours stays, and keeps its folder.
            for path in [&self.folder.runs(), &self.folder.logs(), root] {
                let _: Result<(), _> = std::fs::remove_dir(Path::new(path));
            }
        }
        Ok(())
    }
}

fn is_old(phase: &RunPhase, retention: Retention, now: Timestamp) -> bool {
    match phase {
        RunPhase::Live => false,
        RunPhase::Succeeded(at) => is_past(*at, retention.finished, now),
        RunPhase::Failed(at, _) => is_past(*at, retention.failed, now),
    }
}

fn is_past(at: Timestamp, age: Duration, now: Timestamp) -> bool {
    Duration::try_from(now.duration_since(at)).is_ok_and(|since| since >= age)
}
