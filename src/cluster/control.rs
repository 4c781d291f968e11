//! The control document of a running orchestrator: read, changed and written back without losing what somebody else
//! wrote meanwhile.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
};

use super::{CONTROL_KEY, Cluster, ClusterError, ErrorKind, objects::FIELD_MANAGER};
use crate::core::Control;

/// How often a write is repeated that met somebody else's.
const TRIES: u32 = 5;

/// What the ConfigMap of this name asks for; `None` if it is not there.
///
/// # Errors
///
/// It may not be read, or the cluster does not answer.
pub async fn read_control(cluster: &Cluster, namespace: &str, name: &str) -> Result<Option<Control>, ClusterError> {
    Ok(read(cluster, namespace, name).await?.map(|map| parse(&map)))
}

/// Changes what the ConfigMap of this name asks for, and makes it if it is not there.
///
/// # Errors
///
/// It may not be read or written, or the cluster does not answer.
pub async fn change_control(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    change: impl Fn(&mut Control),
) -> Result<(), ClusterError> {
    let api: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), namespace);
    let by = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let mut tries = 0;
    loop {
        tries += 1;
        let found = read(cluster, namespace, name).await?;
        let mut control = found.as_ref().map(parse).unwrap_or_default();
        change(&mut control);
        let text = serde_json::to_string(&control).unwrap_or_default();
        let what = format!("write the ConfigMap \"{name}\" in namespace \"{namespace}\"");
        let written = match found {
            Some(mut map) => {
                map.data.get_or_insert_default().insert(CONTROL_KEY.to_owned(), text);
                cluster.call(&what, api.replace(name, &by, &map)).await
            }
            None => {
                let labels = [("name", "kubectl-ado"), ("component", "control"), ("part-of", "kubectl-ado")];
                let labels = labels.map(|(key, value)| (format!("app.kubernetes.io/{key}"), value.to_owned()));
                let name = Some(name.to_owned());
                let metadata = ObjectMeta { name, labels: Some(labels.into()), ..ObjectMeta::default() };
                let data = Some([(CONTROL_KEY.to_owned(), text)].into());
                cluster.call(&what, api.create(&by, &ConfigMap { metadata, data, ..ConfigMap::default() })).await
            }
        };
        match written {
            Ok(_) => return Ok(()),
            Err(error) if tries < TRIES && matches!(error.kind, ErrorKind::Conflict | ErrorKind::AlreadyExists) => {}
            Err(error) => return Err(error),
        }
    }
}

async fn read(cluster: &Cluster, namespace: &str, name: &str) -> Result<Option<ConfigMap>, ClusterError> {
    let api: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), namespace);
    cluster.call(&format!("get the ConfigMap \"{name}\" in namespace \"{namespace}\""), api.get_opt(name)).await
}

/// What cannot be read asks for nothing.
fn parse(map: &ConfigMap) -> Control {
    let text = map.data.as_ref().and_then(|data| data.get(CONTROL_KEY));
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}
