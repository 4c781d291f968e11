//! Settings of the host `aci`: where in Azure the container groups go, and what all of them have.
//!
//! They are read as texts and validated only where that host is chosen: `AZ_…` variables may serve others.

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    AciConfig, AzureEnvironment, Registry, RegistrySecret, azure_names as names,
    environment::{Environment, VARIABLES},
    error::{Problems, Wrong},
    origin::{Found, Origin, prefer},
    reader::Map,
    value::{self, quoted, show_duration},
};

/// The keys of `containerInstances` in the file.
pub(super) const KEYS: &[&str] = &[
    "subscriptionId",
    "resourceGroup",
    "tenantId",
    "region",
    "environment",
    "cpu",
    "memoryGb",
    "subnetId",
    "identity",
    "registry",
    "template",
    "resourceManagerUrl",
    "maxLifetime",
];

const REGISTRY_KEYS: &[&str] = &["server", "identity", "username", "passwordFile"];

/// Every setting by its path in `containerInstances`, with the variable that says the same.
fn settings() -> impl Iterator<Item = (&'static str, &'static str)> {
    VARIABLES.iter().filter_map(|(name, key)| Some((key.strip_prefix("containerInstances.")?, *name)))
}

/// Settings that are numbers: in the file, too.
pub(super) const NUMBERS: [&str; 2] = ["cpu", "memoryGb"];

/// Settings that are paths of files: in the file they begin at its folder.
const FILES: [&str; 2] = ["template", "registry.passwordFile"];

/// As a small agent of Azure Pipelines has them.
const CPU: f64 = 2.0;
const MEMORY_GB: f64 = 4.0;

/// Longer than any job that Azure Pipelines lets run by default, and short enough for a forgotten group to cost little.
const MAX_LIFETIME: Duration = Duration::from_hours(24);

/// Under ten minutes, groups would be deleted that are still starting.
const LIFETIMES: RangeInclusive<Duration> = Duration::from_mins(10)..=Duration::from_hours(30 * 24);

/// What one source says, by the path in `containerInstances`.
#[derive(Default)]
pub(super) struct AciSettings(BTreeMap<&'static str, Found<String>>);

impl AciSettings {
    pub(super) fn of_environment(environment: &Environment) -> Self {
        let read = |(key, name): (&'static str, &'static str)| {
            let value = environment.get(name)?.to_owned();
            Some((key, Found { value, origin: Origin::Variable(name) }))
        };
        Self(settings().filter_map(read).collect())
    }

    /// `folder` is what relative paths begin at.
    pub(super) fn of_map(map: &Map<'_>, folder: &Path) -> Self {
        let registry = map.get("registry").and_then(|field| field.map(REGISTRY_KEYS));
        let read = |(key, _): (&'static str, &'static str)| {
            let field = match key.split_once('.') {
                Some((_, of_registry)) => registry.as_ref()?.get(of_registry)?,
                None => map.get(key)?,
            };
            let mut found = match NUMBERS.contains(&key) {
                true => field.number()?,
                false => field.text(|text| Ok(text.to_owned()))?,
            };
            if FILES.contains(&key) {
                found.value = folder.join(&found.value).display().to_string();
            }
            Some((key, found))
        };
        Self(settings().filter_map(read).collect())
    }

    pub(super) fn filled_by(mut self, mut other: Self, problems: &Problems) -> Self {
        // Who brings a user name and a password means no identity, and the other way round.
        if ["registry.identity", "registry.username", "registry.passwordFile"]
            .iter()
            .any(|key| self.0.contains_key(key))
        {
            other.0.retain(|key, _| !key.starts_with("registry.") || *key == "registry.server");
        }
        let both = settings().filter_map(|(key, _)| {
            let found = prefer(self.0.remove(key), other.0.remove(key), problems)?;
            Some((key, found))
        });
        Self(both.collect())
    }

    /// The setting that tells that container groups are meant, if there is one. A region alone does not.
    pub(super) fn name_a_place(&self) -> Option<&Origin> {
        self.get("subscriptionId").or_else(|| self.get("resourceGroup")).map(|found| &found.origin)
    }

    /// The tenant, if it is one.
    pub(super) fn tenant(&self) -> Option<String> {
        names::guid(&self.get("tenantId")?.value).ok()
    }

    /// The cloud, if it is one.
    pub(super) fn cloud(&self) -> Option<AzureEnvironment> {
        azure_environment(&self.get("environment")?.value).ok()
    }

    /// The template for all groups.
    pub(super) fn template(&self) -> Option<Found<PathBuf>> {
        let found = self.get("template")?;
        Some(Found { value: found.value.clone().into(), origin: found.origin.clone() })
    }

    /// Each one that is there, by its path in `containerInstances`.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, &Found<String>)> {
        settings().filter_map(|(key, _)| Some((key, self.get(key)?)))
    }

    fn get(&self, key: &str) -> Option<&Found<String>> {
        self.0.get(key)
    }

    fn parse<T>(
        &self,
        key: &str,
        problems: &Problems,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Result<Option<T>, Reported> {
        let Some(found) = self.get(key) else { return Ok(None) };
        parse(&found.value).map(Some).map_err(|wrong| {
            problems.wrong(&found.origin, wrong);
            Reported
        })
    }
}

/// What is wrong has been said.
struct Reported;

/// The validated settings; `why` says why what is missing is needed.
pub(super) fn config(
    settings: &AciSettings,
    why: &str,
    environment: &Environment,
    problems: &Problems,
) -> Option<AciConfig> {
    let need = |key: &str, name: &'static str, mend: &str, parse: fn(&str) -> Result<String, Wrong>| {
        if settings.get(key).is_none() {
            environment.report_missing(&[name], &format!("{name} is not set; {why}"), mend, problems);
        }
        settings.parse(key, problems, parse).ok().flatten()
    };
    let by_cli = |query: &str| format!("az account show --query {query} prints it");
    let subscription_id = need("subscriptionId", "AZ_SUBSCRIPTION_ID", &by_cli("id"), names::guid);
    let resource_group =
        need("resourceGroup", "AZ_RESOURCE_GROUP", "az group list -o table shows them", names::resource_group);
    let tenant_id = need("tenantId", "AZ_TENANT_ID", &by_cli("tenantId"), names::guid);
    let region = need("region", "AZ_REGION", "for example AZ_REGION=westeurope", names::region);

    let cloud = settings.parse("environment", problems, azure_environment);
    let cpu = settings.parse("cpu", problems, decimal("cores", 0.1..=128.0));
    let memory = settings.parse("memoryGb", problems, decimal("gigabytes", 0.1..=1024.0));
    let subnet = settings.parse("subnetId", problems, names::subnet);
    let identity = settings.parse("identity", problems, names::identity);
    let url = settings.parse("resourceManagerUrl", problems, names::resource_manager);
    let lifetime = settings.parse("maxLifetime", problems, value::duration(LIFETIMES));
    let registry = registry(settings, identity.as_ref().ok().and_then(Option::as_deref), problems);
    Some(AciConfig {
        subscription_id: subscription_id?,
        resource_group: resource_group?,
        tenant_id: tenant_id?,
        region: region?,
        environment: cloud.ok()?.unwrap_or(AzureEnvironment::Public),
        cpu: cpu.ok()?.unwrap_or(CPU),
        memory_gb: memory.ok()?.unwrap_or(MEMORY_GB),
        subnet_id: subnet.ok()?,
        identity: identity.ok()?,
        registry: registry.ok()?,
        resource_manager_url: url.ok()?,
        max_lifetime: lifetime.ok()?.unwrap_or(MAX_LIFETIME),
    })
}

/// The registry that the image is pulled from, where it lets nobody in by themselves.
fn registry(settings: &AciSettings, identity: Option<&str>, problems: &Problems) -> Result<Option<Registry>, Reported> {
    let own = settings.parse("registry.identity", problems, names::identity)?;
    let username = settings.get("registry.username");
    let password = settings.get("registry.passwordFile");
    let Some(server) = settings.parse("registry.server", problems, names::registry_server)? else {
        let alone = [settings.get("registry.identity"), username, password].into_iter().flatten().next();
        let Some(alone) = alone else { return Ok(None) };
        problems.wrong(
            &alone.origin,
            Wrong::new("says how to sign in to a registry, and none is named")
                .mend("set AZ_REGISTRY (containerInstances.registry.server), for example contoso.azurecr.io"),
        );
        return Err(Reported);
    };
    let secret = match (own, username, password) {
        (Some(_), Some(other), _) | (Some(_), _, Some(other)) => {
            let wrong = Wrong::new("is set beside an identity for the registry; only one of them can be meant");
            problems.wrong(&other.origin, wrong.mend("leave the one or the other out"));
            return Err(Reported);
        }
        (Some(identity), None, None) => RegistrySecret::Identity(identity),
        (None, Some(username), Some(file)) => {
            let file = PathBuf::from(&file.value);
            RegistrySecret::Password { username: username.value.clone(), file }
        }
        (None, Some(half), None) | (None, None, Some(half)) => {
            let wrong = Wrong::new("is set alone; a registry wants a user name and a password");
            let mend = "set both AZ_REGISTRY_USERNAME and AZ_REGISTRY_PASSWORD_FILE (registry.username, registry.passwordFile)";
            problems.wrong(&half.origin, wrong.mend(mend));
            return Err(Reported);
        }
        (None, None, None) => match identity {
            Some(identity) => RegistrySecret::Identity(identity.to_owned()),
            None => {
                let origin = settings.get("registry.server").map(|found| found.origin.to_string()).unwrap_or_default();
                let wrong = Wrong::new("names a registry, and nothing says how to sign in there");
                let mend = "set AZ_IDENTITY or AZ_REGISTRY_IDENTITY to a managed identity with the role AcrPull, or \
                            AZ_REGISTRY_USERNAME and AZ_REGISTRY_PASSWORD_FILE; leave AZ_REGISTRY out for a public one";
                problems.wrong(origin, wrong.mend(mend));
                return Err(Reported);
            }
        },
    };
    Ok(Some(Registry { server, secret }))
}

fn decimal(unit: &'static str, range: RangeInclusive<f64>) -> impl Fn(&str) -> Result<f64, Wrong> {
    move |text| match text.parse::<f64>() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => {
            let (least, most) = (range.start(), range.end());
            Err(Wrong::new(format!("is {}; it has to be a number of {unit} from {least} to {most}", quoted(text))))
        }
    }
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

/// What is taken where nothing is said, by the path in `containerInstances`.
pub(super) fn defaults() -> [(&'static str, String); 4] {
    [
        ("environment", "AzurePublicCloud".to_owned()),
        ("cpu", CPU.to_string()),
        ("memoryGb", MEMORY_GB.to_string()),
        ("maxLifetime", show_duration(MAX_LIFETIME)),
    ]
}
