//! What `template validate` says beyond what the orchestrator insists on: fields that Kubernetes does not know, and what
//! is allowed but most likely a slip. The API server drops an unknown field without a word when a Job is created by a
//! program, so a misspelt `resources` would never be missed.

use std::path::Path;

use k8s_openapi::api::batch::v1::Job;
use serde_json::Value;

use super::{
    error::Problems,
    near_miss,
    yaml::{Node, Place, Yaml},
};

/// The version whose fields are known here, as Cargo.toml names it.
const KUBERNETES: &str = "1.33";

/// Fields that people write in Job templates; for suggestions alone.
const FIELDS: &str = "\
    apiVersion kind metadata name generateName namespace labels annotations spec template backoffLimit \
    activeDeadlineSeconds ttlSecondsAfterFinished podFailurePolicy suspend restartPolicy containers initContainers \
    volumes serviceAccountName automountServiceAccountToken enableServiceLinks nodeSelector nodeName affinity \
    tolerations priorityClassName runtimeClassName imagePullSecrets securityContext hostNetwork hostAliases \
    dnsPolicy dnsConfig hostname terminationGracePeriodSeconds topologySpreadConstraints schedulerName image \
    imagePullPolicy command args workingDir env envFrom ports resources volumeMounts volumeDevices livenessProbe \
    readinessProbe startupProbe lifecycle stdin tty terminationMessagePath terminationMessagePolicy value \
    valueFrom secretKeyRef configMapKeyRef fieldRef resourceFieldRef key optional limits requests mountPath \
    subPath subPathExpr readOnly persistentVolumeClaim claimName emptyDir medium sizeLimit hostPath path type \
    configMap secret secretName items defaultMode projected csi ephemeral volumeClaimTemplate runAsUser runAsGroup \
    runAsNonRoot fsGroup fsGroupChangePolicy supplementalGroups seccompProfile privileged allowPrivilegeEscalation \
    capabilities add drop readOnlyRootFilesystem operator effect values tolerationSeconds matchExpressions \
    matchLabels";

/// Where our own image keeps its user's files, and what belongs to others.
const OUR_HOME: &str = "/home/agent";
const OTHER_HOMES: &[&str] =
    &["/root", "/home/vsts", "/home/AzDevOps", "/home/azureuser", "/home/runner", "/home/ubuntu"];

/// Reports every field of the Job that Kubernetes would drop: an error where it is most likely a slip.
pub(super) fn unknown(path: &Path, job: &Node, problems: &Problems) {
    let mut given = job.to_json();
    texts_for_quantities(&mut given);
    match serde_json::from_value::<Job>(given.clone()) {
        Ok(typed) => {
            let known = serde_json::to_value(typed).unwrap_or_default();
            compare(path, job, &known, "", problems);
        }
        Err(error) => problems.error(format!("{}:{}: a field has the wrong type: {error}", path.display(), job.place)),
    }
}

/// Kubernetes takes a number where a quantity belongs; the types want a text.
fn texts_for_quantities(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::Object(quantities) if matches!(key.as_str(), "limits" | "requests") => {
                        for quantity in quantities.values_mut().filter(|quantity| quantity.is_number()) {
                            *quantity = Value::String(quantity.to_string());
                        }
                    }
                    Value::Number(number) if matches!(key.as_str(), "sizeLimit" | "divisor") => {
                        *value = Value::String(number.to_string());
                    }
                    _ => texts_for_quantities(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(texts_for_quantities),
        _ => {}
    }
}

fn compare(path: &Path, node: &Node, known: &Value, at: &str, problems: &Problems) {
    match &node.value {
        Yaml::Map(entries) => {
            for (key, value) in entries.iter().filter(|(_, value)| !matches!(value.value, Yaml::Null)) {
                match known.get(&key.name) {
                    Some(known) => compare(path, value, known, &format!("{at}{}.", key.name), problems),
                    None => {
                        let message = format!("{}:{}: unknown field `{at}{}`", path.display(), key.place, key.name);
                        match near_miss::closest(&key.name, FIELDS.split_whitespace()) {
                            Some(meant) if meant != key.name => {
                                problems.error_with_fix(message, format!("did you mean `{meant}`?"));
                            }
                            Some(_) => {
                                problems.error_with_fix(message, "it belongs somewhere else, or is indented wrongly");
                            }
                            // A later Kubernetes may well know it.
                            None => problems.warn(format!(
                                "{message}: Kubernetes {KUBERNETES} does not know it; `kubectl ado template validate --server` \
                                 asks the cluster"
                            )),
                        }
                    }
                }
            }
        }
        Yaml::List(items) => {
            let at = at.trim_end_matches('.');
            for (index, item) in items.iter().enumerate() {
                if let Some(known) = known.get(index) {
                    compare(path, item, known, &format!("{at}[{index}]."), problems);
                }
            }
        }
        _ => {}
    }
}

/// Warns of what is allowed and most likely a slip. `agent` is the index of the agent's container.
pub(super) fn lint(path: &Path, job: &Node, agent: usize, problems: &Problems) {
    let pod = ["spec", "template", "spec"].iter().try_fold(job, |node, key| node.get(key));
    let Some(pod) = pod else { return };
    let warn = |place: Place, message: String| problems.warn(format!("{}:{place}: {message}", path.display()));
    let Some(Node { value: Yaml::List(containers), .. }) = pod.get("containers") else { return };
    let Some(container) = containers.get(agent) else { return };
    let at = format!("spec.template.spec.containers[{agent}]");
    let image = container.get("image").and_then(Node::text);
    let is_ours = image.is_none_or(|image| image.contains("kubectl-ado/agent"));
    if let Some(Node { value: Yaml::List(mounts), .. }) = container.get("volumeMounts") {
        for (index, mount) in mounts.iter().enumerate() {
            let Some(target) = mount.get("mountPath") else { continue };
            let text = target.text().unwrap_or_default();
            let home = OTHER_HOMES.iter().find(|home| text == **home || text.starts_with(&format!("{home}/")));
            let below = home.map(|home| text[home.len()..].trim_matches('/'));
            if let Some(below) = below.filter(|_| is_ours) {
                let better = format!("{OUR_HOME}/{below}");
                let place = target.place;
                let better = better.trim_end_matches('/');
                warn(
                    place,
                    format!(
                        "{at}.volumeMounts[{index}].mountPath {text} is in a home that our image does not use; it runs as uid 1000 in {OUR_HOME}: mount it at {better}"
                    ),
                );
            }
        }
    }
    let limits = container.get("resources");
    for key in ["requests", "limits"] {
        if limits.and_then(|limits| limits.get(key)).is_none() {
            let place = limits.unwrap_or(container).place;
            let why = if key == "requests" {
                "nodes are filled with agents beyond what they can bear"
            } else {
                "one pipeline job can take all of a node's memory"
            };
            warn(place, format!("{at}.resources.{key} is missing: {why}"));
        }
    }
    if let Some(policy) = pod.get("restartPolicy").filter(|policy| policy.text() == Some("OnFailure")) {
        warn(policy.place, "spec.template.spec.restartPolicy is OnFailure: an agent that failed is started again under a name that is taken; use Never".to_owned());
    }
    let limit = job.get("spec").and_then(|spec| spec.get("backoffLimit"));
    if let Some(limit) = limit.filter(|limit| !matches!(limit.value, Yaml::Whole(0))) {
        warn(
            limit.place,
            "spec.backoffLimit is not 0: a failed agent is tried again beside the orchestrator's own attempts"
                .to_owned(),
        );
    }
    let socket = |node: &&Node| {
        node.get("hostPath")
            .and_then(|path| path.get("path"))
            .and_then(Node::text)
            .is_some_and(|path| path.ends_with("docker.sock"))
    };
    if let Some(Node { value: Yaml::List(volumes), .. }) = pod.get("volumes")
        && let Some(volume) = volumes.iter().find(socket)
    {
        warn(volume.place, "the node's Docker socket makes every pipeline root of the node; `kubectl ado template init --preset dind-rootless` shows another way".to_owned());
    }
}
