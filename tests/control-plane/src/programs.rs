//! Where the programs come from: `KUBEBUILDER_ASSETS`, else the cache, else a build with Go.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::go_build;

/// The version of Kubernetes that is built and tested against.
pub const KUBERNETES_VERSION: &str = "v1.36.2";

/// The programs, each an existing file.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The store.
    pub etcd: PathBuf,
    /// The API server.
    pub kube_apiserver: PathBuf,
    /// The controllers: Jobs, TTLs, ServiceAccounts, garbage collection and the rest.
    pub kube_controller_manager: PathBuf,
    /// For tests that apply manifests as a person would.
    pub kubectl: PathBuf,
}

/// Finds the programs and builds those that are missing: once for each version, about eight minutes on two cores.
///
/// 1. `KUBEBUILDER_ASSETS`, the convention of envtest: a folder that must hold `etcd` and `kube-apiserver`;
/// 2. `$XDG_CACHE_HOME/kubectl-ado/control-plane/<version>`, by default under `~/.cache`;
/// 3. a build into that folder with Go 1.26 or later, from `kubernetes/go.mod` of this crate. Its progress goes to
///    stderr, past libtest's capture; a second process that needs the programs waits for the first.
///
/// # Errors
///
/// When `KUBEBUILDER_ASSETS` is set and not usable, and when a build is needed and fails. The text says how to mend it.
pub fn ensure_programs() -> Result<Programs> {
    let assets = assets()?;
    let cache = cache_folder()?;
    let places = Places { assets: assets.as_deref(), cache: &cache };
    if go_build::TARGETS.iter().any(|target| places.find(target.program).is_none()) {
        build_missing(places)?;
    }
    let find = |program| places.find(program).with_context(|| format!("{program} is gone from {}", cache.display()));
    Ok(Programs {
        etcd: find("etcd")?,
        kube_apiserver: find("kube-apiserver")?,
        kube_controller_manager: find("kube-controller-manager")?,
        kubectl: find("kubectl")?,
    })
}

/// Prints past libtest's capture: a silent wait of minutes looks like a hang.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "control-plane: {line}");
}

#[derive(Clone, Copy)]
struct Places<'a> {
    assets: Option<&'a Path>,
    cache: &'a Path,
}

impl Places<'_> {
    fn find(self, program: &str) -> Option<PathBuf> {
        let folders = self.assets.into_iter().chain([self.cache]);
        folders.map(|folder| folder.join(program)).find(|path| path.is_file())
    }
}

fn build_missing(places: Places<'_>) -> Result<()> {
    fs::create_dir_all(places.cache).with_context(|| {
        format!("cannot create {}\nfix: set XDG_CACHE_HOME to a folder that can be written", places.cache.display())
    })?;
    let lock = File::create(places.cache.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            say("another process builds the Kubernetes programs, waiting for it …");
            lock.lock()?;
        }
        Err(TryLockError::Error(error)) => return Err(error).context("cannot lock the cache folder"),
    }
    for target in &go_build::TARGETS {
        if places.find(target.program).is_none() {
            go_build::build(target, places.cache)?;
        }
    }
    Ok(())
}

fn assets() -> Result<Option<PathBuf>> {
    let Some(folder) = std::env::var_os("KUBEBUILDER_ASSETS").filter(|folder| !folder.is_empty()) else {
        return Ok(None);
    };
    let folder = std::path::absolute(folder)?;
    for program in ["etcd", "kube-apiserver"] {
        if !folder.join(program).is_file() {
            bail!(
                "KUBEBUILDER_ASSETS is {}, which holds no {program}\n\
                 fix: point it at a folder of envtest's programs (`setup-envtest use -p path`), or unset it to have them built",
                folder.display()
            );
        }
    }
    Ok(Some(folder))
}

fn cache_folder() -> Result<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = variable("XDG_CACHE_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| variable("HOME").map(|home| home.join(".cache")))
        .context("no folder for the Kubernetes programs\nfix: set HOME or XDG_CACHE_HOME")?;
    Ok(cache.join("kubectl-ado/control-plane").join(KUBERNETES_VERSION))
}
