//! The agent's settings in its root, in the real one's files: `.agent` says who it is, `.credentials` how it signs in.

use std::{fs, io, path::Path};

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::AgentError;

const SETTINGS: &str = ".agent";
const CREDENTIALS: &str = ".credentials";

/// The content of `.agent`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AgentSettings {
    #[serde(default)]
    pub(super) accept_tee_eula: bool,
    pub(super) agent_id: i64,
    pub(super) agent_name: String,
    pub(super) pool_id: i64,
    #[serde(default)]
    pub(super) pool_name: String,
    pub(super) server_url: String,
    pub(super) work_folder: String,
}

#[derive(Deserialize)]
struct Credentials {
    data: CredentialData,
}

#[derive(Deserialize)]
struct CredentialData {
    token: String,
}

/// Whether the agent in this folder is configured.
pub(super) fn are_there(root: &Path) -> bool {
    root.join(SETTINGS).exists()
}

pub(super) fn write(root: &Path, settings: &AgentSettings, token: &SecretString) -> Result<(), AgentError> {
    // OAuth will put a client id here, and the agent's own key beside it.
    let credentials = json!({ "scheme": "PAT", "data": { "token": token.expose_secret() } });
    private(&root.join(CREDENTIALS), &credentials.to_string())?;
    let settings = serde_json::to_string(settings).map_err(|error| AgentError::State(error.to_string()))?;
    private(&root.join(SETTINGS), &settings)
}

pub(super) fn read_settings(root: &Path) -> Result<AgentSettings, AgentError> {
    parse(&root.join(SETTINGS))
}

pub(super) fn read_token(root: &Path) -> Result<SecretString, AgentError> {
    let credentials: Credentials = parse(&root.join(CREDENTIALS))?;
    Ok(credentials.data.token.into())
}

pub(super) fn remove(root: &Path) -> Result<(), AgentError> {
    for name in [SETTINGS, CREDENTIALS] {
        let path = root.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&path, error)),
            _ => {}
        }
    }
    Ok(())
}

fn parse<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T, AgentError> {
    let text = fs::read_to_string(path).map_err(|error| failed(path, error))?;
    // The real files may begin with a byte order mark.
    let text = text.trim_start_matches('\u{feff}');
    // The error's place in the file is enough; its text could quote the token.
    serde_json::from_str(text)
        .map_err(|error| AgentError::State(format!("{} is damaged in line {}", path.display(), error.line())))
}

/// Writes a file that nobody else may read.
fn private(path: &Path, text: &str) -> Result<(), AgentError> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(|error| failed(path, error))?;
    io::Write::write_all(&mut file, text.as_bytes()).map_err(|error| failed(path, error))
}

fn failed(path: &Path, error: io::Error) -> AgentError {
    AgentError::Io(path.display().to_string(), error)
}
