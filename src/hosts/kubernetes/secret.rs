//! The Secret that the agents' token is mounted from, where nobody brings one.
//!
//! It is immutable, and another token is another Secret, so that the account needs no more than `create` and `delete`
//! on Secrets; anything else would let it read them all.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, api::ObjectMeta};
use secrecy::{ExposeSecret, SecretString};
use tokio::{sync::Mutex, time::Instant};

use super::{
    failure::refused,
    generations::{self, Generations},
    job::way::AUTHORITIES,
    keys,
    secret_calls::{SecretDraft, Secrets},
};
use crate::{
    azure::OrganizationToken,
    cluster::{ClusterError, ErrorKind, call},
    config::SecretKey,
    core::Installation,
    hosts::HostError,
};

/// The key in the Secret.
const KEY: &str = "token";

/// A Secret that somebody deleted is made anew after this time; pods that wait for it then go on by themselves.
const AGAIN: Duration = Duration::from_secs(60);

/// How long a reading of the ConfigMap is believed.
const NOTE_LIFETIME: Duration = Duration::from_secs(600);

/// How often a conflicting write of the ConfigMap is repeated.
const TRIES: u32 = 5;

/// The token's Secrets of one orchestrator.
pub(super) struct Vault {
    client: Client,
    namespace: String,
    installation: Installation,
    user: String,
    token: OrganizationToken,
    /// Certificates of private authorities (PEM), which go with the token.
    authorities: Option<SecretString>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    noted: Option<(Instant, Generations)>,
    posted: Option<(Instant, String)>,
}

impl Vault {
    pub(super) fn new(
        client: Client,
        namespace: &str,
        installation: &Installation,
        user: String,
        token: OrganizationToken,
        authorities: Option<String>,
    ) -> Self {
        let (namespace, installation) = (namespace.to_owned(), installation.clone());
        let authorities = authorities.map(SecretString::from);
        Self { client, namespace, installation, user, token, authorities, state: Mutex::default() }
    }

    /// The Secret for the token as it is now; it exists when this returns.
    pub(super) async fn current(&self) -> Result<SecretKey, HostError> {
        let token = self.token.for_an_agent().await.map_err(HostError::Credential)?;
        let name = self.name(&token);
        // Starts run side by side; one of them makes the Secret and the others wait for it.
        let mut state = self.state.lock().await;
        let fresh = state.posted.as_ref().is_some_and(|(at, posted)| *posted == name && at.elapsed() < AGAIN);
        if !fresh {
            self.make(&mut state, &name, &token).await.map_err(|error| refused(error, &self.namespace))?;
            state.posted = Some((Instant::now(), name.clone()));
        }
        Ok(SecretKey { name, key: KEY.to_owned() })
    }

    /// Deletes the Secrets of former tokens that no Job mounts.
    pub(super) async fn discard(&self, mounted: &BTreeSet<String>) -> Result<(), HostError> {
        let token = self.token.current().await.map_err(|error| HostError::Credential(error.to_string()))?;
        let current = self.name(&token);
        let mut state = self.state.lock().await;
        self.discard_all_but(&mut state, &current, mounted).await.map_err(|error| refused(error, &self.namespace))
    }

    async fn make(&self, state: &mut State, name: &str, token: &SecretString) -> Result<(), ClusterError> {
        let now = Timestamp::now();
        // What was noted a while ago still protects the Secret: it is noted anew long before that ends.
        let is_noted = state.noted.as_ref().is_some_and(|(_, noted)| !noted.wants_note(name, &self.user, now));
        let wants_note = match self.read_note(state).await {
            Ok(noted) => noted.wants_note(name, &self.user, now),
            Err(error) if is_noted => {
                tracing::debug!(secret = name, %error, "the Secret is noted, and the ConfigMap is read again later");
                false
            }
            Err(error) => return Err(error),
        };
        if wants_note {
            let line = Generations::line(&self.user, now);
            self.write_note(state, |data| {
                data.insert(name.to_owned(), line.clone());
            })
            .await?;
        }
        match self.post(name, token).await {
            Ok(()) => {
                tracing::info!(secret = name, "made a Secret for the agents' token");
                Ok(())
            }
            Err(error) if error.kind == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn post(&self, name: &str, token: &SecretString) -> Result<(), ClusterError> {
        let mut data: BTreeMap<_, _> = [(KEY, token)].into();
        data.extend(self.authorities.as_ref().map(|authorities| (AUTHORITIES, authorities)));
        let installation = &self.installation;
        self.secrets().create(&SecretDraft { name, component: "agent-token", installation, owner: None, data }).await
    }

    fn name(&self, token: &SecretString) -> String {
        let authorities = self.authorities.as_ref().map(|authorities| authorities.expose_secret().to_owned());
        generations::secret_name(&self.installation, token.expose_secret(), authorities.as_deref())
    }

    fn secrets(&self) -> Secrets<'_> {
        Secrets { client: &self.client, namespace: &self.namespace }
    }

    async fn discard_all_but(
        &self,
        state: &mut State,
        current: &str,
        mounted: &BTreeSet<String>,
    ) -> Result<(), ClusterError> {
        let obsolete = self.read_note(state).await?.obsolete(current, &self.user, mounted, Timestamp::now());
        if obsolete.is_empty() {
            return Ok(());
        }
        for name in &obsolete {
            self.secrets().delete(name, None).await?;
            tracing::info!(secret = name, "deleted the Secret of a former token");
        }
        self.write_note(state, |data| data.retain(|name, _| !obsolete.contains(name))).await
    }

    fn notes(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn read_note<'a>(&self, state: &'a mut State) -> Result<&'a Generations, ClusterError> {
        let is_old = |(at, _): &(Instant, Generations)| at.elapsed() >= NOTE_LIFETIME;
        if state.noted.as_ref().is_none_or(is_old) {
            let data = self.get_note().await?.and_then(|note| note.data).unwrap_or_default();
            state.noted = Some((Instant::now(), Generations::read(&data, &self.installation)));
        }
        Ok(&state.noted.get_or_insert_with(|| (Instant::now(), Generations::default())).1)
    }

    async fn get_note(&self) -> Result<Option<ConfigMap>, ClusterError> {
        let name = generations::note_name(&self.installation);
        let what = format!("get the ConfigMap \"{name}\" in namespace \"{}\"", self.namespace);
        call(&what, self.notes().get_opt(&name)).await
    }

    /// Changes the ConfigMap as it is now; once more where somebody else changed it in between.
    async fn write_note(
        &self,
        state: &mut State,
        change: impl Fn(&mut BTreeMap<String, String>),
    ) -> Result<(), ClusterError> {
        let name = generations::note_name(&self.installation);
        let api = self.notes();
        let params = keys::as_us();
        let mut tries = 0;
        loop {
            tries += 1;
            let found = self.get_note().await?;
            let exists = found.is_some();
            let mut note = found.unwrap_or_else(|| self.new_note(&name));
            change(note.data.get_or_insert_default());
            let written = if exists {
                let what = format!("update the ConfigMap \"{name}\" in namespace \"{}\"", self.namespace);
                call(&what, api.replace(&name, &params, &note)).await
            } else {
                let what = format!("create the ConfigMap \"{name}\" in namespace \"{}\"", self.namespace);
                call(&what, api.create(&params, &note)).await
            };
            match written {
                Ok(note) => {
                    state.noted =
                        Some((Instant::now(), Generations::read(&note.data.unwrap_or_default(), &self.installation)));
                    return Ok(());
                }
                Err(error) => match error.kind {
                    // It changed, appeared or went away in between.
                    ErrorKind::Conflict | ErrorKind::AlreadyExists if tries < TRIES => {}
                    ErrorKind::NotFound if exists && tries < TRIES => {}
                    _ => return Err(error),
                },
            }
        }
    }

    fn new_note(&self, name: &str) -> ConfigMap {
        let labels = [(keys::MANAGED_BY, keys::US), (keys::INSTALLATION, self.installation.id())];
        let labels = labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let metadata = ObjectMeta { name: Some(name.to_owned()), labels: Some(labels), ..ObjectMeta::default() };
        ConfigMap { metadata, ..ConfigMap::default() }
    }
}
