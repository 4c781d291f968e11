//! Deletes what is ours: the orchestrator first, so that nothing is made again, and what it could not do without last.
//! One that cannot be deleted holds up none of the others, and all that stays is told at the end.

use std::{io::Write, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{
    super::{Exit, Failure},
    belongings::Belongings,
    say,
};
use crate::cluster::{Cluster, ClusterError, ErrorKind, INSTALL_LABELS, NAME, ObjectRef, namespace_object};

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

/// Ends all agents.
pub(super) async fn live_jobs(cluster: &Cluster, ours: &Belongings) -> Result<(), Failure> {
    for job in ours.live() {
        one(cluster, job).await?;
    }
    Ok(())
}

/// Deletes everything. What stays is in the answer.
pub(super) async fn all(cluster: &Cluster, ours: &Belongings, timeout: Duration) -> Result<Failure, Failure> {
    let mut causes = Vec::new();
    let deployments = ours.objects.iter().filter(|object| object["kind"] == "Deployment");
    for deployment in deployments {
        note(&mut causes, one(cluster, deployment).await)?;
    }
    pods_are_gone(cluster, ours, timeout).await?;
    // Until its end, the orchestrator may have written something.
    let latest = ours.again(cluster).await?;
    let known: Vec<&str> = latest.objects.iter().map(uid).collect();
    let others = ours.objects.iter().filter(|object| !known.contains(&uid(object)));
    for object in latest.objects.iter().chain(others).filter(|object| object["kind"] != "Deployment") {
        note(&mut causes, one(cluster, object).await)?;
    }

    let deadline = Instant::now() + GONE.min(timeout);
    loop {
        let mut remaining = Vec::new();
        for object in ours.objects.iter().chain(&latest.objects) {
            let reference = ObjectRef::of(object);
            match cluster.get(&reference).await {
                Ok(Some(live)) if uid(&live) == uid(object) && !remaining.contains(&reference) => {
                    remaining.push(reference);
                }
                Ok(_) => {}
                // Whoever may not look any more has deleted his own rights.
                Err(error) if error.kind == ErrorKind::Forbidden => {}
                Err(error) => return Err(error.into()),
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
    Ok(Failure { exit: Exit::Failed, causes })
}

/// Deletes the namespace, and that of the agents if an install made it. What went wrong is in the answer.
pub(super) async fn namespaces(
    cluster: &Cluster,
    ours: &Belongings,
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

async fn one(cluster: &Cluster, object: &Value) -> Result<(), ClusterError> {
    let reference = ObjectRef::of(object);
    if cluster.delete(&reference, uid(object), false).await? {
        // The deletion goes on, whoever reads of it.
        let _ = writeln!(std::io::stdout(), "{reference} deleted");
    }
    Ok(())
}

/// What is refused is noted, and the rest goes on; a cluster that does not answer ends it.
fn note(causes: &mut Vec<(String, Option<String>)>, result: Result<(), ClusterError>) -> Result<(), Failure> {
    match result {
        Ok(()) => Ok(()),
        Err(error) if error.kind.is_transient() => Err(error.into()),
        Err(error) => {
            causes.push((error.message, error.fix));
            Ok(())
        }
    }
}

/// An orchestrator that still runs would make anew what is deleted.
async fn pods_are_gone(cluster: &Cluster, ours: &Belongings, timeout: Duration) -> Result<(), Failure> {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), &ours.namespace);
    let parameters = ListParams::default().labels(INSTALL_LABELS);
    let what = format!("list the pods in namespace \"{}\"", ours.namespace);
    let deadline = Instant::now() + timeout;
    loop {
        match cluster.call(&what, pods.list(&parameters)).await {
            Ok(list) if list.items.is_empty() => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind == ErrorKind::Forbidden => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        if Instant::now() >= deadline {
            say("the orchestrator's pod has not ended; what it makes anew may stay");
            return Ok(());
        }
        sleep(AGAIN).await;
    }
}

fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}
