//! Settings of the host `aci`: where in Azure the container groups go.
//!
//! They are read as texts and validated only where that host is chosen: `AZ_…` variables may serve others.

use super::{
    AciConfig, AzureEnvironment,
    environment::Environment,
    error::{Problems, Wrong},
    origin::{Found, Origin, prefer},
    reader::Map,
    value::quoted,
};

/// The keys of `containerInstances` in the file.
pub(super) const KEYS: &[&str] = &["subscriptionId", "resourceGroup", "tenantId", "region", "environment"];

/// What one source says.
#[derive(Default)]
pub(super) struct AciSettings {
    subscription_id: Option<Found<String>>,
    resource_group: Option<Found<String>>,
    tenant_id: Option<Found<String>>,
    region: Option<Found<String>>,
    environment: Option<Found<String>>,
}

impl AciSettings {
    pub(super) fn of_environment(environment: &Environment) -> Self {
        let read = |name| {
            let value = environment.get(name)?.to_owned();
            Some(Found { value, origin: Origin::Variable(name) })
        };
        Self {
            subscription_id: read("AZ_SUBSCRIPTION_ID"),
            resource_group: read("AZ_RESOURCE_GROUP"),
            tenant_id: read("AZ_TENANT_ID"),
            region: read("AZ_REGION"),
            environment: read("AZ_ENVIRONMENT"),
        }
    }

    pub(super) fn of_map(map: &Map<'_>) -> Self {
        let read = |key| map.get(key)?.text(|text| Ok(text.to_owned()));
        Self {
            subscription_id: read("subscriptionId"),
            resource_group: read("resourceGroup"),
            tenant_id: read("tenantId"),
            region: read("region"),
            environment: read("environment"),
        }
    }

    pub(super) fn filled_by(self, other: Self, problems: &Problems) -> Self {
        Self {
            subscription_id: prefer(self.subscription_id, other.subscription_id, problems),
            resource_group: prefer(self.resource_group, other.resource_group, problems),
            tenant_id: prefer(self.tenant_id, other.tenant_id, problems),
            region: prefer(self.region, other.region, problems),
            environment: prefer(self.environment, other.environment, problems),
        }
    }

    /// The setting that tells that container groups are meant, if there is one. A region alone does not.
    pub(super) fn name_a_place(&self) -> Option<&Origin> {
        self.subscription_id.as_ref().or(self.resource_group.as_ref()).map(|found| &found.origin)
    }

    /// The tenant, if it is one.
    pub(super) fn tenant(&self) -> Option<String> {
        guid(&self.tenant_id.as_ref()?.value).ok()
    }

    /// The cloud, if it is one.
    pub(super) fn cloud(&self) -> Option<AzureEnvironment> {
        azure_environment(&self.environment.as_ref()?.value).ok()
    }
}

/// The validated settings; `why` says why what is missing is needed.
pub(super) fn config(
    settings: &AciSettings,
    why: &str,
    environment: &Environment,
    problems: &Problems,
) -> Option<AciConfig> {
    let need =
        |found: &Option<Found<String>>, name: &'static str, mend: &str, parse: fn(&str) -> Result<String, Wrong>| {
            match found {
                Some(found) => checked(found, parse, problems),
                None => {
                    environment.report_missing(&[name], &format!("{name} is not set; {why}"), mend, problems);
                    None
                }
            }
        };
    let by_cli = |query: &str| format!("az account show --query {query} prints it");
    let subscription_id = need(&settings.subscription_id, "AZ_SUBSCRIPTION_ID", &by_cli("id"), guid);
    let resource_group =
        need(&settings.resource_group, "AZ_RESOURCE_GROUP", "az group list -o table shows them", resource_group);
    let tenant_id = need(&settings.tenant_id, "AZ_TENANT_ID", &by_cli("tenantId"), guid);
    let region = need(&settings.region, "AZ_REGION", "for example AZ_REGION=westeurope", region);
    let cloud = match &settings.environment {
        Some(found) => checked(found, azure_environment, problems),
        None => Some(AzureEnvironment::Public),
    };
    Some(AciConfig {
        subscription_id: subscription_id?,
        resource_group: resource_group?,
        tenant_id: tenant_id?,
        region: region?,
        environment: cloud?,
    })
}

fn checked<T>(found: &Found<String>, parse: impl Fn(&str) -> Result<T, Wrong>, problems: &Problems) -> Option<T> {
    parse(&found.value).map_err(|wrong| problems.wrong(&found.origin, wrong)).ok()
}

fn guid(text: &str) -> Result<String, Wrong> {
    let parts: Vec<&str> = text.split('-').collect();
    let is_guid = parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
        && parts.iter().all(|part| part.chars().all(|c| c.is_ascii_hexdigit()));
    if is_guid {
        return Ok(text.to_lowercase());
    }
    let what = format!("is {}; it has to be a GUID such as 01234567-89ab-cdef-0123-456789abcdef", quoted(text));
    Err(Wrong::new(what))
}

/// Azure's own rule for names of resource groups.
fn resource_group(text: &str) -> Result<String, Wrong> {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '(' | ')');
    if text.chars().count() <= 90 && text.chars().all(fits) && !text.ends_with('.') {
        return Ok(text.to_owned());
    }
    let what =
        "it has to be at most 90 letters, digits, dashes, dots, underscores and parentheses, with no dot at its end";
    Err(Wrong::new(format!("is {}; {what}", quoted(text))))
}

/// A region by its name (`westeurope`) or as the portal shows it (`West Europe`).
fn region(text: &str) -> Result<String, Wrong> {
    let name = text.replace(' ', "").to_lowercase();
    if name.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Ok(name);
    }
    let what = format!("is {}; it has to be a region such as westeurope", quoted(text));
    Err(Wrong::new(what).mend("az account list-locations -o table shows them"))
}

/// The clouds by all names that Azure's tools have given them.
fn azure_environment(text: &str) -> Result<AzureEnvironment, Wrong> {
    match text.to_lowercase().as_str() {
        "azurepubliccloud" | "azureglobalcloud" | "azurecloud" => Ok(AzureEnvironment::Public),
        "azurechina" | "azurechinacloud" => Ok(AzureEnvironment::China),
        "azureusgovernment" | "azureusgovernmentcloud" => Ok(AzureEnvironment::UsGovernment),
        _ => Err(Wrong::new(format!(
            "is {}; it has to be AzurePublicCloud, AzureChinaCloud or AzureUSGovernment",
            quoted(text)
        ))),
    }
}
