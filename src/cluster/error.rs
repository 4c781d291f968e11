//! What went wrong with the cluster, in people's words and with the line that mends it.

use std::error::Error;

use kube::core::Status;

/// The longest message that is passed on; a proxy may answer with a whole page.
const LONGEST_MESSAGE: usize = 600;

/// An error of the cluster or on the way to it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ClusterError {
    /// What sort of error it is.
    pub kind: ErrorKind,
    /// What could not be done and why; one line.
    pub message: String,
    /// The line that mends it.
    pub fix: Option<String>,
}

/// The sorts of errors that somebody tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// There is no cluster to talk to, or the kubeconfig cannot be used.
    Configuration,
    /// The cluster does not accept our credentials (401).
    Unauthorized,
    /// The account lacks a right (403), or an admission rule says no.
    Forbidden,
    /// A ResourceQuota is used up (403).
    Quota,
    /// The namespace is being deleted (403).
    Terminating,
    /// It does not exist (404).
    NotFound,
    /// It exists (409).
    AlreadyExists,
    /// Somebody else changed it at the same time, or a precondition does not hold (409).
    Conflict,
    /// The version or the page that was asked for is too old (410).
    Expired,
    /// The object is not valid (400, 422).
    Invalid,
    /// The API server is overloaded or ill (429, 5xx).
    Busy,
    /// No connection can be made, or it broke.
    Unreachable,
    /// The certificates do not fit.
    Tls,
    /// It did not answer in time. Whether the call took effect is not known.
    Timeout,
    /// Anything else.
    Unexpected,
}

impl ErrorKind {
    /// Whether the same call may well succeed a little later.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Busy | Self::Unreachable | Self::Timeout | Self::Conflict | Self::Expired)
    }

    /// Whether a call that failed so may have taken effect all the same.
    #[must_use]
    pub fn is_outcome_unknown(self) -> bool {
        matches!(self, Self::Busy | Self::Unreachable | Self::Timeout | Self::Unexpected)
    }
}

impl ClusterError {
    /// Puts an error of kube into words. `what` completes the sentence "cannot …".
    pub(crate) fn from_kube(what: &str, error: &kube::Error) -> Self {
        let (kind, why, fix) = match error {
            kube::Error::Api(status) => from_status(status),
            other => from_transport(other),
        };
        Self { kind, message: format!("cannot {what}: {}", one_line(&why)), fix }
    }

    pub(super) fn configuration(message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Configuration, message: one_line(&message.into()), fix: Some(fix.into()) }
    }
}

/// By the HTTP status: kube's `is_not_found` and the like (5.0.0) know answers that are no Kubernetes Status, such as a
/// proxy's or that of an API group which is not there, neither by reason nor by code.
fn from_status(status: &Status) -> (ErrorKind, String, Option<String>) {
    let said = if status.message.is_empty() { &status.reason } else { &status.message };
    let caused_by = |reason: &str| {
        let causes = status.details.iter().flat_map(|details| &details.causes);
        causes.into_iter().any(|cause| cause.reason == reason)
    };
    if status.code == 401 {
        let why = "the cluster does not accept our credentials (401 Unauthorized)".to_owned();
        let fix = "sign in again (`kubectl get namespaces` must work with the same kubeconfig); in a pod, check its ServiceAccount";
        return (ErrorKind::Unauthorized, why, Some(fix.to_owned()));
    }
    if status.code == 403 {
        return if caused_by("NamespaceTerminating") {
            (ErrorKind::Terminating, said.clone(), None)
        } else if said.contains("exceeded quota") {
            let fix = "kubectl describe quota shows what is used up";
            (ErrorKind::Quota, said.clone(), Some(fix.to_owned()))
        } else {
            (ErrorKind::Forbidden, said.clone(), missing_right(said))
        };
    }
    let kind = match (status.code, status.reason.as_str()) {
        (_, "AlreadyExists") => ErrorKind::AlreadyExists,
        (410, _) => ErrorKind::Expired,
        (409, _) => ErrorKind::Conflict,
        (404, _) => ErrorKind::NotFound,
        (400 | 422, _) => ErrorKind::Invalid,
        (429 | 500.., _) => ErrorKind::Busy,
        _ => ErrorKind::Unexpected,
    };
    let why = if kind == ErrorKind::Busy { format!("{said} (HTTP {})", status.code) } else { said.clone() };
    (kind, why, None)
}

/// RBAC says `User "u" cannot VERB resource "r" in API group "g" in the namespace "n"`; the mend depends on who we are.
fn missing_right(said: &str) -> Option<String> {
    let quoted = |after: &str| said.split_once(after)?.1.split_once('"').map(|(inside, _)| inside);
    let user = quoted("User \"")?;
    let verb = said.split_once("\" cannot ")?.1.split_once(' ')?.0;
    let resource = quoted("resource \"")?;
    let resource = match quoted("in API group \"") {
        Some(group) if !group.is_empty() => format!("{resource}.{group}"),
        _ => resource.to_owned(),
    };
    let namespace = quoted("in the namespace \"");
    let account = user.strip_prefix("system:serviceaccount:").and_then(|account| account.split_once(':'));
    Some(match (account, namespace) {
        // The Role alone gives nobody anything, and an account of another namespace is not the one that ours is bound to.
        (Some((of, name)), Some(namespace)) => format!(
            "kubectl apply -n {namespace} -f manifests/role.yaml; kubectl create rolebinding kubectl-ado-{of}-{name} \
             -n {namespace} --role=kubectl-ado --serviceaccount={of}:{name}"
        ),
        _ => {
            let scope = namespace.map(|namespace| format!(" -n {namespace}")).unwrap_or_default();
            format!(
                "have the right to {verb} {resource} given to {user}; `kubectl auth can-i {verb} {resource}{scope}` shows it"
            )
        }
    })
}

fn from_transport(error: &kube::Error) -> (ErrorKind, String, Option<String>) {
    let mut kind = match error {
        kube::Error::Service(_) | kube::Error::HyperError(_) => ErrorKind::Unreachable,
        _ => ErrorKind::Unexpected,
    };
    let mut words: Vec<String> = Vec::new();
    let mut next: Option<&(dyn Error + 'static)> = match error {
        kube::Error::Service(inner) => Some(inner.as_ref()),
        kube::Error::HyperError(inner) => Some(inner),
        other => Some(other),
    };
    while let Some(link) = next {
        next = link.source();
        if link.is::<kube::client::AuthError>() {
            kind = ErrorKind::Unauthorized;
        }
        if link.is::<rustls::Error>() {
            kind = ErrorKind::Tls;
        }
        if let Some(io) = link.downcast_ref::<std::io::Error>() {
            if io.kind() == std::io::ErrorKind::TimedOut {
                kind = ErrorKind::Timeout;
            }
            if is_tls(io) {
                kind = ErrorKind::Tls;
            }
        }
        let text = link.to_string();
        // Many errors repeat what the next one says, and hyper's own says nothing.
        if !text.starts_with("client error (") && !words.iter().any(|known| known.contains(&text)) {
            words.push(text);
        }
    }
    if words.is_empty() {
        words.push(error.to_string());
    }
    let fix = match kind {
        ErrorKind::Tls => Some("check certificate-authority and tls-server-name in the kubeconfig, and the clock"),
        ErrorKind::Unauthorized => {
            Some("`kubectl get namespaces` must work with the same kubeconfig, its sign-in program included")
        }
        _ => None,
    };
    (kind, words.join(": "), fix.map(str::to_owned))
}

/// An I/O error that wraps another error does not show it as its source, and TLS errors come wrapped twice.
fn is_tls(error: &std::io::Error) -> bool {
    let Some(inner) = error.get_ref() else { return false };
    inner.is::<rustls::Error>() || inner.downcast_ref::<std::io::Error>().is_some_and(is_tls)
}

/// One line of a bearable length, without control characters.
fn one_line(text: &str) -> String {
    let mut line = text.split(|c: char| c.is_control() || c == ' ').filter(|word| !word.is_empty()).fold(
        String::new(),
        |mut line, word| {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
            line
        },
    );
    if let Some((end, _)) = line.char_indices().nth(LONGEST_MESSAGE) {
        line.truncate(end);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_api(code: u16, reason: &str, message: &str) -> ClusterError {
        let status = Status::failure(message, reason).with_code(code);
        ClusterError::from_kube("do it", &kube::Error::Api(status.boxed()))
    }

    #[test]
    fn each_answer_of_the_api_server_has_its_kind() {
        for (code, reason, message, kind) in [
            (401, "Unauthorized", "Unauthorized", ErrorKind::Unauthorized),
            (403, "Forbidden", "jobs.batch \"x\" is forbidden: exceeded quota: q, requested: a", ErrorKind::Quota),
            (403, "Forbidden", "admission webhook \"w\" denied the request", ErrorKind::Forbidden),
            (404, "NotFound", "namespaces \"x\" not found", ErrorKind::NotFound),
            (404, "Failed to parse error data", "404 page not found", ErrorKind::NotFound),
            (409, "AlreadyExists", "jobs.batch \"x\" already exists", ErrorKind::AlreadyExists),
            (409, "Conflict", "the object has been modified", ErrorKind::Conflict),
            (422, "Invalid", "Job.batch \"x\" is invalid", ErrorKind::Invalid),
            (429, "TooManyRequests", "too many requests", ErrorKind::Busy),
            (503, "", "upstream connect error", ErrorKind::Busy),
            (410, "Expired", "too old resource version", ErrorKind::Expired),
            (418, "", "teapot", ErrorKind::Unexpected),
        ] {
            assert_eq!(from_api(code, reason, message).kind, kind, "{code} {message}");
        }
    }

    #[test]
    fn a_missing_right_comes_with_the_role_and_its_binding_to_the_account() {
        let said = "jobs.batch is forbidden: User \"system:serviceaccount:ado:default\" cannot list resource \"jobs\" in API group \"batch\" in the namespace \"agents\"";
        let error = from_api(403, "Forbidden", said);
        assert_eq!(error.kind, ErrorKind::Forbidden);
        assert!(error.message.contains("cannot list resource \"jobs\""), "{error}");
        assert_eq!(
            error.fix.unwrap(),
            "kubectl apply -n agents -f manifests/role.yaml; kubectl create rolebinding kubectl-ado-ado-default -n agents --role=kubectl-ado --serviceaccount=ado:default"
        );
    }

    #[test]
    fn a_person_is_told_which_right_to_ask_for() {
        let said = "namespaces \"x\" is forbidden: User \"jane\" cannot get resource \"namespaces\" in API group \"\" in the namespace \"x\"";
        let fix = from_api(403, "Forbidden", said).fix.unwrap();
        assert!(fix.contains("kubectl auth can-i get namespaces -n x"), "{fix}");
    }

    #[test]
    fn a_certificate_that_does_not_fit_is_told_apart_however_it_is_wrapped() {
        let inner = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let wrapped = std::io::Error::other(std::io::Error::new(std::io::ErrorKind::InvalidData, inner));
        let error = ClusterError::from_kube("do it", &kube::Error::Service(Box::new(wrapped)));
        assert_eq!(error.kind, ErrorKind::Tls);
        assert_eq!(error.message, "cannot do it: invalid peer certificate: UnknownIssuer");
    }

    #[test]
    fn a_page_of_html_becomes_one_bearable_line() {
        let page = format!("<html>\n\u{1b}[31m{}", "x ".repeat(5000));
        let message = from_api(502, "", &page).message;
        assert!(message.chars().count() < 700 && !message.contains(['\n', '\u{1b}']), "{message}");
    }
}
