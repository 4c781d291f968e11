//! `jobs`: the agents' Jobs, each joined to its pod, its agent and its pipeline run.

use jiff::Timestamp;
use serde_json::json;

use super::{
    Exit, Failure,
    agents::agent_status,
    cluster_flags::ClusterFlags,
    observed::{
        Column, InstallStatus, ListFlags, Listed, Row, doubts, look, look_everywhere, or_interrupted, print_list,
        since, unknown_pool,
    },
};
use crate::{
    core::{AgentReport, Progress, RequestReport, RunPhase},
    hosts::kubernetes::{AgentJob, agent_jobs, jobs_of_installation, jobs_of_pool},
    output::age,
};

const COLUMNS: &[Column] = &[
    Column::new("NAME"),
    Column::new("POOL"),
    Column::new("STATUS"),
    Column::new("AGENT"),
    Column::new("PIPELINE"),
    Column::passing("WAITED"),
    Column::passing("RAN"),
    Column::wide("LINK"),
    Column::wide("NODE"),
    Column::wide("TEMPLATE"),
    Column::wide("REQUEST"),
    Column::passing("AGE"),
];

/// List the agents' Jobs with their pods, agents and pipeline runs
///
/// STATUS is what the cluster says of the Job, AGENT what Azure DevOps says of its agent. WAITED: from queued to received
/// by the agent. RAN: from then on; until the agent's container ended.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only the Jobs of this agent pool
    #[arg(value_name = "POOL")]
    pool: Option<String>,
    /// Only the Jobs with these labels: key=value,key!=value
    #[arg(short = 'l', long, value_name = "LABELS")]
    selector: Option<String>,
    #[command(flatten)]
    list: ListFlags,
    #[command(flatten)]
    cluster: ClusterFlags,
}

impl Args {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        or_interrupted(self.list()).await
    }

    async fn list(&self) -> Result<Exit, Failure> {
        let cluster = self.cluster.open()?;
        let list = async || {
            let all = if self.list.all_namespaces {
                look_everywhere(&cluster).await?
            } else {
                vec![look(&self.cluster, &cluster).await?]
            };
            let place = all.first().map(|status| status.agents_namespace.clone()).unwrap_or_default();
            let mut listed = Listed { place, rows: Vec::new(), notes: Vec::new() };
            for status in all {
                // The Jobs are there without any report.
                doubts(&status, true, &mut listed.notes)?;
                let selector = self.selector(&status)?;
                let found = agent_jobs(&cluster, &status.agents_namespace, &selector).await?;
                listed.notes.extend(found.without_pods.map(|error| format!("Warning: {}", error.message)));
                listed.rows.extend(found.jobs.iter().map(|job| row(&status, job, Timestamp::now())));
            }
            Ok(listed)
        };
        print_list(&self.list, "AgentJobList", COLUMNS, list).await
    }

    /// What is asked for, of this installation alone: others may have their agents in the same namespace.
    fn selector(&self, status: &InstallStatus) -> Result<String, Failure> {
        let mut selectors = vec![jobs_of_installation(status.orchestrator.installation.as_deref())];
        if let Some(name) = &self.pool {
            // Where no pool is known, nothing can be said against a name.
            let pool = match status.pool(name) {
                Some(pool) => &pool.name,
                None if status.pools.is_empty() || self.list.all_namespaces => name,
                None => return Err(unknown_pool(status, name)),
            };
            selectors.push(jobs_of_pool(pool));
        }
        selectors.extend(self.selector.clone());
        Ok(selectors.join(","))
    }
}

/// The job request that an agent has or is meant for, and the agent, by the report.
pub(super) fn of_job<'a>(
    status: &'a InstallStatus,
    job: &AgentJob,
) -> (Option<&'a RequestReport>, Option<&'a AgentReport>) {
    let agent = status.pools.iter().flat_map(|pool| &pool.agents).find(|agent| agent.name == job.name);
    let requests = || status.pools.iter().flat_map(|pool| &pool.requests);
    let by_agent = requests().find(|request| {
        request.agent.as_ref() == Some(&job.name) || agent.is_some_and(|agent| agent.request == Some(request.id))
    });
    // What it was started for is its own only while nobody else has it.
    let meant = || requests().find(|request| Some(request.id) == job.request && request.agent.is_none());
    (by_agent.or_else(meant), agent)
}

/// A Job in a word: the reason of its trouble, else how far it has come.
pub(super) fn job_status(job: &AgentJob) -> String {
    match &job.phase {
        RunPhase::Succeeded(_) => return "Succeeded".to_owned(),
        RunPhase::Failed(..) if job.is_going => return "Terminating".to_owned(),
        RunPhase::Failed(..) => {
            let word = job.failure.as_deref().and_then(|failure| failure.split(':').next());
            return word.filter(|word| !word.contains(' ')).unwrap_or("Failed").to_owned();
        }
        RunPhase::Live => {}
    }
    if let Some(trouble) = &job.trouble {
        return trouble.message.split(':').next().unwrap_or("Pending").to_owned();
    }
    match job.progress {
        None => "NoPod",
        Some(Progress::Pending) => "Pending",
        Some(Progress::Placed) => "Starting",
        Some(Progress::Running) => "Running",
        Some(Progress::Ended) => "Ended",
    }
    .to_owned()
}

fn row(status: &InstallStatus, job: &AgentJob, now: Timestamp) -> Row {
    let (request, agent) = of_job(status, job);
    let is_live = job.phase == RunPhase::Live;
    let received = request.and_then(|request| request.received_at);
    let queued = request.and_then(|request| request.queued_at);
    let waited = queued.map(|queued| age(since(queued, received.unwrap_or(now))));
    let ran = received.or(job.started_at.filter(|_| !is_live));
    let ran = ran.map(|began| age(since(began, job.ended_at.unwrap_or(now))));
    let agent_word = agent.map(|agent| agent_status(agent).to_owned());
    let cells = vec![
        job.name.clone(),
        job.pool.clone().unwrap_or_default(),
        job_status(job),
        agent_word.clone().unwrap_or_default(),
        request.and_then(|request| request.pipeline.clone()).unwrap_or_default(),
        waited.unwrap_or_default(),
        ran.unwrap_or_default(),
        request.and_then(|request| request.url.clone()).unwrap_or_default(),
        job.node.clone().unwrap_or_default(),
        job.template.clone().unwrap_or_default(),
        request.map(|request| request.id).or(job.request).map(|id| id.to_string()).unwrap_or_default(),
        age(since(job.created_at, now)),
    ];
    let document = json!({
        "namespace": status.agents_namespace,
        "name": job.name,
        "pool": job.pool,
        "template": job.template,
        "status": job_status(job),
        "trouble": job.trouble.as_ref().map(|trouble| &trouble.message),
        "failure": job.failure,
        "createdAt": job.created_at,
        "startedAt": job.started_at,
        "endedAt": job.ended_at,
        "pod": job.pod,
        "node": job.node,
        "startedFor": job.request,
        "agent": agent,
        "request": request,
    });
    let name = format!("job.batch/{}", job.name);
    Row { namespace: status.agents_namespace.clone(), name, cells, document }
}
