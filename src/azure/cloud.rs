//! The clouds of Azure: where identities sign in, and where resources are managed.

use reqwest::Url;

use crate::config::{AzureEnvironment, EntraConfig};

/// One of Azure's clouds, or what stands in for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cloud {
    /// Without a slash at its end.
    authority: String,
    resource_manager: &'static str,
}

impl Cloud {
    /// The cloud of this name. `authority` (`AZURE_AUTHORITY_HOST`) takes the place of its own.
    #[must_use]
    pub fn new(environment: AzureEnvironment, authority: Option<&Url>) -> Self {
        let (own, resource_manager) = match environment {
            AzureEnvironment::Public => ("https://login.microsoftonline.com", "https://management.azure.com"),
            AzureEnvironment::UsGovernment => {
                ("https://login.microsoftonline.us", "https://management.usgovcloudapi.net")
            }
            AzureEnvironment::China => ("https://login.chinacloudapi.cn", "https://management.chinacloudapi.cn"),
        };
        let authority = authority.map_or(own, Url::as_str).trim_end_matches('/').to_owned();
        Self { authority, resource_manager }
    }

    /// The cloud that a configuration names.
    #[must_use]
    pub fn of(config: &EntraConfig) -> Self {
        Self::new(config.cloud, config.authority_host.as_ref())
    }

    /// Where identities sign in, without a slash at its end: `https://login.microsoftonline.com`.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Where resources are managed, without a slash at its end: `https://management.azure.com`.
    #[must_use]
    pub fn resource_manager(&self) -> &str {
        self.resource_manager
    }

    /// The scope of a token for the resource manager.
    #[must_use]
    pub fn resource_manager_scope(&self) -> String {
        format!("{}/.default", self.resource_manager)
    }

    /// Where a tenant gives out tokens.
    pub(super) fn token_url(&self, tenant: &str) -> String {
        format!("{}/{tenant}/oauth2/v2.0/token", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cloud_has_hosts_of_its_own() {
        for (environment, authority, manager) in [
            (AzureEnvironment::Public, "https://login.microsoftonline.com", "https://management.azure.com"),
            (
                AzureEnvironment::UsGovernment,
                "https://login.microsoftonline.us",
                "https://management.usgovcloudapi.net",
            ),
            (AzureEnvironment::China, "https://login.chinacloudapi.cn", "https://management.chinacloudapi.cn"),
        ] {
            let cloud = Cloud::new(environment, None);
            assert_eq!((cloud.authority(), cloud.resource_manager()), (authority, manager));
            assert_eq!(cloud.resource_manager_scope(), format!("{manager}/.default"));
            assert_eq!(cloud.token_url("t"), format!("{authority}/t/oauth2/v2.0/token"));
        }
    }

    #[test]
    fn another_authority_may_take_the_place_with_or_without_a_slash() {
        for given in ["http://127.0.0.1:4711", "http://127.0.0.1:4711/"] {
            let cloud = Cloud::new(AzureEnvironment::China, Some(&given.parse().unwrap()));
            assert_eq!(cloud.authority(), "http://127.0.0.1:4711");
            assert_eq!(cloud.resource_manager(), "https://management.chinacloudapi.cn");
        }
    }
}
