//! What Azure refuses, in the words of the port: what can be waited for, what somebody has to mend, and how.

use secrecy::SecretString;

use super::secrets::scrub;
use crate::{azure::arm::ArmError, config::AciConfig, hosts::HostError};

/// A group that is on its way up or down takes no other change.
const TRANSITIONING: &str = "ContainerGroupTransitioning";

/// Whether the same call may do later.
pub(super) fn is_transition(error: &ArmError) -> bool {
    error.has_code(TRANSITIONING)
}

/// `what` says what was tried, after "cannot". `secrets` are never repeated, whatever Azure repeats.
pub(super) fn refusal(error: &ArmError, what: &str, aci: &AciConfig, secrets: &[SecretString]) -> HostError {
    let message = scrub(&format!("cannot {what}: {error}"), secrets);
    let (reason, fix) = match error {
        ArmError::Credential { may_pass: true, .. } => return HostError::Unavailable(message),
        ArmError::Credential { fix, .. } => ("signed-out", Some(fix.clone())),
        ArmError::Unreachable(_) | ArmError::Throttled { .. } => return HostError::Unavailable(message),
        _ if is_transition(error) => return HostError::Unavailable(message),
        _ if error.is_quota() => return HostError::Full { message, fix: quota_fix(aci) },
        ArmError::Refused { status, code, .. } => match (status, code.as_str()) {
            // Of Azure Policy: an admission rule, and no lack of rights.
            (403, "RequestDisallowedByPolicy") => {
                ("forbidden", Some("change the template so that the policy allows it, or the policy".to_owned()))
            }
            (401, "InvalidAuthenticationTokenTenant") => {
                let fix =
                    "set AZ_TENANT_ID (AZURE_TENANT_ID) to the tenant of the subscription, as az account show tells it";
                ("signed-out", Some(fix.to_owned()))
            }
            // What the group refers to, and not the group.
            (403, "LinkedAuthorizationFailed") => {
                let fix = "give the identity a role on what the message names: on a subnet one with \
                           Microsoft.Network/virtualNetworks/subnets/join/action (Network Contributor), on a managed \
                           identity Managed Identity Operator";
                ("unauthorized", Some(fix.to_owned()))
            }
            (401 | 403, _) => ("unauthorized", Some(role_fix(aci))),
            (_, "ScopeLocked") => {
                let group = &aci.resource_group;
                let fix = format!(
                    "az lock list -g {group} shows the lock; take it off {group}, or name a resource group without one in \
                     AZ_RESOURCE_GROUP: groups that have ended are billed and count against the quota until they are deleted"
                );
                ("locked", Some(fix))
            }
            (_, "ReadOnlyDisabledSubscription" | "SubscriptionDisabled" | "DisabledSubscription") => {
                let fix = format!(
                    "enable the subscription {} again (Azure portal > Subscriptions), or set AZ_SUBSCRIPTION_ID to another one",
                    aci.subscription_id
                );
                ("subscription", Some(fix))
            }
            (404, "ResourceGroupNotFound") => {
                ("not-found", Some(format!("az group create -n {} -l {}", aci.resource_group, aci.region)))
            }
            (404, "SubscriptionNotFound") => {
                ("not-found", Some("set AZ_SUBSCRIPTION_ID to one that az account list shows".to_owned()))
            }
            (409, "MissingSubscriptionRegistration") => {
                ("not-found", Some("az provider register --namespace Microsoft.ContainerInstance".to_owned()))
            }
            (400, "InaccessibleImage" | "RegistryErrorResponse") => {
                let fix = "check the image's name, and AZ_REGISTRY with AZ_IDENTITY (role AcrPull) or a password";
                ("image", Some(fix.to_owned()))
            }
            (408 | 429 | 500.., _) => return HostError::Unavailable(message),
            (409, _) => return HostError::Unavailable(message),
            _ => (
                "invalid",
                Some("correct what the message names, in AZ_… or in the container group's template".to_owned()),
            ),
        },
    };
    HostError::Refused { reason, message, fix }
}

pub(super) fn quota_fix(aci: &AciConfig) -> String {
    format!(
        "agents go on as groups are deleted; lower limits.maxAgents (or MAXIMUM_AGENT_COUNT, which is per pool) to what fits, or raise the quota of \
         {} (Azure portal > Quotas > Container Instances)",
        aci.region
    )
}

fn role_fix(aci: &AciConfig) -> String {
    format!(
        "give the identity the role of docs/container-instances.md, or Contributor, on /subscriptions/{}/resourceGroups/{}",
        aci.subscription_id, aci.resource_group
    )
}

#[cfg(test)]
mod tests;
