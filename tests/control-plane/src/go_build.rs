//! Building the programs from the Go module proxy, where no earlier run has left them.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::keeper::Keeper;
use crate::programs::{KUBERNETES_VERSION, say};

/// One program and the Go package it is built from.
pub(crate) struct Target {
    pub(crate) program: &'static str,
    package: &'static str,
    /// On two idle cores, in the order of [`TARGETS`], which share a build cache.
    usual: &'static str,
}

/// The longest first: it fills the build cache for the others.
pub(crate) const TARGETS: [Target; 4] = [
    Target { program: "kube-apiserver", package: "k8s.io/kubernetes/cmd/kube-apiserver", usual: "about 6 minutes" },
    Target {
        program: "kube-controller-manager",
        package: "k8s.io/kubernetes/cmd/kube-controller-manager",
        usual: "about 2 minutes",
    },
    Target { program: "etcd", package: "go.etcd.io/etcd/server/v3", usual: "about 15 seconds" },
    Target { program: "kubectl", package: "k8s.io/kubernetes/cmd/kubectl", usual: "about 40 seconds" },
];

/// `go.mod` and `go.sum`, which pin every module by its hash.
const MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/kubernetes");

/// The first Go that builds this Kubernetes.
const MINIMUM_GO: (u32, u32) = (1, 26);

/// Builds `target` into `folder`. The file appears there complete or not at all.
pub(crate) fn build(target: &Target, folder: &Path) -> Result<()> {
    check_go()?;
    let program = target.program;
    say(&format!("building {program} {KUBERNETES_VERSION} (once, {}) …", target.usual));
    let begun = Instant::now();
    let log_path = folder.join(format!("{program}.log"));
    let log = File::create(&log_path)?;
    let unfinished = folder.join(format!(".{program}.{}", std::process::id()));

    let mut command = go();
    command.args(["build", "-trimpath", "-ldflags", &linker_flags(), "-o"]).arg(&unfinished).arg(target.package);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let mut keeper = Keeper::new(None)?;
    let mut go = keeper.spawn(&mut command).context("cannot start `go build`")?;
    let mut next_word = Duration::from_secs(60);
    let status = loop {
        if let Some(status) = go.try_wait()? {
            break status;
        }
        if begun.elapsed() > next_word {
            say(&format!("still building {program}, {} min …", begun.elapsed().as_secs() / 60));
            next_word += Duration::from_secs(60);
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    if !status.success() {
        let _ = fs::remove_file(&unfinished);
        bail!(
            "`go build` of {program} failed ({status}):\n{}\n\
             fix: let it reach a Go module proxy (see `go env GOPROXY`) and keep 5 GB free, \
             or set KUBEBUILDER_ASSETS to a folder with the programs",
            tail(&log_path)
        );
    }
    fs::rename(&unfinished, folder.join(program))?;
    let _ = fs::remove_file(&log_path);
    say(&format!("built {program} in {} s", begun.elapsed().as_secs()));
    Ok(())
}

/// The end of a log, for an error message.
pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// `go`, in our module and deaf to settings that would make it build something else.
fn go() -> Command {
    let mut command = Command::new("go");
    command.current_dir(MODULE).env("CGO_ENABLED", "0").env("GOWORK", "off");
    for name in ["GOFLAGS", "GOOS", "GOARCH"] {
        command.env_remove(name);
    }
    command
}

/// Without these, the programs call themselves v0.0.0-master.
fn linker_flags() -> String {
    let version = KUBERNETES_VERSION.trim_start_matches('v');
    let mut numbers = version.split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let mut flags = "-s -w".to_owned();
    for package in ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] {
        for (name, value) in
            [("gitVersion", KUBERNETES_VERSION), ("gitMajor", major), ("gitMinor", minor), ("gitTreeState", "clean")]
        {
            flags += &format!(" -X {package}.{name}={value}");
        }
    }
    flags
}

fn check_go() -> Result<()> {
    const FIX: &str = "fix: install Go 1.26 or later (https://go.dev/dl) and put it on PATH, or set KUBEBUILDER_ASSETS \
                       to a folder that holds etcd, kube-apiserver, kube-controller-manager and kubectl";
    let output = match go().args(["env", "GOVERSION"]).output() {
        Ok(output) => output,
        Err(error) => bail!("the Kubernetes programs must be built, and `go` cannot be started: {error}\n{FIX}"),
    };
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() {
        bail!("`go` cannot build Kubernetes: {}\n{FIX}", String::from_utf8_lossy(&output.stderr).trim());
    }
    if go_version(&version).is_none_or(|found| found < MINIMUM_GO) {
        bail!("Kubernetes {KUBERNETES_VERSION} needs Go {}.{}, found {version}\n{FIX}", MINIMUM_GO.0, MINIMUM_GO.1);
    }
    Ok(())
}

/// `go1.26.8`, `go1.27rc1` -> (1, 26), (1, 27).
fn go_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.strip_prefix("go")?.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_go_are_read_with_their_suffixes() {
        assert_eq!(go_version("go1.26.8"), Some((1, 26)));
        assert_eq!(go_version("go1.27rc1"), Some((1, 27)));
        assert_eq!(go_version("go1.26"), Some((1, 26)));
        assert_eq!(go_version("devel +abc"), None);
    }

    #[test]
    fn the_linker_flags_name_the_version_for_servers_and_clients() {
        assert_eq!(
            linker_flags(),
            "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.2 -X k8s.io/component-base/version.gitMajor=1 \
             -X k8s.io/component-base/version.gitMinor=36 -X k8s.io/component-base/version.gitTreeState=clean \
             -X k8s.io/client-go/pkg/version.gitVersion=v1.36.2 -X k8s.io/client-go/pkg/version.gitMajor=1 \
             -X k8s.io/client-go/pkg/version.gitMinor=36 -X k8s.io/client-go/pkg/version.gitTreeState=clean"
        );
    }
}
