//! Deletes what is ours: the orchestrator first, so that nothing is made again, and what it could not do without last.
//! One that cannot be deleted holds up none of the others, and all that stays is told at the end.

use std::{io::Write, time::Duration};

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{
    super::Failure,
    belongings::{Belongings, is_live, of_installation},
};
use crate::cluster::{CONFIG_MAP, Cluster, ClusterError, ErrorKind, NAME, ObjectRef, namespace_object};

/// Between two looks.
const AGAIN: Duration = Duration::from_millis(300);

/// What is deleted is gone by then, or something holds it.
const GONE: Duration = Duration::from_secs(20);

/// Sees whether all of it could be deleted.
pub(super) async fn try_all(cluster: &Cluster, ours: &Belongings) -> Result<(), Failure> {
    for object in &ours.objects {
        cluster.delete(&ObjectRef::of(object), uid(object), true).await?;
    }
    Ok(())
}

/// The [`rank`] of the configuration.
const LAST: u8 = 3;

/// In which order things go. What tells of agents and of their place goes last: another run needs it to go on.
fn rank(object: &Value) -> u8 {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    match object["kind"].as_str() {
        Some("Deployment") => 0,
        Some("ConfigMap") if name == CONFIG_MAP => LAST,
        Some("ConfigMap") if name.ends_with("-status") => 2,
        _ => 1,
    }
}

/// Deletes everything of two looks; the later one has what the orchestrator wrote until its end. What stays is in the
/// answer.
pub(super) async fn rest(
    cluster: &Cluster,
    ours: &Belongings,
    latest: &Belongings,
    timeout: Duration,
) -> Result<Vec<(String, Option<String>)>, ClusterError> {
    let mut causes = Vec::new();
    let known: Vec<&str> = latest.objects.iter().map(uid).collect();
    // A Job of the first look that is not in the later one is gone.
    let others = ours.objects.iter().filter(|object| !known.contains(&uid(object)) && object["kind"] != "Job");
    let mut objects: Vec<&Value> = latest.objects.iter().chain(others).collect();
    objects.sort_by_key(|object| rank(object));
    let (last, others): (Vec<&Value>, Vec<&Value>) = objects.iter().partition(|object| rank(object) == LAST);
    for object in others {
        note(&mut causes, one(cluster, object).await)?;
    }
    if causes.is_empty() {
        for object in last {
            note(&mut causes, one(cluster, object).await)?;
        }
    } else {
        // Without it, nobody would find what stays.
        objects.retain(|object| rank(object) != LAST);
        let message = format!("the ConfigMap {CONFIG_MAP} stays as well: it says where the rest is");
        causes.push((message, Some("the same command again does the rest".to_owned())));
    }

    let deadline = Instant::now() + GONE.min(timeout);
    loop {
        let mut remaining = Vec::new();
        for object in &objects {
            let reference = ObjectRef::of(object);
            match cluster.get(&reference).await {
                Ok(Some(live)) if uid(&live) == uid(object) && !remaining.contains(&reference) => {
                    remaining.push(reference);
                }
                Ok(_) => {}
                // Whoever may not look any more has deleted his own rights.
                Err(error) if error.kind == ErrorKind::Forbidden => {}
                Err(error) => return Err(error),
            }
        }
        if remaining.is_empty() {
            break;
        }
        if Instant::now() >= deadline {
            for reference in remaining {
                let told = causes.iter().any(|(message, _)| message.contains(&reference.long()));
                if !told {
                    let fix = format!("kubectl -n {} describe {reference}", reference.namespace);
                    causes.push((format!("the {} is still there", reference.long()), Some(fix)));
                }
            }
            break;
        }
        sleep(AGAIN).await;
    }
    Ok(causes)
}

/// Deletes the namespace, and that of the agents if an install made it. What went wrong is in the answer.
pub(super) async fn namespaces(
    cluster: &Cluster,
    ours: &Belongings,
    force: bool,
    timeout: Duration,
) -> Vec<(String, Option<String>)> {
    let mut causes = Vec::new();
    for name in ours.places() {
        let reference = ObjectRef::of(&namespace_object(name));
        let result = async {
            let Some(live) = cluster.get(&reference).await? else { return Ok(()) };
            let made_by_us = live["metadata"]["labels"]["app.kubernetes.io/part-of"] == NAME;
            if name != ours.namespace && !made_by_us {
                return Ok(());
            }
            // Those of another installation are nobody's whom this run has asked.
            let jobs = cluster.list("batch/v1", "Job", name, &of_installation(None)).await?;
            let working = jobs.iter().filter(|job| is_live(job)).count();
            if working > 0 && !force {
                return Err(ClusterError {
                    kind: ErrorKind::Conflict,
                    message: format!(
                        "the namespace \"{name}\" stays: {working} agents of another installation work in it"
                    ),
                    fix: Some(format!("kubectl ado jobs -n {name} shows them; --force ends them")),
                });
            }
            cluster.delete(&reference, uid(&live), false).await?;
            let deadline = Instant::now() + timeout;
            while cluster.get(&reference).await?.is_some_and(|now| uid(&now) == uid(&live)) {
                if Instant::now() >= deadline {
                    return Err(ClusterError {
                        kind: ErrorKind::Timeout,
                        message: format!("the namespace \"{name}\" is still being deleted"),
                        fix: Some(format!("kubectl get namespace {name} -o yaml shows what holds it")),
                    });
                }
                sleep(AGAIN).await;
            }
            Ok(())
        };
        match result.await {
            Ok(()) => {
                let _ = writeln!(std::io::stdout(), "{reference} deleted");
            }
            Err(error) => causes.push((error.message, error.fix)),
        }
    }
    causes
}

/// Deletes one object, if it is still the same one.
pub(super) async fn one(cluster: &Cluster, object: &Value) -> Result<(), ClusterError> {
    let reference = ObjectRef::of(object);
    if cluster.delete(&reference, uid(object), false).await? {
        // The deletion goes on, whoever reads of it.
        let _ = writeln!(std::io::stdout(), "{reference} deleted");
    }
    Ok(())
}

/// What is refused is noted, and the rest goes on; a cluster that does not answer ends it.
fn note(causes: &mut Vec<(String, Option<String>)>, result: Result<(), ClusterError>) -> Result<(), ClusterError> {
    match result {
        Ok(()) => Ok(()),
        Err(error) if error.kind.is_transient() => Err(error),
        Err(error) => {
            causes.push((error.message, error.fix));
            Ok(())
        }
    }
}

pub(super) fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}
