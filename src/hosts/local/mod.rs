//! The local host: each agent is a process on this machine, for one build box and for `demo`.
//!
//! An agent runs the same `linux/start.sh` as the agent image, in a folder and a process group of its own and with an
//! environment that holds nothing of ours but what it needs. All state is in the folder (`folder.rs` lists it) and in the
//! process table, so that an orchestrator that starts again, after a crash too, finds its agents as they are.
//!
//! A just-in-time agent needs more than one step: its run is made and held, and starts once it is given the files of its
//! agent (`held.rs`). Its folder holds no token.
//!
//! An ended run loses its token, its agent and its processes at once, its record after the retention of its kind, and
//! its log after the longer retention of the two, however it ended.
//!
//! Agents outlive the orchestrator, but not a service manager that ends everything a service started: a systemd unit
//! needs `KillMode=process`.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    process::Child,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use secrecy::SecretString;
use tokio::time::{Instant, sleep};

use self::{folder::Folder, launch::Launcher, record::Record};
use super::{AgentFiles, AgentHost, HostError, Started};
use crate::{
    azure::OrganizationToken,
    clock::ServerClock,
    config::LocalConfig,
    core::{EquipRun, Installation, LeaseView, Recipe, Retention, Run, StartRun, StopRun, is_same_name},
};

mod end;
mod folder;
mod held;
mod launch;
mod observe;
mod process;
mod record;
#[cfg(all(test, target_os = "linux"))]
mod tests;
mod tidy;

/// What every agent runs, here as in the agent image.
const START_SCRIPT: &str = include_str!("../../../linux/start.sh");

/// How long the disk may take to answer. Removing an agent of half a gigabyte takes seconds.
const DEADLINE: Duration = Duration::from_secs(60);

/// How long an agent that is stopped may take to put away its registration.
pub(super) const STOP_GRACE: Duration = Duration::from_secs(10);

/// How often the end of all runs is looked for.
const WAIT_INTERVAL: Duration = Duration::from_millis(200);

/// Agents as processes on this machine. Clones share their state. Dropping it ends no agent: the next one that opens
/// the folder finds them.
#[derive(Clone, Debug)]
pub struct LocalHost {
    shared: Arc<Shared>,
    /// This process, as held runs name it.
    identity: Arc<str>,
}

#[derive(Debug)]
struct Shared {
    folder: Folder,
    launcher: Launcher,
    retention: Retention,
    /// The processes that we started and that have not been seen to end. Kept to be collected.
    children: Mutex<HashMap<String, Child>>,
    /// When old logs were last looked for.
    logs_tidied: Mutex<Option<Instant>>,
}

impl LocalHost {
    /// Uses a folder, which is made where it is not there. `organization` is the URL that agents register at.
    ///
    /// # Errors
    ///
    /// This is not a Unix system, there is no bash, or the folder cannot be written.
    pub fn open(
        config: &LocalConfig,
        organization: &str,
        token: impl Into<OrganizationToken>,
        installation: Installation,
        retention: Retention,
    ) -> Result<Self, HostError> {
        Self::open_with_script(config, organization, token, installation, retention, START_SCRIPT)
    }

    /// As [`LocalHost::open`], with a bash script in the place of the agent's `start.sh`.
    ///
    /// # Errors
    ///
    /// As [`LocalHost::open`].
    pub fn open_with_script(
        config: &LocalConfig,
        organization: &str,
        token: impl Into<OrganizationToken>,
        installation: Installation,
        retention: Retention,
        script: &str,
    ) -> Result<Self, HostError> {
        if cfg!(not(unix)) {
            return Err(HostError::Refused {
                reason: "invalid",
                message: "HOST_TYPE=local needs Linux or macOS: the agent's start script is a bash script".to_owned(),
                fix: Some("use HOST_TYPE=kubernetes, or run kubectl-ado in WSL".to_owned()),
            });
        }
        let launcher = Launcher::new(installation, organization.to_owned(), token.into(), script.to_owned())?;
        let folder = Folder::open(&config.folder)?;
        folder.prepare()?;
        drop(folder.lock()?);
        let (children, logs_tidied) = (Mutex::default(), Mutex::default());
        let identity = format!("process {}", std::process::id()).into();
        Ok(Self { shared: Arc::new(Shared { folder, launcher, retention, children, logs_tidied }), identity })
    }

    /// The same host, for a process of that name.
    #[must_use]
    pub fn known_as(mut self, identity: &str) -> Self {
        self.identity = identity.into();
        self
    }

    /// The same host, whose agents trust the private authorities in this file. To be said before anything is started.
    #[must_use]
    pub fn trusting(mut self, authorities: Option<PathBuf>) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.launcher.authorities = authorities;
        }
        self
    }

    /// Who we are on this machine: the id that is configured (INSTALLATION_ID), or one that is made once and kept in
    /// the folder.
    ///
    /// # Errors
    ///
    /// The folder cannot be written, or holds an id that is none.
    pub fn installation(folder: &Path, configured: Option<&str>) -> Result<Installation, HostError> {
        match configured {
            Some(id) => Ok(Installation::new(id)),
            None => Ok(Installation::new(Folder::open(folder)?.installation_id()?)),
        }
    }

    /// The folder, as an absolute path.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.shared.folder.root()
    }

    /// Where a run's output is.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.shared.folder.log(name)
    }

    /// Waits until no run is live, for RUN_ONCE. One that waits for its files is not waited for: only another pass can give
    /// them. Gives the names of those that still are when time is up; without
    /// `patience` it waits for as long as it takes.
    ///
    /// # Errors
    ///
    /// The runs cannot be read.
    pub async fn wait_until_all_ended(&self, patience: Option<Duration>) -> Result<Vec<String>, HostError> {
        let started = Instant::now();
        loop {
            let live = self.runs().await?;
            let live = live.into_iter().filter(|run| run.is_live() && run.held.is_none());
            let live: Vec<_> = live.map(|run| run.name).collect();
            if live.is_empty() || patience.is_some_and(|patience| started.elapsed() >= patience) {
                return Ok(live);
            }
            sleep(WAIT_INTERVAL).await;
        }
    }

    /// Does what may block on a thread for that. Should it take too long, it goes on there, and we say so.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, HostError> + Send + 'static,
    ) -> Result<T, HostError> {
        let shared = Arc::clone(&self.shared);
        let worked = tokio::task::spawn_blocking(move || work(&shared));
        match tokio::time::timeout(DEADLINE, worked).await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => Err(HostError::Unavailable(format!("the work on agents' folders broke off: {error}"))),
            Err(_) => {
                let (folder, seconds) = (self.folder().display(), DEADLINE.as_secs());
                Err(HostError::Unavailable(format!("the disk that holds {folder} did not answer within {seconds} s")))
            }
        }
    }
}

impl AgentHost for LocalHost {
    async fn runs(&self) -> Result<Vec<Run>, HostError> {
        self.blocking(Shared::runs).await
    }

    async fn start(&self, run: &StartRun) -> Result<Started, HostError> {
        let (run, identity) = (run.clone(), Arc::clone(&self.identity));
        let token = match run.recipe {
            Recipe::JustInTime => None,
            Recipe::InitContainer | Recipe::Token => Some(self.shared.launcher.token.for_an_agent().await),
        };
        self.blocking(move |shared| shared.start(&run, &identity, token)).await
    }

    async fn claim(&self, run: &EquipRun) -> Result<(), HostError> {
        let (run, identity) = (run.clone(), Arc::clone(&self.identity));
        self.blocking(move |shared| shared.claim(&run, &identity)).await
    }

    async fn equip(&self, name: &str, files: &AgentFiles) -> Result<(), HostError> {
        let (name, files, identity) = (name.to_owned(), files.clone(), Arc::clone(&self.identity));
        self.blocking(move |shared| shared.equip(&name, &files, &identity)).await
    }

    async fn stop(&self, run: &StopRun) -> Result<(), HostError> {
        LocalHost::stop(self, &run.name, STOP_GRACE).await?;
        if run.reason.is_failure() {
            return Ok(());
        }
        let name = run.name.clone();
        self.blocking(move |shared| shared.forget(&name)).await
    }

    /// When a process that we started has ended. Of others the next look tells.
    async fn changed(&self) {
        let before = self.shared.children().len();
        if before == 0 {
            return std::future::pending().await;
        }
        while self.shared.collect_children().len() >= before {
            sleep(WAIT_INTERVAL).await;
        }
    }

    async fn tidy(&self, runs: &[Run]) -> Result<(), HostError> {
        let runs = runs.to_vec();
        let token = self.renewed_token(&runs).await;
        self.blocking(move |shared| shared.tidy(&runs, token.as_ref())).await
    }

    fn clock(&self) -> ServerClock {
        ServerClock::default()
    }

    async fn lease(&self, _: &str) -> Result<Option<LeaseView>, HostError> {
        Ok(None)
    }
}

impl Shared {
    fn runs(&self) -> Result<Vec<Run>, HostError> {
        let children = self.collect_children();
        observe::observe(&self.folder, |record| self.is_ours(record), |name| children.contains(name))
    }

    /// `token` is what an agent signs in with that does so by itself.
    fn start(
        &self,
        run: &StartRun,
        identity: &str,
        token: Option<Result<SecretString, String>>,
    ) -> Result<Started, HostError> {
        let name = run.name.as_str();
        if !is_run_name(name) {
            return Err(HostError::Refused {
                reason: "invalid",
                message: format!("{name:?} is no name for a run"),
                fix: None,
            });
        }
        self.folder.prepare()?;
        let _lock = self.folder.lock()?;
        if let Some(there) = self.folder.record(name)? {
            if self.is_ours(&there) && is_same_name(&there.pool, &run.pool) {
                return Ok(Started::AlreadyThere);
            }
            let owner =
                format!("installation {} for pool {:?} of {}", there.installation, there.pool, there.organization);
            return Err(HostError::Collision { name: name.to_owned(), owner });
        }
        // Whoever made half a folder held the lock, and is gone.
        let half = self.folder.run(name);
        folder::remove(&half).map_err(folder::failed("remove", &half))?;
        let record = Record::new(&self.launcher.installation, &self.launcher.organization, run);
        match token {
            None => self.hold(name, record, identity)?,
            Some(token) => {
                let token = token.map_err(HostError::Credential)?;
                let child = self.launcher.launch(&self.folder, name, &record, &token)?;
                self.children().insert(name.to_owned(), child);
            }
        }
        Ok(Started::Created)
    }

    fn is_ours(&self, record: &Record) -> bool {
        record.installation == self.launcher.installation.id()
            && is_same_name(&record.organization, &self.launcher.organization)
    }

    /// Collects the children that have ended, so that none stays a zombie, and names the others.
    fn collect_children(&self) -> HashSet<String> {
        let mut children = self.children();
        children.retain(|_, child| matches!(child.try_wait(), Ok(None)));
        children.keys().cloned().collect()
    }

    fn children(&self) -> MutexGuard<'_, HashMap<String, Child>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a name can be that of a run, and so that of a folder.
fn is_run_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&name.len()) && name.chars().all(fits) && !name.starts_with('-')
}
