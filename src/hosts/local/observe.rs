//! Telling from the folder and the process table how far each run has come.

use std::{path::Path, time::Duration};

use jiff::Timestamp;

use super::{
    folder::{Folder, read, write},
    process::Stamp,
    record::Record,
};
use crate::{
    core::{Held, Progress, Run, RunPhase},
    hosts::HostError,
};

/// How long a process may take until it has written which one it is, should the one who started it be gone.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// Why a run without a process has ended, if it has.
const NEVER: &str = "it never started";

/// Why it has none although nothing is wrong.
const HELD: &str = "it waits for the files of its agent";

/// The runs that one installation made for one organization, and what became of them.
pub(super) fn observe(
    folder: &Folder,
    is_ours: impl Fn(&Record) -> bool,
    is_our_child: impl Fn(&str) -> bool,
) -> Result<Vec<Run>, HostError> {
    let mut runs = Vec::new();
    for name in folder.names()? {
        let Some(record) = folder.record(&name)?.filter(&is_ours) else { continue };
        let phase = phase(folder, &name, &record, is_our_child(&name))?;
        let held = if matches!(phase, RunPhase::Live) { held(folder, &name, &record)? } else { None };
        runs.push(Run {
            purpose: record.purpose(),
            recipe: record.recipe(),
            progress: if held.is_some() { Progress::Pending } else { Progress::Running },
            runs_since: held.is_none().then(|| record.started_at()),
            held,
            name,
            pool: record.pool,
            template: record.template,
            attempt: record.attempt,
            created_at: record.created_at,
            phase,
            revision: record.revision,
            trouble: None,
            agent_ended_at: None,
        });
    }
    Ok(runs)
}

/// Who makes a run ready. Once there is a process nobody has to, even if whoever started it died before it could say so.
pub(super) fn held(folder: &Folder, name: &str, record: &Record) -> Result<Option<Held>, HostError> {
    Ok(if frame(folder, name)?.is_none() { record.held() } else { None })
}

/// The frame's process, which lives as long as the run; `None` as long as it has not said which one it is.
pub(super) fn frame(folder: &Folder, name: &str) -> Result<Option<Stamp>, HostError> {
    Ok(read(&folder.run(name).join("process"))?.as_deref().and_then(Stamp::parse))
}

/// The process of the agent's script, which may be told to stop; `None` as long as it has not begun.
pub(super) fn script(folder: &Folder, name: &str) -> Result<Option<Stamp>, HostError> {
    Ok(read(&folder.run(name).join("script"))?.as_deref().and_then(Stamp::parse))
}

/// How far a run has come. The process is looked at first: once it is gone, what it left says how it ended.
pub(super) fn phase(folder: &Folder, name: &str, record: &Record, child: bool) -> Result<RunPhase, HostError> {
    let reason = match frame(folder, name)? {
        Some(stamp) if alive(&stamp)? => return Ok(RunPhase::Live),
        Some(_) => "it ended without an exit code (killed?)",
        None if child => return Ok(RunPhase::Live),
        None if record.held().is_some() => HELD,
        None => NEVER,
    };
    let path = folder.run(name).join("exit");
    let exit = match read(&path)? {
        Some(exit) => exit,
        None if reason == HELD => return Ok(RunPhase::Live),
        None if reason == NEVER && record.started_at() + SIGN_OF_LIFE > Timestamp::now() => return Ok(RunPhase::Live),
        None => {
            // Written down so that the moment of the end stays what it is. Where that fails, a later look tries again.
            let _ = write(&path, reason.as_bytes());
            reason.to_owned()
        }
    };
    let at = modified(&path).unwrap_or(record.created_at);
    Ok(match exit.trim() {
        "0" => RunPhase::Succeeded(at),
        exit => {
            let what = exit.parse::<i32>().map_or_else(|_| exit.to_owned(), |code| format!("exit code {code}"));
            RunPhase::Failed(at, format!("{what}; see {}", folder.log(name).display()))
        }
    })
}

/// Whether the process runs, with an error of this host's kind.
pub(super) fn alive(stamp: &Stamp) -> Result<bool, HostError> {
    let pid = stamp.pid;
    stamp.is_alive().map_err(|error| HostError::Unavailable(format!("cannot look at process {pid}: {error}")))
}

/// When a file was last written.
pub(super) fn modified(path: &Path) -> Option<Timestamp> {
    path.metadata().ok()?.modified().ok()?.try_into().ok()
}
