//! What the orchestrators of a namespace report of themselves.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, api::ListParams};

use super::{Cluster, ClusterError, STATUS_KEY, STATUS_LABELS};
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
    let api: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), namespace);
    let parameters = ListParams::default().labels(STATUS_LABELS);
    let what = format!("list the ConfigMaps in namespace \"{namespace}\"");
    let found = cluster.call(&what, api.list(&parameters)).await?;
    let mut reports: Vec<Reported> = found.into_iter().filter_map(reported).collect();
    reports.sort_by_key(|reported| std::cmp::Reverse(reported.report.reported_at));
    Ok(reports)
}

fn reported(map: ConfigMap) -> Option<Reported> {
    let report = serde_json::from_str(map.data?.get(STATUS_KEY)?).ok()?;
    Some(Reported { name: map.metadata.name?, report })
}
