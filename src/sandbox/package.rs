//! The agent package that the sandbox offers for download: `config.sh` and `run.sh`, small scripts that hand over to
//! this very program (`kubectl-ado sandbox-agent …`), so that whoever installs an agent does what they do with the
//! real one: ask for the package, unpack it, configure, run.

use std::{fmt::Write as _, io, path::Path};

use flate2::{Compression, write::GzEncoder};
use hyper::body::Bytes;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::AGENT_VERSION;

/// The scripts are the same for all of them.
const PLATFORMS: [&str; 7] =
    ["linux-x64", "linux-arm64", "linux-arm", "linux-musl-x64", "linux-musl-arm64", "osx-x64", "osx-arm64"];

/// The package, made once, in memory.
#[derive(Debug)]
pub(super) struct Package {
    bytes: Bytes,
    hash: String,
}

impl Package {
    /// A package whose scripts hand over to the program in KUBECTL_ADO, else to `program` if this machine has it,
    /// else to the `kubectl-ado` that is found on the PATH.
    pub(super) fn new(program: &Path) -> io::Result<Self> {
        Self::of_scripts(&script(program, Script::Config), &script(program, Script::Run))
    }

    /// A package with these two scripts.
    pub(super) fn of_scripts(config: &str, run: &str) -> io::Result<Self> {
        let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
        for (name, script) in [("config.sh", config), ("run.sh", run)] {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o755);
            header.set_size(script.len() as u64);
            archive.append_data(&mut header, name, script.as_bytes())?;
        }
        let bytes = archive.into_inner()?.finish()?;
        let mut hash = String::new();
        for byte in Sha256::digest(&bytes) {
            // Writing to a String does not fail.
            let _ = write!(hash, "{byte:02x}");
        }
        Ok(Self { bytes: bytes.into(), hash })
    }

    pub(super) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// Whether this is a path under which the package can be downloaded.
    pub(super) fn is_at(&self, path: &str) -> bool {
        PLATFORMS.iter().any(|platform| path == location(platform))
    }

    /// PackageMetadata for the platforms that are asked for, with addresses on `origin`.
    pub(super) fn descriptions(&self, platform: Option<&str>, version: Option<&str>, origin: &str) -> Vec<Value> {
        let mut numbers = AGENT_VERSION.split('.').map(|part| part.parse().unwrap_or(0_u32));
        let mut number = || numbers.next().unwrap_or(0);
        let parts = json!({ "major": number(), "minor": number(), "patch": number() });
        PLATFORMS
            .iter()
            .filter(|known| platform.is_none_or(|wanted| known.eq_ignore_ascii_case(wanted)))
            .filter(|_| version.is_none_or(|wanted| wanted == AGENT_VERSION))
            .map(|platform| {
                json!({
                    "type": "agent",
                    "platform": platform,
                    "createdOn": "2026-01-02T03:04:05.6666667Z",
                    "version": parts,
                    "downloadUrl": format!("{origin}{}", location(platform)),
                    "filename": file_name(platform),
                    "hashValue": self.hash,
                    "infoUrl": format!("{origin}/agent/{AGENT_VERSION}"),
                })
            })
            .collect()
    }
}

fn file_name(platform: &str) -> String {
    format!("vsts-agent-{platform}-{AGENT_VERSION}.tar.gz")
}

fn location(platform: &str) -> String {
    format!("/agent/{AGENT_VERSION}/{}", file_name(platform))
}

#[derive(Clone, Copy)]
enum Script {
    Config,
    Run,
}

fn script(program: &Path, which: Script) -> String {
    let program = quote(&program.to_string_lossy());
    let hand_over = match which {
        Script::Config => {
            "case \"${1:-}\" in\n\
             remove) shift; exec \"$program\" sandbox-agent remove \"$@\" ;;\n\
             *) exec \"$program\" sandbox-agent configure \"$@\" ;;\n\
             esac\n"
        }
        Script::Run => "exec \"$program\" sandbox-agent run \"$@\"\n",
    };
    format!(
        "#!/usr/bin/env bash\n\
         # The sandbox's agent: hands over to kubectl-ado.\n\
         set -euo pipefail\n\
         cd \"$(dirname \"${{BASH_SOURCE[0]}}\")\"\n\
         program=${{KUBECTL_ADO:-}}\n\
         if [ -z \"$program\" ]; then\n\
         program={program}\n\
         [ -x \"$program\" ] || program=kubectl-ado\n\
         fi\n\
         {hand_over}"
    )
}

/// A word for the shell.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, io::Read as _};

    use super::*;

    #[test]
    fn the_package_holds_two_scripts_that_hand_over_to_the_program() {
        let package = Package::new(Path::new("/it's here/kubectl-ado")).unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&package.bytes[..]));
        let mut files = BTreeMap::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            assert_eq!(entry.header().mode().unwrap(), 0o755);
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            files.insert(entry.path().unwrap().display().to_string(), text);
        }
        assert_eq!(files.keys().collect::<Vec<_>>(), ["config.sh", "run.sh"]);
        assert!(files["run.sh"].contains(r"program='/it'\''s here/kubectl-ado'"));
        assert!(files["run.sh"].ends_with("sandbox-agent run \"$@\"\n"));
        assert!(files["config.sh"].contains("sandbox-agent remove"));
    }

    #[test]
    fn a_platform_is_described_once_and_its_address_is_served() {
        let package = Package::new(Path::new("/kubectl-ado")).unwrap();
        let found = package.descriptions(Some("linux-x64"), None, "http://here");
        assert_eq!(found.len(), 1);
        let path = found[0]["downloadUrl"].as_str().unwrap().strip_prefix("http://here").unwrap();
        assert!(package.is_at(path));
        assert!(package.descriptions(Some("win-x64"), None, "").is_empty());
        assert!(package.descriptions(None, Some("1.0.0"), "").is_empty());
    }
}
