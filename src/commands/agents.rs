//! `agents`: the registered agents of the pools as a list.

use jiff::Timestamp;
use serde_json::json;

use super::{
    Exit, Failure,
    observed::{Column, InstallStatus, ReportedFlags, Row, since},
};
use crate::{
    core::{AgentOwner, AgentReport, PoolReport},
    output::age,
};

const COLUMNS: &[Column] = &[
    Column::new("NAME"),
    Column::new("POOL"),
    Column::new("STATUS"),
    Column::new("OWNER"),
    Column::new("REQUEST"),
    Column::wide("ID"),
    Column::wide("PIPELINE"),
    Column::passing("AGE"),
];

/// List the registered agents of the pools
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    list: ReportedFlags,
}

impl Args {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        self.list.list("AgentList", COLUMNS, rows).await
    }
}

fn rows(status: &InstallStatus, pool: &PoolReport) -> Vec<Row> {
    pool.agents.iter().map(|agent| row(status, pool, agent)).collect()
}

fn row(status: &InstallStatus, pool: &PoolReport, agent: &AgentReport) -> Row {
    let owner = match agent.owner {
        AgentOwner::Ours => "Ours",
        AgentOwner::Placeholder => "Placeholder",
        AgentOwner::Installation => "OtherInstallation",
        AgentOwner::Foreign => "Foreign",
    };
    let works_on = pool.requests.iter().find(|request| Some(request.id) == agent.request);
    let cells = vec![
        agent.name.clone(),
        pool.name.clone(),
        agent_status(agent).to_owned(),
        owner.to_owned(),
        agent.request.map(|request| request.to_string()).unwrap_or_default(),
        agent.id.0.to_string(),
        works_on.and_then(|request| request.pipeline.clone()).unwrap_or_default(),
        agent.created_at.map_or("<unknown>".to_owned(), |at| age(since(at, Timestamp::now()))),
    ];
    let document = json!({ "namespace": status.namespace, "pool": pool.name, "agent": agent });
    Row { namespace: status.namespace.clone(), name: agent.name.clone(), cells, document }
}

/// An agent in a word.
pub(super) fn agent_status(agent: &AgentReport) -> &'static str {
    match (agent.online, agent.enabled, agent.request) {
        (_, _, Some(_)) => "Busy",
        (false, _, None) => "Offline",
        (true, false, None) => "Disabled",
        (true, true, None) => "Idle",
    }
}
