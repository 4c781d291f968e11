//! What the orchestrators of a namespace report of themselves.

use super::{Cluster, ClusterError, observe::statuses, status_name};
use crate::core::Report;

/// A report and where it stands.
#[derive(Clone, Debug)]
pub struct Reported {
    /// The ConfigMap's name.
    pub name: String,
    /// What it says.
    pub report: Report,
}

/// The reports in a namespace, the latest first. What cannot be read is left out: it is another version's.
///
/// # Errors
///
/// ConfigMaps may not be listed there, or the cluster does not answer.
pub async fn read_reports(cluster: &Cluster, namespace: &str) -> Result<Vec<Reported>, ClusterError> {
    let found = statuses(cluster, namespace).await?;
    let readable = found.into_iter().filter_map(|seen| Some((status_name(&seen.lease), seen.report.ok()?)));
    let mut reports: Vec<Reported> = readable.map(|(name, report)| Reported { name, report }).collect();
    reports.sort_by_key(|reported| std::cmp::Reverse(reported.report.reported_at));
    Ok(reports)
}
