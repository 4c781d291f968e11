//! Where the status comes from: the cluster, or, where there is none, the orchestrator's own address or status file.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use reqwest::{
    Url,
    header::{HeaderMap, LOCATION},
};

use super::{
    document::InstallStatus,
    judge::judge_report,
    look::{look, look_everywhere},
};
use crate::{
    azure::{http_client, innermost},
    cluster::{Cluster, ClusterError},
    commands::{
        Exit, Failure,
        cluster_flags::{CLUSTER_FLAGS, ClusterFlags},
    },
    core::{PoolReport, Progress, Report, RequestId, RunPhase, RunReport, RunState, Trouble, TroubleKind},
    hosts::kubernetes::{
        AGENT_JOBS, AgentJob, AgentJobs, agent_jobs, jobs_of_installation, jobs_of_pool, jobs_of_request,
    },
};

/// How long an orchestrator may take to answer: it answers from memory.
const DEADLINE: Duration = Duration::from_secs(10);

/// A status of 200 requests and 300 agents in each of many pools is far smaller.
const LONGEST_STATUS: usize = 16 * 1024 * 1024;

const VARIABLE: &str = "ADO_STATUS_FROM";

/// The flags of commands that show how an orchestrator stands, in a cluster or not.
#[derive(Clone, Debug, Default, clap::Args)]
pub(in crate::commands) struct StatusFlags {
    /// Where no cluster is: the orchestrator's address (http://HOST:PORT) or its status file [default: $ADO_STATUS_FROM]
    #[arg(long, value_name = "URL|FILE", conflicts_with_all = CLUSTER_FLAGS)]
    status_from: Option<String>,
    #[command(flatten)]
    pub(in crate::commands) cluster: ClusterFlags,
}

/// Where the status comes from.
pub(in crate::commands) enum Source<'a> {
    /// A cluster.
    Cluster(&'a ClusterFlags, Box<Cluster>),
    /// An orchestrator's address.
    Address(Url),
    /// A file that an orchestrator writes.
    File(PathBuf),
}

/// Which Jobs, or runs elsewhere, are asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::commands) struct Selection<'a> {
    /// Those of one installation, in whatever pool.
    pub(in crate::commands) installation: Option<&'a str>,
    /// Those of this pool.
    pub(in crate::commands) pool: Option<&'a str>,
    /// Those that were started for this job request.
    pub(in crate::commands) request: Option<RequestId>,
    /// Those with these labels.
    pub(in crate::commands) labels: Option<&'a str>,
}

impl StatusFlags {
    /// What they lead to; contacts nothing. Whoever names a cluster on the command line means it, whatever the
    /// environment says.
    pub(in crate::commands) fn open(&self) -> Result<Source<'_>, Failure> {
        let by_flag = self.status_from.clone().map(|from| (from, "--status-from"));
        let variable = || std::env::var(VARIABLE).ok().filter(|from| !from.is_empty() && !self.cluster.names_one());
        let Some((from, name)) = by_flag.or_else(|| Some((variable()?, VARIABLE))) else {
            return Ok(Source::Cluster(&self.cluster, Box::new(self.cluster.open()?)));
        };
        if from.is_empty() {
            let fix = "name an address such as http://127.0.0.1:8080, or a file".to_owned();
            return Err(Failure::new(Exit::Usage, format!("{name} is empty"), Some(fix)));
        }
        // A port behind a host: no file is called so.
        let is_address = |text: &str| text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let from = match !from.contains("://") && is_address(&from) && !Path::new(&from).exists() {
            true => format!("http://{from}"),
            false => from,
        };
        if !from.contains("://") {
            return Ok(Source::File(PathBuf::from(from)));
        }
        let fix = || Some("an address is http://HOST:PORT, as `serve` prints it when it starts".to_owned());
        let mut url: Url =
            from.parse().map_err(|error| Failure::new(Exit::Usage, format!("{name} is no address: {error}"), fix()))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(Failure::new(Exit::Usage, format!("{name} has to begin with http:// and a host"), fix()));
        }
        if matches!(url.path(), "" | "/") {
            url.set_path("/status");
        }
        Ok(Source::Address(url))
    }
}

impl Source<'_> {
    /// How the one orchestrator stands.
    pub(in crate::commands) async fn look(&self) -> Result<InstallStatus, Failure> {
        let (text, from) = match self {
            Self::Cluster(flags, cluster) => return look(flags, cluster).await,
            Self::Address(url) => (ask(url).await?, without_login(url).to_string()),
            Self::File(path) => (read(path)?, path.display().to_string()),
        };
        let report: Report = serde_json::from_str(&text).map_err(|error| {
            if text.trim_start().starts_with('<') {
                let message =
                    format!("{from} answers with a page for browsers and no status: a proxy, or another server");
                let fix = "name the address that `serve` prints when it starts (LISTEN_ADDRESS)".to_owned();
                return Failure::new(Exit::Failed, message, Some(fix));
            }
            let message = format!("what {from} holds is no status of an orchestrator: {error}");
            Failure::new(
                Exit::Failed,
                message,
                Some("name the address of `serve` (LISTEN_ADDRESS) or its STATUS_FILE, of the same version".to_owned()),
            )
        })?;
        Ok(judge_report(&report, env!("CARGO_PKG_VERSION"), Timestamp::now()))
    }

    /// How all that there are stand, for `-A`. An address or a file is of one.
    pub(in crate::commands) async fn look_everywhere(&self) -> Result<Vec<InstallStatus>, Failure> {
        match self {
            Self::Cluster(_, cluster) => look_everywhere(cluster).await,
            Self::Address(_) | Self::File(_) => Ok(vec![self.look().await?]),
        }
    }

    /// The agents' Jobs, or, where there is no cluster, the runs of the report as if they were Jobs.
    pub(in crate::commands) async fn jobs(
        &self,
        status: &InstallStatus,
        selection: Selection<'_>,
    ) -> Result<AgentJobs, ClusterError> {
        let Self::Cluster(_, cluster) = self else {
            let wanted = |pool: &&PoolReport| selection.pool.is_none_or(|name| pool.name == name);
            let runs = status.pools.iter().filter(wanted).flat_map(|pool| pool.runs.iter().map(move |run| (pool, run)));
            let runs = runs.filter(|(_, run)| selection.request.is_none_or(|id| run.request == Some(id)));
            let mut jobs: Vec<AgentJob> = runs.map(|(pool, run)| job_of(pool, run)).collect();
            jobs.sort_by_key(|job| job.created_at);
            return Ok(AgentJobs { jobs, without_pods: None });
        };
        agent_jobs(cluster, &status.agents_namespace, &selection.labels()).await
    }

    /// The cluster, where it is one.
    pub(in crate::commands) fn cluster(&self) -> Option<&Cluster> {
        match self {
            Self::Cluster(_, cluster) => Some(cluster),
            Self::Address(_) | Self::File(_) => None,
        }
    }
}

impl Selection<'_> {
    fn labels(&self) -> String {
        let mut selectors = vec![match self.installation {
            Some(id) => jobs_of_installation(Some(id)),
            None => AGENT_JOBS.to_owned(),
        }];
        selectors.extend(self.pool.map(jobs_of_pool));
        selectors.extend(self.request.map(jobs_of_request));
        selectors.extend(self.labels.map(str::to_owned));
        selectors.join(",")
    }
}

/// A run in the words for Jobs.
fn job_of(pool: &PoolReport, run: &RunReport) -> AgentJob {
    let message = || run.message.clone().unwrap_or_default();
    let ended_at = run.ended_at.unwrap_or(run.created_at);
    let (phase, progress) = match run.state {
        RunState::Pending => (RunPhase::Live, Progress::Pending),
        RunState::Starting => (RunPhase::Live, Progress::Placed),
        RunState::Running => (RunPhase::Live, Progress::Running),
        RunState::Succeeded => (RunPhase::Succeeded(ended_at), Progress::Ended),
        RunState::Failed => (RunPhase::Failed(ended_at, message()), Progress::Ended),
    };
    let kind = TroubleKind::ALL.into_iter().find(|kind| Some(kind.code()) == run.code);
    AgentJob {
        name: run.name.clone(),
        pool: Some(pool.name.clone()),
        template: Some(run.template.clone()),
        request: run.request,
        created_at: run.created_at,
        is_going: false,
        phase,
        progress: Some(progress),
        trouble: kind.map(|kind| Trouble { kind, message: message() }),
        failure: None,
        pod: None,
        node: None,
        started_at: None,
        ended_at: run.ended_at,
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        let message = format!("the status file {} cannot be read: {error}", path.display());
        let fix =
            "name the file that STATUS_FILE (statusFile in ado.yaml) has the orchestrator write; an address has a \
                   port: http://localhost:8080"
                .to_owned();
        Failure::new(Exit::Failed, message, Some(fix))
    })
}

/// An address as it may be shown: there may be a password in it.
fn without_login(url: &Url) -> Url {
    let mut url = url.clone();
    // Only what has no host refuses that, and it has no login either.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url
}

/// What an orchestrator answers.
async fn ask(url: &Url) -> Result<String, Failure> {
    let shown = without_login(url);
    let fix = "start `kubectl-ado serve` with LISTEN_ADDRESS, for example 127.0.0.1:8080, and name that address";
    let failed =
        |what: String| Failure::new(Exit::Failed, format!("the orchestrator at {shown} {what}"), Some(fix.to_owned()));
    let silent = |error: &reqwest::Error| match error.is_timeout() {
        true => failed(format!("did not answer within {} s", DEADLINE.as_secs())),
        false => failed(format!("does not answer: {}", innermost(error))),
    };
    let client = http_client(url, None, DEADLINE, &HeaderMap::new())
        .map_err(|error| Failure::new(Exit::Failed, error.to_string(), Some(error.fix().to_owned())))?;
    let mut answer = client.get(url.clone()).timeout(DEADLINE).send().await.map_err(|error| silent(&error))?;
    let status = answer.status();
    if status.is_redirection() {
        let to = answer.headers().get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("another address");
        let fix = format!("name {to} itself: redirects are not followed");
        return Err(Failure::new(Exit::Failed, format!("the orchestrator at {shown} answered {status}"), Some(fix)));
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| silent(&error))? {
        if body.len() + chunk.len() > LONGEST_STATUS {
            return Err(failed(format!("answered more than {} MiB", LONGEST_STATUS >> 20)));
        }
        body.extend_from_slice(&chunk);
    }
    let text = String::from_utf8_lossy(&body).into_owned();
    if !status.is_success() {
        let first = text.lines().next().unwrap_or_default();
        return Err(failed(format!("answered {status}: {first}")));
    }
    Ok(text)
}
