//! Names that Azure gives or takes: subscriptions, resource groups, regions, ids of resources, addresses.

use reqwest::Url;

use super::{error::Wrong, loopback::is_loopback, value::quoted};

/// Whether a text is a GUID, as ids of subscriptions, tenants and clients are.
#[must_use]
pub fn is_guid(text: &str) -> bool {
    text.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}

/// A subscription or a tenant, in lower case.
pub(super) fn guid(text: &str) -> Result<String, Wrong> {
    if is_guid(text) {
        return Ok(text.to_lowercase());
    }
    let what = format!("is {}; it has to be a GUID such as 01234567-89ab-cdef-0123-456789abcdef", quoted(text));
    Err(Wrong::new(what))
}

/// Azure's own rule for names of resource groups.
pub(super) fn resource_group(text: &str) -> Result<String, Wrong> {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '(' | ')');
    if text.chars().count() <= 90 && text.chars().all(fits) && !text.ends_with('.') {
        return Ok(text.to_owned());
    }
    let what =
        "it has to be at most 90 letters, digits, dashes, dots, underscores and parentheses, with no dot at its end";
    Err(Wrong::new(format!("is {}; {what}", quoted(text))))
}

/// A region by its name (`westeurope`) or as the portal shows it (`West Europe`).
pub(super) fn region(text: &str) -> Result<String, Wrong> {
    let name = text.replace(' ', "").to_lowercase();
    if name.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Ok(name);
    }
    let what = format!("is {}; it has to be a region such as westeurope", quoted(text));
    Err(Wrong::new(what).mend("az account list-locations -o table shows them"))
}

/// The id of a subnet.
pub(super) fn subnet(text: &str) -> Result<String, Wrong> {
    let like = "/subscriptions/…/resourceGroups/…/providers/Microsoft.Network/virtualNetworks/NETWORK/subnets/NAME";
    let types = ["microsoft.network", "virtualnetworks", "subnets"];
    resource_id(text, types, like).map_err(|wrong| {
        wrong.mend("az network vnet subnet show -g GROUP --vnet-name NETWORK -n NAME --query id prints it")
    })
}

/// The id of a user-assigned managed identity.
pub(super) fn identity(text: &str) -> Result<String, Wrong> {
    let like = "/subscriptions/…/resourceGroups/…/providers/Microsoft.ManagedIdentity/userAssignedIdentities/NAME";
    let types = ["microsoft.managedidentity", "userassignedidentities", ""];
    resource_id(text, types, like).map_err(|wrong| wrong.mend("az identity show -g GROUP -n NAME --query id prints it"))
}

/// An id of a resource: its provider, its type, and the type of what is in it, if anything is.
fn resource_id(text: &str, [provider, kind, inner]: [&str; 3], like: &str) -> Result<String, Wrong> {
    let lower = text.to_lowercase();
    let parts: Vec<&str> = lower.trim_end_matches('/').split('/').collect();
    let fits = match parts[..] {
        ["", "subscriptions", _, "resourcegroups", _, "providers", its, of, _] => {
            its == provider && of == kind && inner.is_empty()
        }
        ["", "subscriptions", _, "resourcegroups", _, "providers", its, of, _, within, _] => {
            its == provider && of == kind && within == inner
        }
        _ => false,
    };
    let is_plain = !text.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#' | '%'));
    if fits && is_plain && parts.iter().skip(1).all(|part| !part.is_empty()) {
        return Ok(text.trim_end_matches('/').to_owned());
    }
    Err(Wrong::new(format!("is {}; it has to be an id such as {like}", quoted(text))))
}

/// A registry's host name.
pub(super) fn registry_server(text: &str) -> Result<String, Wrong> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':');
    if text.chars().all(fits) && text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Ok(text.to_lowercase());
    }
    let wrong = Wrong::new(format!("is {}; it has to be a registry's host name", quoted(text)));
    Err(wrong.mend("write it without https:// and without a path, for example contoso.azurecr.io"))
}

/// An address with nothing but a host and a path in it. It is not repeated in what is said: people put tokens into URLs.
pub(super) fn plain_url(text: &str) -> Result<Url, Wrong> {
    let url = Url::parse(text).map_err(|error| Wrong::new(format!("is not a URL: {error}")))?;
    if !matches!(url.scheme(), "https" | "http") || !url.has_host() {
        return Err(Wrong::new("has to begin with https:// or http:// and a host"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(Wrong::new("has a user name, a password, a query or a fragment in it"));
    }
    Ok(url)
}

/// The address of a service that gets secrets: https, but on this machine itself.
pub(super) fn service_url(text: &str, example: &str) -> Result<Url, Wrong> {
    let mend = || format!("for example {example}");
    let url = plain_url(text).map_err(|wrong| wrong.mend(mend()))?;
    if url.scheme() == "https" || is_loopback(&url) {
        return Ok(url);
    }
    Err(Wrong::new("begins with http://: secrets would cross the network in clear").mend(mend()))
}

/// The address of a Resource Manager, without a slash at its end.
pub(super) fn resource_manager(text: &str) -> Result<String, Wrong> {
    let text = text.trim_end_matches('/');
    service_url(text, "https://management.azure.com").map(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_subnets_and_identities_are_told_from_others() {
        let group = "/subscriptions/1/resourceGroups/g/providers";
        let a_subnet = format!("{group}/Microsoft.Network/virtualNetworks/v/subnets/s");
        let an_identity = format!("{group}/Microsoft.ManagedIdentity/userAssignedIdentities/i");
        assert_eq!(subnet(&a_subnet).unwrap(), a_subnet);
        assert_eq!(identity(&format!("{an_identity}/")).unwrap(), an_identity);
        for text in [an_identity.as_str(), "agents", &format!("{group}/Microsoft.Network/virtualNetworks/v")] {
            assert!(subnet(text).is_err(), "{text}");
        }
        for text in [a_subnet.as_str(), "me", &format!("{an_identity}?x")] {
            assert!(identity(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_service_is_reached_by_https_but_on_this_machine() {
        assert_eq!(
            resource_manager("https://management.local.azurestack.external/").unwrap(),
            "https://management.local.azurestack.external"
        );
        assert_eq!(resource_manager("http://127.0.0.1:8000").unwrap(), "http://127.0.0.1:8000");
        assert!(resource_manager("http://management.azure.com").is_err());
    }

    #[test]
    fn an_address_has_a_host_and_a_path_and_nothing_else() {
        assert!(plain_url("http://169.254.169.254/metadata").is_ok());
        for text in ["management.azure.com", "https://u@x", "https://:p@x", "https://x?y", "https://x#y", "ftp://x"] {
            assert!(plain_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_registry_is_named_by_its_host() {
        assert_eq!(registry_server("Contoso.azurecr.io").unwrap(), "contoso.azurecr.io");
        assert!(registry_server("https://contoso.azurecr.io").is_err());
    }
}
