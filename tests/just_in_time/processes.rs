//! Looks at every process of an agent while it lives: its arguments, its environment, the files below its root.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The time between two looks; an agent lives longer.
const LOOK: Duration = Duration::from_millis(100);

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The agents' roots.
    pub(crate) roots: BTreeSet<PathBuf>,
    /// Processes that were looked at.
    pub(crate) processes: BTreeSet<u32>,
    /// Places where the token was.
    pub(crate) found: BTreeSet<String>,
}

/// Looks again and again, until it is asked what it saw.
pub(crate) struct Watcher {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// `mark` stands in the environment of each agent's processes, and of no others.
    pub(crate) fn start(token: &str, mark: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let forms = [token.to_owned(), STANDARD.encode(token), STANDARD.encode(format!(":{token}"))];
        let (stopped, into, mark) = (Arc::clone(&stop), Arc::clone(&seen), mark.to_owned());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                look(&forms, &mark, &mut into.lock().unwrap());
                std::thread::sleep(LOOK);
            }
        });
        Self { stop, seen, thread: Some(thread) }
    }

    pub(crate) fn stop(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

fn look(forms: &[String], mark: &str, seen: &mut Seen) {
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // A process may end at any moment.
        let Ok(environment) = fs::read(entry.path().join("environ")) else { continue };
        let environment = String::from_utf8_lossy(&environment).into_owned();
        if !environment.split('\0').any(|variable| variable == mark) {
            continue;
        }
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&arguments).into_owned();
        seen.processes.insert(pid);
        for (place, text) in [("the environment", &environment), ("the arguments", &arguments)] {
            if forms.iter().any(|form| text.contains(form)) {
                seen.found.insert(format!("{place} of {arguments}"));
            }
        }
        let root = environment.split('\0').find_map(|variable| variable.strip_prefix("AZP_AGENT_ROOT="));
        let root = root.map(PathBuf::from).or_else(|| fs::read_link(entry.path().join("cwd")).ok());
        if let Some(root) = root.filter(|root| root.join("run.sh").exists()) {
            below(&root, forms, seen);
            seen.roots.insert(root);
        }
    }
}

fn below(folder: &Path, forms: &[String], seen: &mut Seen) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => below(&entry.path(), forms, seen),
            Ok(kind) if kind.is_file() => {
                let text = fs::read(entry.path()).unwrap_or_default();
                let text = String::from_utf8_lossy(&text);
                if forms.iter().any(|form| text.contains(form)) {
                    seen.found.insert(entry.path().display().to_string());
                }
            }
            _ => {}
        }
    }
}
