//! The calls that make a Secret and delete one. Our account may do nothing else with Secrets. An answer may hold the
//! Secret, so none is kept: of a deletion the uid is read, of all else nothing. An error may quote it, and is blacked out.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::header::{ACCEPT, HeaderValue};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Client,
    api::{DeleteParams, Preconditions},
    core::{Request, Resource},
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::keys;
use crate::{
    cluster::{ClusterError, ErrorKind, call},
    core::Installation,
};

/// Asks for an answer without the object itself.
pub(super) const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";

/// Files that are no secret: they are long, and to look for parts of them would take long.
const OPEN: [&str; 4] = [".proxy", ".proxybypass", "ca.pem", "packages"];

/// The most bytes of a refusal that are looked through.
const LONGEST: usize = 8 * 1024;

/// So many characters in a row of what is secret do not stand in a text by chance.
const TELLING: usize = 16;

const BLACKED_OUT: &str = "[secret]";

/// A Secret to be made. It is immutable: another content is another Secret.
pub(super) struct SecretDraft<'a> {
    pub(super) name: &'a str,
    pub(super) component: &'static str,
    pub(super) installation: &'a Installation,
    /// With whom it goes.
    pub(super) owner: Option<Value>,
    pub(super) data: BTreeMap<&'a str, &'a SecretString>,
}

/// The Secrets of one namespace.
pub(super) struct Secrets<'a> {
    pub(super) client: &'a Client,
    pub(super) namespace: &'a str,
}

impl Secrets<'_> {
    pub(super) async fn create(&self, draft: &SecretDraft<'_>) -> Result<(), ClusterError> {
        let SecretDraft { name, component, installation, owner, data } = draft;
        let data: BTreeMap<_, _> =
            data.iter().map(|(key, value)| (*key, STANDARD.encode(value.expose_secret()))).collect();
        let mut body = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "immutable": true,
            "metadata": {
                "name": name,
                "labels": {
                    keys::MANAGED_BY: keys::US, keys::COMPONENT: component, keys::INSTALLATION: installation.id(),
                },
            },
            "data": data,
        });
        if let Some(owner) = owner {
            body["metadata"]["ownerReferences"] = json!([owner]);
        }
        call(&format!("create the Secret \"{name}\" in namespace \"{}\"", self.namespace), async {
            let request = Request::new(self.path());
            let mut request =
                request.create(&keys::as_us(), body.to_string().into_bytes()).map_err(kube::Error::BuildRequest)?;
            request.headers_mut().insert(ACCEPT, HeaderValue::from_static(METADATA_ONLY));
            self.client.request_text(request).await.map(drop).map_err(|error| blacked_out(error, draft))
        })
        .await
    }

    /// Deletes a Secret; one that is gone is deleted. With a uid, one of another uid is left alone.
    pub(super) async fn delete(&self, name: &str, uid: Option<&str>) -> Result<(), ClusterError> {
        let preconditions = uid.map(|uid| Preconditions { uid: Some(uid.to_owned()), resource_version: None });
        let params = DeleteParams { preconditions, ..DeleteParams::default() };
        match self.ask_to_delete(name, &params).await {
            Err(error) if error.kind == ErrorKind::Conflict && uid.is_some() => Ok(()),
            Err(error) if error.kind != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The uid of a Secret that is there and whose it is, by trying to delete it: to ask for it is a right to read it. A
    /// deletion in the foreground would take a while, so it is answered with what it would leave until then: the metadata.
    pub(super) async fn find(&self, name: &str) -> Result<Option<FoundSecret>, ClusterError> {
        match self.ask_to_delete(name, &DeleteParams::foreground().dry_run()).await {
            Ok(found) => Ok(found),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives what is deleted.
    async fn ask_to_delete(&self, name: &str, params: &DeleteParams) -> Result<Option<FoundSecret>, ClusterError> {
        call(&format!("delete the Secret \"{name}\" in namespace \"{}\"", self.namespace), async {
            let request = Request::new(self.path());
            let mut request = request.delete(name, params).map_err(kube::Error::BuildRequest)?;
            request.headers_mut().insert(ACCEPT, HeaderValue::from_static(METADATA_ONLY));
            let answer = self.client.request_text(request).await?;
            Ok(serde_json::from_str::<Deleted>(&answer).ok().and_then(Deleted::found))
        })
        .await
    }

    fn path(&self) -> String {
        Secret::url_path(&(), Some(self.namespace))
    }
}

/// What a deletion answers: a Status with details, or the metadata of what a finalizer keeps.
#[derive(Deserialize)]
struct Deleted {
    details: Option<Of>,
    metadata: Option<Of>,
}

#[derive(Deserialize)]
struct Of {
    uid: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// A Secret that is there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FoundSecret {
    pub(super) uid: String,
    /// Its labels, where they were told.
    labels: Option<BTreeMap<String, String>>,
}

impl FoundSecret {
    /// Whose it is, if it is not this installation's.
    pub(super) fn other_owner(&self, installation: &Installation) -> Option<String> {
        let labels = self.labels.as_ref()?;
        let label = |key: &str| labels.get(key).map(String::as_str);
        match (label(keys::INSTALLATION), label(keys::MANAGED_BY)) {
            (Some(id), Some(keys::US)) if id == installation.id() => None,
            (Some(id), Some(keys::US)) => Some(format!("the kubectl-ado installation \"{id}\"")),
            (_, Some(other)) => Some(format!("\"{other}\" (its label {})", keys::MANAGED_BY)),
            (_, None) => Some("somebody else: it has no label of kubectl-ado".to_owned()),
        }
    }
}

impl Deleted {
    fn found(self) -> Option<FoundSecret> {
        if let Some(uid) = self.details.and_then(|details| details.uid) {
            return Some(FoundSecret { uid, labels: None });
        }
        let Of { uid, labels } = self.metadata?;
        Some(FoundSecret { uid: uid?, labels: Some(labels) })
    }
}

/// An admission webhook may quote what it refuses, whole or in part. To be done before a long message is cut.
fn blacked_out(error: kube::Error, draft: &SecretDraft<'_>) -> kube::Error {
    match error {
        kube::Error::Api(mut status) => {
            let secret = draft.data.iter().filter(|(name, _)| !OPEN.contains(name));
            let forms: Vec<String> = secret.flat_map(|(_, value)| forms(value.expose_secret())).collect();
            status.message.truncate(status.message.floor_char_boundary(LONGEST));
            status.message = black_out(&status.message, &forms, draft.name);
            status.details = status.details.map(|mut details| {
                for cause in &mut details.causes {
                    cause.message = black_out(&cause.message, &forms, draft.name);
                }
                details
            });
            kube::Error::Api(status)
        }
        other => other,
    }
}

/// What a text looks like where somebody quotes it.
fn forms(text: &str) -> [String; 3] {
    let quoted = Value::from(text).to_string();
    [text.to_owned(), STANDARD.encode(text), quoted.trim_matches('"').to_owned()]
}

/// The text without any part of the forms that could tell something; the name of the Secret may stay.
fn black_out(text: &str, forms: &[String], name: &str) -> String {
    let mut text = text.to_owned();
    // Cut out of the forms, it is no part of them.
    let forms: Vec<String> = forms.iter().map(|form| form.replace(name, "\0")).collect();
    for form in forms.iter().filter(|form| !form.is_empty() && form.len() < TELLING) {
        text = text.replace(form.as_str(), BLACKED_OUT);
    }
    let places: Vec<(usize, char)> = text.char_indices().collect();
    let mut hidden = vec![false; places.len()];
    for start in 0..places.len().saturating_sub(TELLING - 1) {
        let end = places.get(start + TELLING).map_or(text.len(), |(at, _)| *at);
        let part = &text[places[start].0..end];
        if forms.iter().any(|form| form.contains(part)) {
            hidden[start..start + TELLING].fill(true);
        }
    }
    let mut rest = String::new();
    for (index, (_, character)) in places.iter().enumerate() {
        match (hidden[index], index > 0 && hidden[index - 1]) {
            (false, _) => rest.push(*character),
            (true, false) => rest.push_str(BLACKED_OUT),
            (true, true) => {}
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(message: &str, secret: &str) -> String {
        black_out(message, &forms(secret), "agent-job-us-0123456789")
    }

    #[test]
    fn an_error_never_quotes_what_is_secret() {
        let message = format!("denied: s3cr3t-t0ken and {}", STANDARD.encode("s3cr3t-t0ken"));
        assert_eq!(said(&message, "s3cr3t-t0ken"), "denied: [secret] and [secret]");
        assert_eq!(said("denied", "s3cr3t-t0ken"), "denied");
        assert_eq!(said("denied", ""), "denied");
    }

    #[test]
    fn nor_a_part_of_a_file_however_it_is_quoted() {
        let file = format!("{{\"d\":\"{}\",\"modulus\":\"☃\"}}", "0123456789abcdef".repeat(20));
        let encoded = STANDARD.encode(&file);
        for quoted in
            [file.as_str(), &encoded, &Value::from(file.as_str()).to_string(), &file[30..60], &encoded[100..117]]
        {
            let said = said(&format!("admission webhook: {quoted} is not allowed"), &file);
            assert!(said.len() < 60 && said.contains(BLACKED_OUT) && said.ends_with(" is not allowed"), "{said}");
        }
    }

    #[test]
    fn the_name_of_the_agent_is_no_secret() {
        let message = "secrets \"agent-job-us-0123456789\" already exists";
        assert_eq!(said(message, "{\"agentName\":\"agent-job-us-0123456789\"}"), message);
    }

    #[test]
    fn whose_a_secret_is_is_read_of_its_labels_where_they_are_told() {
        let owner = |labels: Value| {
            let answer = json!({"kind": "PartialObjectMetadata", "metadata": {"uid": "u", "labels": labels}});
            let found = serde_json::from_value::<Deleted>(answer).unwrap().found().unwrap();
            found.other_owner(&Installation::new("us")).unwrap_or_default()
        };
        assert_eq!(owner(json!({(keys::INSTALLATION): "us", (keys::MANAGED_BY): keys::US})), "");
        assert!(owner(json!({(keys::INSTALLATION): "them", (keys::MANAGED_BY): keys::US})).contains("\"them\""));
        assert!(owner(json!({(keys::MANAGED_BY): "Helm"})).contains("\"Helm\""));
        assert!(owner(json!({(keys::INSTALLATION): "us"})).contains("somebody else"));
        assert!(owner(json!({})).contains("somebody else"));
    }

    #[test]
    fn the_uid_is_read_of_either_answer() {
        let uid = |answer: &str| Some(serde_json::from_str::<Deleted>(answer).ok()?.found()?.uid);
        assert_eq!(uid(r#"{"kind":"Status","metadata":{},"details":{"name":"a","uid":"u"}}"#).as_deref(), Some("u"));
        assert_eq!(uid(r#"{"kind":"PartialObjectMetadata","metadata":{"uid":"u"}}"#).as_deref(), Some("u"));
        assert_eq!(uid("nonsense"), None);
    }
}
