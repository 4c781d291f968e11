//! Processes of this machine: which one it was, whether it still runs, and how it is ended.
//!
//! A number alone does not tell which process is meant, because numbers are used again. With the moment of its start
//! it does.

use std::{fs, io, path::Path, process::Command, time::Duration};

/// How often all leftovers are looked for again; a process may fork while it is being looked for.
const SWEEPS: u32 = 100;

/// The pause between two sweeps.
const SWEEP_PAUSE: Duration = Duration::from_millis(20);

/// One process, told apart from a later one with the same number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Its number.
    pub(super) pid: i32,
    /// When it started: clock ticks and the boot they count from; without `/proc`, a date.
    pub(super) started: String,
}

impl Stamp {
    /// Reads `PID STARTED`. What could mean more than one process (0, 1, negative numbers) is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (pid, started) = text.trim().split_once(' ')?;
        let pid = pid.parse().ok().filter(|&pid| pid > 1)?;
        Some(Self { pid, started: started.trim().to_owned() })
    }

    /// Whether that very process runs. One that is dead and only waits to be collected does not.
    pub(super) fn is_alive(&self) -> io::Result<bool> {
        let started = if has_proc() { started_by_proc(self.pid) } else { started_by_ps(self.pid) };
        Ok(started?.is_some_and(|started| started == self.started))
    }

    /// Asks it to stop. One that is gone is fine.
    pub(super) fn terminate(&self) -> io::Result<()> {
        if self.is_alive()? { signals::terminate(self.pid) } else { Ok(()) }
    }

    /// Ends it and the group it leads at once. One that is gone is fine, and nothing is done then: its number may be another's.
    pub(super) fn kill_group(&self) -> io::Result<()> {
        if self.is_alive()? { signals::kill_group(self.pid) } else { Ok(()) }
    }
}

fn has_proc() -> bool {
    Path::new("/proc/self/stat").exists()
}

/// When a living process started, from field 22 of `/proc/PID/stat` (proc(5)).
fn started_by_proc(pid: i32) -> io::Result<Option<String>> {
    let stat = match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat,
        Err(error) if is_gone(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(ticks) = start_of_stat(&stat) else { return Ok(None) };
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Ok(Some(format!("{ticks}@{}", boot.trim())))
}

/// The start in clock ticks; `None` for a zombie. The second field is the program's name in parentheses and may hold
/// anything, blanks and parentheses too.
fn start_of_stat(stat: &str) -> Option<&str> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") { None } else { fields.nth(18) }
}

fn started_by_ps(pid: i32) -> io::Result<Option<String>> {
    let mut ps = Command::new("ps");
    ps.args(["-o", "lstart=", "-o", "stat=", "-p", &pid.to_string()]).env("LC_ALL", "C").env("TZ", "UTC0");
    let output = ps.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut words: Vec<_> = text.split_whitespace().collect();
    Ok(words.pop().filter(|state| !state.starts_with('Z')).map(|_| words.join(" ")))
}

/// Whether the process went away: before its file was opened (ENOENT), or before it was read (ESRCH).
fn is_gone(error: &io::Error) -> bool {
    const ESRCH: i32 = 3;
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(ESRCH)
}

/// The processes whose environment holds one of these `NAME=VALUE`: children that left their group are found by it.
/// Where there is no `/proc`, none is found.
pub(super) fn with_environment(entries: &[Vec<u8>]) -> Vec<i32> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let ourselves = i64::from(std::process::id());
    processes
        .filter_map(|process| process.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|&pid| pid > 1 && i64::from(pid) != ourselves)
        .filter(|pid| {
            // Other users' processes cannot be read, and are not ours.
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|&byte| byte == 0).any(|entry| entries.iter().any(|wanted| wanted == entry))
        })
        .collect()
}

/// Ends all processes whose environment holds one of these entries. Blocks for about as long as that takes.
pub(super) fn kill_with_environment(entries: &[Vec<u8>]) -> io::Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    for _ in 0..SWEEPS {
        let found = with_environment(entries);
        if found.is_empty() {
            return Ok(());
        }
        for pid in found {
            signals::kill(pid)?;
        }
        std::thread::sleep(SWEEP_PAUSE);
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "its processes do not end, although they were killed"))
}

#[cfg(unix)]
mod signals {
    use std::io;

    use nix::{
        errno::Errno,
        sys::signal::{Signal, kill as send, killpg},
        unistd::Pid,
    };

    pub(super) fn terminate(pid: i32) -> io::Result<()> {
        unless_gone(send(Pid::from_raw(pid), Signal::SIGTERM))
    }

    pub(super) fn kill(pid: i32) -> io::Result<()> {
        unless_gone(send(Pid::from_raw(pid), Signal::SIGKILL))
    }

    pub(super) fn kill_group(leader: i32) -> io::Result<()> {
        unless_gone(killpg(Pid::from_raw(leader), Signal::SIGKILL))
    }

    fn unless_gone(sent: Result<(), Errno>) -> io::Result<()> {
        match sent {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Elsewhere no run is ever started: `LocalHost::open` refuses.
#[cfg(not(unix))]
mod signals {
    use std::io;

    pub(super) fn terminate(_: i32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn kill(_: i32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn kill_group(_: i32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(name: &str, state: &str) -> String {
        let more: Vec<_> = (4..=52).map(|field| field.to_string()).collect();
        format!("77 ({name}) {state} {}", more.join(" "))
    }

    #[test]
    fn a_program_name_with_blanks_and_parentheses_does_not_shift_the_fields() {
        assert_eq!(start_of_stat(&stat("bash", "S")), Some("22"));
        assert_eq!(start_of_stat(&stat("a ) S 1 (b", "R")), Some("22"));
    }

    #[test]
    fn a_zombie_does_not_run() {
        assert_eq!(start_of_stat(&stat("bash", "Z")), None);
    }

    #[test]
    fn a_number_that_means_many_processes_is_no_process() {
        for text in ["0 5", "-1 5", "1 5", "x 5", "77", ""] {
            assert_eq!(Stamp::parse(text), None, "{text}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_alive_by_its_own_stamp_alone() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let started = started_by_proc(pid).unwrap().unwrap();
        assert!(Stamp { pid, started: started.clone() }.is_alive().unwrap());
        assert!(!Stamp { pid, started: format!("1{started}") }.is_alive().unwrap());
    }

    #[test]
    fn ps_tells_the_start_where_there_is_no_proc() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let started = started_by_ps(pid).unwrap().unwrap();
        assert_eq!(started.split(' ').count(), 5, "{started}");
        assert_eq!(started_by_ps(i32::MAX).unwrap(), None);
    }
}
