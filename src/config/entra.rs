//! What Entra tokens are to be had with: the environment variables that Azure's own SDKs read, under their names.
//!
//! They are read always and validated only where a token is needed: they may be there for somebody else.

use std::path::PathBuf;

use reqwest::Url;
use secrecy::SecretString;

use super::{
    AzureEnvironment, ConfigErrors,
    azure_names::{plain_url, service_url},
    environment::Environment,
    error::{Problems, Wrong},
    value::quoted,
};

/// The variables whose values are secret, whether we read them or not.
pub(super) const SECRETS: &[&str] = &["AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PASSWORD", "IDENTITY_HEADER"];

/// What the environment says about signing in with Entra. Its `Debug` shows no secret.
#[derive(Clone, Debug, Default)]
pub struct EntraConfig {
    /// `AZURE_TENANT_ID`, else the tenant of the container groups (`AZ_TENANT_ID`): a GUID or a domain.
    pub tenant_id: Option<String>,
    /// `AZURE_CLIENT_ID`: of the app registration or of the user-assigned managed identity.
    pub client_id: Option<String>,
    /// `AZURE_CLIENT_SECRET`.
    pub client_secret: Option<SecretString>,
    /// `AZURE_CLIENT_CERTIFICATE_PATH`: a PEM file with the key and its certificate.
    pub certificate_path: Option<PathBuf>,
    /// `AZURE_FEDERATED_TOKEN_FILE`: the token that workload identity puts into a pod and renews there.
    pub federated_token_file: Option<PathBuf>,
    /// `AZURE_AUTHORITY_HOST`, in the place of the cloud's own.
    pub authority_host: Option<Url>,
    /// `AZURE_TOKEN_CREDENTIALS`: which links of the chain are tried.
    pub credentials: Credentials,
    /// `AZURE_POD_IDENTITY_AUTHORITY_HOST`, in the place of the instance metadata service's address.
    pub metadata_host: Option<Url>,
    /// `IDENTITY_ENDPOINT`: where App Service and container groups give out tokens of their managed identity.
    pub identity_endpoint: Option<Url>,
    /// `IDENTITY_HEADER`: what such an endpoint wants to be shown.
    pub identity_header: Option<SecretString>,
    /// Whether we run in a Kubernetes cluster (`KUBERNETES_SERVICE_HOST`), where there are no developer's tools.
    pub in_cluster: bool,
    /// `PATH`, where the developer's tools are looked for.
    pub path: Option<String>,
    /// The cloud (`AZ_ENVIRONMENT`) that the identity lives in.
    pub cloud: AzureEnvironment,
}

/// Which links of the chain are tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// All that fit the place.
    #[default]
    All,
    /// `prod`: environment, workload identity, managed identity.
    Deployed,
    /// `dev`: the developer's tools, in a cluster too.
    Developer,
    /// One alone.
    Only(CredentialKind),
}

/// A link of the chain, under the name that Azure's SDKs have given it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialKind {
    /// Client secret or certificate.
    Environment,
    /// A federated token in a file.
    WorkloadIdentity,
    /// The machine's own identity.
    ManagedIdentity,
    /// `az`.
    AzureCli,
    /// `azd`.
    AzureDeveloperCli,
}

impl CredentialKind {
    /// In the order in which they are tried.
    pub const ALL: [Self; 5] =
        [Self::Environment, Self::WorkloadIdentity, Self::ManagedIdentity, Self::AzureCli, Self::AzureDeveloperCli];

    /// Its name in `AZURE_TOKEN_CREDENTIALS` and in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Environment => "EnvironmentCredential",
            Self::WorkloadIdentity => "WorkloadIdentityCredential",
            Self::ManagedIdentity => "ManagedIdentityCredential",
            Self::AzureCli => "AzureCliCredential",
            Self::AzureDeveloperCli => "AzureDeveloperCliCredential",
        }
    }
}

impl Credentials {
    /// Whether this link is tried.
    #[must_use]
    pub fn include(self, kind: CredentialKind, in_cluster: bool) -> bool {
        let is_tool = matches!(kind, CredentialKind::AzureCli | CredentialKind::AzureDeveloperCli);
        match self {
            Self::All => !is_tool || !in_cluster,
            Self::Deployed => !is_tool,
            Self::Developer => is_tool,
            Self::Only(only) => only == kind,
        }
    }
}

impl EntraConfig {
    /// What the environment says, validated.
    ///
    /// # Errors
    ///
    /// `AZURE_TOKEN_CREDENTIALS` names no credential, or an address is none or would carry a secret in clear.
    pub fn of_environment(environment: &Environment) -> Result<Self, ConfigErrors> {
        let problems = Problems::hiding_secrets_of(environment);
        let config = Self::read(environment, &problems);
        problems.settle(Some(config)).map(|(config, _)| config)
    }

    /// The same; what is wrong is reported, and left out.
    pub(super) fn read(environment: &Environment, problems: &Problems) -> Self {
        let text = |name| environment.get(name).map(str::to_owned);
        let path = |name| environment.get(name).map(PathBuf::from);
        let secret = |name| environment.get(name).map(SecretString::from);
        let url = |name, parse: fn(&str) -> Result<Url, Wrong>| {
            environment.read(name, problems, parse).map(|found| found.value)
        };
        let credentials = environment.read("AZURE_TOKEN_CREDENTIALS", problems, credentials);
        Self {
            tenant_id: environment.read("AZURE_TENANT_ID", problems, tenant).map(|found| found.value),
            client_id: text("AZURE_CLIENT_ID"),
            client_secret: secret("AZURE_CLIENT_SECRET"),
            certificate_path: path("AZURE_CLIENT_CERTIFICATE_PATH"),
            federated_token_file: path("AZURE_FEDERATED_TOKEN_FILE"),
            authority_host: url("AZURE_AUTHORITY_HOST", authority),
            credentials: credentials.map(|found| found.value).unwrap_or_default(),
            metadata_host: url("AZURE_POD_IDENTITY_AUTHORITY_HOST", plain_url),
            identity_endpoint: url("IDENTITY_ENDPOINT", plain_url),
            identity_header: secret("IDENTITY_HEADER"),
            in_cluster: environment.get("KUBERNETES_SERVICE_HOST").is_some(),
            path: text("PATH"),
            cloud: AzureEnvironment::Public,
        }
    }
}

fn credentials(text: &str) -> Result<Credentials, Wrong> {
    match text.to_lowercase().as_str() {
        "prod" => return Ok(Credentials::Deployed),
        "dev" => return Ok(Credentials::Developer),
        _ => {}
    }
    let named = CredentialKind::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(text));
    named.map(Credentials::Only).ok_or_else(|| {
        let names = CredentialKind::ALL.map(CredentialKind::name).join(", ");
        Wrong::new(format!("is {}; it has to be prod, dev, or one of {names}", quoted(text)))
            .mend("unset AZURE_TOKEN_CREDENTIALS to have all of them tried")
    })
}

/// A GUID or a domain: it becomes a part of a URL's path.
fn tenant(text: &str) -> Result<String, Wrong> {
    if text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
        && text.starts_with(char::is_alphanumeric)
    {
        return Ok(text.to_owned());
    }
    Err(Wrong::new("is no tenant; it has to be a GUID or a domain").mend("az account show --query tenantId prints it"))
}

/// Secrets go there: through TLS alone, or not beyond this machine.
fn authority(text: &str) -> Result<Url, Wrong> {
    let text = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    service_url(&text, "https://login.microsoftonline.com/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<EntraConfig, String> {
        EntraConfig::of_environment(&variables.iter().copied().collect()).map_err(|errors| errors.to_string())
    }

    #[test]
    fn the_chain_is_narrowed_by_the_names_of_the_sdks_in_any_case() {
        for (text, expected) in [
            ("prod", Credentials::Deployed),
            ("DEV", Credentials::Developer),
            ("environmentcredential", Credentials::Only(CredentialKind::Environment)),
            ("WorkloadIdentityCredential", Credentials::Only(CredentialKind::WorkloadIdentity)),
            ("ManagedIdentityCredential", Credentials::Only(CredentialKind::ManagedIdentity)),
            ("AzureCliCredential", Credentials::Only(CredentialKind::AzureCli)),
            ("AZUREDEVELOPERCLICREDENTIAL", Credentials::Only(CredentialKind::AzureDeveloperCli)),
        ] {
            assert_eq!(read(&[("AZURE_TOKEN_CREDENTIALS", text)]).unwrap().credentials, expected, "{text}");
        }
        let error = read(&[("AZURE_TOKEN_CREDENTIALS", "VisualStudioCredential")]).unwrap_err();
        assert!(error.contains("one of EnvironmentCredential, ") && error.contains("fix: unset"), "{error}");
    }

    #[test]
    fn tools_are_for_developers_unless_they_are_asked_for() {
        let tools = |credentials: Credentials, in_cluster| credentials.include(CredentialKind::AzureCli, in_cluster);
        assert!(tools(Credentials::All, false) && !tools(Credentials::All, true));
        assert!(tools(Credentials::Developer, true) && !tools(Credentials::Deployed, false));
        assert!(tools(Credentials::Only(CredentialKind::AzureCli), true));
    }

    #[test]
    fn secrets_go_nowhere_in_clear_but_to_this_machine() {
        assert!(read(&[("AZURE_AUTHORITY_HOST", "http://login.example")]).unwrap_err().contains("http://"));
        for good in ["https://login.microsoftonline.us/", "login.chinacloudapi.cn", "http://127.0.0.1:4711"] {
            assert!(read(&[("AZURE_AUTHORITY_HOST", good)]).unwrap().authority_host.is_some(), "{good}");
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let secrets = SECRETS.iter().map(|name| (*name, "s3cr3t-value"));
        let config = read(&secrets.collect::<Vec<_>>());
        assert!(!format!("{:?}", config.unwrap()).contains("s3cr3t"));
        for name in SECRETS {
            let error = read(&[(name, "s3cr3t-value"), ("AZURE_TOKEN_CREDENTIALS", "s3cr3t-value")]);
            assert!(!error.unwrap_err().contains("s3cr3t"), "{name}");
        }
    }
}
