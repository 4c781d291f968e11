//! From a Job template and a run to a Job, as data: nothing here talks to a cluster.
//!
//! The template stays JSON from end to end, so that fields which this program has never heard of survive. What is ours
//! is merged into it: who the agent is, where it belongs, its credential, and how the Job ends. All else is the
//! owner's.

mod credential;
mod default_job;
mod registration;
mod suspension;
#[cfg(test)]
mod tests;
pub(super) mod way;

use std::{path::Path, time::Duration};

use serde_json::{Value, json};

pub use default_job::DEFAULT_AGENT_IMAGE;
use default_job::{default_job, is_hardened};

use super::keys;
pub use crate::hosts::json::TemplateError;
use crate::{
    config::{AgentSpec, Os, SecretKey, Way, agent_container},
    core::{Held, Installation, Purpose, Recipe, Retention, StartRun, pool_label},
    hosts::{json::Node, variables},
};

/// The least time that an ended Job stays. A shorter one would let failures vanish before anyone has seen them, and
/// with them the reason to wait before the next attempt.
const SHORTEST_TTL: Duration = Duration::from_secs(60);

/// The least TTL of a template that is left as it is, in seconds: time to see that a Job failed, and then to keep it.
const LEAST_OWN_TTL: i64 = 30;

/// Everything but the run itself that goes into a Job.
pub(super) struct JobSettings<'a> {
    pub(super) installation: &'a Installation,
    pub(super) organization: &'a str,
    pub(super) namespace: &'a str,
    pub(super) agent: &'a AgentSpec,
    pub(super) grant: Grant<'a>,
    pub(super) docker_socket: Option<&'a Path>,
    pub(super) retention: Retention,
    /// The way to Azure DevOps. An image that does not start as ours does finds its own.
    pub(super) way: &'a Way,
    /// Whether the Secret with the token holds the private authorities too.
    pub(super) certified: bool,
    /// The Lease of the orchestrators that start it; a Job to look at has none.
    pub(super) lease: Option<&'a str>,
}

/// What gives the agent of a Job the right to work: see [`Recipe`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Grant<'a> {
    /// The files of its registration, from a Secret that is named like the Job. It is held until they are there; without a
    /// mark it is a Job to look at.
    Files(Option<&'a Held>),
    /// The organization's token, in an init container.
    InitContainer(&'a SecretKey),
    /// The organization's token.
    Token(&'a SecretKey),
}

/// A Job, and what its template's owner should know.
#[derive(Debug)]
pub(super) struct MadeJob {
    pub(super) job: Value,
    pub(super) warnings: Vec<String>,
}

/// Makes the Job of a run.
pub(super) fn make_job(run: &StartRun, settings: &JobSettings<'_>) -> Result<MadeJob, TemplateError> {
    let mut warnings = Vec::new();
    let template = settings.agent.job_template.as_ref().map(|template| &template.job);
    let image = settings.agent.image.as_deref();
    let mut job = match template {
        Some(job) => job.clone(),
        None => default_job(image.unwrap_or(DEFAULT_AGENT_IMAGE), settings.agent.os),
    };
    let hardened = template.is_none() && is_hardened(image.unwrap_or(DEFAULT_AGENT_IMAGE), settings.agent.os);

    let mut root = Node::root(&mut job)?;
    root.set_default("apiVersion", "batch/v1");
    root.set_default("kind", "Job");
    name_it(&mut root.child("metadata")?, run, settings, &mut warnings)?;

    let mut spec = root.child("spec")?;
    for count in ["parallelism", "completions"] {
        if spec.map.get(count).is_some_and(|value| !value.is_null() && value != 1) {
            warnings.push(format!("spec.{count} is not 1: all pods of the Job are one agent of one name"));
        }
    }
    spec.set_default("backoffLimit", 0);
    let managed_ttl = !spec.has("ttlSecondsAfterFinished");
    let own_ttl = spec.map.get("ttlSecondsAfterFinished").and_then(Value::as_i64);
    if managed_ttl {
        spec.set("ttlSecondsAfterFinished", ttl_seconds(settings.retention.finished));
    } else if let Some(own) = own_ttl.filter(|own| (0..LEAST_OWN_TTL).contains(own)) {
        warnings.push(format!(
            "spec.ttlSecondsAfterFinished {own} is raised to {LEAST_OWN_TTL}: a failure has to be seen before it is gone"
        ));
        spec.set("ttlSecondsAfterFinished", LEAST_OWN_TTL);
    }

    let mut pod_template = spec.child("template")?;
    label_pod(&mut pod_template.child("metadata")?, run, settings)?;
    let mut pod = pod_template.child("spec")?;
    pod.set_default("restartPolicy", "Never");
    let agent = place_agent(&mut pod, image)?;
    set_variables(&mut pod, agent, run, settings)?;
    if settings.agent.starts_as_ours() {
        way::lead(&mut pod, agent, settings.way)?;
    }
    let mode = if hardened { 0o440 } else { 0o444 };
    let mounted = match settings.grant {
        Grant::Token(token) => credential::place(&mut pod, agent, token, mode, &mut warnings)?.then_some(token),
        Grant::InitContainer(token) => {
            registration::from_init_container(&mut pod, agent, token, mode, &mut warnings)?.then_some(token)
        }
        Grant::Files(_) => {
            registration::from_secret(&mut pod, agent, &run.name, mode, &mut warnings)?;
            None
        }
    };
    if let Some(token) = mounted.filter(|_| settings.certified && settings.agent.starts_as_ours()) {
        way::certify(&mut pod, &token.name)?;
    }
    if let Some(socket) = settings.docker_socket {
        mount_socket(&mut pod, agent, &socket.to_string_lossy(), settings.agent.os)?;
    }

    let mut annotations = root.child("metadata")?.into_child("annotations")?;
    for ours in [keys::MANAGED_TTL, keys::TOKEN_SECRET, keys::REGISTRATION, keys::HELD, keys::OWN_SUSPEND, keys::LEASE]
    {
        annotations.remove(ours);
    }
    if let Some(lease) = settings.lease {
        annotations.set(keys::LEASE, lease);
    }
    if managed_ttl {
        annotations.set(keys::MANAGED_TTL, "true");
    }
    if let Some(token) = mounted {
        annotations.set(keys::TOKEN_SECRET, token.name.as_str());
    }
    match settings.grant {
        Grant::Token(_) => {}
        Grant::InitContainer(_) => annotations.set(keys::REGISTRATION, Recipe::InitContainer.name()),
        Grant::Files(held) => {
            annotations.set(keys::REGISTRATION, Recipe::JustInTime.name());
            suspension::hold(&mut root, held)?;
        }
    }
    if let Some(template) = &settings.agent.job_template {
        for warning in &mut warnings {
            *warning = format!("the Job template {}: {warning}", template.path.display());
        }
    }
    Ok(MadeJob { job, warnings })
}

/// A time as `ttlSecondsAfterFinished` takes it.
pub(super) fn ttl_seconds(time: Duration) -> i32 {
    time.max(SHORTEST_TTL).as_secs().try_into().unwrap_or(i32::MAX)
}

fn name_it(
    metadata: &mut Node<'_>,
    run: &StartRun,
    settings: &JobSettings<'_>,
    warnings: &mut Vec<String>,
) -> Result<(), TemplateError> {
    metadata.remove("generateName");
    metadata.set("name", run.name.as_str());
    if let Some(other) = metadata.text("namespace")?.filter(|&other| other != settings.namespace) {
        warnings.push(format!(
            "metadata.namespace \"{other}\" does not count: Jobs are made in \"{}\"",
            settings.namespace
        ));
    }
    metadata.set("namespace", settings.namespace);
    let mut labels = metadata.child("labels")?;
    if let Some(other) = labels.text(keys::MANAGED_BY)?.filter(|&other| other != keys::US) {
        warnings.push(format!(
            "the label {} \"{other}\" is replaced: it is what Jobs of ours are found by",
            keys::MANAGED_BY
        ));
    }
    label(&mut labels, run, settings);
    annotate(&mut metadata.child("annotations")?, run, settings);
    Ok(())
}

fn label(labels: &mut Node<'_>, run: &StartRun, settings: &JobSettings<'_>) {
    labels.set(keys::MANAGED_BY, keys::US);
    labels.set_default(keys::COMPONENT, "agent");
    labels.set(keys::INSTALLATION, settings.installation.id());
    labels.set(keys::POOL, pool_label(&run.pool));
    labels.set(keys::TEMPLATE, pool_label(&run.template));
    labels.remove(keys::REQUEST);
    labels.remove(keys::SLOT);
    match run.purpose {
        Purpose::Request(id) => labels.set(keys::REQUEST, id.to_string()),
        Purpose::Slot(slot) => labels.set(keys::SLOT, slot.to_string()),
    }
    labels.set(keys::ATTEMPT, run.attempt.to_string());
    labels.set(keys::REVISION, run.revision.clone());
}

fn annotate(annotations: &mut Node<'_>, run: &StartRun, settings: &JobSettings<'_>) {
    annotations.set(keys::ORGANIZATION, settings.organization);
    annotations.set(keys::POOL, run.pool.as_str());
    annotations.set(keys::TEMPLATE, run.template.as_str());
    annotations.remove(keys::REQUEST);
    if let Purpose::Request(id) = run.purpose {
        annotations.set(keys::REQUEST, id.to_string());
    }
}

/// The pod is labelled like its Job. Autoscalers are asked not to move it: a moved agent is a failed pipeline job.
fn label_pod(metadata: &mut Node<'_>, run: &StartRun, settings: &JobSettings<'_>) -> Result<(), TemplateError> {
    label(&mut metadata.child("labels")?, run, settings);
    let mut annotations = metadata.child("annotations")?;
    annotate(&mut annotations, run, settings);
    annotations.set_default("cluster-autoscaler.kubernetes.io/safe-to-evict", "false");
    annotations.set_default("karpenter.sh/do-not-disrupt", "true");
    Ok(())
}

/// The place of the agent's container: the one named `agent`, else the first. It gets a name and an image where it has
/// none; an image from the configuration goes before the template's.
fn place_agent(pod: &mut Node<'_>, image: Option<&str>) -> Result<usize, TemplateError> {
    if pod.list("containers")?.0.is_empty() {
        pod.list("containers")?.0.push(json!({}));
    }
    for container in pod.each("containers")? {
        container.text("name")?;
    }
    let agent = agent_container(pod.map.get("containers"));
    for container in pod.each("containers")?.iter_mut().skip(agent).take(1) {
        container.set_default("name", "agent");
        container.text("image")?;
        match image {
            Some(image) => container.set("image", image),
            None => container.set_default("image", DEFAULT_AGENT_IMAGE),
        }
    }
    Ok(agent)
}

/// Who the agent is and where it belongs is always ours: a hard-coded AZP_POOL would pull other pools' agents into one.
fn set_variables(
    pod: &mut Node<'_>,
    agent: usize,
    run: &StartRun,
    settings: &JobSettings<'_>,
) -> Result<(), TemplateError> {
    for container in pod.each("containers")?.iter_mut().skip(agent).take(1) {
        variables::set(container, "env", run, settings.organization, settings.installation)?;
    }
    Ok(())
}

/// Mounts a socket of the node at the same path, and tells Docker's clients where it is when it is not where they look.
fn mount_socket(pod: &mut Node<'_>, agent: usize, socket: &str, os: Os) -> Result<(), TemplateError> {
    let volume = credential::free_volume_name(pod, "kubectl-ado-docker-socket")?;
    for container in pod.each("containers")?.iter_mut().skip(agent).take(1) {
        if credential::mount_paths(container)?.iter().any(|path| path == socket) {
            return Ok(());
        }
        container.list("volumeMounts")?.0.push(json!({"name": volume, "mountPath": socket}));
        let usual = ["/var/run/docker.sock", "/run/docker.sock"].contains(&socket);
        if !usual && os == Os::Linux {
            let mut known = false;
            for variable in container.each("env")? {
                known |= variable.text("name")? == Some("DOCKER_HOST");
            }
            if !known {
                let value = format!("unix://{socket}");
                container.list("env")?.0.push(json!({"name": "DOCKER_HOST", "value": value}));
            }
        }
    }
    let mut source = json!({"path": socket});
    if os == Os::Linux {
        // Without it the kubelet would make a folder where no socket is, and Docker could not start any more.
        source["type"] = json!("Socket");
    }
    pod.list("volumes")?.0.push(json!({"name": volume, "hostPath": source}));
    Ok(())
}
