//! How the stand-in for Azure is set up, beyond the rules of its subscription.

use std::time::Duration;

use secrecy::SecretString;

use super::{entra::Application, groups::AzureRules};
use crate::sandbox::served::random_secret;

/// The agent's start script, which is what the image runs.
const START_SCRIPT: &str = include_str!("../../../linux/start.sh");

/// Settings of the stand-in for Azure.
#[derive(Clone, Debug)]
pub struct AzureSettings {
    /// The tenant's id.
    pub tenant: String,
    /// The subscription's id.
    pub subscription: String,
    /// The resource groups that there are.
    pub resource_groups: Vec<String>,
    /// Who may sign in. The first one with a secret is whose variables the handle gives.
    pub applications: Vec<Application>,
    /// The secret of the first application.
    pub secret: SecretString,
    /// What there are tokens for, besides the stand-in's own URL.
    pub audiences: Vec<String>,
    /// What Resource Manager takes for its own audience, besides its own URL.
    pub manager_audiences: Vec<String>,
    /// How long tokens hold, in whole seconds: an hour.
    pub token_lifetime: Duration,
    /// What `X-IDENTITY-HEADER` has to be.
    pub identity_header: SecretString,
    /// Times and limits of the subscription.
    pub rules: AzureRules,
    /// How many groups a page of a list has.
    pub page_size: usize,
    /// The bash script that containers without a command of their own run.
    pub entry_point: String,
}

impl Default for AzureSettings {
    /// One application with a secret of its own making, which is a contributor; one resource group, `agents`.
    fn default() -> Self {
        let secret = random_secret();
        let application = Application::new("orchestrator", "0c11e470-0000-4000-8000-000000000001");
        let managers = [
            "https://management.azure.com",
            "https://management.core.windows.net",
            "https://management.usgovcloudapi.net",
            "https://management.chinacloudapi.cn",
        ];
        let devops = "499b84ac-1321-427f-aa17-267ca6975798";
        Self {
            tenant: "7e4a4700-0000-4000-8000-000000000001".to_owned(),
            subscription: "50b5c410-0000-4000-8000-000000000001".to_owned(),
            resource_groups: vec!["agents".to_owned()],
            applications: vec![application.with_secret(secret.clone())],
            secret,
            audiences: managers.iter().copied().chain([devops]).map(str::to_owned).collect(),
            manager_audiences: managers.map(str::to_owned).into(),
            token_lifetime: Duration::from_secs(3600),
            identity_header: random_secret(),
            rules: AzureRules::default(),
            page_size: 20,
            entry_point: START_SCRIPT.to_owned(),
        }
    }
}
