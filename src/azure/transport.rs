//! How HTTP is spoken with whatever is reached over the network: TLS, proxies, and what every request carries.

use std::{error::Error as StdError, path::Path, time::Duration};

use reqwest::{Certificate, Client, ClientBuilder, Url, header::HeaderMap, redirect::Policy};

use super::authorities::authorities;
use crate::config::is_loopback;

/// What `User-Agent` says, so that an administrator finds us in the server's log.
const USER_AGENT: &str = concat!("kubectl-ado/", env!("CARGO_PKG_VERSION"));

/// The most idle connections that are kept. Pools are asked side by side, each by a connection of its own, and what is not kept
/// is made anew with each round of polls, TLS included. A kept one costs some 40 KiB, and only as many are as were needed at once.
const IDLE_CONNECTIONS: usize = 64;

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
    pub(crate) fn new(message: String, fix: &str) -> Self {
        Self { message, fix: fix.to_owned() }
    }

    /// One line that says how to mend it.
    #[must_use]
    pub fn fix(&self) -> &str {
        &self.fix
    }
}

/// An HTTP client for one server. The authorities in `ca_file` (PEM) are trusted as well as the system's; `connect` is how
/// long a connection may take to stand; `headers` go with each request. The way is as `HTTPS_PROXY`, `HTTP_PROXY`,
/// `ALL_PROXY` and `NO_PROXY` say, but for an address of this machine. No redirect is followed.
///
/// # Errors
///
/// The CA file is unusable, or the machine has no certificate authorities at all.
pub fn http_client(
    base: &Url,
    ca_file: Option<&Path>,
    connect: Duration,
    headers: &HeaderMap,
) -> Result<Client, SetupError> {
    // reqwest panics without a provider. Whoever was first here wins, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();

    let extra = ca_file.map(authorities).transpose()?.unwrap_or_default();
    let builder = || builder(base, connect).default_headers(headers.clone());
    match builder().tls_certs_merge(extra.clone()).build() {
        Ok(client) => Ok(client),
        // Without TLS, a machine without certificate authorities will do.
        Err(_) if base.scheme() == "http" => only(extra, builder()),
        Err(error) => Err(no_authorities(&error)),
    }
}

/// A client without proxies and without TLS, for what answers beside this machine alone.
pub(super) fn neighbour_client(connect: Duration) -> Result<Client, String> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder().user_agent(USER_AGENT).redirect(Policy::none()).no_proxy().connect_timeout(connect);
    builder.tls_certs_only([]).build().map_err(|error| innermost(&error))
}

fn builder(base: &Url, connect: Duration) -> ClientBuilder {
    let builder = Client::builder()
        .user_agent(USER_AGENT)
        // A redirect leads to a sign-in page, never to an answer.
        .redirect(Policy::none())
        .connect_timeout(connect)
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
pub(crate) fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<std::io::Error>() {
        Some(io) => io.get_ref().map(|held| held as &(dyn StdError + 'static)),
        None => error.source(),
    })
}

/// What an error began with. The layers above it only say that something failed.
pub(crate) fn innermost(error: &(dyn StdError + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}
