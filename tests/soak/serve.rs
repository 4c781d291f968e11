//! `serve` as a process, with six pools on the local host.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use kubectl_ado::sandbox::Sandbox;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

/// A pool, and what is promised of it.
pub(crate) struct PoolPlan {
    pub(crate) name: &'static str,
    pub(crate) registration: &'static str,
    pub(crate) min: u32,
    pub(crate) idle: u32,
    /// What its jobs demand and its template offers.
    pub(crate) capability: Option<&'static str>,
}

const fn pool(name: &'static str, registration: &'static str) -> PoolPlan {
    PoolPlan { name, registration, min: 0, idle: 0, capability: None }
}

/// There is always room: no pool ever comes to its maximum.
const MAX_AGENTS: u32 = 80;

pub(crate) const POOLS: [PoolPlan; 6] = [
    PoolPlan { idle: 1, ..pool("warm", "token") },
    PoolPlan { min: 1, ..pool("minimum", "token") },
    pool("just-in-time", "just-in-time"),
    PoolPlan { idle: 1, ..pool("automatic", "auto") },
    PoolPlan { capability: Some("docker"), ..pool("demanding", "token") },
    pool("plain", "token"),
];

pub(crate) struct Serve {
    child: Child,
    folder: TempDir,
}

impl Serve {
    pub(crate) fn start(sandbox: &Sandbox) -> Self {
        let folder = TempDir::new().unwrap();
        let token_file = folder.path().join("token");
        std::fs::write(&token_file, sandbox.token()).unwrap();
        std::fs::write(folder.path().join("ado.yaml"), configuration(sandbox, folder.path())).unwrap();
        let log = File::create(folder.path().join("serve.log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_kubectl-ado"))
            .arg("serve")
            .arg("--config")
            .arg(folder.path().join("ado.yaml"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("AGENT_ALLOW_RUNASROOT", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path().join("serve.log")
    }

    /// The status that it last wrote.
    pub(crate) fn status(&self) -> Option<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("status.json")).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// How many runs have not ended.
    pub(crate) fn live_runs(&self) -> usize {
        let runs = std::fs::read_dir(self.folder.path().join("agents/runs")).into_iter().flatten().flatten();
        runs.filter(|run| !run.path().join("exit").exists()).count()
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Asks it to end, and keeps its log if that is wanted. Its agents are ended with it: nothing here outlives the test.
    pub(crate) fn stop(&mut self, keep_log: Option<&Path>) {
        let _ = kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGTERM);
        let _ = self.child.wait();
        if let Some(path) = keep_log {
            let _ = std::fs::copy(self.log(), path);
        }
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a run is for, by the name of its agent: `request 4711 in plain` or `slot 1 in warm`.
pub(crate) fn purpose(root: &Path, run: &str) -> Option<String> {
    let record = std::fs::read_to_string(root.join("agents/runs").join(run).join("run.json")).ok()?;
    let record: Value = serde_json::from_str(&record).ok()?;
    let purpose = record["purpose"].as_object()?;
    let (kind, number) = purpose.iter().next()?;
    Some(format!("{kind} {number} in {}", record["pool"].as_str()?))
}

fn configuration(sandbox: &Sandbox, folder: &Path) -> String {
    let here = folder.display();
    let mut text = format!(
        "organization: {{url: {}, tokenFile: {here}/token}}\nhost: local\nagentFolder: {here}/agents\n\
         statusFile: {here}/status.json\nlistenAddress: \"127.0.0.1:0\"\npolling: 1s\nlimits: {{maxAgents: {MAX_AGENTS}}}\n\
         defaults: {{startTimeout: 30s, idleTimeout: 1m, keepFinished: 30s, keepFailed: 1m, maxAgents: {MAX_AGENTS}}}\npools:\n",
        sandbox.url()
    );
    for pool in POOLS {
        let capabilities = pool.capability.map_or(String::new(), |name| format!(", capabilities: {{{name}: \"1\"}}"));
        text += &format!(
            "- name: {}\n  templates: [{{name: default, registration: {}, minAgents: {}, idleAgents: {}{capabilities}}}]\n",
            pool.name, pool.registration, pool.min, pool.idle
        );
    }
    text
}
