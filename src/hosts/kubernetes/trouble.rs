//! What keeps an agent from starting, from the words of the kubelet, the scheduler, and those who refuse pods.

use crate::core::{Trouble, TroubleKind};

/// By the reason why a container waits. `None` where waiting is nothing out of the ordinary.
pub(super) fn of_waiting(reason: &str, message: &str) -> Option<Trouble> {
    let kind = match reason {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "ImageInspectError"
        | "RegistryUnavailable"
        | "SignatureValidationFailed" => TroubleKind::Image,
        // The image and the pod's security context do not go together: "container has runAsNonRoot and image will run
        // as root".
        "CreateContainerConfigError" if message.contains("runAsNonRoot") || message.contains("non-numeric user") => {
            TroubleKind::Refused
        }
        // A Secret or ConfigMap, or a key in it, that a variable is taken from is missing.
        "CreateContainerConfigError" => TroubleKind::Volume,
        "CreateContainerError" if ["mount", "volume"].iter().any(|word| message.contains(word)) => TroubleKind::Volume,
        // "no command specified", "exec format error": what was pulled cannot be run.
        "CreateContainerError" | "RunContainerError" => TroubleKind::Image,
        _ => return None,
    };
    Some(Trouble { kind, message: join(reason, message) })
}

/// By what the scheduler says of a pod that fits no node.
pub(super) fn of_unschedulable(message: &str) -> Trouble {
    // `persistentvolumeclaim "x" not found`, `pod has unbound immediate PersistentVolumeClaims`, `node(s) had volume
    // node affinity conflict`.
    let volume = ["persistentvolumeclaim \"", "unbound immediate PersistentVolumeClaims", "volume node affinity"];
    let kind = if volume.iter().any(|words| message.contains(words)) {
        TroubleKind::Volume
    } else {
        TroubleKind::Unschedulable
    };
    Trouble { kind, message: join("Unschedulable", message) }
}

/// By the Event of a Job whose pod was refused.
pub(super) fn of_refused_pod(message: &str) -> Trouble {
    let message = message.strip_prefix("Error creating: ").unwrap_or(message);
    // "failed quota: q: must specify limits.cpu" passes with no time, so it is a refusal like any other.
    let kind = if message.contains("exceeded quota") { TroubleKind::Quota } else { TroubleKind::Refused };
    Trouble { kind, message: message.to_owned() }
}

/// By a warning about a pod that has a place and does not start. `None` where it tells of something else.
pub(super) fn of_pod_warning(reason: &str, message: &str) -> Option<Trouble> {
    let kind = match reason {
        "FailedMount" | "FailedAttachVolume" | "FailedMapVolume" => TroubleKind::Volume,
        _ => return None,
    };
    Some(Trouble { kind, message: join(reason, message) })
}

/// `Reason: message`, or what there is of it.
pub(super) fn join(reason: &str, message: &str) -> String {
    [reason, message].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_that_wait_for_something_to_be_mended_are_told_apart() {
        for (reason, message, kind) in [
            ("ErrImagePull", "failed to pull and unpack image: not found", Some(TroubleKind::Image)),
            ("ImagePullBackOff", "Back-off pulling image \"x\"", Some(TroubleKind::Image)),
            ("InvalidImageName", "couldn't parse image name \"X:\"", Some(TroubleKind::Image)),
            ("ErrImageNeverPull", "Container image \"x\" is not present", Some(TroubleKind::Image)),
            ("CreateContainerConfigError", "secret \"s\" not found", Some(TroubleKind::Volume)),
            ("CreateContainerConfigError", "couldn't find key k in ConfigMap n/c", Some(TroubleKind::Volume)),
            (
                "CreateContainerConfigError",
                "container has runAsNonRoot and image will run as root",
                Some(TroubleKind::Refused),
            ),
            ("CreateContainerError", "no command specified", Some(TroubleKind::Image)),
            ("CreateContainerError", "failed to generate spec: failed to stat volume", Some(TroubleKind::Volume)),
            ("ContainerCreating", "", None),
            ("PodInitializing", "", None),
            ("CrashLoopBackOff", "back-off 10s restarting failed container", None),
        ] {
            let found = of_waiting(reason, message);
            assert_eq!(found.as_ref().map(|trouble| trouble.kind), kind, "{reason}: {message}");
            assert!(found.is_none_or(|trouble| trouble.message == format!("{reason}: {message}")));
        }
    }

    #[test]
    fn a_claim_that_is_missing_is_no_lack_of_nodes() {
        for (message, kind) in [
            ("0/3 nodes are available: 3 Insufficient cpu.", TroubleKind::Unschedulable),
            ("0/1 nodes are available: persistentvolumeclaim \"cache\" not found.", TroubleKind::Volume),
            ("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.", TroubleKind::Volume),
            ("0/1 nodes are available: 1 node(s) had volume node affinity conflict.", TroubleKind::Volume),
        ] {
            assert_eq!(of_unschedulable(message).kind, kind, "{message}");
        }
    }

    #[test]
    fn whoever_refuses_a_pod_is_quoted() {
        for (message, kind) in [
            (
                "Error creating: pods \"a-x\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=10, limited: pods=10",
                TroubleKind::Quota,
            ),
            (
                "Error creating: pods \"a-x\" is forbidden: failed quota: q: must specify limits.cpu for: agent",
                TroubleKind::Refused,
            ),
            (
                "Error creating: pods \"a-x\" is forbidden: violates PodSecurity \"restricted:latest\": privileged",
                TroubleKind::Refused,
            ),
            (
                "Error creating: pods \"a-x\" is forbidden: maximum memory usage per Container is 1Gi, but limit is 2Gi",
                TroubleKind::Refused,
            ),
            ("Error creating: admission webhook \"w\" denied the request: no", TroubleKind::Refused),
            ("Error creating: pods \"a-x\" is forbidden: error looking up service account", TroubleKind::Refused),
        ] {
            let found = of_refused_pod(message);
            assert_eq!(found.kind, kind, "{message}");
            assert_eq!(format!("Error creating: {}", found.message), message);
        }
    }

    #[test]
    fn of_a_pod_s_warnings_those_of_its_volumes_count() {
        let found = of_pod_warning("FailedMount", "MountVolume.SetUp failed for volume \"t\" : secret \"s\" not found");
        assert_eq!(found.unwrap().kind, TroubleKind::Volume);
        assert_eq!(of_pod_warning("BackOff", "Back-off pulling image"), None);
    }
}
