//! Before the first pass: the namespace, and who we are.

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, api::ObjectMeta};

use super::{
    failure::{create_namespace, refused},
    keys,
};
use crate::{
    cluster::{ClusterError, ErrorKind, call},
    config::KubernetesConfig,
    core::Installation,
    hosts::HostError,
};

/// Sees to it that the namespace is there, and tells who we are: `configured` (INSTALLATION_ID), else a hash of the
/// namespace's UID, which two clusters or namespaces never share.
///
/// # Errors
///
/// The namespace is missing and cannot be created, is being deleted, or nothing tells who we are. Each names its mend.
pub async fn prepare(
    client: &Client,
    settings: &KubernetesConfig,
    configured: Option<&str>,
) -> Result<Installation, HostError> {
    let namespace = settings.namespace.as_str();
    let api: Api<Namespace> = Api::all(client.clone());
    let got = call(&format!("get the namespace \"{namespace}\""), api.get(namespace)).await;
    let found = match got {
        Ok(found) => Some(found),
        Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Forbidden) => {
            missing(&api, settings, error, configured.is_some()).await?
        }
        Err(error) => return Err(refused(error, namespace)),
    };
    if let Some(Some("Terminating")) = found.as_ref().map(|found| found.status.as_ref()?.phase.as_deref()) {
        let message = format!("the namespace \"{namespace}\" is being deleted");
        let fix = format!("wait until it is gone, then {}", create_namespace(namespace));
        return Err(HostError::Refused { reason: "terminating", message, fix: Some(fix) });
    }
    let uid = found.and_then(|found| found.metadata.uid);
    match (configured, uid) {
        (Some(id), _) => Ok(Installation::new(id)),
        (None, Some(uid)) => Ok(Installation::of_namespace(&uid)),
        (None, None) => Err(HostError::Refused {
            reason: "installation",
            message: format!(
                "who we are is not known: the namespace \"{namespace}\" cannot be read and INSTALLATION_ID is not set"
            ),
            fix: Some(format!("kubectl apply -n {namespace} -f manifests/role.yaml, or set INSTALLATION_ID")),
        }),
    }
}

/// The namespace is not there, or we may not see it. Where it may be there all the same, the answer is `None`.
async fn missing(
    api: &Api<Namespace>,
    settings: &KubernetesConfig,
    unseen: ClusterError,
    known_id: bool,
) -> Result<Option<Namespace>, HostError> {
    let namespace = settings.namespace.as_str();
    let hidden = unseen.kind == ErrorKind::Forbidden;
    // A Role lives in its namespace, so that one which cannot be seen may be missing together with its Role.
    let rights = unseen.fix.map(|fix| format!("{fix}; ")).unwrap_or_default();
    let unseen = |why: String| HostError::Refused {
        reason: "forbidden",
        message: format!("the namespace \"{namespace}\" does not exist, or this account may not see it: {why}"),
        fix: Some(format!(
            "{}; {rights}or set INSTALLATION_ID if the account may not see it",
            create_namespace(namespace)
        )),
    };
    if !settings.initialize_namespace {
        return match (hidden, known_id) {
            (true, true) => Ok(None),
            (true, false) => Err(unseen("INITIALIZE_NAMESPACE is off".to_owned())),
            (false, _) => Err(HostError::Refused {
                reason: "not-found",
                message: format!("the namespace \"{namespace}\" does not exist, and INITIALIZE_NAMESPACE is off"),
                fix: Some(create_namespace(namespace)),
            }),
        };
    }
    let labels = [(keys::MANAGED_BY.to_owned(), keys::US.to_owned())].into();
    let metadata = ObjectMeta { name: Some(namespace.to_owned()), labels: Some(labels), ..ObjectMeta::default() };
    let wanted = Namespace { metadata, ..Namespace::default() };
    let what = format!("create the namespace \"{namespace}\"");
    match call(&what, api.create(&keys::as_us(), &wanted)).await {
        Ok(made) => {
            tracing::info!(namespace, "created the namespace");
            Ok(Some(made))
        }
        Err(error) if error.kind == ErrorKind::AlreadyExists && hidden => Ok(None),
        Err(error) if error.kind == ErrorKind::AlreadyExists => {
            let again = call(&format!("get the namespace \"{namespace}\""), api.get(namespace)).await;
            again.map(Some).map_err(|error| refused(error, namespace))
        }
        Err(error) if error.kind == ErrorKind::Forbidden && hidden && known_id => Ok(None),
        Err(error) if error.kind == ErrorKind::Forbidden && hidden => Err(unseen(error.message)),
        Err(error) if error.kind == ErrorKind::Forbidden => Err(HostError::Refused {
            reason: "forbidden",
            message: format!("the namespace \"{namespace}\" does not exist, and we {}", error.message),
            fix: Some(create_namespace(namespace)),
        }),
        Err(error) => Err(refused(error, namespace)),
    }
}
