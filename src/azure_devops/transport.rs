//! How the organization is reached: its URL, TLS, proxies, and what every request carries.

use std::{error::Error as StdError, path::Path, time::Duration};

use reqwest::{
    Certificate, Client, ClientBuilder, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect::Policy,
};

use super::{authorities::authorities, call::Timing};

/// What `User-Agent` says, so that an administrator finds us in the server's log.
const USER_AGENT: &str = concat!("kubectl-ado/", env!("CARGO_PKG_VERSION"));

/// Asks for a plain 401 where a browser would be sent to a sign-in page; Microsoft's agent sends it too.
const FED_AUTH_REDIRECT: HeaderName = HeaderName::from_static("x-tfs-fedauthredirect");

/// Idle connections that are kept: a TLS connection costs some 40 KiB, and pools are asked side by side.
const IDLE_CONNECTIONS: usize = 4;

/// Long enough to live through the quiet polls, shorter than what load balancers forget connections after.
const IDLE_TIME: Duration = Duration::from_secs(60);

/// Why no client could be made: a mistake in the configuration, or a machine without certificate authorities.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{message}")]
pub struct SetupError {
    message: String,
    fix: String,
}

impl SetupError {
    pub(super) fn new(message: String, fix: &str) -> Self {
        Self { message, fix: fix.to_owned() }
    }

    /// One line that says how to mend it.
    #[must_use]
    pub fn fix(&self) -> &str {
        &self.fix
    }
}

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
    // reqwest panics without a provider. Whoever was first here wins, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();

    let extra = ca_file.map(authorities).transpose()?.unwrap_or_default();
    match builder(base, timing).tls_certs_merge(extra.clone()).build() {
        Ok(client) => Ok(client),
        // Without TLS, a machine without certificate authorities will do.
        Err(_) if base.scheme() == "http" => only(extra, builder(base, timing)),
        Err(error) => Err(no_authorities(&error)),
    }
}

fn builder(base: &Url, timing: Timing) -> ClientBuilder {
    let headers = HeaderMap::from_iter([(FED_AUTH_REDIRECT, HeaderValue::from_static("Suppress"))]);
    let builder = Client::builder()
        .user_agent(USER_AGENT)
        .default_headers(headers)
        // A redirect leads to a sign-in page, never to an answer.
        .redirect(Policy::none())
        .connect_timeout(timing.connect)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .pool_idle_timeout(IDLE_TIME);
    // Else as HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY say. No proxy can reach our own loopback address.
    if is_loopback(base) { builder.no_proxy() } else { builder }
}

fn only(authorities: Vec<Certificate>, builder: ClientBuilder) -> Result<Client, SetupError> {
    builder.tls_certs_only(authorities).build().map_err(|error| no_authorities(&error))
}

fn no_authorities(error: &reqwest::Error) -> SetupError {
    let cause = innermost(error);
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().find_map(|name| {
        let value = std::env::var_os(name)?;
        Some(format!(", where {name} is {}", value.display()))
    });
    SetupError::new(
        format!("TLS cannot be set up: {cause}{}", named.unwrap_or_default()),
        "install the package ca-certificates, or set SSL_CERT_FILE or ADO_CA_FILE to a file with the authorities' \
         certificates (PEM)",
    )
}

/// An error and what is beneath it. An I/O error that is asked for its source passes over what it holds, so that is
/// looked at here too.
pub(super) fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<std::io::Error>() {
        Some(io) => io.get_ref().map(|held| held as &(dyn StdError + 'static)),
        None => error.source(),
    })
}

/// What an error began with. The layers above it only say that something failed.
pub(super) fn innermost(error: &(dyn StdError + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

pub(super) fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    let name = host.to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_recognized_in_every_spelling() {
        for (url, expected) in [
            ("http://127.0.0.1:80/x", true),
            ("http://127.9.9.9", true),
            ("http://[::1]:8080", true),
            ("http://[::ffff:127.0.0.1]", true),
            ("http://LocalHost./x", true),
            ("http://ado.localhost", true),
            ("http://localhost.example", false),
            ("https://dev.azure.com/contoso", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(is_loopback(&url.parse().unwrap()), expected, "{url}");
        }
    }

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
