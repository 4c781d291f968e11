//! What belongs to an install: what was applied, what the orchestrator made, and what it reported.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    super::{Exit, Failure},
    status::{Registered, Status, registered, statuses},
};
use crate::{
    cluster::{
        CONFIG_FILE, CONFIG_MAP, Cluster, ClusterError, ErrorKind, Install, NAME, ObjectRef, control_name,
        namespace_object, owner, status_name,
    },
    config::document,
    core::{Code, Installation, lease_name},
};

/// What an install is made of, in the order in which it goes.
const APPLIED: &[(&str, &str)] = &[
    ("apps/v1", "Deployment"),
    ("coordination.k8s.io/v1", "Lease"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("policy/v1", "PodDisruptionBudget"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("v1", "ServiceAccount"),
];

/// The kinds of these that live where the agents live.
const BESIDE_AGENTS: &[&str] = &["Lease", "ConfigMap", "PodDisruptionBudget", "Role", "RoleBinding"];

/// All that is ours.
#[derive(Clone, Debug)]
pub(super) struct Belongings {
    pub(super) namespace: String,
    pub(super) agents_namespace: String,
    /// What `ado.yaml` says.
    pub(super) config: Value,
    /// The objects as they are, without the content of Secrets.
    pub(super) objects: Vec<Value>,
    /// The id of the installation, where it is known.
    pub(super) installation: Option<String>,
    /// What our orchestrators wrote, the newest first.
    pub(super) statuses: Vec<Status>,
    /// The Leases that they lead by.
    pub(super) leases: BTreeSet<String>,
}

/// Looks for all that is ours.
pub(super) async fn find(cluster: &Cluster, namespace: &str, install: Option<&Install>) -> Result<Belongings, Failure> {
    let map = ObjectRef {
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        namespace: namespace.to_owned(),
        name: CONFIG_MAP.into(),
    };
    let map = cluster.get(&map).await?.unwrap_or_default();
    let text = map["data"][CONFIG_FILE].as_str().unwrap_or_default();
    let config = document(CONFIG_FILE.as_ref(), text).unwrap_or_default();
    let of_install = install.map(|install| install.agents_namespace.clone());
    let of_config = config["namespace"].as_str().map(str::to_owned);
    let agents_namespace = of_install.or(of_config).unwrap_or_else(|| namespace.to_owned());

    Ok(gather(cluster, namespace, &agents_namespace, &config).await?)
}

/// All that is ours, by labels and by the names that our configuration leads to.
async fn gather(
    cluster: &Cluster,
    namespace: &str,
    agents_namespace: &str,
    config: &Value,
) -> Result<Belongings, ClusterError> {
    let id = installation(cluster, agents_namespace, config).await?;
    let installation = id.as_ref().map(|id| id.id().to_owned());
    let statuses = statuses(cluster, agents_namespace, installation.as_deref()).await?;
    let reported = statuses.iter().filter_map(|status| status.lease.clone());
    let of_config = id.as_ref().and_then(|id| of_config_lease(config, id));
    let leases: BTreeSet<String> = reported.chain(of_config).collect();

    let mut finder = Finder { cluster, objects: Vec::new() };
    let part = format!("app.kubernetes.io/part-of={NAME}");
    for (api_version, kind) in APPLIED {
        finder.add(api_version, kind, namespace, &part).await?;
        if agents_namespace != namespace && BESIDE_AGENTS.contains(kind) {
            finder.add(api_version, kind, agents_namespace, &part).await?;
        }
    }
    let ours = of_installation(installation.as_deref());
    for (api_version, kind) in [("batch/v1", "Job"), ("v1", "ConfigMap"), ("v1", "Secret")] {
        finder.add(api_version, kind, agents_namespace, &ours).await?;
    }
    // Known by their names alone: whoever wrote them may have labelled them otherwise.
    let found = finder.objects.iter().filter(|object| object["kind"] == "Lease").map(name_of);
    let named: BTreeSet<String> =
        found.chain(leases.iter().cloned()).flat_map(|lease| [status_name(&lease), control_name(&lease)]).collect();
    for name in named {
        finder.add_named("v1", "ConfigMap", agents_namespace, name).await?;
    }
    Ok(Belongings {
        namespace: namespace.to_owned(),
        agents_namespace: agents_namespace.to_owned(),
        config: config.clone(),
        objects: finder.objects,
        installation,
        statuses,
        leases,
    })
}

/// What selects the objects that an orchestrator made.
pub(in crate::commands) fn of_installation(id: Option<&str>) -> String {
    match id {
        Some(id) => format!("app.kubernetes.io/managed-by={NAME},kubectl-ado/installation={id}"),
        None => format!("app.kubernetes.io/managed-by={NAME}"),
    }
}

/// Whether a Job has not ended.
pub(in crate::commands) fn is_live(job: &Value) -> bool {
    let conditions = job["status"]["conditions"].as_array();
    let ended = |condition: &Value| {
        matches!(condition["type"].as_str(), Some("Complete" | "Failed")) && condition["status"] == "True"
    };
    !conditions.into_iter().flatten().any(ended)
}

/// Who we are; `None` where that cannot be known.
async fn installation(
    cluster: &Cluster,
    agents_namespace: &str,
    config: &Value,
) -> Result<Option<Installation>, ClusterError> {
    if let Some(id) = config["installationId"].as_str() {
        return Ok(Some(Installation::new(id)));
    }
    match cluster.get(&ObjectRef::of(&namespace_object(agents_namespace))).await {
        Ok(found) => Ok(found.and_then(|it| Some(Installation::of_namespace(it["metadata"]["uid"].as_str()?)))),
        Err(error) if error.kind == ErrorKind::Forbidden => Ok(None),
        Err(error) => Err(error),
    }
}

fn of_config_lease(config: &Value, installation: &Installation) -> Option<String> {
    let url = config["organization"]["url"].as_str()?.trim_end_matches('/');
    let pools = config["pools"].as_array()?;
    let pools: Vec<&str> = pools.iter().filter_map(|pool| pool["name"].as_str().or(pool.as_str())).collect();
    Some(lease_name(installation, url, &pools))
}

fn name_of(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

struct Finder<'a> {
    cluster: &'a Cluster,
    objects: Vec<Value>,
}

impl Finder<'_> {
    async fn add(&mut self, api_version: &str, kind: &str, namespace: &str, labels: &str) -> Result<(), ClusterError> {
        for object in self.cluster.list(api_version, kind, namespace, labels).await? {
            self.push(object);
        }
        Ok(())
    }

    async fn add_named(
        &mut self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: String,
    ) -> Result<(), ClusterError> {
        let (api_version, kind, namespace) = (api_version.to_owned(), kind.to_owned(), namespace.to_owned());
        if let Some(object) = self.cluster.get(&ObjectRef { api_version, kind, namespace, name }).await? {
            self.push(object);
        }
        Ok(())
    }

    fn push(&mut self, object: Value) {
        let known = |other: &Value| other["metadata"]["uid"] == object["metadata"]["uid"];
        if !self.objects.iter().any(known) {
            self.objects.push(object);
        }
    }
}

impl Belongings {
    /// The same, looked for anew.
    pub(super) async fn again(&self, cluster: &Cluster) -> Result<Self, ClusterError> {
        gather(cluster, &self.namespace, &self.agents_namespace, &self.config).await
    }

    pub(super) fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    pub(super) fn references(&self) -> impl Iterator<Item = ObjectRef> {
        self.objects.iter().map(ObjectRef::of)
    }

    pub(super) fn places(&self) -> Vec<&str> {
        let mut places = vec![self.namespace.as_str(), &self.agents_namespace];
        places.dedup();
        places
    }

    /// Refuses where a program would bring them back.
    pub(super) fn owned_by_nobody(&self) -> Result<(), Failure> {
        let owned = self.objects.iter().find_map(|object| Some((ObjectRef::of(object), owner(object)?)));
        let Some((reference, owner)) = owned else { return Ok(()) };
        let message = format!("{owner} manages {reference}: nothing was changed ({})", Code::OwnedByOther);
        Err(Failure::new(Exit::Failed, message, Some("remove it there".into())))
    }

    /// The Jobs that have not ended.
    pub(super) fn live(&self) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(|object| object["kind"] == "Job" && is_live(object))
    }

    /// Our agents that are registered in Azure DevOps as far as the last reports tell.
    pub(super) fn registered(&self) -> Vec<Registered> {
        registered(&self.statuses)
    }
}
