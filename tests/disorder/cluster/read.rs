//! Getting, listing by pages, and what a watch sends.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use tokio::time::Instant;

use super::{
    problem::Problem,
    resource::{Query, Resource, Target},
    selector::Selector,
    store::{Change, Key, Object, Store},
};

/// How an answer is to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Whole,
    MetadataOnly,
}

impl Form {
    pub(crate) fn of(accept: &str) -> Self {
        if accept.contains("as=PartialObjectMetadata") { Self::MetadataOnly } else { Self::Whole }
    }

    /// An object by itself.
    pub(crate) fn of_object(self, resource: &Resource, object: &Object) -> String {
        match (self, object.text().strip_prefix('{')) {
            (Self::Whole, Some(fields)) => {
                format!(r#"{{"kind":"{}","apiVersion":"{}",{fields}"#, resource.kind, resource.api_version())
            }
            _ => self.of_item(object),
        }
    }

    /// An object in a list.
    fn of_item(self, object: &Object) -> String {
        match self {
            Self::Whole => object.text().to_owned(),
            Self::MetadataOnly => json!({
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                "metadata": object.value["metadata"],
            })
            .to_string(),
        }
    }

    fn of_list(self, resource: &Resource) -> (String, String) {
        match self {
            Self::Whole => (format!("{}List", resource.kind), resource.api_version()),
            Self::MetadataOnly => ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1".to_owned()),
        }
    }
}

/// One page of a list. `stale` is how old a view is given, where the caller does not insist on another.
pub(crate) fn list(
    store: &Store,
    target: &Target,
    query: &Query,
    form: Form,
    stale: Duration,
) -> Result<String, Problem> {
    let selector = Selector::of(query);
    let (version, after) = match query.get("continue") {
        Some(token) => {
            let (version, after) = read_token(token)?;
            if version < store.oldest() {
                return Err(Problem::expired("The provided continue parameter is too old"));
            }
            (version, Some(after))
        }
        None if stale.is_zero() => (store.version(), None),
        None => (store.version_at(Instant::now() - stale), None),
    };
    let is_wanted = |key: &Key, object: &Object| {
        after.as_ref().is_none_or(|after| (&key.namespace, &key.name) > (&after.0, &after.1))
            && selector.matches(&object.value)
    };
    let all = store.list(target.resource, &target.namespace, version);
    let mut wanted: Vec<(Key, Arc<Object>)> = all.into_iter().filter(|(key, object)| is_wanted(key, object)).collect();
    let mut metadata = json!({"resourceVersion": version.to_string()});
    let limit = query.number("limit").filter(|&limit| limit > 0).and_then(|limit| usize::try_from(limit).ok());
    if let Some(limit) = limit.filter(|&limit| limit < wanted.len()) {
        let left = wanted.len() - limit;
        wanted.truncate(limit);
        if let Some((last, _)) = wanted.last() {
            metadata["continue"] = json!(STANDARD.encode(format!("{version} {} {}", last.namespace, last.name)));
        }
        if selector.is_empty() {
            metadata["remainingItemCount"] = json!(left);
        }
    }
    let (kind, api_version) = form.of_list(target.resource);
    let items: Vec<String> = wanted.iter().map(|(_, object)| form.of_item(object)).collect();
    // Put together as text: the items have been written before.
    let items = items.join(",");
    Ok(format!(r#"{{"kind":"{kind}","apiVersion":"{api_version}","metadata":{metadata},"items":[{items}]}}"#))
}

fn read_token(token: &str) -> Result<(u64, (String, String)), Problem> {
    let read = || {
        let text = String::from_utf8(STANDARD.decode(token).ok()?).ok()?;
        let mut parts = text.split(' ').map(str::to_owned);
        Some((parts.next()?.parse().ok()?, (parts.next()?, parts.next()?)))
    };
    read().ok_or_else(|| Problem::bad_request("continue key is not valid: it could not be read"))
}

/// What a watch is of.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    pub(crate) resource: &'static Resource,
    pub(crate) namespace: String,
    pub(crate) selector: Selector,
    pub(crate) form: Form,
}

impl Watched {
    pub(crate) fn of(target: &Target, query: &Query, form: Form) -> Self {
        let mut selector = Selector::of(query);
        if let Some(name) = &target.name {
            selector.add_name(name);
        }
        let namespace = target.namespace.clone();
        Self { resource: target.resource, namespace, selector, form }
    }

    /// What a change looks like to this watch: an object that begins to match is added, one that ceases to is deleted.
    pub(crate) fn event(&self, change: &Change) -> Option<String> {
        let is_watched = change.key.plural == self.resource.plural
            && (self.namespace.is_empty() || change.key.namespace == self.namespace);
        if !is_watched {
            return None;
        }
        let matching =
            |object: &Option<Arc<Object>>| object.clone().filter(|object| self.selector.matches(&object.value));
        match (matching(&change.before), matching(&change.after)) {
            (None, None) => None,
            (None, Some(after)) => Some(self.line("ADDED", &after)),
            (Some(_), Some(after)) => Some(self.line("MODIFIED", &after)),
            // What no longer matches is shown as it was when it did.
            (Some(before), None) => Some(self.line("DELETED", change.last.as_ref().unwrap_or(&before))),
        }
    }

    pub(crate) fn added(&self, object: &Arc<Object>) -> String {
        self.line("ADDED", object)
    }

    fn line(&self, kind: &str, object: &Object) -> String {
        line(kind, &self.form.of_object(self.resource, object))
    }

    pub(crate) fn bookmark(&self, version: u64) -> String {
        let (kind, api_version) = match self.form {
            Form::Whole => (self.resource.kind.to_owned(), self.resource.api_version()),
            Form::MetadataOnly => ("PartialObjectMetadata".to_owned(), "meta.k8s.io/v1".to_owned()),
        };
        let metadata = json!({"resourceVersion": version.to_string(), "creationTimestamp": null});
        line("BOOKMARK", &json!({"kind": kind, "apiVersion": api_version, "metadata": metadata}).to_string())
    }
}

/// The line that ends a watch which cannot go on.
pub(crate) fn error_line(problem: &Problem) -> String {
    line("ERROR", &problem.status().to_string())
}

fn line(kind: &str, object: &str) -> String {
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")
}
