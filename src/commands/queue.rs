//! `queue`: the job requests that wait, and what for.

use jiff::Timestamp;
use serde_json::json;

use super::{
    Exit, Failure,
    observed::{Column, InstallStatus, ReportedFlags, Row, since},
};
use crate::{
    core::{PoolReport, RequestReport},
    output::age,
};

const COLUMNS: &[Column] = &[
    Column::new("REQUEST"),
    Column::new("POOL"),
    Column::new("PIPELINE"),
    Column::wide("RUN"),
    Column::new("REASON"),
    Column::new("CODE"),
    Column::wide("AGENT"),
    Column::wide("DEMANDS"),
    Column::wide("LINK"),
    Column::passing("AGE"),
];

/// List the job requests that wait, and what for
///
/// `kubectl ado explain REQUEST` tells more about one of them.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    list: ReportedFlags,
}

impl Args {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        self.list.list("QueueList", COLUMNS, rows).await
    }
}

fn rows(status: &InstallStatus, pool: &PoolReport) -> Vec<Row> {
    let mut waiting: Vec<_> = pool.requests.iter().filter(|request| request.received_at.is_none()).collect();
    waiting.sort_by_key(|request| (request.queued_at, request.id));
    waiting.into_iter().map(|request| row(status, pool, request)).collect()
}

fn row(status: &InstallStatus, pool: &PoolReport, request: &RequestReport) -> Row {
    let verdict = request.verdict.as_ref();
    let cells = vec![
        request.id.to_string(),
        pool.name.clone(),
        request.pipeline.clone().unwrap_or_default(),
        request.pipeline_run.clone().unwrap_or_default(),
        verdict.map_or("<unknown>".to_owned(), |verdict| verdict.reason.clone()),
        verdict.and_then(|verdict| verdict.code).map(|code| code.to_string()).unwrap_or_default(),
        request.agent.clone().or_else(|| verdict.and_then(|verdict| verdict.run.clone())).unwrap_or_default(),
        request.demands.join(","),
        request.url.clone().unwrap_or_default(),
        request.queued_at.map_or("<unknown>".to_owned(), |at| age(since(at, Timestamp::now()))),
    ];
    let document = json!({ "namespace": status.namespace, "pool": pool.name, "request": request });
    Row { namespace: status.namespace.clone(), name: request.id.to_string(), cells, document }
}
