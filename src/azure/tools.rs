//! The developer's tools: whoever has signed in with `az` or `azd` on this machine is who we are.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde::Deserialize;
use serde_json::Value;
use tokio::{io::AsyncReadExt, process::Command};

use super::{AccessToken, endpoint::resource, link::Refusal, scrub::scrubbed};
use crate::config::CredentialKind;

/// How long a tool may take; `az` is slow to start, and asks Entra.
const PATIENCE: Duration = Duration::from_secs(13);

/// The most bytes of what it prints that are read.
const LONGEST_OUTPUT: u64 = 256 * 1024;

/// One of the tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tool {
    /// The Azure CLI.
    Az,
    /// The Azure Developer CLI.
    Azd,
}

/// A tool that was looked for on the path.
#[derive(Clone, Debug)]
pub(super) struct DeveloperTool {
    tool: Tool,
    program: PathBuf,
    tenant: Option<String>,
}

/// What either prints.
#[derive(Deserialize)]
struct Printed {
    #[serde(alias = "accessToken")]
    token: String,
    /// Seconds since 1970; newer versions of `az` alone.
    #[serde(default)]
    expires_on: Value,
    /// Local time without a zone of `az`, a full time of `azd`.
    #[serde(default, rename = "expiresOn")]
    expires: String,
}

impl Tool {
    pub(super) fn link(self) -> &'static str {
        match self {
            Self::Az => CredentialKind::AzureCli.name(),
            Self::Azd => CredentialKind::AzureDeveloperCli.name(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Az => "az",
            Self::Azd => "azd",
        }
    }

    fn login(self) -> &'static str {
        match self {
            Self::Az => "az login",
            Self::Azd => "azd auth login",
        }
    }
}

impl DeveloperTool {
    /// Looks for it on `path`. Folders that are relative would depend on where we happen to be.
    pub(super) fn find(tool: Tool, path: Option<&str>, tenant: Option<String>) -> Result<Self, String> {
        let name = tool.name();
        let file = if cfg!(windows) {
            format!("{name}.{}", if tool == Tool::Az { "cmd" } else { "exe" })
        } else {
            name.to_owned()
        };
        let folders = path.into_iter().flat_map(std::env::split_paths).filter(|folder| folder.is_absolute());
        let program = folders.map(|folder| folder.join(&file)).find(|program| program.is_file());
        let program = program.ok_or_else(|| format!("{name} is not on the PATH"))?;
        Ok(Self { tool, program, tenant })
    }

    pub(super) fn name(&self) -> &'static str {
        self.tool.link()
    }

    pub(super) async fn token(&self, scope: &str) -> Result<AccessToken, Refusal> {
        let printed = self.run(scope).await.map_err(Refusal::Absent)?;
        let absent = |what: &str| Refusal::Absent(format!("{} {what}", self.tool.name()));
        let printed: Printed = serde_json::from_slice(&printed).map_err(|_| absent("printed no token"))?;
        let expires_at = end(&printed).ok_or_else(|| absent("does not say how long its token is good for"))?;
        Ok(AccessToken { secret: printed.token.into(), expires_at, link: self.name() })
    }

    /// Runs it without a shell, away from whatever folder we are in: `az` would load what lies there.
    async fn run(&self, scope: &str) -> Result<Vec<u8>, String> {
        let name = self.tool.name();
        let mut command = Command::new(&self.program);
        match self.tool {
            Tool::Az => {
                command.args(["account", "get-access-token", "--output", "json", "--resource", resource(scope)])
            }
            Tool::Azd => command.args(["auth", "token", "--output", "json", "--scope", scope]),
        };
        if let Some(tenant) = &self.tenant {
            command.args([if self.tool == Tool::Az { "--tenant" } else { "--tenant-id" }, tenant]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command.current_dir(self.program.ancestors().last().unwrap_or(Path::new("/")));
        let mut child = command.spawn().map_err(|error| format!("{name} cannot be started: {error}"))?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let work = async {
            let (out, err) = tokio::join!(read(out), read(err));
            (child.wait().await, out, err)
        };
        let Ok((status, out, err)) = tokio::time::timeout(PATIENCE, work).await else {
            return Err(format!("{name} did not answer within {PATIENCE:?}"));
        };
        match status {
            Ok(status) if status.success() => Ok(out),
            Ok(_) => Err(self.complaint(&String::from_utf8_lossy(&err))),
            Err(error) => Err(format!("{name} cannot be waited for: {error}")),
        }
    }

    /// What it complained of, in one line.
    fn complaint(&self, text: &str) -> String {
        let name = self.tool.name();
        let text = super::aadsts::without_trace(text);
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("WARNING"));
        let said = lines.collect::<Vec<_>>().join(" ");
        let said = scrubbed(said.trim_start_matches("ERROR: "), []);
        if said.is_empty() {
            format!("{name} failed and said nothing (is anybody signed in? {})", self.tool.login())
        } else {
            format!("{name}: {said}")
        }
    }
}

async fn read(pipe: Option<impl tokio::io::AsyncRead + Unpin>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        // What came until it broke off is as good as can be had.
        let _ = pipe.take(LONGEST_OUTPUT).read_to_end(&mut bytes).await;
    }
    bytes
}

/// When the token ends: the number where there is one, as the text may be in any time zone.
fn end(printed: &Printed) -> Option<Timestamp> {
    let number = printed.expires_on.as_i64().or_else(|| printed.expires_on.as_str()?.parse().ok());
    if let Some(at) = number.and_then(|seconds| Timestamp::from_second(seconds).ok()) {
        return Some(at);
    }
    let text = printed.expires.trim();
    text.parse().ok().or_else(|| {
        let local: DateTime = text.replacen(' ', "T", 1).parse().ok()?;
        Some(local.to_zoned(TimeZone::system()).ok()?.timestamp())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Timestamp> {
        end(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn the_end_is_read_in_every_form_that_the_tools_have() {
        let at: Timestamp = "2027-01-15T08:00:00Z".parse().unwrap();
        let number = at.as_second();
        let local = at.to_zoned(TimeZone::system()).datetime().strftime("%Y-%m-%d %H:%M:%S.000000").to_string();
        for text in [
            format!(r#"{{"accessToken":"t","expiresOn":"1999-01-01 00:00:00.000000","expires_on":{number}}}"#),
            format!(r#"{{"accessToken":"t","expires_on":"{number}"}}"#),
            format!(r#"{{"accessToken":"t","expiresOn":"{local}"}}"#),
            r#"{"token":"t","expiresOn":"2027-01-15T08:00:00Z"}"#.to_owned(),
        ] {
            assert_eq!(read(&text), Some(at), "{text}");
        }
        assert_eq!(read(r#"{"token":"t"}"#), None);
    }
}
