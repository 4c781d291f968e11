//! Ending runs that have not ended by themselves: for `demo`, and when an installation is given up.

use std::{collections::HashSet, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    LocalHost, Shared,
    folder::{failed, remove, write},
    launch::mark,
    observe::{alive, frame, phase, script},
    process::kill_with_environment,
};
use crate::{
    core::{Run, RunPhase},
    hosts::{AgentHost, HostError},
};

/// How often a run that was told to stop is looked at.
const STOP_INTERVAL: Duration = Duration::from_millis(50);

impl LocalHost {
    /// Stops a run: its script is told to (an agent without a job takes its registration back, one with a job finishes
    /// it), and after `grace` whatever is left of the run is killed. One that has ended, or never was, is fine.
    ///
    /// # Errors
    ///
    /// Its processes cannot be ended, or its folder cannot be used.
    pub async fn stop(&self, name: &str, grace: Duration) -> Result<(), HostError> {
        self.stop_these(vec![name.to_owned()], grace).await
    }

    /// Stops all live runs at once, as [`LocalHost::stop`] does.
    ///
    /// # Errors
    ///
    /// As [`LocalHost::stop`].
    pub async fn stop_all(&self, grace: Duration) -> Result<(), HostError> {
        let live = self.runs().await?.into_iter().filter(Run::is_live).map(|run| run.name).collect();
        self.stop_these(live, grace).await
    }

    async fn stop_these(&self, names: Vec<String>, grace: Duration) -> Result<(), HostError> {
        let deadline = Instant::now() + grace;
        let mut told = HashSet::new();
        loop {
            let these = names.clone();
            let (live, now_told) = self.blocking(move |shared| shared.tell_to_stop(&these, told)).await?;
            told = now_told;
            if live == 0 || Instant::now() >= deadline {
                break;
            }
            sleep(STOP_INTERVAL).await;
        }
        self.blocking(move |shared| shared.kill(&names)).await
    }
}

impl Shared {
    /// Tells those that were not told yet, and counts those that live.
    fn tell_to_stop(&self, names: &[String], mut told: HashSet<String>) -> Result<(usize, HashSet<String>), HostError> {
        let children = self.collect_children();
        let mut live = 0;
        for name in self.ours(names) {
            match frame(&self.folder, name)? {
                Some(frame) if alive(&frame)? => {
                    live += 1;
                    if let Some(script) = script(&self.folder, name)?.filter(|_| !told.contains(name)) {
                        script.terminate().map_err(|error| not_ended(name, &error))?;
                        told.insert(name.clone());
                    }
                }
                Some(_) => {}
                // It has not yet said which process it is.
                None => live += usize::from(children.contains(name)),
            }
        }
        Ok((live, told))
    }

    /// Ends what is left of these runs at once, and leaves their folders as those of ended runs.
    fn kill(&self, names: &[String]) -> Result<(), HostError> {
        let names = self.ours(names);
        self.give_up_held(&names)?;
        for name in &names {
            match frame(&self.folder, name)? {
                Some(frame) => frame.kill_group().map_err(|error| not_ended(name, &error))?,
                None => {
                    if let Some(child) = self.children().get_mut(*name) {
                        child.kill().map_err(|error| not_ended(name, &error))?;
                    }
                }
            }
        }
        self.clean(&names)?;
        self.collect_children();
        for name in names {
            self.write_stopped(name)?;
        }
        Ok(())
    }

    /// Removes a run that was stopped and has not failed for that. Its log stays for as long as those of others.
    pub(super) fn forget(&self, name: &str) -> Result<(), HostError> {
        let _lock = self.folder.lock()?;
        let names = [name.to_owned()];
        let Some(Ok(Some(record))) = self.ours(&names).first().map(|name| self.folder.record(name)) else {
            return Ok(());
        };
        // It may have had a job after all, and ended well.
        if matches!(phase(&self.folder, name, &record, false)?, RunPhase::Failed(..)) {
            let path = self.folder.run(name);
            remove(&path).map_err(failed("remove", &path))?;
        }
        Ok(())
    }

    /// Leaves word of why a run has no exit code, unless it has one.
    pub(super) fn write_stopped(&self, name: &str) -> Result<(), HostError> {
        let path = self.folder.run(name).join("exit");
        if path.exists() { Ok(()) } else { write(&path, b"it was stopped").map_err(failed("write", &path)) }
    }

    /// Removes what runs that have ended do not need, once none of their processes is left to use it.
    pub(super) fn clean(&self, names: &[&String]) -> Result<(), HostError> {
        let marks: Vec<_> = names.iter().map(|name| mark(&self.folder, name)).collect();
        kill_with_environment(&marks)
            .map_err(|error| HostError::Unavailable(format!("cannot end what a run left running: {error}")))?;
        names.iter().try_for_each(|name| self.folder.remove_leftovers(name))
    }

    /// Those of these runs that are there and ours. One that nobody knows anything about is not.
    fn ours<'a>(&self, names: &'a [String]) -> Vec<&'a String> {
        let is_ours = |name: &str| matches!(self.folder.record(name), Ok(Some(record)) if self.is_ours(&record));
        names.iter().filter(|name| super::is_run_name(name) && is_ours(name)).collect()
    }
}

fn not_ended(name: &str, error: &std::io::Error) -> HostError {
    HostError::Unavailable(format!("cannot end {name}: {error}"))
}
