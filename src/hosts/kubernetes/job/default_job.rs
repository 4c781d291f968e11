//! The Job that agents get where nobody brings a template.

use serde_json::{Value, json};

use crate::config::Os;

/// Our own agent image.
pub const DEFAULT_AGENT_IMAGE: &str = concat!("ghcr.io/kubectl-ado/agent:", env!("CARGO_PKG_VERSION"));

/// How long an agent's pod may go on after it was told to stop, in seconds. Azure Pipelines ends a pipeline job after
/// 60 minutes unless it says otherwise, so a node that is drained waits for any ordinary one. An agent without a job
/// leaves at once.
const GRACE_SECONDS: u32 = 3600;

/// Any group will do: the kubelet adds it to the processes of the pod and gives it the token's file.
const FS_GROUP: u32 = 1000;

/// The default Job for an image. Ours is hardened; a foreign one may need to be root, so it is left as its owner made
/// it, but for the API token that no agent needs and the service variables that would become capabilities.
pub(super) fn default_job(image: &str, os: Os) -> Value {
    let mut pod = json!({
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "nodeSelector": {"kubernetes.io/os": match os { Os::Linux => "linux", Os::Windows => "windows" }},
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "containers": [{"name": "agent", "image": image}],
    });
    if is_hardened(image, os) {
        pod["securityContext"] =
            json!({"runAsNonRoot": true, "fsGroup": FS_GROUP, "seccompProfile": {"type": "RuntimeDefault"}});
        pod["containers"][0]["securityContext"] =
            json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    }
    json!({"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": {"spec": pod}}})
}

/// Whether the default Job for this image is hardened.
pub(super) fn is_hardened(image: &str, os: Os) -> bool {
    image == DEFAULT_AGENT_IMAGE && os == Os::Linux
}
