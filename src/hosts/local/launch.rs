//! Starting a run: its folder, its environment, its process.

use std::{
    env,
    ffi::OsString,
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use secrecy::{ExposeSecret, SecretString};

use super::{
    folder::{Folder, failed, make_folder, private, remove},
    record::Record,
};
use crate::{
    azure::OrganizationToken,
    core::{Installation, Recipe},
    hosts::{AgentFiles, HostError},
};

/// The frame around the agent's script.
const WRAPPER: &str = include_str!("wrapper.sh");

/// What an agent gets of our own environment, when it is set there. Everything else stays with us.
const PASSED_ON: [&str; 20] = [
    "PATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "USER",
    "LOGNAME",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CURL_CA_BUNDLE",
    "ADO_CA_FILE",
    // What `start.sh` advises to set.
    "AGENT_ALLOW_RUNASROOT",
    "TARGETARCH",
];

/// What the agent must not show as its capabilities: our own plumbing, and proxies, whose URLs may hold a password.
const HIDDEN: &str = "KUBECTL_ADO,AZP_AGENT_ROOT,HTTP_PROXY,HTTPS_PROXY,ALL_PROXY,http_proxy,https_proxy,all_proxy";

/// How agents are started.
#[derive(Debug)]
pub(super) struct Launcher {
    pub(super) installation: Installation,
    pub(super) organization: String,
    pub(super) token: OrganizationToken,
    pub(super) script: String,
    /// Certificates of private authorities, for agents that register themselves.
    pub(super) authorities: Option<PathBuf>,
    bash: PathBuf,
    executable: PathBuf,
}

impl Launcher {
    /// Looks for what every start needs.
    pub(super) fn new(
        installation: Installation,
        organization: String,
        token: OrganizationToken,
        script: String,
    ) -> Result<Self, HostError> {
        let path = env::var_os("PATH").unwrap_or_default();
        let bash = env::split_paths(&path).map(|folder| folder.join("bash")).find(|bash| bash.is_file());
        let bash = bash.ok_or_else(|| HostError::Refused {
            reason: "invalid",
            message: "there is no bash on the PATH, and the agent's start script needs it".to_owned(),
            fix: Some("install bash".to_owned()),
        })?;
        let executable = env::current_exe()
            .map_err(|error| HostError::Unavailable(format!("cannot tell where this program lies: {error}")))?;
        Ok(Self { installation, organization, token, script, authorities: None, bash, executable })
    }

    /// Makes the folder of a run and starts its process, with a token. The caller holds the lock and knows that there is no
    /// such folder. Where it fails, nothing is left.
    pub(super) fn launch(
        &self,
        folder: &Folder,
        name: &str,
        record: &Record,
        token: &SecretString,
    ) -> Result<Child, HostError> {
        let here = folder.run(name);
        let launched = self
            .furnish(&here)
            .and_then(|()| write_new(&here.join("token"), token.expose_secret()))
            // From here on the run exists.
            .and_then(|()| folder.write_record(name, record))
            .and_then(|()| self.spawn(folder, name, record));
        if launched.is_err() {
            // A folder without run.json is not a run; should this fail too, `tidy` removes it.
            let _ = remove(&here);
        }
        launched
    }

    /// What every agent has in its folder.
    pub(super) fn furnish(&self, here: &Path) -> Result<(), HostError> {
        for path in [here.to_owned(), here.join("agent"), here.join("home"), here.join("tmp")] {
            make_folder(&path).map_err(failed("make the folder", &path))?;
        }
        write_new(&here.join("start.sh"), &self.script)
    }

    /// Gives an agent its files.
    pub(super) fn hand_over(&self, here: &Path, files: &AgentFiles) -> Result<(), HostError> {
        let folder = here.join("files");
        make_folder(&folder).map_err(failed("make the folder", &folder))?;
        files.iter().try_for_each(|(name, content)| write_new(&folder.join(name), content.expose_secret()))
    }

    /// Starts the process of a run that has all it needs.
    pub(super) fn spawn(&self, folder: &Folder, name: &str, record: &Record) -> Result<Child, HostError> {
        let path = folder.log(name);
        let log = private().write(false).append(true).create(true).open(&path).map_err(failed("write", &path))?;
        self.command(folder, name, record, log)?.spawn().map_err(failed("run", &self.bash))
    }

    fn command(&self, folder: &Folder, name: &str, record: &Record, log: File) -> Result<Command, HostError> {
        let here = folder.run(name);
        let mut command = Command::new(&self.bash);
        command
            .args(["-c", WRAPPER, "kubectl-ado-agent"])
            .arg(&here)
            .current_dir(here.join("agent"))
            .env_clear()
            .envs(self.environment(&here, name, record, |name| env::var_os(name)))
            .stdin(Stdio::null())
            .stderr(log.try_clone().map_err(failed("write", &folder.log(name)))?)
            .stdout(log);
        // So that a Ctrl-C for us is none for the agents, and all of a run can be ended at once.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        Ok(command)
    }

    /// The whole environment of a run. `ours` looks up a variable of our own.
    fn environment(
        &self,
        here: &Path,
        name: &str,
        record: &Record,
        ours: impl Fn(&str) -> Option<OsString>,
    ) -> Vec<(String, OsString)> {
        let mut all: Vec<_> = PASSED_ON.iter().filter_map(|&name| Some((name.to_owned(), ours(name)?))).collect();
        if !all.iter().any(|(name, _)| name == "LANG" || name == "LC_ALL") {
            all.push(("LANG".to_owned(), "C.UTF-8".into()));
        }
        let mut hidden = OsString::from(HIDDEN);
        if let Some(more) = ours("VSO_AGENT_IGNORE").filter(|more| !more.is_empty()) {
            hidden.push(",");
            hidden.push(more);
        }
        let root = here.join("agent");
        let own: [(&str, OsString); 10] = [
            ("HOME", here.join("home").into()),
            ("TMPDIR", here.join("tmp").into()),
            ("AZP_URL", OsString::from(&self.organization)),
            ("AZP_POOL", OsString::from(&record.pool)),
            ("AZP_AGENT_NAME", OsString::from(name)),
            ("AZP_WORK", root.join("_work").into()),
            ("AZP_AGENT_ROOT", root.into()),
            // For the sandbox's agent package, which hands over to this program.
            ("KUBECTL_ADO", OsString::from(&self.executable)),
            // The agent's environment becomes its capabilities, so this tells everyone whose it is.
            ("KUBECTL_ADO_INSTALLATION", OsString::from(self.installation.id())),
            ("VSO_AGENT_IGNORE", hidden),
        ];
        all.extend(own.map(|(name, value)| (name.to_owned(), value)));
        all.extend(match record.recipe() {
            Recipe::JustInTime => vec![
                ("AZP_AGENT_FILES".to_owned(), here.join("files").into()),
                // A capability too: such a registration does not go with the agent, so somebody else has to remove it.
                ("KUBECTL_ADO_REGISTRATION".to_owned(), Recipe::JustInTime.name().into()),
            ],
            Recipe::InitContainer | Recipe::Token => {
                let authorities = self.authorities.iter().map(|file| ("AZP_CA_FILE".to_owned(), file.into()));
                authorities.chain([("AZP_TOKEN_FILE".to_owned(), here.join("token").into())]).collect()
            }
        });
        all
    }
}

/// Writes a file that is not there yet, for us alone.
fn write_new(path: &Path, content: &str) -> Result<(), HostError> {
    let written = private().create_new(true).open(path).and_then(|mut file| file.write_all(content.as_bytes()));
    written.map_err(failed("write", path))
}

/// The entry of the environment by which all processes of a run can be found, and no other's.
pub(super) fn mark(folder: &Folder, name: &str) -> Vec<u8> {
    let mut mark = OsString::from("AZP_AGENT_ROOT=");
    mark.push(folder.run(name).join("agent"));
    mark.into_encoded_bytes()
}
