//! What Azure DevOps and the host refuse, as findings.

use crate::{
    azure_devops::Error,
    core::{Code, Finding, HostKind, TroubleKind},
    hosts::HostError,
};

/// Why a poll failed. What changes from poll to poll is left out, so that the same trouble stays the same finding.
pub(super) fn of_poll(error: &Error, host: HostKind) -> Finding {
    let message = match error {
        Error::Throttled(_) => "Azure DevOps throttles this identity".to_owned(),
        other => other.to_string(),
    };
    let fix = match error {
        Error::Unauthorized(_) if host == HostKind::Kubernetes => Some(
            "make a personal access token with the scope \"Agent Pools (read, manage)\" in this organization and store it: \
             kubectl ado auth set"
                .to_owned(),
        ),
        other => other.fix(),
    };
    Finding::new(error.code(), message, fix)
}

/// Why a registration was not changed. `None` where that passes by itself.
pub(super) fn of_registration(error: &Error, host: HostKind) -> Option<Finding> {
    match error {
        Error::Busy(_) | Error::Gone(_) | Error::Throttled(_) => None,
        Error::Forbidden(_) => Some(Finding::new(
            Code::PoolNotManageable,
            format!("registrations cannot be changed: {error}"),
            error.fix(),
        )),
        Error::Taken(_) => Some(Finding::new(
            Code::NoPlaceholder,
            format!("the placeholder cannot be registered: {error}"),
            Some("remove the agent of that name from the pool (Organization settings > Agent pools)".to_owned()),
        )),
        other => Some(of_poll(other, host)),
    }
}

/// Why the host does not tell which agents run.
pub(super) fn of_host(error: &HostError, host: HostKind) -> Finding {
    let code = match error {
        HostError::Refused { reason: "forbidden" | "unauthorized", .. } => Code::OrchestratorForbidden,
        HostError::Refused { reason: "signed-out", .. } => Code::TokenRejected,
        HostError::Refused { reason: "quota", .. } => Code::QuotaUsedUp,
        _ => Code::HostFailing,
    };
    let way = || match (error, host) {
        (HostError::Unavailable(_), HostKind::Local) => Some("see that the disk of AGENT_FOLDER answers".to_owned()),
        (HostError::Unavailable(_), _) => {
            Some("it is asked again and again; see that the orchestrator reaches it: network, proxy, DNS".to_owned())
        }
        _ => None,
    };
    Finding::new(code, error.to_string(), error.fix().or_else(way).or_else(|| fix_of(code, host)))
}

/// Why the host did not start an agent of that name. The next one is refused under another name for the same reason.
pub(super) fn of_start(error: &HostError, run: &str, host: HostKind) -> Option<Finding> {
    let code = match error {
        // A name that is taken says nothing about the next one.
        HostError::Collision { .. } => return None,
        HostError::Unavailable(_) => Code::HostFailing,
        HostError::Credential(_) => Code::TokenRejected,
        HostError::Full { .. } => Code::QuotaUsedUp,
        HostError::Refused { reason, message, .. } => match *reason {
            "quota" => Code::QuotaUsedUp,
            // Both an account without a right and an admission webhook answer so.
            "forbidden" if message.contains("cannot create resource") => Code::OrchestratorForbidden,
            "forbidden" => Code::PodRefused,
            "unauthorized" => Code::OrchestratorForbidden,
            "signed-out" => Code::TokenRejected,
            "not-found" | "terminating" => Code::NamespaceMissing,
            "tls" | "configuration" | "unexpected" => Code::HostFailing,
            _ => Code::TemplateRefused,
        },
    };
    let message = error.to_string().replace(run, "NAME");
    Some(Finding::new(code, message, error.fix().or_else(|| fix_of(code, host))))
}

/// Where the error itself has no line.
fn fix_of(code: Code, host: HostKind) -> Option<String> {
    let line = match (code, host) {
        (Code::OrchestratorForbidden, HostKind::Kubernetes) => "kubectl ado upgrade restores the orchestrator's Role",
        (Code::TemplateRefused, HostKind::Kubernetes) => {
            "kubectl ado template validate --server -f FILE shows what the API server refuses"
        }
        (Code::PodRefused, HostKind::Kubernetes) => TroubleKind::Refused.fix(host),
        (Code::QuotaUsedUp, HostKind::Kubernetes) => TroubleKind::Quota.fix(host),
        (Code::QuotaUsedUp, HostKind::Local) => "make room on the disk of AGENT_FOLDER",
        _ => return None,
    };
    Some(line.to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_changes_from_poll_to_poll_is_no_part_of_the_finding() {
        let throttled = |seconds| of_poll(&Error::Throttled(Duration::from_secs(seconds)), HostKind::Kubernetes);
        assert_eq!(throttled(30), throttled(29));
    }

    #[test]
    fn each_failure_has_the_code_of_its_cause() {
        let text = || "x".to_owned();
        for (error, code) in [
            (Error::Unauthorized(text()), Code::TokenRejected),
            (Error::Forbidden(text()), Code::TokenLacksRights),
            (Error::NotFound(text()), Code::OrganizationNotFound),
            (Error::Unreachable(text()), Code::Unreachable),
            (Error::NoSuchPool(text()), Code::PoolNotFound),
            (Error::UnfitPool { pool: text(), reason: "r" }, Code::PoolIsHosted),
            (Error::Unavailable { status: 503, message: text() }, Code::ServiceFailing),
        ] {
            assert_eq!(of_poll(&error, HostKind::Kubernetes).code, code, "{error}");
        }
        assert_eq!(
            of_registration(&Error::Forbidden(text()), HostKind::Kubernetes).map(|finding| finding.code),
            Some(Code::PoolNotManageable)
        );
        assert_eq!(of_registration(&Error::Busy(text()), HostKind::Kubernetes), None);
    }

    #[test]
    fn a_refusal_is_the_same_for_the_next_name() {
        let refused = |name: &str| {
            let message = format!("cannot create the Job \"{name}\": quantity is wrong");
            of_start(&HostError::Refused { reason: "invalid", message, fix: None }, name, HostKind::Kubernetes)
        };
        assert_eq!(refused("one"), refused("two"));
        assert_eq!(refused("one").map(|finding| finding.code), Some(Code::TemplateRefused));
    }

    #[test]
    fn who_has_no_cluster_is_sent_to_no_verb_for_clusters() {
        let refused = |reason| HostError::Refused { reason, message: "x".into(), fix: None };
        for host in [HostKind::ContainerInstances, HostKind::Local] {
            let polled = [of_poll(&Error::Unauthorized("x".into()), host), of_host(&refused("unauthorized"), host)];
            let started =
                ["unauthorized", "invalid", "forbidden"].map(|reason| of_start(&refused(reason), "run", host));
            for finding in polled.into_iter().chain(started.into_iter().flatten()) {
                assert!(!finding.fix.unwrap_or_default().contains("kubectl"), "{:?}", finding.code);
            }
        }
        let code = |error: &HostError| of_start(error, "run", HostKind::ContainerInstances).map(|finding| finding.code);
        assert_eq!(code(&refused("signed-out")), Some(Code::TokenRejected));
        let silent = of_host(&HostError::Unavailable("no answer".into()), HostKind::Local);
        assert!(silent.fix.is_some_and(|fix| fix.contains("disk") && !fix.contains("DNS")));
        let full = HostError::Full { message: "no room".into(), fix: "make some".into() };
        let finding = of_start(&full, "run", HostKind::ContainerInstances).unwrap();
        assert_eq!((finding.code, finding.fix.as_deref()), (Code::QuotaUsedUp, Some("make some")));
    }
}
