//! The control document: read it, change it, write it over the version that was read, and begin again where somebody was
//! faster.
//!
//! Rights in the agents' namespace: ConfigMaps get, create, update.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
};

use super::{CONTROL_KEY, Cluster, ClusterError, ErrorKind, control_name};
use crate::core::Control;

/// So many people at once do not ask for things.
const TRIES: u32 = 8;

const US: &str = "kubectl-ado";

/// Changes what is asked of the orchestrator that leads by this Lease; `change` may be called several times. Gives what
/// it says then. Where nothing changes, nothing is written.
///
/// # Errors
///
/// ConfigMaps may not be written there, the document cannot be understood, or others write all the time.
pub async fn change_control(
    cluster: &Cluster,
    namespace: &str,
    lease: &str,
    dry_run: bool,
    mut change: impl FnMut(&mut Control),
) -> Result<Control, ClusterError> {
    let name = control_name(lease);
    let api = Api::<ConfigMap>::namespaced(cluster.client.clone(), namespace);
    let doing = |what: &str| format!("{what} the ConfigMap \"{name}\" in namespace \"{namespace}\"");
    let by = PostParams { field_manager: Some(US.to_owned()), dry_run };
    let mut tries = 0;
    loop {
        tries += 1;
        let found = cluster.call(&doing("get"), api.get_opt(&name)).await?;
        let text = found.as_ref().and_then(|map| map.data.as_ref()).and_then(|data| data.get(CONTROL_KEY));
        let before: Control = match text {
            Some(text) => serde_json::from_str(text).map_err(|error| unreadable(&doing("read"), &error))?,
            None => Control::default(),
        };
        let mut after = before.clone();
        change(&mut after);
        if after == before {
            return Ok(after);
        }
        let text = serde_json::to_string_pretty(&after).map_err(|error| unreadable(&doing("write"), &error))?;
        let written = match found {
            Some(mut map) => {
                map.data.get_or_insert_default().insert(CONTROL_KEY.to_owned(), text);
                cluster.call(&doing("update"), api.replace(&name, &by, &map)).await
            }
            None => cluster.call(&doing("create"), api.create(&by, &new_map(&name, text))).await,
        };
        match written {
            Ok(_) => return Ok(after),
            Err(error) if tries < TRIES && is_race(error.kind) => {}
            Err(error) => return Err(error),
        }
    }
}

fn is_race(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Conflict | ErrorKind::AlreadyExists | ErrorKind::NotFound)
}

fn unreadable(what: &str, error: &serde_json::Error) -> ClusterError {
    ClusterError {
        kind: ErrorKind::Unexpected,
        message: format!("cannot {what}: {error}"),
        fix: Some("delete that ConfigMap: pauses are forgotten with it".to_owned()),
    }
}

fn new_map(name: &str, text: String) -> ConfigMap {
    let labels = [("name", US), ("component", "control"), ("part-of", US)];
    let labels = labels.map(|(key, value)| (format!("app.kubernetes.io/{key}"), value.to_owned()));
    ConfigMap {
        metadata: ObjectMeta { name: Some(name.to_owned()), labels: Some(labels.into()), ..ObjectMeta::default() },
        data: Some(BTreeMap::from([(CONTROL_KEY.to_owned(), text)])),
        ..ConfigMap::default()
    }
}
