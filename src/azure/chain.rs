//! Which links there are, and what each one lacks.

use reqwest::Client;

use super::{
    Cloud,
    client_secret::ClientSecret,
    endpoint::{Application, Endpoint},
    link::Link,
};
use crate::config::{CredentialKind, EntraConfig};

/// What mends it where nothing is set up at all.
pub(super) const FIX: &str = "set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET (or AZURE_CLIENT_CERTIFICATE_PATH), give \
                              the place where this runs a workload or managed identity, or sign in with az login";

/// The links in their order.
pub(super) fn links(config: &EntraConfig, cloud: Cloud, http: Client) -> Vec<Link> {
    let endpoint = Endpoint { http, cloud };
    let tried = CredentialKind::ALL.into_iter().filter(|kind| config.credentials.include(*kind, config.in_cluster));
    tried.map(|kind| link(kind, config, &endpoint)).collect()
}

fn link(kind: CredentialKind, config: &EntraConfig, endpoint: &Endpoint) -> Link {
    let absent = |why: &str| Link::Absent(kind.name(), why.to_owned());
    match kind {
        CredentialKind::Environment => match (application(config), &config.client_secret) {
            (Err(why), _) => absent(&why),
            (Ok(application), Some(secret)) => {
                Link::ClientSecret(ClientSecret { endpoint: endpoint.clone(), application, secret: secret.clone() })
            }
            (Ok(_), None) => absent("neither AZURE_CLIENT_SECRET nor AZURE_CLIENT_CERTIFICATE_PATH is set"),
        },
        _ => absent("not in this version"),
    }
}

/// Whose token it is to be, or which variables are missing.
fn application(config: &EntraConfig) -> Result<Application, String> {
    match (&config.tenant_id, &config.client_id) {
        (Some(tenant), Some(client_id)) => Ok(Application { tenant: tenant.clone(), client_id: client_id.clone() }),
        (None, None) => Err("AZURE_TENANT_ID and AZURE_CLIENT_ID are not set".to_owned()),
        (None, Some(_)) => Err("AZURE_TENANT_ID is not set".to_owned()),
        (Some(_), None) => Err("AZURE_CLIENT_ID is not set".to_owned()),
    }
}
