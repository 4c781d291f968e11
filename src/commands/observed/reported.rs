//! Lists that come from the orchestrator's report: pools, agents, the queue.

use super::{
    document::InstallStatus,
    list::{Column, ListFlags, Listed, Row, print_list},
    repeat::or_interrupted,
    source::StatusFlags,
};
use crate::{
    commands::{Exit, Failure},
    core::{Code, PoolReport, Severity},
};

/// The flags of such a list.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct ReportedFlags {
    /// Only what is of this agent pool
    #[arg(value_name = "POOL")]
    pool: Option<String>,
    #[command(flatten)]
    list: ListFlags,
    #[command(flatten)]
    from: StatusFlags,
}

impl ReportedFlags {
    /// Prints a list of what `rows` makes of each pool, of one pool alone if it is named, until the process is interrupted.
    pub(in crate::commands) async fn list(
        &self,
        kind: &'static str,
        columns: &[Column],
        rows: impl Fn(&InstallStatus, &PoolReport) -> Vec<Row>,
    ) -> Result<Exit, Failure> {
        let Self { pool, list: flags, from } = self;
        let source = from.open()?;
        let list = async || {
            let all = if flags.all_namespaces { source.look_everywhere().await? } else { vec![source.look().await?] };
            let place = all.first().map(|status| status.namespace.clone()).unwrap_or_default();
            let mut listed = Listed { place, rows: Vec::new(), notes: Vec::new() };
            for status in all {
                doubts(&status, flags.all_namespaces, &mut listed.notes)?;
                let status = match pool {
                    Some(pool) => one_pool(status, pool)?,
                    None => status,
                };
                for pool in &status.pools {
                    listed.rows.extend(rows(&status, pool));
                }
            }
            Ok(listed)
        };
        or_interrupted(print_list(flags, kind, columns, list)).await
    }
}

/// The status of one pool alone.
pub(in crate::commands) fn one_pool(status: InstallStatus, pool: &str) -> Result<InstallStatus, Failure> {
    match status.pool(pool) {
        Some(_) => Ok(status.of_pool(pool)),
        None => Err(unknown_pool(&status, pool)),
    }
}

/// The error for a pool that the orchestrator does not serve.
pub(in crate::commands) fn unknown_pool(status: &InstallStatus, pool: &str) -> Failure {
    let message = format!("the orchestrator serves no pool \"{pool}\"; its pools: {}", status.pool_names());
    Failure::new(Exit::Failed, message, Some("correct the name, or add the pool to the configuration".to_owned()))
}

/// What there is to say against a list that comes from the report. Where there is no report, there is no list.
pub(in crate::commands) fn doubts(status: &InstallStatus, go_on: bool, notes: &mut Vec<String>) -> Result<(), Failure> {
    let against = [Code::StatusMissing, Code::StatusStale, Code::NoLeader, Code::Forbidden, Code::ClusterUnreachable];
    let has_report = status.orchestrator.reported_at.is_some();
    for found in &status.findings {
        let finding = &found.finding;
        if !against.contains(&finding.code) {
            continue;
        }
        let is_why = finding.severity == Severity::Error && finding.code != Code::NoLeader;
        if !has_report && is_why && !go_on {
            return Err(Failure::new(
                Exit::Failed,
                format!("{} {}", finding.code, finding.message),
                finding.fix.clone(),
            ));
        }
        if !has_report || matches!(finding.code, Code::StatusStale | Code::NoLeader) {
            notes.push(format!("Warning: {} {}", finding.code, finding.message));
        }
    }
    Ok(())
}
