//! Hot configuration: what changes in the files is served from then on, whole, or not at all.
//!
//! Files are looked at rather than watched: a mounted ConfigMap is a chain of symbolic links that are swapped, and no
//! kind of notice comes for that on every file system.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::time::sleep;
use tracing::{error, info, warn};

use super::{
    Metrics,
    board::Board,
    session::{HOST_RETRY, Session, Unready},
};
use crate::{
    config::{Config, ConfigErrors, Environment},
    core::{Code, Finding},
};

/// Time between two looks at the files.
const LOOK: Duration = Duration::from_secs(1);

/// A configuration that is not accepted may have been mended in a file that we do not know of.
const LOOKS_AFTER_REJECTION: u32 = 5;

/// Larger files are no configuration.
const LARGEST: u64 = 4 * 1024 * 1024;

/// So many mistakes stand in the status; the log has them all.
const MOST_MISTAKES: usize = 3;

/// Where the configuration comes from.
#[derive(Clone)]
pub struct ConfigSource {
    environment: Environment,
    path: PathBuf,
    /// What the files were like when they were loaded.
    loaded_from: Option<u64>,
}

impl ConfigSource {
    /// A file, or a folder with `ado.yaml` in it, and the environment that fills what it leaves out.
    #[must_use]
    pub fn new(environment: Environment, path: PathBuf) -> Self {
        Self { environment, path, loaded_from: None }
    }

    /// The configuration as it is now.
    ///
    /// # Errors
    ///
    /// It has mistakes.
    pub fn loaded(mut self) -> Result<(Config, Self), ConfigErrors> {
        let (config, fingerprint) = self.load()?;
        self.loaded_from = Some(fingerprint);
        Ok((config, self))
    }

    /// The configuration, with what its files were like before it was loaded from them: whatever changes from then on is seen
    /// as a change.
    fn load(&self) -> Result<(Config, u64), ConfigErrors> {
        self.load_with(|| Config::load(&self.environment, Some(&self.path)))
    }

    fn load_with(&self, load: impl Fn() -> Result<Config, ConfigErrors>) -> Result<(Config, u64), ConfigErrors> {
        // Which files there are stands in one of them.
        let files = load()?.files();
        let fingerprint = fingerprint(&self.path, &files);
        Ok((load()?, fingerprint))
    }
}

/// Waits for changed files.
pub(super) struct Reload {
    source: ConfigSource,
    /// This process.
    identity: String,
    board: Arc<Board>,
    metrics: Arc<Metrics>,
    /// Files beside the source's own that the served configuration is made of.
    files: Vec<PathBuf>,
    /// What the files were like when they were last loaded, and whether that was accepted.
    seen: u64,
    /// What they were like when what is served was loaded.
    served: u64,
    rejected: bool,
}

impl Reload {
    /// For a configuration that was loaded from there.
    pub(super) fn new(
        source: ConfigSource,
        config: &Config,
        identity: &str,
        board: Arc<Board>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (files, identity) = (config.files(), identity.to_owned());
        let seen = source.loaded_from.unwrap_or_else(|| fingerprint(&source.path, &files));
        Self { source, identity, board, metrics, files, seen, served: seen, rejected: false }
    }

    /// Waits until the files say something else that can be served, and gives it with its host already reached.
    pub(super) async fn next(&mut self, served: &Config) -> Session {
        let mut before = self.seen;
        let mut looks = 0;
        loop {
            sleep(LOOK).await;
            let Some(now) = self.look().await else { continue };
            // Somebody may be writing still.
            let is_settled = std::mem::replace(&mut before, now) == now;
            looks += 1;
            let again = self.rejected && looks % LOOKS_AFTER_REJECTION == 0;
            if !is_settled || (now == self.seen && !again) {
                continue;
            }
            let is_news = now != self.seen;
            self.seen = now;
            if now == self.served {
                // It was changed and changed back.
                self.accepted();
                continue;
            }
            if let Some((session, loaded_from)) = self.try_out(served, is_news).await {
                self.files = session.config.files();
                // What was loaded, and not what is there by now: opening it may have taken a while.
                (self.seen, self.served) = (loaded_from, loaded_from);
                self.accepted();
                return session;
            }
        }
    }

    /// The configuration with its host reached, and what its files were like when they were loaded.
    async fn try_out(&mut self, served: &Config, is_news: bool) -> Option<(Session, u64)> {
        let source = self.source.clone();
        let (config, fingerprint) = match tokio::task::spawn_blocking(move || source.load()).await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(errors)) => {
                let mistakes: Vec<_> = errors.0.into_iter().map(|error| (error.message, error.fix)).collect();
                self.reject(&mistakes, is_news);
                return None;
            }
            Err(_) => return None,
        };
        let restart = needs_restart(served, &config);
        if !restart.is_empty() && is_news {
            warn!("these settings take effect at the next start: {}", restart.join(", "));
        }
        // A single pass is a matter of the start.
        let config = Config { run_once: served.run_once, listen: served.listen, ..config };
        match Session::open(config, &self.identity).await {
            Ok(session) => Some((session, fingerprint)),
            Err((_, Unready::Never(error))) => {
                self.reject(&[(error.message, error.fix)], is_news);
                None
            }
            Err((_, Unready::NotYet(message))) => {
                warn!("the changed configuration waits for its host: {message}");
                // So that it is tried again.
                self.seen = !self.seen;
                sleep(HOST_RETRY).await;
                None
            }
        }
    }

    fn accepted(&mut self) {
        self.rejected = false;
        self.board.configured(None);
        self.metrics.configured(true);
    }

    fn reject(&mut self, mistakes: &[(String, Option<String>)], is_news: bool) {
        let first: Vec<&str> = mistakes.iter().take(MOST_MISTAKES).map(|(message, _)| message.as_str()).collect();
        let mut message = first.join("; ");
        if let Some(more @ 1..) = mistakes.len().checked_sub(MOST_MISTAKES) {
            message.push_str(&format!("; and {more} more"));
        }
        let fix = mistakes
            .iter()
            .find_map(|(_, fix)| fix.clone())
            .or_else(|| Some("kubectl ado config validate -f FILE shows each mistake with its line".to_owned()));
        if is_news {
            self.metrics.configured(false);
            for (mistake, fix) in mistakes {
                error!(fix = fix.as_deref(), "the changed configuration is not accepted: {mistake}");
            }
            info!("the configuration before it is still served");
        }
        self.rejected = true;
        let message = format!("the changed configuration is not accepted, the one before it is served: {message}");
        self.board.configured(Some(Finding::new(Code::ConfigRejected, message, fix)));
    }

    async fn look(&self) -> Option<u64> {
        let (path, files) = (self.source.path.clone(), self.files.clone());
        tokio::task::spawn_blocking(move || fingerprint(&path, &files)).await.ok()
    }
}

/// What the files are like: the folder's own where a folder is given, and those that are named in them.
fn fingerprint(path: &Path, named: &[PathBuf]) -> u64 {
    let mut files: Vec<PathBuf> = match std::fs::read_dir(path) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_file()).collect(),
        Err(_) => vec![path.to_owned()],
    };
    files.extend(named.iter().cloned());
    files.sort();
    files.dedup();
    let mut hasher = DefaultHasher::new();
    for file in files {
        file.hash(&mut hasher);
        let small = std::fs::metadata(&file).is_ok_and(|metadata| metadata.len() <= LARGEST);
        small.then(|| std::fs::read(&file).ok()).flatten().hash(&mut hasher);
    }
    hasher.finish()
}

/// What cannot be changed without a restart, and was.
fn needs_restart(served: &Config, changed: &Config) -> Vec<&'static str> {
    let settings = [
        ("LISTEN_ADDRESS (listenAddress)", served.listen != changed.listen),
        ("RUN_ONCE (runOnce)", served.run_once != changed.run_once),
    ];
    settings.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_change_that_comes_while_the_files_are_loaded_is_not_lost() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("ado.yaml");
        let write = |max: u32| {
            let text = format!(
                "organization: {{url: https://dev.azure.com/contoso, authentication: pat}}\nlimits: {{maxAgents: {max}}}\n\
                 pools: [{{name: A, templates: [{{name: default, image: \"registry.example/agent:1\"}}]}}]\n"
            );
            std::fs::write(&file, text).unwrap();
        };
        let environment: Environment =
            [("HOST_TYPE", "kubernetes"), ("ORG_PAT", "a-token-of-the-right-length")].into_iter().collect();
        let source = ConfigSource::new(environment.clone(), folder.path().to_owned());
        write(2);
        let loads = Cell::new(0);
        let loaded = source.load_with(|| {
            let config = Config::load(&environment, Some(folder.path()));
            loads.set(loads.get() + 1);
            if loads.get() == 2 {
                write(3);
            }
            config
        });
        let (config, loaded_from) = loaded.unwrap_or_else(|errors| panic!("{:?}", errors.0));
        assert_eq!(config.max_agents, Some(2));
        assert_ne!(loaded_from, fingerprint(folder.path(), &config.files()), "the next look sees that it is 3");
    }

    #[test]
    fn a_change_in_any_of_the_files_is_seen_and_nothing_else_is() {
        let folder = tempfile::TempDir::new().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        let named = [outside.path().to_owned()];
        let look = || fingerprint(folder.path(), &named);
        std::fs::write(folder.path().join("ado.yaml"), "a: 1").unwrap();
        let first = look();
        std::fs::write(folder.path().join("ado.yaml"), "a: 1").unwrap();
        assert_eq!(look(), first, "the same content written again is no change");
        std::fs::write(folder.path().join("job.yaml"), "kind: Job").unwrap();
        let second = look();
        assert_ne!(second, first);
        std::fs::write(outside.path(), "kind: Job").unwrap();
        assert_ne!(look(), second);
        std::fs::remove_file(folder.path().join("job.yaml")).unwrap();
        assert_ne!(look(), first, "the named file is another one now");
    }

    #[cfg(unix)]
    #[test]
    fn a_mounted_configmap_that_is_swapped_is_a_change() {
        let folder = tempfile::TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (version, text) in [("..one", "a: 1"), ("..two", "a: 2")] {
            std::fs::create_dir(at(version)).unwrap();
            std::fs::write(at(version).join("ado.yaml"), text).unwrap();
        }
        std::os::unix::fs::symlink("..one", at("..data")).unwrap();
        std::os::unix::fs::symlink("..data/ado.yaml", at("ado.yaml")).unwrap();
        let before = fingerprint(folder.path(), &[]);
        std::os::unix::fs::symlink("..two", at("..data_tmp")).unwrap();
        std::fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert_ne!(fingerprint(folder.path(), &[]), before);
    }
}
