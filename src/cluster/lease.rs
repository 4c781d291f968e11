//! One `coordination.k8s.io/v1` Lease: read it, create it, write over the version that was read. What it means is the
//! business of [`crate::core::Election`].
//!
//! Rights in the namespace: Leases get, create, update.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};

use super::{ClusterError, ErrorKind, call::call_within};
use crate::core::{LeaseRecord, LeaseView};

/// How long a call may take: a holder has to be able to try again before its term is over.
const DEADLINE: Duration = Duration::from_secs(3);

const US: &str = "kubectl-ado";

/// Where a Lease is kept. The one that counts is [`NamedLease`].
pub trait LeaseStore {
    /// The Lease as it is now; `None` if there is none.
    async fn get(&self) -> Result<Option<LeaseView>, ClusterError>;

    /// Writes a record over a version, or creates the Lease where that is `None`. Whoever is slower fails with
    /// [`ErrorKind::Conflict`] or [`ErrorKind::AlreadyExists`].
    async fn put(&self, version: Option<&str>, record: &LeaseRecord) -> Result<LeaseView, ClusterError>;
}

/// A Lease of a cluster.
#[derive(Clone)]
pub struct NamedLease {
    api: Api<Lease>,
    namespace: String,
    name: String,
}

impl NamedLease {
    /// The Lease of this name. Talks to nobody.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: impl Into<String>) -> Self {
        let api = Api::namespaced(client, namespace);
        Self { api, namespace: namespace.to_owned(), name: name.into() }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn doing(&self, what: &str) -> String {
        format!("{what} the Lease \"{}\" in namespace \"{}\"", self.name, self.namespace)
    }
}

impl LeaseStore for NamedLease {
    async fn get(&self) -> Result<Option<LeaseView>, ClusterError> {
        match call_within(DEADLINE, &self.doing("get"), self.api.get(&self.name)).await {
            Ok(lease) => Ok(Some(view(lease))),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn put(&self, version: Option<&str>, record: &LeaseRecord) -> Result<LeaseView, ClusterError> {
        let lease = lease(&self.name, version, record);
        let by = PostParams { field_manager: Some(US.to_owned()), ..PostParams::default() };
        let written = match version {
            None => call_within(DEADLINE, &self.doing("create"), self.api.create(&by, &lease)).await,
            Some(_) => call_within(DEADLINE, &self.doing("update"), self.api.replace(&self.name, &by, &lease)).await,
        };
        written.map(view)
    }
}

pub(super) fn view(lease: Lease) -> LeaseView {
    let spec = lease.spec.unwrap_or_default();
    let time = |time: Option<MicroTime>| time.map(|time| time.0);
    let record = LeaseRecord {
        holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
        acquired_at: time(spec.acquire_time),
        renewed_at: time(spec.renew_time),
        term: spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs),
        transitions: spec.lease_transitions.and_then(|count| u32::try_from(count).ok()).unwrap_or_default(),
    };
    LeaseView { version: lease.metadata.resource_version.unwrap_or_default(), record }
}

/// Labelled as the orchestrator's own things are, not as the agents' are: nobody who deletes agents by their label
/// shall delete the Lease with them.
fn lease(name: &str, version: Option<&str>, record: &LeaseRecord) -> Lease {
    let labels = [("name", US), ("component", "orchestrator"), ("part-of", US)];
    let labels: BTreeMap<_, _> =
        labels.into_iter().map(|(key, value)| (format!("app.kubernetes.io/{key}"), value.to_owned())).collect();
    let spec = LeaseSpec {
        holder_identity: record.holder.clone(),
        acquire_time: record.acquired_at.map(MicroTime),
        renew_time: record.renewed_at.map(MicroTime),
        lease_duration_seconds: record.term.and_then(|term| i32::try_from(term.as_secs()).ok()),
        lease_transitions: i32::try_from(record.transitions).ok(),
        ..LeaseSpec::default()
    };
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        resource_version: version.map(str::to_owned),
        labels: Some(labels),
        ..ObjectMeta::default()
    };
    Lease { metadata, spec: Some(spec) }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        let record = LeaseRecord {
            holder: Some("pod_1".into()),
            acquired_at: Some(Timestamp::from_microsecond(1_800_000_000_000_001).unwrap()),
            renewed_at: Some(Timestamp::from_microsecond(1_800_000_005_000_000).unwrap()),
            term: Some(Duration::from_secs(15)),
            transitions: 3,
        };
        let text = serde_json::to_string(&lease("x", Some("7"), &record)).unwrap();
        assert!(text.contains("\"renewTime\":\"2027-01-15T08:00:05.000000Z\""), "{text}");
        assert_eq!(view(serde_json::from_str(&text).unwrap()), LeaseView { version: "7".into(), record });
    }

    #[test]
    fn a_released_or_odd_lease_is_read_as_well_as_can_be() {
        let odd = r#"{"metadata":{"name":"x","resourceVersion":"9"},
                      "spec":{"holderIdentity":"","leaseDurationSeconds":-1,"leaseTransitions":-1}}"#;
        let read = view(serde_json::from_str(odd).unwrap());
        assert_eq!(read, LeaseView { version: "9".into(), record: LeaseRecord::default() });
    }
}
