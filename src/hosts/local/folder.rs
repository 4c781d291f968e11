//! The folder of the local host: the only memory it has.
//!
//! ```text
//! FOLDER/lock                 held while a run is made or removed
//! FOLDER/installation-id      who we are, unless INSTALLATION_ID says so
//! FOLDER/logs/NAME.log        what the run printed
//! FOLDER/runs/NAME/run.json   what it was started for, and who holds it; a folder without it was never finished
//!                 /process    which process it is, written by that process, and by one alone
//!                 /exit       its exit code, or in words why there is none
//!                 /token, files/ (in its place), start.sh, script (its process), agent/, home/, tmp/
//!                             gone when the run has ended
//! ```

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    hash::{BuildHasher, RandomState},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::record::Record;
use crate::{core::short_hash, hosts::HostError};

/// How long another process may hold the lock. It does so for the time of a few small files.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// 26 characters of base 32 are 130 bits.
const INSTALLATION_ID_LENGTH: usize = 26;

/// What a run needs only while it lives.
const DISPOSABLE: [&str; 7] = ["token", "files", "start.sh", "script", "agent", "home", "tmp"];

/// Counts drafts of files, so that two threads never write the same one.
static DRAFTS: AtomicU32 = AtomicU32::new(0);

/// The folder. All paths are absolute.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    root: PathBuf,
    /// The records as they were last read or written. Agents run as our own user, so a pipeline step may overwrite them:
    /// what we know already is not lost by that.
    records: Arc<Mutex<HashMap<String, Record>>>,
    /// By the name of the run: why one of its files could not be read at the last look.
    unreadable: Arc<Mutex<BTreeMap<String, HostError>>>,
}

impl Folder {
    /// Makes what is missing of the folder. What is new in it is for its owner alone.
    pub(super) fn open(path: &Path) -> Result<Self, HostError> {
        make_folder(path).map_err(failed("make the folder", path))?;
        let root = path.canonicalize().map_err(failed("use the folder", path))?;
        Ok(Self { root, records: Arc::default(), unreadable: Arc::default() })
    }

    /// Makes the places for runs and logs, in case someone cleared the folder.
    pub(super) fn prepare(&self) -> Result<(), HostError> {
        for path in [self.runs(), self.logs()] {
            make_folder(&path).map_err(failed("make the folder", &path))?;
        }
        Ok(())
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    pub(super) fn run(&self, name: &str) -> PathBuf {
        self.runs().join(name)
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.logs().join(format!("{name}.log"))
    }

    /// The names of all run folders, in order.
    pub(super) fn names(&self) -> Result<Vec<String>, HostError> {
        names_in(&self.runs()).map_err(failed("read the folder", &self.runs()))
    }

    /// What a run was started for; `None` where the folder is not there or was never finished. A record that cannot be read
    /// is the one that we remember, and an error where we remember none.
    pub(super) fn record(&self, name: &str) -> Result<Option<Record>, HostError> {
        let mut records = self.records();
        match self.read_record(name) {
            Ok(Some(record)) => {
                records.insert(name.to_owned(), record.clone());
                Ok(Some(record))
            }
            Ok(None) => {
                records.remove(name);
                Ok(None)
            }
            Err(error) => {
                self.is_unreadable(name, error.clone());
                records.get(name).cloned().map(Some).ok_or(error)
            }
        }
    }

    fn read_record(&self, name: &str) -> Result<Option<Record>, HostError> {
        let path = self.run(name).join("run.json");
        let Some(text) = read(&path)? else { return Ok(None) };
        let record = serde_json::from_str(&text).map_err(|error| HostError::Refused {
            reason: "invalid",
            message: format!("{} is not what we wrote: {error}", path.display()),
            fix: Some(format!("end its processes, if any, and delete {}", self.run(name).display())),
        })?;
        Ok(Some(record))
    }

    fn records(&self) -> MutexGuard<'_, HashMap<String, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another look begins.
    pub(super) fn looks_anew(&self) {
        self.unreadable().clear();
    }

    /// A file of a run cannot be read.
    pub(super) fn is_unreadable(&self, name: &str, error: HostError) {
        self.unreadable().entry(name.to_owned()).or_insert(error);
    }

    /// The runs of which files could not be read at the last look, in one error.
    pub(super) fn all_readable(&self) -> Result<(), HostError> {
        let unreadable = self.unreadable();
        let Some((name, error)) = unreadable.first_key_value() else { return Ok(()) };
        let more = if unreadable.len() > 1 { format!(", and {} more", unreadable.len() - 1) } else { String::new() };
        Err(HostError::Refused {
            reason: "invalid",
            message: format!("files of the run \"{name}\"{more} cannot be read: {error}"),
            fix: Some(format!("end its processes, if any, and delete {}", self.run(name).display())),
        })
    }

    fn unreadable(&self) -> MutexGuard<'_, BTreeMap<String, HostError>> {
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down what a run was started for.
    pub(super) fn write_record(&self, name: &str, record: &Record) -> Result<(), HostError> {
        let path = self.run(name).join("run.json");
        let text = serde_json::to_vec_pretty(record).map_err(|error| HostError::Unavailable(error.to_string()))?;
        write(&path, &text).map_err(failed("write", &path))?;
        self.records().insert(name.to_owned(), record.clone());
        Ok(())
    }

    /// Waits until no other process makes or removes runs. Dropping the file ends it, and so does dying. A process that
    /// is being started holds a copy of the file for the moment until its program is loaded.
    pub(super) fn lock(&self) -> Result<File, HostError> {
        let path = self.root.join("lock");
        let file = private().create(true).truncate(false).open(&path).map_err(failed("open", &path))?;
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(TryLockError::WouldBlock) => {
                    let (path, seconds) = (path.display(), LOCK_PATIENCE.as_secs());
                    return Err(HostError::Unavailable(format!("another process has held {path} for {seconds} s")));
                }
                Err(TryLockError::Error(error)) => return Err(failed("lock", &path)(error)),
            }
        }
    }

    /// Whether a run still has what it needs only while it lives.
    pub(super) fn has_leftovers(&self, name: &str) -> bool {
        DISPOSABLE.iter().any(|part| self.run(name).join(part).symlink_metadata().is_ok())
    }

    /// Removes what a run needs only while it lives, the token first.
    pub(super) fn remove_leftovers(&self, name: &str) -> Result<(), HostError> {
        DISPOSABLE.iter().try_for_each(|part| {
            let path = self.run(name).join(part);
            remove(&path).map_err(failed("remove", &path))
        })
    }

    /// The id of this installation, made once and kept in the folder.
    pub(super) fn installation_id(&self) -> Result<String, HostError> {
        let path = self.root.join("installation-id");
        let _lock = self.lock()?;
        if let Some(text) = read(&path)? {
            let id = text.trim();
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if id.is_empty() || id.len() > 63 || !id.chars().all(fits) {
                return Err(HostError::Refused {
                    reason: "invalid",
                    message: format!("{} holds no installation id", path.display()),
                    fix: Some(format!("set INSTALLATION_ID, or delete {} for a new one", path.display())),
                });
            }
            return Ok(id.to_owned());
        }
        // The standard library's hash keys are the one source of randomness that needs no further crate.
        let random = || RandomState::new().hash_one(0).to_string();
        let (now, process) = (Timestamp::now().to_string(), std::process::id().to_string());
        let id = short_hash(&[&random(), &random(), &now, &process], INSTALLATION_ID_LENGTH);
        write(&path, format!("{id}\n").as_bytes()).map_err(failed("write", &path))?;
        Ok(id)
    }
}

/// Reads a small file; `None` where it is not there.
pub(super) fn read(path: &Path) -> Result<Option<String>, HostError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}

/// Writes a file for its owner alone. There is never half a file, not even after a power cut.
pub(super) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let count = DRAFTS.fetch_add(1, Ordering::Relaxed);
    let draft = path.with_file_name(format!(".{name}.{}.{count}", std::process::id()));
    let written = (|| {
        let mut file = private().create(true).truncate(true).open(&draft)?;
        file.write_all(content)?;
        file.sync_data()?;
        fs::rename(&draft, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written
}

/// Removes a file or a whole folder; one that is not there is fine.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    removed.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// The names of what is in a folder, in order; none where it is not there.
pub(super) fn names_in(path: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string().ok());
    }
    names.sort_unstable();
    Ok(names)
}

/// Makes a folder, and those above it, for their owner alone.
pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path)
}

/// Options to write a file that is its owner's alone.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Turns an error of the file system into one that says what was being done.
pub(super) fn failed(what: &str, path: &Path) -> impl FnOnce(io::Error) -> HostError {
    let what = format!("cannot {what} {}", path.display());
    move |error| {
        let reason = match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => "forbidden",
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "quota",
            ErrorKind::NotADirectory | ErrorKind::AlreadyExists => "invalid",
            _ => return HostError::Unavailable(format!("{what}: {error}")),
        };
        let fix = (reason != "quota").then(|| "name another folder, one that this user may write".to_owned());
        HostError::Refused { reason, message: format!("{what}: {error}"), fix }
    }
}
