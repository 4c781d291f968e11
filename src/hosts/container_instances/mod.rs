//! Agents as Azure container groups: one group is one agent, which runs one pipeline job and is never started again.
//!
//! All state is in Azure. A group's tags say whose it is and what it is for; its name decides whether it is there already.
//! A group that exists is never put a second time, because that would restart it; whatever is not known is looked up by name.
//! Groups cost money as long as they run and count towards a quota as long as they exist, so each is deleted as soon as its
//! end is seen and the end of its log is kept, and without exception when its time is up.
//!
//! Azure tells of no change: groups are listed every other second at most, and looked at one by one where it matters. What
//! we asked for ourselves is expected until the list shows it. docs/decisions/0020-container-instances.md has the reasons.

mod clear;
mod group;
mod ledger;
mod logs;
mod look;
mod observe;
mod quota;
mod reach;
mod refusal;
mod rights;
mod secrets;
mod start;
mod stop;
mod tags;
mod tidy;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use secrecy::SecretString;

pub use quota::Usage;

use self::{ledger::Ledger, quota::Quota, tags::Owner};
use super::{AgentFiles, AgentHost, HostError, Started};
use crate::{
    azure::{
        OrganizationToken,
        arm::{ArmClient, ArmError},
    },
    clock::ServerClock,
    config::{AciConfig, AgentSpec, Way},
    core::{EquipRun, LeaseView, Run, StartRun, StopRun},
};

/// What is known to work in every region and cloud.
const API_VERSION: &str = "2023-05-01";

/// Runs agents as container groups of one resource group.
pub struct ContainerInstancesHost {
    arm: ArmClient,
    aci: AciConfig,
    owner: Owner,
    /// This process, as held runs name it.
    identity: String,
    agents: BTreeMap<(String, String), AgentSpec>,
    token: OrganizationToken,
    /// What agents need on their way to Azure DevOps.
    way: Way,
    warnings: Vec<String>,
    ledger: Mutex<Ledger>,
    quota: Quota,
    /// How long putting away may hold up a pass.
    tidy_time: Duration,
}

impl ContainerInstancesHost {
    /// What the owners of the templates should know; one line each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The resource group's container groups, as a path.
    fn groups_path(&self) -> String {
        let AciConfig { subscription_id, resource_group, .. } = &self.aci;
        format!(
            "/subscriptions/{subscription_id}/resourceGroups/{resource_group}/providers/Microsoft.ContainerInstance/containerGroups"
        )
    }

    /// How many container groups and cores the region grants the subscription, and how many are in use.
    ///
    /// # Errors
    ///
    /// The account may not see that, or Azure does not answer.
    pub async fn usage(&self) -> Result<Vec<Usage>, HostError> {
        let usages = self.arm.get(&self.usages_path()).await;
        let usages = usages.map_err(|error| self.refused(&error, "read the quota", &[]))?;
        Ok(quota::usages(&usages))
    }

    fn usages_path(&self) -> String {
        let AciConfig { subscription_id, region, .. } = &self.aci;
        format!("/subscriptions/{subscription_id}/providers/Microsoft.ContainerInstance/locations/{region}/usages")
    }

    fn group_path(&self, name: &str) -> String {
        format!("{}/{name}", self.groups_path())
    }

    /// Names of the pools that are served, as they are written.
    fn pools(&self) -> impl Iterator<Item = &str> {
        self.agents.keys().map(|(pool, _)| pool.as_str())
    }

    fn refused(&self, error: &ArmError, what: &str, secrets: &[SecretString]) -> HostError {
        refusal::refusal(error, what, &self.aci, secrets)
    }
}

impl AgentHost for ContainerInstancesHost {
    async fn runs(&self) -> Result<Vec<Run>, HostError> {
        self.refresh().await?;
        self.settle_doubts().await;
        let mut runs = self.ledger().runs(Timestamp::now());
        // Always in the same order, so that the same situation always leads to the same plan.
        runs.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(runs)
    }

    async fn start(&self, run: &StartRun) -> Result<Started, HostError> {
        self.start_run(run).await
    }

    async fn claim(&self, run: &EquipRun) -> Result<(), HostError> {
        self.claim_held(run)
    }

    async fn equip(&self, name: &str, files: &AgentFiles) -> Result<(), HostError> {
        self.equip_held(name, files).await
    }

    async fn mark_busy(&self, names: &BTreeSet<String>) -> Result<(), HostError> {
        self.ledger().busy(names);
        Ok(())
    }

    async fn stop(&self, run: &StopRun) -> Result<(), HostError> {
        self.stop_run(run).await
    }

    fn clock(&self) -> ServerClock {
        self.arm.clock().clone()
    }

    async fn lease(&self, _: &str) -> Result<Option<LeaseView>, HostError> {
        Ok(None)
    }

    async fn tidy(&self, _runs: &[Run]) -> Result<(), HostError> {
        self.put_away().await
    }
}
