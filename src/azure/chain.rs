//! Which links there are, and what each one lacks.

use reqwest::Client;

use super::{
    Cloud,
    certificate::Certificate,
    client_secret::ClientSecret,
    endpoint::{Application, Endpoint},
    link::Link,
    managed_identity::ManagedIdentity,
    tools::{DeveloperTool, Tool},
    workload_identity::WorkloadIdentity,
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
    let found = match kind {
        CredentialKind::Environment => environment(config, endpoint),
        CredentialKind::WorkloadIdentity => workload_identity(config, endpoint),
        CredentialKind::ManagedIdentity => ManagedIdentity::new(config).map(Link::ManagedIdentity),
        CredentialKind::AzureCli => tool(Tool::Az, config),
        CredentialKind::AzureDeveloperCli => tool(Tool::Azd, config),
    };
    found.unwrap_or_else(|why| Link::Absent(kind.name(), why))
}

/// The secret is taken where both are there, as in Azure's SDKs.
fn environment(config: &EntraConfig, endpoint: &Endpoint) -> Result<Link, String> {
    let endpoint = endpoint.clone();
    match (&config.client_secret, &config.certificate_path) {
        (Some(secret), _) => {
            let application = application(config)?;
            Ok(Link::ClientSecret(ClientSecret { endpoint, application, secret: secret.clone() }))
        }
        (None, Some(path)) => {
            let application = application(config)?;
            Ok(Link::Certificate(Certificate { endpoint, application, path: path.clone() }))
        }
        (None, None) => Err("neither AZURE_CLIENT_SECRET nor AZURE_CLIENT_CERTIFICATE_PATH is set".to_owned()),
    }
}

fn workload_identity(config: &EntraConfig, endpoint: &Endpoint) -> Result<Link, String> {
    let file = config.federated_token_file.clone().ok_or("AZURE_FEDERATED_TOKEN_FILE is not set")?;
    let application = application(config)?;
    Ok(Link::WorkloadIdentity(WorkloadIdentity { endpoint: endpoint.clone(), application, file }))
}

fn tool(tool: Tool, config: &EntraConfig) -> Result<Link, String> {
    DeveloperTool::find(tool, config.path.as_deref(), config.tenant_id.clone()).map(Link::Tool)
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
