//! What orchestrators of an install wrote, of whatever version: each field is read by itself, and one that is missing says
//! nothing.

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    cluster::{Cluster, ClusterError, STATUS_KEY, STATUS_LABELS},
    output::harmless,
};

/// One status, by what `uninstall` needs of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::commands) struct Status {
    /// The Lease that its writer leads by.
    pub(super) lease: Option<String>,
    /// When it was written, by its writer's clock.
    pub(super) reported_at: Option<Timestamp>,
    /// Agents that work; `None` where it does not say.
    pub(super) busy: Option<usize>,
    /// All of ours is removed from Azure DevOps.
    pub(super) retired: bool,
    organization: String,
    pools: Vec<Pool>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Pool {
    name: String,
    /// Our agents and placeholders that were registered.
    agents: Vec<String>,
    omitted: u64,
}

/// An agent of ours that was registered when its pool was last reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::commands) struct Registered {
    pub(in crate::commands) organization: String,
    pub(in crate::commands) pool: String,
    pub(in crate::commands) agent: String,
    pub(in crate::commands) at: Option<Timestamp>,
    /// The newest report says so, and no older one.
    pub(super) is_newest: bool,
}

impl Status {
    fn of(map: &Value) -> Option<(Self, Option<String>)> {
        let text = map["data"][STATUS_KEY].as_str()?;
        let report: Value = serde_json::from_str(text).unwrap_or_default();
        let pools = report["pools"].as_array();
        let busy = pools.and_then(|pools| pools.iter().map(|pool| pool["busy"].as_u64()).sum::<Option<u64>>());
        let mut conditions = report["conditions"].as_array().into_iter().flatten();
        let retired = conditions.any(|condition| condition["type"] == "Retired" && condition["status"] == "True");
        let name = map["metadata"]["name"].as_str().and_then(|name| name.strip_suffix("-status")).map(str::to_owned);
        let orchestrator = &report["orchestrator"];
        let status = Self {
            lease: orchestrator["lease"].as_str().map(str::to_owned).or(name),
            reported_at: report["reportedAt"].as_str().and_then(|at| at.parse().ok()),
            busy: busy.and_then(|busy| usize::try_from(busy).ok()),
            retired,
            organization: report["organization"]["url"].as_str().unwrap_or_default().to_owned(),
            pools: pools.into_iter().flatten().map(Pool::of).collect(),
        };
        let of_label = map["metadata"]["labels"]["kubectl-ado/installation"].as_str();
        let installation = orchestrator["installation"].as_str().or(of_label).map(str::to_owned);
        Some((status, installation))
    }
}

impl Pool {
    fn of(pool: &Value) -> Self {
        let agents = pool["agents"].as_array().into_iter().flatten();
        let ours = agents.filter(|agent| matches!(agent["owner"].as_str(), Some("ours" | "placeholder")));
        Self {
            name: harmless(pool["name"].as_str().unwrap_or_default()),
            agents: ours.filter_map(|agent| Some(harmless(agent["name"].as_str()?))).collect(),
            omitted: pool["agentsOmitted"].as_u64().unwrap_or_default(),
        }
    }
}

/// The statuses of an installation, the newest first. Where the installation is not known, all of the namespace.
pub(in crate::commands) async fn statuses(
    cluster: &Cluster,
    namespace: &str,
    installation: Option<&str>,
) -> Result<Vec<Status>, ClusterError> {
    let maps = cluster.list("v1", "ConfigMap", namespace, STATUS_LABELS).await?;
    let found = maps.iter().filter_map(Status::of);
    let ours = found.filter(|(_, id)| installation.is_none_or(|ours| id.as_deref().is_none_or(|id| id == ours)));
    let mut statuses: Vec<Status> = ours.map(|(status, _)| status).collect();
    statuses.sort_by_key(|status| std::cmp::Reverse(status.reported_at));
    Ok(statuses)
}

/// Our agents that were registered: of each pool, as the newest report says that has the pool. A retired one has none left.
pub(in crate::commands) fn registered(statuses: &[Status]) -> Vec<Registered> {
    let mut known: Vec<(&str, String)> = Vec::new();
    let mut registered = Vec::new();
    for (index, status) in statuses.iter().enumerate() {
        for pool in &status.pools {
            let key = (status.organization.as_str(), pool.name.to_lowercase());
            if known.contains(&key) {
                continue;
            }
            known.push(key);
            if status.retired {
                continue;
            }
            let more = (pool.omitted > 0).then(|| format!("and {} more", pool.omitted));
            registered.extend(pool.agents.iter().cloned().chain(more).map(|agent| Registered {
                organization: harmless(&status.organization),
                pool: pool.name.clone(),
                agent,
                at: status.reported_at,
                is_newest: index == 0,
            }));
        }
    }
    registered
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(at: &str, retired: bool, pools: &[(&str, &[&str])]) -> Status {
        let pools: Vec<Value> = pools
            .iter()
            .map(|(name, agents)| {
                let agents: Vec<Value> = agents.iter().map(|name| json!({"name": name, "owner": "ours"})).collect();
                json!({"name": name, "busy": 1, "agents": agents})
            })
            .collect();
        let report = json!({
            "apiVersion": "kubectl-ado/v9", "reportedAt": at, "unknown": {}, "pools": pools,
            "conditions": [{"type": "Retired", "status": if retired { "True" } else { "False" }}],
        });
        let map = json!({"metadata": {"name": "l-status"}, "data": {"status.json": report.to_string()}});
        Status::of(&map).unwrap().0
    }

    #[test]
    fn a_status_of_another_version_is_read_field_by_field() {
        let read = status("2026-01-01T12:00:00Z", true, &[("Linux", &["a"])]);
        assert_eq!((read.busy, read.retired, read.lease.as_deref()), (Some(1), true, Some("l")));
        let map = json!({"metadata": {"name": "l-status"}, "data": {"status.json": "{\"pools\": 7}"}});
        assert_eq!(Status::of(&map).unwrap().0.busy, None);
    }

    #[test]
    fn the_newest_report_of_a_pool_tells_who_is_registered() {
        let newest = status("2026-01-02T12:00:00Z", true, &[("Linux", &["gone"]), ("Deploy", &[])]);
        let older = status("2026-01-01T12:00:00Z", false, &[("linux", &["gone"]), ("Dropped", &["stays"])]);
        let left = registered(&[newest, older]);
        let names: Vec<_> = left.iter().map(|it| (it.pool.as_str(), it.agent.as_str(), it.is_newest)).collect();
        assert_eq!(names, [("Dropped", "stays", false)]);
    }
}
