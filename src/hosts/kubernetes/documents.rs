//! What goes along with a Job template: volumes, claims, settings. Applied once at start, by server-side apply.

use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::Value;

use super::keys;
use crate::cluster::{ErrorKind, call, resolve_kind};

/// The longest document that is printed as part of a command line.
const LONGEST_LINE: usize = 1000;

/// A document that could not be applied, and is not there either. Jobs may need it, so it is worth telling; the rest
/// goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentProblem {
    /// Which document, and why.
    pub message: String,
    /// The line that mends it.
    pub fix: Option<String>,
}

/// Applies documents; those of kind `List` are taken apart.
pub(super) async fn apply_documents(client: &Client, namespace: &str, documents: &[&Value]) -> Vec<DocumentProblem> {
    let mut problems = Vec::new();
    for document in documents.iter().flat_map(|document| {
        let is_list = document["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
        match document["items"].as_array().filter(|_| is_list) {
            Some(items) => items.iter().collect(),
            None => vec![*document],
        }
    }) {
        problems.extend(apply(client, namespace, document).await);
    }
    problems
}

async fn apply(client: &Client, namespace: &str, document: &Value) -> Option<DocumentProblem> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (version, kind) = (text(&document["apiVersion"]), text(&document["kind"]));
    let name = text(&document["metadata"]["name"]);
    if version.is_empty() || kind.is_empty() || name.is_empty() {
        let message = format!("a document of the Job template lacks apiVersion, kind or metadata.name: {kind} {name}");
        return Some(DocumentProblem { message, fix: Some("name what it is in the template's file".to_owned()) });
    }
    let problem =
        |message: String| Some(DocumentProblem { message, fix: Some(mend(namespace, &kind, &name, document)) });
    let (resource, namespaced) = match resolve_kind(client, &version, &kind).await {
        Ok(resolved) => resolved,
        Err(why) => return problem(format!("{kind} \"{name}\" of the Job template: {why}")),
    };
    let place = document["metadata"]["namespace"].as_str().unwrap_or(namespace);
    let api: Api<DynamicObject> = match namespaced {
        true => Api::namespaced_with(client.clone(), place, &resource),
        false => Api::all_with(client.clone(), &resource),
    };
    let params = PatchParams::apply(keys::US);
    let what = format!("apply {kind} \"{name}\" of the Job template");
    let Err(error) = call(&what, api.patch(&name, &params, &Patch::Apply(document))).await else {
        tracing::debug!(kind, name, "applied a document of the Job template");
        return None;
    };
    // A cluster-scoped object is made by the person who installs; it is enough that it is there.
    if error.kind == ErrorKind::Forbidden {
        match call(&format!("get {kind} \"{name}\""), api.get_metadata(&name)).await {
            Ok(_) => return None,
            Err(seen) if seen.kind == ErrorKind::NotFound => {
                return problem(format!("{error}; it does not exist yet"));
            }
            Err(_) => return problem(format!("{error}; whether it exists may not be seen either")),
        }
    }
    problem(error.message)
}

/// The line that applies the document by hand. The content of a Secret is not printed.
fn mend(namespace: &str, kind: &str, name: &str, document: &Value) -> String {
    let line = document.to_string();
    if kind == "Secret" || line.len() > LONGEST_LINE {
        return format!("put {kind} \"{name}\" into a file of its own, then kubectl apply -n {namespace} -f FILE");
    }
    // How a shell writes a single quote between single quotes.
    format!("echo '{}' | kubectl apply -n {namespace} -f -", line.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_mend_is_a_line_for_the_shell() {
        let volume = json!({"kind": "PersistentVolume", "metadata": {"name": "it's"}});
        assert_eq!(
            mend("ado", "PersistentVolume", "it's", &volume),
            r#"echo '{"kind":"PersistentVolume","metadata":{"name":"it'\''s"}}' | kubectl apply -n ado -f -"#
        );
    }

    #[test]
    fn the_content_of_a_secret_is_not_printed() {
        let secret = json!({"kind": "Secret", "stringData": {"token": "s3cr3t"}});
        assert!(!mend("ado", "Secret", "x", &secret).contains("s3cr3t"));
    }
}
