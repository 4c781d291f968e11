//! The agent's settings in its root, in the real one's files: `.agent` says who it is, `.credentials` how it signs in, and
//! `.credentials_rsaparams` is its key. Whether `config.sh` has written them or somebody who has registered the agent in
//! its place makes no difference.

use std::{fs, io, path::Path};

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{AgentError, key::AgentKey};

const SETTINGS: &str = ".agent";
const CREDENTIALS: &str = ".credentials";
const KEY: &str = ".credentials_rsaparams";

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

/// The content of `.credentials`.
#[derive(Deserialize)]
struct CredentialsFile {
    scheme: String,
    data: Value,
}

/// How an agent with a key signs in.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(super) struct OAuth {
    pub(super) client_id: String,
    /// The audience of its assertions.
    pub(super) authorization_url: String,
    /// Where it gets its tokens, if that is another address.
    pub(super) oauth_endpoint_url: Option<String>,
}

impl OAuth {
    pub(super) fn endpoint(&self) -> &str {
        self.oauth_endpoint_url.as_ref().unwrap_or(&self.authorization_url)
    }
}

#[derive(Deserialize)]
struct TokenData {
    token: String,
}

/// What the agent signs in with.
pub(super) enum Credentials {
    /// A key of its own.
    Key(OAuth, Box<AgentKey>),
    /// The token that it was configured with, where the server knows no keys.
    Token(SecretString),
}

/// Whether the agent in this folder is configured.
pub(super) fn are_there(root: &Path) -> bool {
    root.join(SETTINGS).exists()
}

/// Writes all of them, the one last that says that the agent is configured.
pub(super) fn write(root: &Path, settings: &AgentSettings, credentials: &Credentials) -> Result<(), AgentError> {
    let (scheme, data) = match credentials {
        Credentials::Key(sign_in, key) => {
            let key = key.write().map_err(|error| AgentError::State(error.to_string()))?;
            private(&root.join(KEY), &key)?;
            ("OAuth", json!(sign_in))
        }
        Credentials::Token(token) => ("PAT", json!({ "token": token.expose_secret() })),
    };
    private(&root.join(CREDENTIALS), &json!({ "scheme": scheme, "data": data }).to_string())?;
    private(&root.join(SETTINGS), &json!(settings).to_string())
}

pub(super) fn read_settings(root: &Path) -> Result<AgentSettings, AgentError> {
    let path = root.join(SETTINGS);
    let settings: AgentSettings = parse(&path)?;
    if settings.work_folder.is_empty() {
        return Err(AgentError::State(format!("{} has an empty workFolder", path.display())));
    }
    Ok(settings)
}

pub(super) fn read_credentials(root: &Path) -> Result<Credentials, AgentError> {
    let path = root.join(CREDENTIALS);
    let CredentialsFile { scheme, data } = parse(&path)?;
    let lacks = || AgentError::State(format!("{} lacks something that the scheme {scheme} needs", path.display()));
    if scheme.eq_ignore_ascii_case("OAuth") {
        let sign_in: OAuth = serde_json::from_value(data).map_err(|_| lacks())?;
        let path = root.join(KEY);
        let text = fs::read_to_string(&path).map_err(|error| failed(&path, error))?;
        let key = AgentKey::read(text.trim_start_matches('\u{feff}'));
        let key = key.map_err(|error| AgentError::State(format!("{}: {error}", path.display())))?;
        Ok(Credentials::Key(sign_in, Box::new(key)))
    } else if scheme.eq_ignore_ascii_case("PAT") {
        let TokenData { token } = serde_json::from_value(data).map_err(|_| lacks())?;
        Ok(Credentials::Token(token.into()))
    } else {
        Err(AgentError::State(format!("{} has the scheme {scheme}, which is not known here", path.display())))
    }
}

pub(super) fn remove(root: &Path) -> Result<(), AgentError> {
    for name in [SETTINGS, CREDENTIALS, KEY] {
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
