//! The handle: what the process that runs a stand-in for Azure can do with it, besides calling it.

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc, time::Duration};

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{runtime::Handle, task::AbortHandle};

use super::{
    entra::{SignIn, Tokens},
    faults::AzureFault,
    groups::{AzureRules, GroupRecord, Groups},
    http::serve,
    settings::AzureSettings,
    shared::Shared,
};
use crate::sandbox::served;

/// A running stand-in for Azure. Clones are the same one; when the last is dropped it stops, and so do all of its
/// groups' processes.
#[derive(Clone, Debug)]
pub struct AzureSandbox {
    server: Arc<Server>,
}

#[derive(Debug)]
struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    task: AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        self.shared.processes.end_all();
    }
}

impl AzureSandbox {
    /// Starts one on a free port of loopback. Has to be called within a tokio runtime, on which it then runs.
    ///
    /// # Errors
    ///
    /// There is no runtime, no port or no folder for the groups.
    pub fn start(settings: AzureSettings) -> io::Result<Self> {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0)), settings)
    }

    /// Starts one on this address.
    ///
    /// # Errors
    ///
    /// As [`Self::start`], or the address is not free.
    pub fn start_on(listen: SocketAddr, settings: AzureSettings) -> io::Result<Self> {
        let runtime = Handle::try_current().map_err(io::Error::other)?;
        let shared = Arc::new(Shared::new(settings)?);
        let (listener, address) = served::listen(listen)?;
        let task = runtime.spawn(serve(Arc::clone(&shared), listener)).abort_handle();
        Ok(Self { server: Arc::new(Server { shared, address, task }) })
    }

    /// Where it is reached on this machine: the authority, the metadata service and Resource Manager all at once.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", served::here(self.server.address))
    }

    /// IDENTITY_ENDPOINT.
    #[must_use]
    pub fn identity_endpoint(&self) -> String {
        format!("{}/msi/token", self.url())
    }

    /// How it was set up.
    #[must_use]
    pub fn settings(&self) -> &AzureSettings {
        &self.shared().settings
    }

    /// The variables with which the orchestrator runs on container groups of this stand-in, in the first resource group,
    /// signed in by the first application's secret. Not the secret itself; that is [`Self::secret`].
    #[must_use]
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let settings = self.settings();
        let client = settings.applications.first().map(|application| application.client_id.clone());
        vec![
            ("HOST_TYPE", "aci".to_owned()),
            ("AZ_SUBSCRIPTION_ID", settings.subscription.clone()),
            ("AZ_RESOURCE_GROUP", settings.resource_groups.first().cloned().unwrap_or_default()),
            ("AZ_TENANT_ID", settings.tenant.clone()),
            ("AZ_REGION", "westeurope".to_owned()),
            ("AZ_ENVIRONMENT", "AzurePublicCloud".to_owned()),
            ("AZ_RESOURCE_MANAGER_URL", self.url()),
            ("AZURE_TENANT_ID", settings.tenant.clone()),
            ("AZURE_CLIENT_ID", client.unwrap_or_default()),
            ("AZURE_AUTHORITY_HOST", self.url()),
        ]
    }

    /// The first application's secret: AZURE_CLIENT_SECRET.
    #[must_use]
    pub fn secret(&self) -> &str {
        self.settings().secret.expose_secret()
    }

    /// The tokens that were given out, for whoever has to accept them.
    #[must_use]
    pub fn tokens(&self) -> Tokens {
        self.shared().tokens.clone()
    }

    /// A token as a developer's tool would get it, for the application of this client id and for this audience. `None` if
    /// there is no such application.
    #[must_use]
    pub fn token(&self, client_id: &str, audience: &str) -> Option<String> {
        let tenant = self.shared().tenant();
        let application = tenant.applications.iter().find(|application| application.client_id == client_id)?;
        tenant.give(application, audience, SignIn::Handle, Timestamp::now()).map(|given| given.token)
    }

    /// How long tokens hold from now on.
    pub fn set_token_lifetime(&self, lifetime: Duration) {
        self.shared().tenant().lifetime = lifetime;
    }

    /// The tokens of a trusted issuer that this application can sign in with from now on; all others are void.
    pub fn set_federated_tokens(&self, client_id: &str, tokens: Vec<SecretString>) {
        self.shared().tenant().set_federated(client_id, tokens);
    }

    /// Other times and limits from now on.
    pub fn set_rules(&self, rules: AzureRules) {
        self.shared().with(|groups, _| groups.set_rules(rules));
    }

    /// Every group that was ever created, in the order of their creation.
    #[must_use]
    pub fn history(&self) -> Vec<GroupRecord> {
        self.shared().see(|groups| groups.history().to_vec())
    }

    /// The names of the groups there are, those that are being deleted too.
    #[must_use]
    pub fn groups(&self) -> Vec<String> {
        self.shared().see(|groups| groups.names().map(str::to_owned).collect())
    }

    /// The most groups there were at once.
    #[must_use]
    pub fn peak_groups(&self) -> usize {
        self.shared().see(Groups::peak)
    }

    /// How many agents' processes run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.shared().processes.running()
    }

    /// What the processes of all groups of this name have printed, oldest first. It stays when the group is gone.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        let records = self.history();
        let processes = records.iter().filter(|record| record.name == name).flat_map(|record| &record.processes);
        processes.map(|process| self.shared().processes.log(*process)).collect()
    }

    /// Looks at the groups as they are now. Nothing else happens meanwhile: be brief, and do not use the handle.
    pub fn see<T>(&self, look: impl FnOnce(&Groups) -> T) -> T {
        self.shared().see(look)
    }

    /// Waits until the groups are as wanted, at most so long. Returns whether they are. `reached` looks as [`Self::see`]
    /// does.
    pub async fn until(&self, within: Duration, mut reached: impl FnMut(&Groups) -> bool) -> bool {
        served::until(self.shared().changes(), within, || self.shared().see(&mut reached)).await
    }

    /// Switches a fault on.
    pub fn inject(&self, fault: AzureFault) {
        self.shared().faults().add(fault);
    }

    /// Switches all faults off.
    pub fn clear_faults(&self) {
        self.shared().faults().clear();
    }

    /// How often each kind of call came: `PUT containerGroups/{name}`, `GET containerGroups`, `POST token client_secret`,
    /// `GET metadata token`, … Those that were dropped before anything was done count apart: `PUT dropped`.
    #[must_use]
    pub fn calls(&self) -> BTreeMap<String, u64> {
        self.shared().calls()
    }

    /// How often each status was answered, lost answers too.
    #[must_use]
    pub fn answers(&self) -> BTreeMap<u16, u64> {
        self.shared().answers()
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.server.shared
    }
}
