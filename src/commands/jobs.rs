//! `jobs`: the agents' Jobs, each joined to its pod, its agent and its pipeline run.

use jiff::Timestamp;
use serde_json::json;

use super::{
    Exit, Failure,
    agents::agent_status,
    observed::{
        Column, InstallStatus, ListFlags, Listed, Row, Selection, StatusFlags, doubts, or_interrupted, print_list,
        since, unknown_pool,
    },
};
use crate::{
    core::{AgentReport, Progress, RequestReport, RunPhase},
    hosts::kubernetes::AgentJob,
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
    from: StatusFlags,
}

impl Args {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        or_interrupted(self.list()).await
    }

    async fn list(&self) -> Result<Exit, Failure> {
        let source = self.from.open()?;
        if self.selector.is_some() && source.cluster().is_none() {
            let fix = "leave out -l, or name a pool".to_owned();
            return Err(Failure::new(Exit::Usage, "only Jobs of a cluster have labels", Some(fix)));
        }
        let list = async || {
            let all =
                if self.list.all_namespaces { source.look_everywhere().await? } else { vec![source.look().await?] };
            let place = all.first().map(|status| status.agents_namespace.clone()).unwrap_or_default();
            let mut listed = Listed { place, rows: Vec::new(), notes: Vec::new() };
            for status in all {
                // The Jobs are there without any report.
                doubts(&status, true, &mut listed.notes)?;
                let selection = self.selection(&status)?;
                let found = source.jobs(&status, selection).await?;
                listed.notes.extend(found.without_pods.map(|error| format!("Warning: {}", error.message)));
                listed.rows.extend(found.jobs.iter().map(|job| row(&status, job, Timestamp::now())));
            }
            Ok(listed)
        };
        print_list(&self.list, "AgentJobList", COLUMNS, list).await
    }

    /// What is asked for, of this installation alone: others may have their agents in the same namespace.
    fn selection<'a>(&'a self, status: &'a InstallStatus) -> Result<Selection<'a>, Failure> {
        let pool = match &self.pool {
            // Where no pool is known, nothing can be said against a name.
            Some(name) => match status.pool(name) {
                Some(pool) => Some(pool.name.as_str()),
                None if status.pools.is_empty() || self.list.all_namespaces => Some(name.as_str()),
                None => return Err(unknown_pool(status, name)),
            },
            None => None,
        };
        let installation = status.orchestrator.installation.as_deref();
        Ok(Selection { installation, pool, labels: self.selector.as_deref(), request: None })
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
        Some(Progress::Queued) => "Suspended",
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
    let name = if status.in_cluster() { format!("job.batch/{}", job.name) } else { job.name.clone() };
    Row { namespace: status.agents_namespace.clone(), name, cells, document }
}
