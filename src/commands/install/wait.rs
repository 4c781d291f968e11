//! Sees an install come to life: its pods, then its first poll of every pool.

use std::time::Duration;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Event};
use kube::{Api, api::ListParams};
use tokio::time::{Instant, sleep};

use super::{
    super::{Exit, Failure},
    Options,
    apply::Applied,
    plan::Plan,
    say,
};
use crate::{
    cluster::{
        Cluster, ClusterError, ErrorKind, NAME, ObjectRef, Restarts, RolloutProgress, change_control, judge_rollout,
        namespace_object, pods_of, read_reports,
    },
    core::{Installation, Report, Severity, lease_name},
    output::harmless,
};

/// Between two looks.
const AGAIN: Duration = Duration::from_millis(500);

/// Waits for the pods and for the first poll.
pub(super) async fn until_it_works(
    options: &Options,
    cluster: &Cluster,
    plan: &Plan,
    applied: &Applied,
) -> Result<Exit, Failure> {
    let deadline = Instant::now() + options.timeout;
    rollout(cluster, plan, &applied.restarts, deadline, options.timeout).await?;
    first_poll(cluster, plan, applied, deadline, options.timeout).await?;
    Ok(Exit::Done)
}

/// How often the request to retire is looked for where the cluster does not answer.
const TRIES: u32 = 3;

/// An uninstall that was not finished may have asked the orchestrator to retire, and then it starts no agents. Why it still
/// may be asked to is in the answer.
pub(super) async fn unretire(cluster: &Cluster, plan: &Plan) -> Option<(String, Option<String>)> {
    let mut tries = 0;
    loop {
        tries += 1;
        match take_back(cluster, plan).await {
            Ok(asked) => {
                if asked {
                    say("an unfinished uninstall is taken back");
                }
                return None;
            }
            Err(error) if error.kind.is_transient() && tries < TRIES => sleep(AGAIN).await,
            Err(error) => {
                let message =
                    format!("an unfinished uninstall may still keep the orchestrator from starting agents: {error}");
                let fix = format!("kubectl ado resume --all -n {} takes it back", plan.namespace);
                return Some((message, Some(fix)));
            }
        }
    }
}

/// Whether the orchestrator was asked to retire. It is not any more.
async fn take_back(cluster: &Cluster, plan: &Plan) -> Result<bool, ClusterError> {
    let installation = match &plan.config.installation_id {
        Some(id) => Installation::new(id),
        None => {
            let namespace = ObjectRef::of(&namespace_object(&plan.agents_namespace));
            match cluster.get(&namespace).await {
                Ok(Some(found)) => Installation::of_namespace(found["metadata"]["uid"].as_str().unwrap_or_default()),
                Ok(None) => return Ok(false),
                // Who may not look at the namespace cannot know the name of the control document.
                Err(error) if error.kind == ErrorKind::Forbidden => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    };
    let pools: Vec<_> = plan.config.pools.iter().map(|pool| pool.name.as_str()).collect();
    let lease = lease_name(&installation, &plan.config.organization.url, &pools);
    let mut asked = false;
    change_control(cluster, &plan.agents_namespace, &lease, false, |control| {
        asked |= control.retire;
        control.retire = false;
    })
    .await?;
    Ok(asked)
}

/// An answer, or `None` where the cluster could not give it just now and there is time to ask again.
fn passing<T>(answer: Result<T, ClusterError>, told: &mut String, deadline: Instant) -> Result<Option<T>, Failure> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.kind.is_transient() && Instant::now() < deadline => {
            if *told != error.message {
                say(format!("{error}; all is applied, and this goes on waiting"));
                told.clone_from(&error.message);
            }
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

async fn rollout(
    cluster: &Cluster,
    plan: &Plan,
    before: &Restarts,
    deadline: Instant,
    timeout: Duration,
) -> Result<(), Failure> {
    let api: Api<Deployment> = Api::namespaced(cluster.client.clone(), &plan.namespace);
    let what = format!("get the Deployment \"{NAME}\" in namespace \"{}\"", plan.namespace);
    let mut told = String::new();
    loop {
        let Some(deployment) = passing(cluster.call(&what, api.get(NAME)).await, &mut told, deadline)? else {
            sleep(AGAIN).await;
            continue;
        };
        let pods = match pods_of(cluster, &plan.namespace, &deployment).await {
            Err(error) if error.kind == ErrorKind::Forbidden => Some(Vec::new()),
            other => passing(other, &mut told, deadline)?,
        };
        let Some(pods) = pods else {
            sleep(AGAIN).await;
            continue;
        };
        let waiting = match judge_rollout(&deployment, &pods, before) {
            RolloutProgress::Done => return Ok(()),
            RolloutProgress::Failed { pod, why } => {
                let (why, mend) = why.split_once("\nfix: ").map_or((why.as_str(), None), |(why, fix)| (why, Some(fix)));
                let why = harmless(why.strip_suffix('\n').unwrap_or(why));
                let message = format!("the orchestrator's pod {pod} does not start: {why}");
                return Err(Failure::new(
                    Exit::Failed,
                    message,
                    Some(mend.map_or_else(|| fix(plan, &pod, &why), harmless)),
                ));
            }
            RolloutProgress::Waiting(why) => why,
        };
        if Instant::now() >= deadline {
            let pod = pods.first().and_then(|pod| pod.metadata.name.clone()).unwrap_or_default();
            let event = last_warning(cluster, &plan.namespace, &pod).await;
            let said = event.map(|event| format!("; {event}")).unwrap_or_default();
            let message = format!("the orchestrator is not ready after {} s: {waiting}{said}", timeout.as_secs());
            // Where no pod could be made, there is none to describe.
            let fix = match pods.is_empty() {
                true => format!("kubectl -n {} describe replicasets -l app.kubernetes.io/name={NAME}", plan.namespace),
                false => format!("kubectl -n {} describe pod -l app.kubernetes.io/name={NAME}", plan.namespace),
            };
            return Err(Failure::new(Exit::TimedOut, message, Some(fix)));
        }
        if waiting != told {
            say(format!("waiting for the orchestrator: {}", harmless(&waiting)));
            told = waiting;
        }
        sleep(AGAIN).await;
    }
}

fn fix(plan: &Plan, pod: &str, why: &str) -> String {
    if why.contains("Image") {
        "give an image that the nodes can pull with --image".to_owned()
    } else {
        format!("kubectl -n {} describe pod {pod}; kubectl -n {} logs {pod}", plan.namespace, plan.namespace)
    }
}

/// A volume that cannot be mounted and a pod that is refused show nowhere but in Events.
async fn last_warning(cluster: &Cluster, namespace: &str, pod: &str) -> Option<String> {
    let api: Api<Event> = Api::namespaced(cluster.client.clone(), namespace);
    let fields = format!("involvedObject.name={pod},type=Warning");
    let events = cluster.call("list the events", api.list(&ListParams::default().fields(&fields))).await.ok()?;
    let last = events.items.into_iter().next_back()?;
    Some(harmless(&format!("{}: {}", last.reason.unwrap_or_default(), last.message.unwrap_or_default())))
}

async fn first_poll(
    cluster: &Cluster,
    plan: &Plan,
    applied: &Applied,
    deadline: Instant,
    timeout: Duration,
) -> Result<(), Failure> {
    // By the orchestrators' own clock, which need not be ours.
    let since = applied.before.iter().map(|reported| &reported.report).find(|report| is_of(report, plan));
    let since = since.filter(|_| applied.changed).map(|report| report.reported_at);
    say("waiting for the first poll of each pool");
    let mut told = String::new();
    loop {
        let reports = match read_reports(cluster, &plan.agents_namespace).await {
            Err(error) if error.kind == ErrorKind::Forbidden => {
                say(format!("warning: whether it polls cannot be seen: {error}"));
                return Ok(());
            }
            other => passing(other, &mut told, deadline)?,
        };
        let Some(reports) = reports else {
            sleep(AGAIN).await;
            continue;
        };
        let report = reports.into_iter().map(|reported| reported.report).find(|report| is_of(report, plan));
        let polled = |report: &Report| {
            report.pools.iter().all(|pool| pool.last_polled_at.is_some_and(|at| since.is_none_or(|since| at > since)))
        };
        if let Some(report) = report.as_ref().filter(|report| polled(report)) {
            let pools: Vec<_> = report.pools.iter().map(|pool| format!("\"{}\"", pool.name)).collect();
            say(format!("kubectl-ado serves {} of {}", pools.join(", "), report.organization.url));
            say("next: kubectl ado status");
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(no_poll(report.as_ref(), plan, timeout));
        }
        sleep(AGAIN).await;
    }
}

/// Whether a report is of the pools that were installed.
fn is_of(report: &Report, plan: &Plan) -> bool {
    let names = |names: Vec<&str>| {
        let mut names: Vec<String> = names.into_iter().map(str::to_lowercase).collect();
        names.sort();
        names
    };
    let theirs = names(report.pools.iter().map(|pool| pool.name.as_str()).collect());
    let ours = names(plan.config.pools.iter().map(|pool| pool.name.as_str()).collect());
    report.organization.url.eq_ignore_ascii_case(&plan.config.organization.url) && theirs == ours
}

fn no_poll(report: Option<&Report>, plan: &Plan, timeout: Duration) -> Failure {
    let mut failure = Failure { exit: Exit::TimedOut, causes: Vec::new() };
    let findings = report
        .into_iter()
        .flat_map(|report| report.findings.iter().chain(report.pools.iter().flat_map(|pool| &pool.findings)));
    for finding in findings.filter(|finding| finding.severity == Severity::Error) {
        let message = format!("{} ({})", harmless(&finding.message), finding.code);
        failure.causes.push((message, finding.fix.as_deref().map(harmless)));
    }
    let message = format!("the orchestrator runs, but has not polled its pools within {} s", timeout.as_secs());
    let fix = format!("kubectl -n {} logs deployment/{NAME}", plan.namespace);
    failure.causes.push((message, failure.causes.is_empty().then_some(fix)));
    failure
}
