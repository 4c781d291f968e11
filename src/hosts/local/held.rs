//! Runs that wait for the files of their agent: made, claimed, made ready.
//!
//! Each step is taken under the folder's lock and may be the last one of an orchestrator that is killed. What counts is
//! on disk: as long as `run.json` has a mark and there is no `process`, the run is held, and whoever claims it begins
//! from the start, after ending whatever an earlier attempt has left. Once there is a `process` the run has started, with
//! the files that it was started with, whether its mark was taken away or not.
//!
//! An orchestrator that is killed while it starts a process leaves one that has not said yet which one it is. It is found
//! by its environment; until it has that, it still holds the lock that we wait for.

use super::{
    Shared,
    folder::{failed, make_folder, remove},
    launch::mark,
    observe::{alive, frame, held},
    process::kill_with_environment,
    record::Record,
};
use crate::{
    core::EquipRun,
    hosts::{AgentFiles, HostError},
};

/// What tells of a process. Removed after the leftovers, so that nothing looks started that is half cleared away.
const SIGNS_OF_LIFE: [&str; 2] = ["exit", "process"];

impl Shared {
    /// Makes a run that waits. The caller holds the lock and knows that there is no such folder.
    pub(super) fn hold(&self, name: &str, record: Record, identity: &str) -> Result<(), HostError> {
        let here = self.folder.run(name);
        make_folder(&here).map_err(failed("make the folder", &here))?;
        let made = self.folder.write_record(name, &record.held_by(identity));
        if made.is_err() {
            let _ = remove(&here);
        }
        made
    }

    pub(super) fn claim(&self, run: &EquipRun, identity: &str) -> Result<(), HostError> {
        let _lock = self.folder.lock()?;
        let name = run.name.as_str();
        let record = self.waiting(name)?;
        if record.held().as_ref() != Some(&run.held) || held(&self.folder, name, &record)?.is_none() {
            return Err(not_ours(name));
        }
        // Nobody may come to life with files that are about to be replaced.
        self.start_over(name)?;
        self.folder.write_record(name, &record.held_by(identity))
    }

    pub(super) fn equip(&self, name: &str, files: &AgentFiles, identity: &str) -> Result<(), HostError> {
        let _lock = self.folder.lock()?;
        let record = self.waiting(name)?;
        if record.held().is_none_or(|held| held.by != identity) {
            return Err(not_ours(name));
        }
        self.furnish_held(name, files)?;
        self.set_going(name, &record)?;
        self.folder.write_record(name, &record.equipped())
    }

    /// All but the process.
    pub(super) fn furnish_held(&self, name: &str, files: &AgentFiles) -> Result<(), HostError> {
        self.start_over(name)?;
        let here = self.folder.run(name);
        self.launcher.furnish(&here)?;
        self.launcher.hand_over(&here, files)
    }

    /// The process.
    pub(super) fn set_going(&self, name: &str, record: &Record) -> Result<(), HostError> {
        let child = self.launcher.spawn(&self.folder, name, record)?;
        self.children().insert(name.to_owned(), child);
        Ok(())
    }

    /// Ends a run's processes and removes all that it has but its record, so that it can be made ready. The caller holds
    /// the lock.
    fn start_over(&self, name: &str) -> Result<(), HostError> {
        let not_ended = |error| HostError::Unavailable(format!("cannot end what is left of {name}: {error}"));
        loop {
            if let Some(frame) = frame(&self.folder, name)? {
                frame.kill_group().map_err(not_ended)?;
            }
            kill_with_environment(&[mark(&self.folder, name)]).map_err(not_ended)?;
            if let Some(mut child) = self.children().remove(name) {
                child.kill().and_then(|()| child.wait()).map_err(not_ended)?;
            }
            self.folder.remove_leftovers(name)?;
            // Where processes cannot be found by their environment, one may have come up meanwhile.
            if let Some(late) = frame(&self.folder, name)?
                && alive(&late)?
            {
                continue;
            }
            return SIGNS_OF_LIFE.iter().try_for_each(|part| {
                let path = self.folder.run(name).join(part);
                remove(&path).map_err(failed("remove", &path))
            });
        }
    }

    /// Runs that still wait are not made ready any more. Their processes, if there are any, are the caller's to end.
    pub(super) fn give_up_held(&self, names: &[&String]) -> Result<(), HostError> {
        let has_mark = |name: &str| self.folder.record(name).map(|record| record?.held());
        for name in names {
            // Who has no mark gets none.
            if has_mark(name)?.is_none() {
                continue;
            }
            let _lock = self.folder.lock()?;
            if has_mark(name)?.is_some() && frame(&self.folder, name)?.is_none() {
                self.write_stopped(name)?;
            }
        }
        Ok(())
    }

    /// The record of a run of ours that nobody has stopped.
    fn waiting(&self, name: &str) -> Result<Record, HostError> {
        let record = if super::is_run_name(name) { self.folder.record(name)? } else { None };
        let is_stopped = || self.folder.run(name).join("exit").exists();
        record
            .filter(|record| self.is_ours(record) && !is_stopped())
            .ok_or_else(|| HostError::Unavailable(format!("{name} is gone or was stopped before it was ready")))
    }
}

fn not_ours(name: &str) -> HostError {
    HostError::Unavailable(format!("{name} is made ready by somebody else, or has started"))
}
