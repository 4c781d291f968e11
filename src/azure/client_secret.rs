//! An app registration with a secret.

use secrecy::{ExposeSecret, SecretString};

use super::{
    AccessToken,
    endpoint::{Application, Endpoint},
    link::Refusal,
};

/// `AZURE_CLIENT_SECRET` and whose it is.
#[derive(Clone, Debug)]
pub(super) struct ClientSecret {
    pub(super) endpoint: Endpoint,
    pub(super) application: Application,
    pub(super) secret: SecretString,
}

impl ClientSecret {
    pub(super) const NAME: &str = "EnvironmentCredential (client secret)";

    pub(super) async fn token(&self, scope: &str) -> Result<AccessToken, Refusal> {
        let proof = [("client_secret", self.secret.expose_secret())];
        self.endpoint.token(Self::NAME, &self.application, scope, &proof).await
    }
}
