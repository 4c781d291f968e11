//! Telling from the folder and the process table how far each run has come.

use std::{path::Path, time::Duration};

use jiff::Timestamp;

use super::{
    folder::{Folder, read as read_file, write},
    is_run_name,
    process::Stamp,
    record::Record,
};
use crate::{
    core::{Held, Progress, Purpose, Recipe, Run, RunPhase},
    hosts::HostError,
};

/// How long a process may take until it has written which one it is, should the one who started it be gone.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// Why a run without a process has ended, if it has.
const NEVER: &str = "it never started";

/// Why it has none although nothing is wrong.
const HELD: &str = "it waits for the files of its agent";

/// The pool of a run that nobody knows anything about but that it lives.
const UNKNOWN: &str = "(unknown)";

/// The runs that one installation made for one organization, and what became of them. One whose files cannot be read stops
/// none of the others: the folder names it.
pub(super) fn observe(
    folder: &Folder,
    is_ours: impl Fn(&Record) -> bool,
    is_our_child: impl Fn(&str) -> bool,
) -> Result<Vec<Run>, HostError> {
    let mut runs = Vec::new();
    folder.looks_anew();
    for name in folder.names()?.into_iter().filter(|name| is_run_name(name)) {
        match folder.record(&name) {
            Ok(record) => {
                let Some(record) = record.filter(&is_ours) else { continue };
                let phase = phase(folder, &name, &record, is_our_child(&name))?;
                runs.push(run(folder, name, record, phase));
            }
            // It keeps its place among the agents while it lives.
            Err(_) if may_live(folder, &name, is_our_child(&name)) => runs.push(unknown(name)),
            Err(_) => {}
        }
    }
    Ok(runs)
}

fn run(folder: &Folder, name: String, record: Record, phase: RunPhase) -> Run {
    // Where it cannot be told whether there is a process, there may be one.
    let held = if matches!(phase, RunPhase::Live) { held(folder, &name, &record).unwrap_or(None) } else { None };
    Run {
        purpose: record.purpose(),
        recipe: record.recipe(),
        progress: if held.is_some() { Progress::Pending } else { Progress::Running },
        progress_since: None,
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
        was_busy: false,
        lease: None,
    }
}

fn unknown(name: String) -> Run {
    Run {
        name,
        pool: UNKNOWN.to_owned(),
        template: String::new(),
        purpose: Purpose::Slot(0),
        attempt: 1,
        created_at: Timestamp::now(),
        phase: RunPhase::Live,
        revision: String::new(),
        progress: Progress::Running,
        progress_since: None,
        runs_since: None,
        trouble: None,
        agent_ended_at: None,
        recipe: Recipe::Token,
        held: None,
        was_busy: false,
        lease: None,
    }
}

/// Whether a run without a record has a process, as far as anybody can tell.
fn may_live(folder: &Folder, name: &str, child: bool) -> bool {
    match frame(folder, name) {
        Ok(Some(stamp)) => alive(&stamp).unwrap_or(true),
        Ok(None) => child,
        Err(_) => true,
    }
}

/// Who makes a run ready. Once there is a process nobody has to, even if whoever started it died before it could say so.
pub(super) fn held(folder: &Folder, name: &str, record: &Record) -> Result<Option<Held>, HostError> {
    Ok(if frame(folder, name)?.is_none() { record.held() } else { None })
}

/// The frame's process, which lives as long as the run; `None` as long as it has not said which one it is.
pub(super) fn frame(folder: &Folder, name: &str) -> Result<Option<Stamp>, HostError> {
    Ok(read_file(&folder.run(name).join("process"))?.as_deref().and_then(Stamp::parse))
}

/// The process of the agent's script, which may be told to stop; `None` as long as it has not begun.
pub(super) fn script(folder: &Folder, name: &str) -> Result<Option<Stamp>, HostError> {
    Ok(read_file(&folder.run(name).join("script"))?.as_deref().and_then(Stamp::parse))
}

/// How far a run has come. The process is looked at first: once it is gone, what it left says how it ended.
pub(super) fn phase(folder: &Folder, name: &str, record: &Record, child: bool) -> Result<RunPhase, HostError> {
    // As long as nobody can tell which process it is, it may be one that lives.
    let frame = match frame(folder, name) {
        Ok(frame) => frame,
        Err(error) => {
            folder.is_unreadable(name, error);
            return Ok(RunPhase::Live);
        }
    };
    let reason = match frame {
        Some(stamp) if alive(&stamp)? => return Ok(RunPhase::Live),
        Some(_) => "it ended without an exit code (killed?)",
        None if child => return Ok(RunPhase::Live),
        None if record.held().is_some() => HELD,
        None => NEVER,
    };
    let path = folder.run(name).join("exit");
    let exit = match read_file(&path) {
        Ok(exit) => exit,
        // Its process is gone, and that is what matters.
        Err(error) => {
            folder.is_unreadable(name, error.clone());
            Some(error.to_string())
        }
    };
    let exit = match exit {
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
