//! The kinds of objects that the fake API server knows, and how its paths name them.

use std::collections::BTreeMap;

/// A kind of object.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Resource {
    pub(crate) group: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) namespaced: bool,
    /// Whether a change of its spec counts up `metadata.generation`.
    pub(crate) counts_generations: bool,
    /// Whether PUT makes what is not there.
    pub(crate) put_creates: bool,
}

const PLAIN: Resource =
    Resource { group: "", plural: "", kind: "", namespaced: true, counts_generations: false, put_creates: false };

pub(crate) const JOBS: &Resource =
    &Resource { group: "batch", plural: "jobs", kind: "Job", counts_generations: true, ..PLAIN };
pub(crate) const PODS: &Resource = &Resource { plural: "pods", kind: "Pod", counts_generations: true, ..PLAIN };
pub(crate) const EVENTS: &Resource = &Resource { plural: "events", kind: "Event", put_creates: true, ..PLAIN };
pub(crate) const SECRETS: &Resource = &Resource { plural: "secrets", kind: "Secret", ..PLAIN };
pub(crate) const CONFIG_MAPS: &Resource = &Resource { plural: "configmaps", kind: "ConfigMap", ..PLAIN };
pub(crate) const LEASES: &Resource =
    &Resource { group: "coordination.k8s.io", plural: "leases", kind: "Lease", put_creates: true, ..PLAIN };
pub(crate) const NAMESPACES: &Resource =
    &Resource { plural: "namespaces", kind: "Namespace", namespaced: false, ..PLAIN };

const ALL: [&Resource; 7] = [JOBS, PODS, EVENTS, SECRETS, CONFIG_MAPS, LEASES, NAMESPACES];

impl Resource {
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { "v1".to_owned() } else { format!("{}/v1", self.group) }
    }

    /// As messages name it: `jobs.batch`, `configmaps`.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }
}

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) resource: &'static Resource,
    /// Empty for all namespaces, and for what lives in none.
    pub(crate) namespace: String,
    pub(crate) name: Option<String>,
}

/// Reads `/api/v1/namespaces/NAMESPACE/PLURAL/NAME` and its relatives. Subresources are unknown here.
pub(crate) fn target(path: &str) -> Option<Target> {
    let mut parts = path.trim_matches('/').split('/');
    let group = match parts.next()? {
        "api" => "",
        "apis" => parts.next()?,
        _ => return None,
    };
    (parts.next()? == "v1").then_some(())?;
    let rest: Vec<&str> = parts.collect();
    let find = |plural: &str| ALL.into_iter().find(|known| known.group == group && known.plural == plural);
    let (namespace, plural, name) = match rest[..] {
        ["namespaces", namespace, plural] => (namespace, plural, None),
        ["namespaces", namespace, plural, name] => (namespace, plural, Some(name.to_owned())),
        [plural] => ("", plural, None),
        [plural, name] => ("", plural, Some(name.to_owned())),
        _ => return None,
    };
    let resource = find(plural).filter(|resource| resource.namespaced || namespace.is_empty())?;
    Some(Target { resource, namespace: namespace.to_owned(), name })
}

/// The parameters of a call.
#[derive(Debug, Default)]
pub(crate) struct Query(BTreeMap<String, String>);

impl Query {
    pub(crate) fn of(uri: &hyper::Uri) -> Self {
        let url = reqwest::Url::parse(&format!("http://cluster{uri}")).unwrap();
        Self(url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// A parameter's value; an empty one is none.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(crate) fn is_set(&self, name: &str) -> bool {
        matches!(self.get(name), Some("1" | "true"))
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }
}
