//! From errors of the cluster to what the orchestrator is told.

use crate::{
    cluster::{ClusterError, ErrorKind},
    hosts::HostError,
};

/// What an error means to the one who asked for an agent in this namespace.
pub(in crate::hosts) fn refused(error: ClusterError, namespace: &str) -> HostError {
    let reason = match error.kind {
        ErrorKind::Unauthorized => "unauthorized",
        ErrorKind::Forbidden => "forbidden",
        ErrorKind::Quota => "quota",
        ErrorKind::Terminating => "terminating",
        ErrorKind::NotFound => "not-found",
        ErrorKind::Invalid => "invalid",
        ErrorKind::Tls => "tls",
        ErrorKind::Configuration => "configuration",
        ErrorKind::AlreadyExists | ErrorKind::Unexpected => "unexpected",
        ErrorKind::Conflict | ErrorKind::Busy | ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::Expired => {
            return HostError::Unavailable(error.message);
        }
    };
    let fix = error.fix.or_else(|| match error.kind {
        ErrorKind::NotFound if error.message.contains("namespaces \"") => Some(create_namespace(namespace)),
        ErrorKind::Terminating => {
            Some(format!("wait until it is gone, then {} and restart", create_namespace(namespace)))
        }
        ErrorKind::Invalid => {
            Some("correct the Job template, the image or the settings that the message names".to_owned())
        }
        _ => None,
    });
    HostError::Refused { reason, message: error.message, fix }
}

/// The line that makes a namespace.
pub(super) fn create_namespace(namespace: &str) -> String {
    format!("kubectl create namespace {namespace}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: ErrorKind, message: &str) -> ClusterError {
        ClusterError { kind, message: message.to_owned(), fix: None }
    }

    #[test]
    fn what_may_pass_by_itself_is_unavailable_and_the_rest_is_refused() {
        for kind in [ErrorKind::Busy, ErrorKind::Unreachable, ErrorKind::Timeout, ErrorKind::Conflict] {
            assert_eq!(refused(error(kind, "m"), "n"), HostError::Unavailable("m".into()));
        }
        for (kind, reason) in
            [(ErrorKind::Quota, "quota"), (ErrorKind::Forbidden, "forbidden"), (ErrorKind::Invalid, "invalid")]
        {
            assert_eq!(refused(error(kind, "m"), "n").reason(), reason);
        }
    }

    #[test]
    fn a_namespace_that_went_away_comes_with_the_line_that_makes_it() {
        let refused = refused(error(ErrorKind::NotFound, "cannot create: namespaces \"n\" not found"), "n");
        assert!(matches!(refused, HostError::Refused { fix: Some(fix), .. } if fix == "kubectl create namespace n"));
    }
}
