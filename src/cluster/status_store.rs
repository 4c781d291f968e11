//! Where the orchestrator's status is kept and where it is asked for things: two ConfigMaps beside its Lease, and the
//! Events about them. What they mean is the business of [`crate::core::Report`] and [`crate::core::Control`].
//!
//! Rights in the namespace: ConfigMaps get, create, update; Events create; Jobs get.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        batch::v1::Job,
        core::v1::{ConfigMap, Event, EventSource, ObjectReference},
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};

use super::{CONTROL_KEY, ClusterError, ErrorKind, STATUS_KEY, call::call_within, control_name, status_name};

/// Nobody waits for the status, and the next one comes soon.
const DEADLINE: Duration = Duration::from_secs(5);

const US: &str = "kubectl-ado";

/// What an Event is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The orchestrator: its status ConfigMap.
    Orchestrator,
    /// The Job of that name.
    Job(String),
}

/// Something that a person must know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Happening {
    /// What it is about.
    pub subject: Subject,
    /// One CamelCase word, of few.
    pub reason: &'static str,
    /// One line.
    pub message: String,
    /// Whether somebody should look.
    pub warning: bool,
}

/// Where the status is kept. The one that counts is [`NamedStatus`].
pub trait StatusStore {
    /// Writes the status over the one before.
    async fn write(&self, status: &str) -> Result<(), ClusterError>;

    /// The status as it was last written, by whomever; `None` if there is none.
    async fn read(&self) -> Result<Option<String>, ClusterError>;

    /// What people ask; `None` if nobody ever asked.
    async fn control(&self) -> Result<Option<String>, ClusterError>;

    /// Tells of something, at a moment.
    async fn tell(&self, happening: &Happening, now: Timestamp) -> Result<(), ClusterError>;
}

/// The ConfigMaps beside a Lease.
pub struct NamedStatus {
    client: Client,
    namespace: String,
    lease: String,
    installation: String,
    /// The uid of the status ConfigMap, once it was seen.
    uid: Mutex<Option<String>>,
}

impl NamedStatus {
    /// Those beside the Lease of this name. Talks to nobody.
    #[must_use]
    pub fn new(client: Client, namespace: &str, lease: &str, installation: &str) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
            lease: lease.to_owned(),
            installation: installation.to_owned(),
            uid: Mutex::default(),
        }
    }

    fn maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn doing(&self, what: &str, name: &str) -> String {
        format!("{what} the ConfigMap \"{name}\" in namespace \"{}\"", self.namespace)
    }

    async fn key(&self, name: String, key: &str) -> Result<Option<String>, ClusterError> {
        match call_within(DEADLINE, &self.doing("get", &name), self.maps().get(&name)).await {
            Ok(map) => Ok(map.data.and_then(|mut data| data.remove(key))),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn status_map(&self, name: &str, status: &str) -> ConfigMap {
        let labels = [
            ("app.kubernetes.io/name", US),
            ("app.kubernetes.io/component", "status"),
            ("app.kubernetes.io/part-of", US),
            ("kubectl-ado/installation", self.installation.as_str()),
        ];
        let labels: BTreeMap<_, _> =
            labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        ConfigMap {
            metadata: ObjectMeta { name: Some(name.to_owned()), labels: Some(labels), ..ObjectMeta::default() },
            data: Some([(STATUS_KEY.to_owned(), status.to_owned())].into()),
            ..ConfigMap::default()
        }
    }

    async fn reference(&self, subject: &Subject) -> Result<Option<ObjectReference>, ClusterError> {
        let namespace = Some(self.namespace.clone());
        Ok(match subject {
            Subject::Orchestrator => Some(ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("ConfigMap".to_owned()),
                name: Some(status_name(&self.lease)),
                namespace,
                uid: self.uid.lock().unwrap_or_else(PoisonError::into_inner).clone(),
                ..ObjectReference::default()
            }),
            // `kubectl describe` finds Events by the uid of what they are about.
            Subject::Job(name) => {
                let api: Api<Job> = Api::namespaced(self.client.clone(), &self.namespace);
                let what = format!("get the Job \"{name}\" in namespace \"{}\"", self.namespace);
                let uid = match call_within(DEADLINE, &what, api.get_metadata(name)).await {
                    Ok(job) => job.metadata.uid,
                    Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
                    Err(error) => return Err(error),
                };
                Some(ObjectReference {
                    api_version: Some("batch/v1".to_owned()),
                    kind: Some("Job".to_owned()),
                    name: Some(name.clone()),
                    namespace,
                    uid,
                    ..ObjectReference::default()
                })
            }
        })
    }
}

impl StatusStore for NamedStatus {
    async fn write(&self, status: &str) -> Result<(), ClusterError> {
        let name = status_name(&self.lease);
        let map = self.status_map(&name, status);
        let by = PostParams { field_manager: Some(US.to_owned()), ..PostParams::default() };
        let api = self.maps();
        let written = match call_within(DEADLINE, &self.doing("update", &name), api.replace(&name, &by, &map)).await {
            Err(error) if error.kind == ErrorKind::NotFound => {
                call_within(DEADLINE, &self.doing("create", &name), api.create(&by, &map)).await?
            }
            written => written?,
        };
        *self.uid.lock().unwrap_or_else(PoisonError::into_inner) = written.metadata.uid;
        Ok(())
    }

    async fn read(&self) -> Result<Option<String>, ClusterError> {
        self.key(status_name(&self.lease), STATUS_KEY).await
    }

    async fn control(&self) -> Result<Option<String>, ClusterError> {
        self.key(control_name(&self.lease), CONTROL_KEY).await
    }

    async fn tell(&self, happening: &Happening, now: Timestamp) -> Result<(), ClusterError> {
        let Some(involved_object) = self.reference(&happening.subject).await? else { return Ok(()) };
        let at = Some(Time(now));
        let random: String = (0..10).map(|_| fastrand::alphanumeric().to_ascii_lowercase()).collect();
        let about = involved_object.name.as_deref().unwrap_or_default();
        let event = Event {
            metadata: ObjectMeta {
                name: Some(format!("{about}.{random}")),
                namespace: Some(self.namespace.clone()),
                ..ObjectMeta::default()
            },
            involved_object,
            reason: Some(happening.reason.to_owned()),
            message: Some(happening.message.clone()),
            type_: Some(if happening.warning { "Warning" } else { "Normal" }.to_owned()),
            count: Some(1),
            first_timestamp: at.clone(),
            last_timestamp: at,
            source: Some(EventSource { component: Some(US.to_owned()), host: None }),
            ..Event::default()
        };
        let api: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let what = format!("create an Event in namespace \"{}\"", self.namespace);
        let by = PostParams { field_manager: Some(US.to_owned()), ..PostParams::default() };
        call_within(DEADLINE, &what, api.create(&by, &event)).await.map(drop)
    }
}
