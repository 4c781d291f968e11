//! From a plan to objects of the cluster. The API server checks all of them before the first one is changed, so that an
//! install is either refused or made, and never half of it.

use std::io::Write;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use serde_json::Value;

use super::{
    super::{Exit, Failure},
    DryRun, Options, ask,
    existing::Existing,
    guards::missing_namespaces,
    plan::{self, Plan},
    print, say,
    trial::{Tried, explained, hiding_error, ours, try_all},
};
use crate::cluster::{
    Apply, Cluster, ClusterError, ErrorKind, INSTALL_LABELS, ObjectRef, Reported, Restarts, applied_by_us,
    is_backing_off, namespace_object, owner, read_reports,
};

/// What an apply did.
#[derive(Debug)]
pub(super) struct Applied {
    /// Whether anything is other than it was.
    pub(super) changed: bool,
    /// What orchestrators had reported before.
    pub(super) before: Vec<Reported>,
    /// How the orchestrator's pods were before.
    pub(super) restarts: Restarts,
    /// What could not be done after all was applied, with why.
    pub(super) undone: Vec<(String, Option<String>)>,
}

/// Applies the plan. `None` if it was only tried.
pub(super) async fn apply(
    options: &Options,
    cluster: &Cluster,
    plan: &Plan,
    existing: &Existing,
) -> Result<Option<Applied>, Failure> {
    let dry_run = options.dry_run == DryRun::Server;
    let missing = missing_namespaces(options, cluster, plan).await?;
    for namespace in &missing {
        try_namespace(cluster, namespace, true).await?;
    }
    if !dry_run && existing.install.is_none() && ask::can_ask() && !options.yes {
        let question = format!("Install into namespace {} of {}?", plan.namespace, cluster.url);
        if !ask::confirm(&question)? {
            return Err(Failure::new(Exit::Failed, "nothing was changed", None));
        }
    }
    let mut made = Vec::new();
    if !dry_run {
        for namespace in &missing {
            made.push((namespace.clone(), try_namespace(cluster, namespace, false).await?));
        }
    }
    let unchecked: &[String] = if dry_run { &missing } else { &[] };
    let tried = match try_all(options, cluster, plan, unchecked).await {
        Ok(tried) => tried,
        Err(failure) => {
            for (name, uid) in made {
                let namespace = ObjectRef::of(&namespace_object(&name));
                if cluster.delete(&namespace, &uid, false).await.is_ok() {
                    say(format!("the namespace {name}, which was made for it, is deleted again"));
                }
            }
            return Err(failure);
        }
    };
    let differs =
        print::differences(&tried.iter().map(|it| (it.reference.clone(), it.changes.clone())).collect::<Vec<_>>());
    if dry_run {
        print_tried(options, plan, &missing, &tried)?;
        return Ok(None);
    }
    if existing.install.is_some() && differs && ask::can_ask() && !options.yes && !ask::confirm("Apply these changes?")?
    {
        return Err(Failure::new(Exit::Failed, "nothing was changed", None));
    }

    // Before anything changes, so that what is reported later can be told from it.
    let before = read_reports(cluster, &plan.agents_namespace).await.unwrap_or_default();
    let pods = orchestrator_pods(cluster, &plan.namespace).await;
    let restarts = Restarts::of(&pods);
    let mut changed = false;
    let verbs = options.output.is_none();
    let mut out = std::io::stdout();
    for (name, _) in &made {
        if verbs {
            let _ = writeln!(out, "namespace/{name} created");
        }
    }
    let count = tried.len();
    for (index, it) in tried.into_iter().enumerate() {
        let applied = cluster.apply(&it.object, Apply { dry_run: false, force: it.force }).await;
        // Where the answer was lost, the call may have taken effect.
        let unknown = applied.as_ref().is_err_and(|error| error.kind.is_outcome_unknown());
        let applied = hiding(plan, applied).map_err(|mut failure| {
            if index > 0 || unknown {
                let this = if unknown {
                    format!(", and the {} may have been applied", it.reference.long())
                } else {
                    String::new()
                };
                let message = format!("{index} of {count} objects are applied{this}; what was before is not pruned");
                failure.causes.push((message, Some("the same command again does the rest".to_owned())));
            }
            failure
        })?;
        let version = |object: &Value| object["metadata"]["resourceVersion"].as_str().map(str::to_owned);
        let verb = match &it.live {
            None => "created",
            Some(live) if version(live) == version(&applied) => "unchanged",
            // Somebody else wrote in between; what is ours is as it was.
            Some(live) if it.changes.as_ref().is_some_and(Vec::is_empty) && ours(live) == ours(&applied) => "unchanged",
            Some(_) => "configured",
        };
        changed |= verb != "unchanged";
        if verbs {
            // It goes on, whoever reads of it: half an install is worse than an unread line.
            let _ = writeln!(out, "{} {verb}", it.reference);
        }
    }
    let Pruned { any, not_pruned } = prune(cluster, plan, verbs).await;
    changed |= any;
    if changed {
        start_again(cluster, &plan.namespace, &pods).await;
    }
    if let Some(format) = options.output {
        print::objects(format, &plan.shown(false))?;
    }
    Ok(Some(Applied { changed, before, restarts, undone: not_pruned }))
}

/// Creates a namespace, or sees whether that could be done. The answer is its uid.
async fn try_namespace(cluster: &Cluster, name: &str, dry_run: bool) -> Result<String, Failure> {
    let applied = cluster.apply(&namespace_object(name), Apply { dry_run, force: false }).await;
    let applied = applied.map_err(|error| {
        let fix = match error.kind {
            ErrorKind::Forbidden => Some(format!(
                "have somebody who may do that run `kubectl create namespace {name}`, or name one that you may use with -n"
            )),
            _ => error.fix,
        };
        Failure::new(Exit::Failed, error.message, fix)
    })?;
    Ok(applied["metadata"]["uid"].as_str().unwrap_or_default().to_owned())
}

fn print_tried(options: &Options, plan: &Plan, missing: &[String], tried: &[Tried]) -> Result<(), Failure> {
    if let Some(format) = options.output {
        return print::objects(format, &plan.shown(!missing.is_empty()));
    }
    let mut out = std::io::stdout();
    for name in missing {
        writeln!(out, "namespace/{name} created (server dry run)")?;
    }
    for it in tried {
        let note = if missing.contains(&it.reference.namespace) { ", not checked: no namespace yet" } else { "" };
        let verb = match (&it.live, &it.changes) {
            (None, _) => "created",
            (Some(_), Some(changes)) if changes.is_empty() => "unchanged",
            (Some(_), _) => "configured",
        };
        writeln!(out, "{} {verb} (server dry run{note})", it.reference)?;
    }
    Ok(())
}

/// The orchestrator's pods; none where they may not be seen.
async fn orchestrator_pods(cluster: &Cluster, namespace: &str) -> Vec<Pod> {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let what = format!("list the pods in namespace \"{namespace}\"");
    let listed = cluster.call(&what, api.list(&ListParams::default().labels(INSTALL_LABELS))).await;
    listed.map(|list| list.items).unwrap_or_default()
}

/// A pod that waits to be restarted does not see that its configuration or its token is another one now. A new one in its
/// place starts at once.
async fn start_again(cluster: &Cluster, namespace: &str, pods: &[Pod]) {
    for pod in pods.iter().filter(|pod| is_backing_off(pod)) {
        let (Some(name), Some(uid)) = (&pod.metadata.name, &pod.metadata.uid) else { continue };
        let reference =
            ObjectRef { api_version: "v1".into(), kind: "Pod".into(), namespace: namespace.into(), name: name.clone() };
        // Who may not do that waits for the kubelet.
        if cluster.delete(&reference, uid, false).await.is_ok_and(|deleted| deleted) {
            say(format!("{reference} waited to be restarted: it is replaced"));
        }
    }
}

/// What pruning did.
struct Pruned {
    any: bool,
    not_pruned: Vec<(String, Option<String>)>,
}

/// Deletes what was applied once and is not in the plan any more. What cannot be deleted stays in the inventory, so that the
/// next install tries again.
async fn prune(cluster: &Cluster, plan: &Plan, verbs: bool) -> Pruned {
    let mut pruned = Pruned { any: false, not_pruned: Vec::new() };
    let mut left = Vec::new();
    for old in &plan.to_prune {
        match prune_one(cluster, old).await {
            Ok(deleted) => {
                pruned.any |= deleted;
                if deleted && verbs {
                    let _ = writeln!(std::io::stdout(), "{old} pruned");
                }
            }
            Err(error) => {
                let (message, fix) = explained(error);
                pruned.not_pruned.push((format!("{} is out of use, and stays: {message}", old.long()), fix));
                left.push(old.clone());
            }
        }
    }
    if left.len() < plan.to_prune.len()
        && let Err(error) = plan::note_inventory(cluster, plan, &left).await
    {
        say(format!("warning: what was pruned is still noted: {error}"));
    }
    pruned
}

/// Deletes one object: only what carries our label, was applied by us and is nobody else's.
async fn prune_one(cluster: &Cluster, old: &ObjectRef) -> Result<bool, ClusterError> {
    let found = match cluster.get(old).await {
        Err(error) if error.kind == ErrorKind::Forbidden => cluster.look_by_apply(old).await,
        found => found,
    };
    let Some(live) = found? else { return Ok(false) };
    if !plan::is_ours(&live) || !applied_by_us(&live) || owner(&live).is_some() {
        say(format!("{} is not in use any more, and is left to its owner", old.long()));
        return Ok(false);
    }
    cluster.delete(old, live["metadata"]["uid"].as_str().unwrap_or_default(), false).await
}

/// No answer of the API server may pass the token on.
fn hiding<T>(plan: &Plan, answer: Result<T, ClusterError>) -> Result<T, Failure> {
    hiding_error(plan, answer).map_err(|error| {
        let (message, fix) = explained(error);
        Failure::new(Exit::Failed, message, fix)
    })
}
