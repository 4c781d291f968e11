//! The deadline. kube waits for an answer without end, so every call goes through [`call`].

use std::time::Duration;

use super::{ClusterError, ErrorKind};

/// How long an API server may take to answer one call.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Makes one call to the cluster. `what` completes the sentence "cannot …": `list the Jobs in namespace "ado"`.
///
/// # Errors
///
/// The call failed or took longer than [`DEADLINE`]. In the second case nobody knows whether it took effect.
pub async fn call<T>(what: &str, call: impl Future<Output = kube::Result<T>>) -> Result<T, ClusterError> {
    call_within(DEADLINE, what, call).await
}

/// [`call`] with a deadline of its own.
pub(super) async fn call_within<T>(
    deadline: Duration,
    what: &str,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, ClusterError> {
    match tokio::time::timeout(deadline, call).await {
        Ok(answer) => answer.map_err(|error| ClusterError::from_kube(what, &error)),
        Err(_) => Err(ClusterError {
            kind: ErrorKind::Timeout,
            message: format!("cannot {what}: the cluster did not answer within {} s", deadline.as_secs()),
            fix: None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_without_an_answer_ends_at_its_deadline() {
        let error = call("list the Jobs", std::future::pending::<kube::Result<()>>()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Timeout);
        assert_eq!(error.message, "cannot list the Jobs: the cluster did not answer within 10 s");
    }
}
