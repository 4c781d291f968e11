//! `logs`: what the orchestrator, a Job's agent, a pool's agents or those of a job request say; with `-f` also those that
//! come later.

mod pods;
mod print;
mod stream;

use std::{io::Write, time::Duration};

use super::{Exit, Failure, cluster_flags::ClusterFlags, observed::or_interrupted, status::duration};
use crate::{
    cluster::{Cluster, INSTALL_LABELS, observe_status},
    core::{RequestId, RunPhase},
    hosts::kubernetes::{AGENT_JOBS, agent_jobs, jobs_of_pool, jobs_of_request, why_no_pod},
    output::harmless,
};

/// Show what the orchestrator or agents say
///
/// Without a Job, a pool or a request: the orchestrator. Needs the right to list pods and to get their logs.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// An agent's Job
    #[arg(value_name = "JOB", conflicts_with_all = ["pool", "request"])]
    job: Option<String>,
    /// All agents of this agent pool
    #[arg(long, value_name = "POOL", conflicts_with = "request")]
    pool: Option<String>,
    /// The agents of this job request
    #[arg(long, value_name = "NUMBER")]
    request: Option<i64>,
    #[command(flatten)]
    lines: LineFlags,
    #[command(flatten)]
    cluster: ClusterFlags,
}

/// Which lines are wanted.
#[derive(Clone, Debug, Default, clap::Args)]
struct LineFlags {
    /// Go on, with replacements and new agents too
    #[arg(short, long)]
    follow: bool,
    /// Only what is newer: 30s, 1h
    #[arg(long, value_name = "TIME", value_parser = duration)]
    since: Option<Duration>,
    /// Only so many of the last lines of each pod
    #[arg(long, value_name = "LINES")]
    tail: Option<i64>,
    /// What the container said before it was started again
    #[arg(short, long, conflicts_with = "follow")]
    previous: bool,
}

/// Whose logs.
struct Source {
    namespace: String,
    /// Label selectors, any of which selects.
    selectors: Vec<String>,
    /// Whether others may come at any time, so that there is no end of it.
    is_open: bool,
    /// For messages.
    what: String,
}

impl Args {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        or_interrupted(self.show()).await
    }

    async fn show(&self) -> Result<Exit, Failure> {
        let cluster = self.cluster.open()?;
        let source = self.source(&cluster).await?;
        let seen = stream::show(&cluster, &source, &self.lines).await?;
        if seen.has_lines {
            return Ok(Exit::Done);
        }
        // A pod that was there has said why it has no log.
        if seen.has_pods {
            return Err(Failure { exit: Exit::Failed, causes: Vec::new() });
        }
        Err(self.nothing(&cluster, &source).await)
    }

    async fn source(&self, cluster: &Cluster) -> Result<Source, Failure> {
        let install = self.cluster.installed(cluster).await?;
        let namespace = install.agents_namespace.clone();
        let source = |selectors: Vec<String>, is_open: bool, what: String| Source {
            namespace: namespace.clone(),
            selectors,
            is_open,
            what,
        };
        if let Some(job) = &self.job {
            let job = job.rsplit_once('/').map_or(job.as_str(), |(_, name)| name);
            return Ok(source(vec![of_job(job)], false, format!("the Job \"{job}\"")));
        }
        if let Some(pool) = &self.pool {
            return Ok(source(vec![jobs_of_pool(pool)], true, format!("pool \"{pool}\"")));
        }
        if let Some(number) = self.request {
            let id = RequestId(number);
            // Which agent takes a job request is up to Azure DevOps: not always the one that was started for it.
            let status = observe_status(cluster, &install).await.ok().flatten();
            let report = status.and_then(|status| status.report.ok());
            let requests = report.iter().flat_map(|report| &report.pools).flat_map(|pool| &pool.requests);
            let agent = requests.into_iter().find(|request| request.id == id).and_then(|request| request.agent.clone());
            let selector = agent.map_or_else(|| jobs_of_request(id), |agent| of_job(&agent));
            return Ok(source(vec![selector], false, format!("job request {number}")));
        }
        let selectors = vec![INSTALL_LABELS.to_owned()];
        Ok(Source { namespace: install.namespace, selectors, is_open: true, what: "the orchestrator".to_owned() })
    }

    /// Why there is no pod at all.
    async fn nothing(&self, cluster: &Cluster, source: &Source) -> Failure {
        let (what, namespace) = (&source.what, &source.namespace);
        let none = format!("{what} has no pod in namespace \"{namespace}\"");
        let Some(job) = &self.job else {
            return Failure::new(Exit::Failed, none, Some("kubectl ado status shows how it stands".to_owned()));
        };
        let name = job.rsplit_once('/').map_or(job.as_str(), |(_, name)| name);
        let jobs = agent_jobs(cluster, namespace, AGENT_JOBS).await;
        let Some(job) = jobs.ok().and_then(|found| found.jobs.into_iter().find(|job| job.name == name)) else {
            let fix = Some("kubectl ado jobs lists them".to_owned());
            return Failure::new(Exit::Failed, format!("there is no Job \"{name}\" in namespace \"{namespace}\""), fix);
        };
        let why = match &job.phase {
            RunPhase::Failed(_, reason) => format!("it failed: {reason}"),
            RunPhase::Succeeded(_) => "it has ended, and its pod is gone".to_owned(),
            RunPhase::Live => match why_no_pod(cluster, namespace, name).await {
                Some(trouble) => trouble.message,
                None => "it has just been made".to_owned(),
            },
        };
        let fix = Some(format!("kubectl ado explain {name}"));
        Failure::new(Exit::Failed, harmless(&format!("{none}: {why}")), fix)
    }
}

fn of_job(name: &str) -> String {
    format!("{AGENT_JOBS},job-name={name}")
}

/// Something to be known that is no log line.
fn remark(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", harmless(text));
}
