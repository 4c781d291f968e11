//! Reaching Azure: the client, who we are there, and whether the account may do what has to be done.

use std::{sync::Mutex, time::Duration};

use jiff::Timestamp;

use super::{API_VERSION, ContainerInstancesHost, ledger::Ledger, quota::Quota, tags::Owner};
use crate::{
    azure::{Cloud, Credential, OrganizationToken, SetupError, arm::ArmClient},
    config::{AciConfig, Config},
    core::{Installation, Purpose, StartRun},
    hosts::HostError,
};

/// How long putting away may hold up a pass: what is left is done after the next one.
const TIDY_TIME: Duration = Duration::from_secs(5);

/// The same where there is no next one.
const ONLY_TIDY_TIME: Duration = Duration::from_secs(120);

impl ContainerInstancesHost {
    /// Who we are: the id that is configured (INSTALLATION_ID), else one of the resource group, which whoever serves it after
    /// us has too.
    #[must_use]
    pub fn installation(aci: &AciConfig, configured: Option<&str>) -> Installation {
        match configured {
            Some(id) => Installation::new(id),
            None => Installation::of_resource_group(&aci.subscription_id, &aci.resource_group),
        }
    }

    /// Signs in, and lists the groups once: that needs all that nothing works without.
    ///
    /// # Errors
    ///
    /// Azure does not answer ([`HostError::Unavailable`], worth another try), the account lacks a right, the resource group is
    /// not there, or a template has something of the wrong type.
    pub async fn reach(
        config: &Config,
        aci: &AciConfig,
        identity: &str,
        token: OrganizationToken,
    ) -> Result<Self, HostError> {
        let arm = client(config, aci, &token)?;
        let installation = Self::installation(aci, config.installation_id.as_deref());
        let mut host = Self {
            arm,
            aci: aci.clone(),
            owner: Owner { installation, organization: config.organization.url.clone() },
            identity: identity.to_owned(),
            agents: config.agents.clone(),
            token,
            way: config.way(),
            warnings: Vec::new(),
            ledger: Mutex::new(Ledger::new(config.retention)),
            quota: Quota::default(),
            tidy_time: if config.run_once { ONLY_TIDY_TIME } else { TIDY_TIME },
        };
        host.warnings = host.try_templates()?;
        host.refresh().await?;
        Ok(host)
    }

    /// Makes one group of each template and throws it away, so that mistakes show at start.
    fn try_templates(&self) -> Result<Vec<String>, HostError> {
        let mut warnings = std::collections::BTreeSet::new();
        for ((pool, template), agent) in &self.agents {
            let run = StartRun {
                name: "try".to_owned(),
                pool: pool.clone(),
                template: template.clone(),
                purpose: Purpose::Slot(0),
                attempt: 1,
                revision: String::new(),
                recipe: agent.registration.recipe().unwrap_or_default(),
            };
            let now = Timestamp::now();
            warnings.extend(self.make(&run, super::group::Grant::Files(&super::AgentFiles::new()), now)?.warnings);
        }
        Ok(warnings.into_iter().collect())
    }
}

fn client(config: &Config, aci: &AciConfig, token: &OrganizationToken) -> Result<ArmClient, HostError> {
    let made = || -> Result<ArmClient, SetupError> {
        // Who signs in to Azure DevOps by Entra has the same chain here.
        let credential = match token {
            OrganizationToken::Entra(credential) => credential.clone(),
            OrganizationToken::Pat(_) => Credential::of(config)?,
        };
        let cloud = Cloud::of(&config.entra);
        let base = aci.resource_manager_url.as_deref().unwrap_or(cloud.resource_manager());
        let base = base.parse().map_err(|error| {
            SetupError::new(format!("{base} is no URL: {error}"), "correct AZ_RESOURCE_MANAGER_URL")
        })?;
        ArmClient::new(base, cloud.resource_manager_scope(), credential, config.ca_file.as_deref(), API_VERSION)
    };
    made().map_err(|error| HostError::Refused {
        reason: "configuration",
        message: error.to_string(),
        fix: Some(error.fix().to_owned()),
    })
}
