//! How the organization is reached: its URL, and what every request carries.

use std::path::Path;

use reqwest::{
    Client, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};

use super::call::Timing;
use crate::azure::SetupError;
pub(super) use crate::azure::{causes, innermost};

/// Asks for a plain 401 where a browser would be sent to a sign-in page; Microsoft's agent sends it too.
const FED_AUTH_REDIRECT: HeaderName = HeaderName::from_static("x-tfs-fedauthredirect");

/// The organization's or collection's address, without a user name: the one that Azure DevOps' clone URLs carry
/// (`https://contoso@dev.azure.com/contoso`) would displace the token.
pub(super) fn base_url(organization: &str) -> Result<Url, SetupError> {
    // The text itself is not repeated: people put tokens into URLs.
    let wrong = |what: &str| {
        SetupError::new(
            format!("the organization's URL {what}"),
            "set ORG_URL to https://dev.azure.com/ORGANIZATION, or to https://SERVER/tfs/COLLECTION for Azure DevOps Server",
        )
    };
    let mut url: Url = organization.trim().parse().map_err(|error| wrong(&format!("is malformed: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong("does not begin with https:// and a host"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("has a query or a fragment (? or #)"));
    }
    // Neither can fail for a URL with a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Ok(url)
}

/// The HTTP client for one organization.
pub(super) fn http_client(base: &Url, ca_file: Option<&Path>, timing: Timing) -> Result<Client, SetupError> {
    let headers = HeaderMap::from_iter([(FED_AUTH_REDIRECT, HeaderValue::from_static("Suppress"))]);
    crate::azure::http_client(base, ca_file, timing.connect, &headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_cannot_be_an_organizations_is_refused() {
        for url in ["", "contoso", "ftp://a/b", "https://", "https://a/b?c=d", "https://a/b#c", "mailto:s3cr3t@a"] {
            let error = base_url(url).unwrap_err();
            assert!(error.fix().contains("ORG_URL"), "{url}: {error}");
            assert!(!error.to_string().contains("s3cr3t"));
        }
    }

    #[test]
    fn a_user_name_in_the_url_is_dropped() {
        assert_eq!(
            base_url("https://contoso:pat@dev.azure.com/contoso").unwrap().as_str(),
            "https://dev.azure.com/contoso"
        );
    }
}
