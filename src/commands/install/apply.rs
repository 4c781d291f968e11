//! From a plan to objects of the cluster. The API server checks all of them before the first one is changed, so that an
//! install is either refused or made, and never half of it.

use std::io::Write;

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
    Apply, Cluster, ClusterError, ErrorKind, ObjectRef, Reported, applied_by_us, namespace_object, owner, read_reports,
};

/// What an apply did.
#[derive(Debug)]
pub(super) struct Applied {
    /// Whether anything is other than it was.
    pub(super) changed: bool,
    /// What orchestrators had reported before.
    pub(super) before: Vec<Reported>,
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
    let mut changed = false;
    let verbs = options.output.is_none();
    let mut out = std::io::stdout();
    for (name, _) in &made {
        if verbs {
            let _ = writeln!(out, "namespace/{name} created");
        }
    }
    for it in tried {
        let applied = hiding(plan, cluster.apply(&it.object, Apply { dry_run: false, force: it.force }).await)?;
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
    changed |= prune(cluster, plan, existing, verbs).await?;
    if let Some(format) = options.output {
        print::objects(format, &plan.shown(false))?;
    }
    Ok(Some(Applied { changed, before }))
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

/// Deletes what was applied once and is not in the plan any more: only what carries our label, was applied by us and is
/// nobody else's.
async fn prune(cluster: &Cluster, plan: &Plan, existing: &Existing, verbs: bool) -> Result<bool, Failure> {
    let wanted: Vec<ObjectRef> = plan.objects.iter().map(ObjectRef::of).collect();
    let secret = plan.secret.as_ref().map(|(secret, _)| ObjectRef::of(secret));
    let mut pruned = false;
    for old in &existing.inventory {
        if wanted.contains(old) || plan.kept.contains(old) || secret.as_ref() == Some(old) {
            continue;
        }
        let Some(live) = cluster.get(old).await? else { continue };
        if !plan::is_ours(&live) || !applied_by_us(&live) || owner(&live).is_some() {
            say(format!("{} is not in use any more, and is left to its owner", old.long()));
            continue;
        }
        let uid = live["metadata"]["uid"].as_str().unwrap_or_default();
        if cluster.delete(old, uid, false).await? {
            pruned = true;
            if verbs {
                let _ = writeln!(std::io::stdout(), "{old} pruned");
            }
        }
    }
    Ok(pruned)
}

/// No answer of the API server may pass the token on.
fn hiding<T>(plan: &Plan, answer: Result<T, ClusterError>) -> Result<T, Failure> {
    hiding_error(plan, answer).map_err(|error| {
        let (message, fix) = explained(error);
        Failure::new(Exit::Failed, message, fix)
    })
}
