//! Many small patches at once, none of which matters for long.

use futures::StreamExt;

use crate::cluster::{ClusterError, ErrorKind};

/// How many Jobs or pods are patched at once.
const AT_ONCE: usize = 8;

/// Makes all of them. An object that is gone needs none; of other errors the first is told, after the rest was tried.
pub(super) async fn make<T>(
    patches: impl IntoIterator<Item = impl Future<Output = Result<T, ClusterError>>>,
) -> Result<(), ClusterError> {
    let mut results = futures::stream::iter(patches).buffer_unordered(AT_ONCE);
    let mut outcome = Ok(());
    while let Some(result) = results.next().await {
        match result {
            Err(error) if !is_gone(&error) && outcome.is_ok() => outcome = Err(error),
            _ => {}
        }
    }
    outcome
}

/// Whether the object is gone, or another one has its name by now: to the API server a patch with the uid of the former one
/// is an attempt to change what never changes.
fn is_gone(error: &ClusterError) -> bool {
    match error.kind {
        ErrorKind::NotFound | ErrorKind::Conflict => true,
        ErrorKind::Invalid => error.message.contains("metadata.uid: Invalid value"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: ErrorKind, message: &str) -> ClusterError {
        ClusterError { kind, message: message.to_owned(), fix: None }
    }

    #[test]
    fn a_namesake_is_no_trouble() {
        let says = |kind, message: &str| is_gone(&error(kind, message));
        let uid =
            "Job.batch \"a\" is invalid: [metadata.uid: Invalid value: \"u\": field is immutable, spec.selector: …]";
        assert!(says(ErrorKind::Invalid, uid));
        assert!(!says(
            ErrorKind::Invalid,
            "Job.batch \"a\" is invalid: spec.ttlSecondsAfterFinished: Invalid value: -1"
        ));
        assert!(says(ErrorKind::NotFound, "") && !says(ErrorKind::Busy, ""));
    }

    #[tokio::test]
    async fn the_first_trouble_is_told_after_all_were_tried() {
        let tried = std::cell::RefCell::new(0);
        let kinds = [ErrorKind::NotFound, ErrorKind::Forbidden, ErrorKind::Busy];
        let patches = kinds.map(|kind| {
            let tried = &tried;
            async move {
                *tried.borrow_mut() += 1;
                Err::<(), _>(error(kind, ""))
            }
        });
        assert_eq!(make(patches).await.unwrap_err().kind, ErrorKind::Forbidden);
        assert_eq!(*tried.borrow(), 3);
    }
}
