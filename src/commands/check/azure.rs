//! Azure as it looks from here, for agents that are container groups: who signs in, the resource group and the rights in it,
//! and how much room the region has. Nothing is changed.

use super::{
    entra::gives_token,
    result::{Check, CheckResult, Section},
};
use crate::{
    azure::{Cloud, Credential, OrganizationToken},
    config::{AciConfig, Config},
    core::Code,
    hosts::{
        HostError,
        container_instances::{ContainerInstancesHost, Usage},
    },
};

fn check(name: &'static str) -> Check {
    Check(Section::Azure, name)
}

/// All checks of Azure, in their order.
pub(super) async fn azure(config: &Config, aci: &AciConfig) -> Vec<CheckResult> {
    let mut results = Vec::new();
    let Some(credential) = signed_in(config, &mut results).await else {
        results.push(check("resource-group").skipped("the resource group: signing in has to work first"));
        return results;
    };
    let (group, region) = (&aci.resource_group, &aci.region);
    let (room, reached) = (check("quota"), check("resource-group"));
    // Its credential reaches Azure alone here; no agent is made with it.
    let token = OrganizationToken::Entra(credential);
    match ContainerInstancesHost::reach(config, aci, "check", token).await {
        Ok(host) => {
            results.push(reached.ok(format!("the resource group {group} shows its container groups")));
            results.push(rights(&host, aci).await);
            results
                .extend(host.warnings().iter().map(|warning| check("template").warn(Code::TemplateRefused, warning)));
            results.push(match host.usage().await {
                Ok(usages) => quota(room, region, &usages),
                Err(error) => room.info(format!("the quota of {region} cannot be read")).evidence(error.to_string()),
            });
        }
        Err(error) => {
            let code = match &error {
                HostError::Refused { reason: "unauthorized", .. } => Code::OrchestratorForbidden,
                HostError::Refused { reason: "signed-out", .. } => Code::TokenRejected,
                HostError::Refused { reason: "template" | "plaintext-token", .. } => Code::TemplateRefused,
                _ => Code::HostFailing,
            };
            let failed = reached.fail(code, format!("agents cannot be made in the resource group {group}"));
            let failed = failed.evidence(error.to_string());
            results.push(match error.fix() {
                Some(fix) => failed.fix(fix),
                None => failed,
            });
        }
    }
    results
}

/// Whether agents can be made and deleted, and not only seen.
async fn rights(host: &ContainerInstancesHost, aci: &AciConfig) -> CheckResult {
    let (rights, group) = (check("rights"), &aci.resource_group);
    match host.missing_rights().await {
        Ok(missing) if missing.is_empty() => {
            rights.ok(format!("the identity may make and delete container groups in {group}"))
        }
        Ok(missing) => rights
            .fail(Code::OrchestratorForbidden, format!("the identity lacks rights in the resource group {group}"))
            .evidence(missing.join(", "))
            .fix(format!(
                "give it the role of docs/container-instances.md, or Contributor, on /subscriptions/{}/resourceGroups/{group}",
                aci.subscription_id
            )),
        Err(error) => {
            rights.info(format!("what the identity may do in {group} is unknown")).evidence(error.to_string())
        }
    }
}

async fn signed_in(config: &Config, results: &mut Vec<CheckResult>) -> Option<Credential> {
    let credential = match Credential::of(config) {
        Ok(credential) => credential,
        Err(error) => {
            results.push(check("entra").fail(Code::HostFailing, error.to_string()).fix(error.fix()));
            return None;
        }
    };
    let scope = Cloud::of(&config.entra).resource_manager_scope();
    gives_token(&credential, &scope, "Azure", Section::Azure, results).await.then_some(credential)
}

fn quota(room: Check, region: &str, usages: &[Usage]) -> CheckResult {
    let words: Vec<_> =
        usages.iter().map(|usage| format!("{} of {} {}", usage.used, usage.limit, usage.name)).collect();
    let words = words.join(", ");
    match usages.iter().find(|usage| usage.used >= usage.limit) {
        Some(full) => room
            .warn(Code::QuotaUsedUp, format!("{region} has no room for another container group: {}", full.name))
            .evidence(words)
            .fix(format!(
                "delete groups, or raise the quota of {region} (Azure portal > Quotas > Container Instances)"
            )),
        None => room.ok(format!("{region} has room for container groups")).evidence(words),
    }
}
