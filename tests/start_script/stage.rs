//! A root with a played agent, a folder with an agent's files, and the script as a process.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

/// Long enough for a busy machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The three files that an agent is by.
pub(crate) const IDENTITY: [(&str, &str); 3] = [
    (".agent", r#"{"agentId":57,"agentName":"a-1","workFolder":"_work"}"#),
    (".credentials", r#"{"scheme":"OAuth"}"#),
    (".credentials_rsaparams", r#"{"d":"private"}"#),
];

/// Writes down how it was called, and what the real one would leave.
const CONFIG: &str = r#"#!/usr/bin/env bash
cd "$(dirname "$0")"
echo "config.sh $* (token: ${VSTS_AGENT_INPUT_TOKEN:-none})" >>calls
if [[ $1 == remove ]]; then
    rm -f .agent .credentials .credentials_rsaparams
elif [[ $(<behaviour) == refused ]]; then
    exit 9
else
    echo registered >.agent
    [[ $(<behaviour) == half ]] || echo credentials >.credentials
    echo key >.credentials_rsaparams
    echo '{"by":"config.sh"}' >.certificates
fi
"#;

const RUN: &str = r#"#!/usr/bin/env bash
cd "$(dirname "$0")"
echo "run.sh $*" >>calls
env -0 >environment.draft
mv environment.draft environment
./bin/Agent.Listener run "$@"
"#;

const LISTENER: &str = r#"#!/usr/bin/env bash
trap 'echo "the listener was told to stop" >>calls; exit 0' TERM
case $(<behaviour) in
idle)
    touch listening
    while :; do sleep 0.02; done ;;
busy)
    ./bin/Agent.Worker &
    wait ;;
update)
    [[ -e updated ]] && exit 0
    touch updated
    cp -R bin bin.new && rm -rf bin externals && mv bin.new bin
    exit 3 ;;
esac
"#;

/// Goes by its name, as a program that is no script does.
const WORKER: &str = r"#!/usr/bin/env bash
printf Agent.Worker >/proc/$$/comm
trap 'echo the job was disturbed >>calls' TERM
touch working
until [[ -e go ]]; do sleep 0.02; done
echo the job is done >>calls
";

/// The files of a whole agent package, by their paths.
pub(crate) const PACKAGE: [(&str, &str); 4] =
    [("config.sh", CONFIG), ("run.sh", RUN), ("bin/Agent.Listener", LISTENER), ("bin/Agent.Worker", WORKER)];

pub(crate) struct Stage {
    folder: TempDir,
}

impl Stage {
    /// With the agent built in. `behaviour` is what it does when it runs.
    pub(crate) fn new(behaviour: &str) -> Self {
        let stage = Self::without_agent(behaviour);
        for (path, script) in PACKAGE {
            let path = stage.root().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, script).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        stage
    }

    pub(crate) fn without_agent(behaviour: &str) -> Self {
        let stage = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir_all(stage.root()).unwrap();
        fs::write(stage.root().join("behaviour"), behaviour).unwrap();
        stage
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join("root")
    }

    pub(crate) fn files(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join("files")
    }

    /// Lays an agent's files ready, for all to read, as a careless mount would.
    pub(crate) fn lay(&self, files: &[(&str, &str)]) {
        fs::create_dir_all(self.files()).unwrap();
        for (name, content) in files {
            fs::write(self.files().join(name), content).unwrap();
        }
    }

    /// The script with nothing set but where the root is and what the agent is called.
    pub(crate) fn script(&self) -> Command {
        let mut script = Command::new("bash");
        script
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/linux/start.sh"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("AZP_AGENT_ROOT", self.root())
            .env("AZP_AGENT_NAME", "a-1")
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        script
    }

    /// For an agent that has its files.
    pub(crate) fn with_files(&self) -> Command {
        let mut script = self.script();
        script.env("AZP_AGENT_FILES", self.files());
        script
    }

    /// For an agent that registers itself.
    pub(crate) fn with_token(&self) -> Command {
        let token = self.folder.path().join("token");
        fs::write(&token, "s3cr3t\n").unwrap();
        let mut script = self.script();
        script.env("AZP_URL", "http://127.0.0.1:9/contoso").env("AZP_TOKEN_FILE", token).env("AZP_POOL", "Linux");
        script
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).unwrap_or_default()
    }

    /// How config.sh and run.sh were called, and what befell the agent.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.read("calls").lines().map(str::to_owned).collect()
    }

    /// The environment that run.sh had.
    pub(crate) fn environment(&self) -> BTreeMap<String, String> {
        let entries = self.read("environment");
        entries.split('\0').filter_map(|entry| entry.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect()
    }

    /// Waits until the agent has left a file in its root.
    pub(crate) fn until(&self, file: &str) {
        until(file, || self.root().join(file).exists());
    }

    /// Starts a script and writes down what it says.
    pub(crate) fn start(&self, mut script: Command) -> Running {
        std::os::unix::process::CommandExt::process_group(&mut script, 0);
        let said = fs::File::create(self.said()).unwrap();
        Running(script.stdout(said).stderr(Stdio::null()).spawn().unwrap())
    }

    pub(crate) fn until_said(&self, text: &str) {
        until(text, || fs::read_to_string(self.said()).unwrap().contains(text));
    }

    fn said(&self) -> PathBuf {
        self.folder.path().join("said")
    }

    pub(crate) fn go(&self) {
        fs::write(self.root().join("go"), "").unwrap();
    }
}

pub(crate) fn mode(path: impl AsRef<Path>) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

/// The names of all that is in a folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names
}

pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// How a script ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
    pub(crate) errors: String,
}

/// Lets a script run to its end.
pub(crate) fn ended(mut script: Command) -> Ended {
    let output = script.output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ended { code: output.status.code(), output: text(&output.stdout), errors: text(&output.stderr) }
}

/// A script that runs. Should the test fail, it is ended with all that it started.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn terminate(&self) {
        kill(Pid::from_raw(i32::try_from(self.pid()).unwrap()), Signal::SIGTERM).unwrap();
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    pub(crate) fn code(mut self) -> Option<i32> {
        until("the script ends", || !self.is_running());
        self.0.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.is_running() {
            let group = Pid::from_raw(-i32::try_from(self.pid()).unwrap());
            let _ = kill(group, Signal::SIGKILL);
            let _ = self.0.wait();
        }
    }
}
