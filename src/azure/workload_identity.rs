//! Workload identity: the cluster signs a token for the pod, and Entra takes it for ours.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

use super::{
    AccessToken,
    endpoint::{ASSERTION_TYPE, Application, Endpoint},
    link::Refusal,
};
use crate::config::CredentialKind;

/// `AZURE_FEDERATED_TOKEN_FILE` and whose it is. The file is read anew each time: it is renewed every hour.
#[derive(Clone, Debug)]
pub(super) struct WorkloadIdentity {
    pub(super) endpoint: Endpoint,
    pub(super) application: Application,
    pub(super) file: PathBuf,
}

impl WorkloadIdentity {
    pub(super) const NAME: &'static str = CredentialKind::WorkloadIdentity.name();

    pub(super) async fn token(&self, scope: &str) -> Result<AccessToken, Refusal> {
        let assertion = self.read()?;
        let proof = [ASSERTION_TYPE, ("client_assertion", assertion.expose_secret())];
        self.endpoint.token(Self::NAME, &self.application, scope, &proof).await
    }

    fn read(&self) -> Result<SecretString, Refusal> {
        let name = self.file.display();
        let fix = "the pod needs the label azure.workload.identity/use: \"true\", and the cluster the webhook of workload identity";
        let text = std::fs::read_to_string(&self.file)
            .map_err(|error| Refusal::failed(format!("the token file {name} cannot be read: {error}"), fix))?;
        match text.trim() {
            "" => Err(Refusal::failed(format!("the token file {name} is empty"), fix)),
            token => Ok(SecretString::from(token)),
        }
    }
}
