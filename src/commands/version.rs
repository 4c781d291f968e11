//! `version`: which one this is, which one runs in the cluster, and whether they differ.

use std::{
    io::{self, Write},
    time::Duration,
};

use serde::Serialize;

use super::{
    Exit, Failure,
    cluster_flags::ClusterFlags,
    observed::{InstallStatus, is_other_version, look, or_interrupted},
};
use crate::{
    core::{API_VERSION, Code},
    output::{harmless, write_json, write_yaml},
};

/// A version is no reason to wait long.
const PATIENCE: Duration = Duration::from_secs(5);

/// Print the versions of this program and of the orchestrator
///
/// Without a cluster, that of this program alone.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only this program's version; contacts nothing
    #[arg(long)]
    client: bool,
    /// Print it for machines
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
    #[command(flatten)]
    cluster: ClusterFlags,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Json,
    Yaml,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    api_version: &'static str,
    kind: &'static str,
    client_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    orchestrator: Option<Orchestrator>,
    #[serde(skip_serializing_if = "Option::is_none")]
    differ: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Orchestrator {
    namespace: String,
    name: Option<String>,
    version: Option<String>,
    image: Option<String>,
}

impl Args {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        or_interrupted(self.print()).await
    }

    async fn print(&self) -> Result<Exit, Failure> {
        let client_version = env!("CARGO_PKG_VERSION");
        let found = if self.client { None } else { self.orchestrator().await };
        let differ = found.as_ref().and_then(|found| found.version.as_deref());
        let differ = differ.map(|running| is_other_version(running, client_version));
        let kind = "Version";
        let document = Document { api_version: API_VERSION, kind, client_version, orchestrator: found, differ };
        let mut out = io::stdout().lock();
        match self.output {
            Some(Format::Json) => write_json(&mut out, &document)?,
            Some(Format::Yaml) => write_yaml(&mut out, &document)?,
            None => {
                writeln!(out, "kubectl-ado {client_version}")?;
                if let Some(found) = &document.orchestrator {
                    let version = found.version.as_deref().unwrap_or("<unknown>");
                    let name = found.name.as_deref().unwrap_or("<unknown>");
                    writeln!(out, "orchestrator {} ({}/{})", harmless(version), found.namespace, harmless(name))?;
                }
            }
        }
        out.flush()?;
        if differ == Some(true) {
            let code = Code::VersionsDiffer;
            let _ = writeln!(io::stderr(), "note: {code} {}\nfix: kubectl ado upgrade", code.title());
        }
        Ok(Exit::Done)
    }

    /// The one that is found; else it is said why none is.
    async fn orchestrator(&self) -> Option<Orchestrator> {
        let why = match tokio::time::timeout(PATIENCE, self.look()).await {
            Ok(Ok(status)) => {
                let InstallStatus { namespace, orchestrator, .. } = status;
                let (name, version, image) = (orchestrator.deployment, orchestrator.version, orchestrator.image);
                return Some(Orchestrator { namespace, name, version, image });
            }
            Ok(Err(failure)) => failure.causes.first().map(|(message, _)| message.clone()).unwrap_or_default(),
            Err(_) => format!("the cluster did not answer within {} s", PATIENCE.as_secs()),
        };
        let _ = writeln!(io::stderr(), "note: the orchestrator's version is not known: {}", harmless(&why));
        None
    }

    async fn look(&self) -> Result<InstallStatus, Failure> {
        let cluster = self.cluster.open()?;
        look(&self.cluster, &cluster).await
    }
}
