//! `pools`: the agent pools as a list.

use jiff::Timestamp;
use serde_json::json;

use super::{
    Exit, Failure,
    observed::{Column, InstallStatus, ReportedFlags, Row, since},
};
use crate::{
    core::{PoolReport, PoolState},
    output::age,
};

const COLUMNS: &[Column] = &[
    Column::new("NAME"),
    Column::new("STATE"),
    Column::new("QUEUED"),
    Column::new("STARTING"),
    Column::new("BUSY"),
    Column::new("IDLE"),
    Column::wide("OFFLINE"),
    Column::new("MIN"),
    Column::new("MAX"),
    Column::wide("TEMPLATES"),
    Column::passing("POLLED"),
];

/// List the agent pools
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    list: ReportedFlags,
}

impl Args {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        self.list.list("PoolList", COLUMNS, rows).await
    }
}

fn rows(status: &InstallStatus, pool: &PoolReport) -> Vec<Row> {
    let polled = pool.last_polled_at.map_or("<never>".to_owned(), |at| age(since(at, Timestamp::now())));
    let templates: Vec<_> = pool.templates.iter().map(|template| template.name.as_str()).collect();
    let cells = vec![
        pool.name.clone(),
        state(status, pool),
        pool.queued.to_string(),
        pool.starting.to_string(),
        pool.busy.to_string(),
        pool.idle.to_string(),
        pool.offline.map_or("<unknown>".to_owned(), |count| count.to_string()),
        pool.min.to_string(),
        pool.max.map_or("<none>".to_owned(), |max| max.to_string()),
        templates.join(","),
        polled,
    ];
    let document = json!({ "namespace": status.namespace, "stale": status.stale, "pool": summary(pool) });
    vec![Row { namespace: status.namespace.clone(), name: pool.name.clone(), cells, document }]
}

/// A pool without its requests and agents, which `queue` and `agents` list.
fn summary(pool: &PoolReport) -> PoolReport {
    PoolReport { requests: Vec::new(), agents: Vec::new(), runs: Vec::new(), ..pool.clone() }
}

/// A pool's state; that of an old report is none.
pub(super) fn state(status: &InstallStatus, pool: &PoolReport) -> String {
    if status.stale {
        return "Stale".to_owned();
    }
    match pool.state {
        PoolState::Unknown => "Unknown",
        PoolState::Healthy => "Healthy",
        PoolState::Scaling => "Scaling",
        PoolState::AtLimit => "AtLimit",
        PoolState::Paused => "Paused",
        PoolState::Degraded => "Degraded",
    }
    .to_owned()
}
