//! The way to Azure DevOps, step by step: proxy, name, connection, TLS. A client only says that no answer came; whoever
//! has to mend it wants to know where it ends.

use std::{net::SocketAddr, path::Path, time::Duration};

use reqwest::Url;
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout},
};

use super::{
    call::Timing,
    transport::{base_url, causes, http_client, innermost},
};
use crate::azure::SetupError;
use crate::{cluster::environment_proxy, config::is_loopback};

/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(8);

/// A step of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The name becomes addresses.
    Dns,
    /// Something listens there.
    Tcp,
    /// Its certificate is trusted.
    Tls,
}

/// What became of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It went well: the evidence.
    Well(String),
    /// It did not: why.
    Failed(String),
    /// There was nothing to do, or an earlier one failed: why.
    Skipped(String),
}

/// The whole way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The proxy that leads there, without its credentials.
    pub proxy: Option<String>,
    /// The host that was connected to: the organization's or the proxy's.
    pub host: String,
    /// The steps in their order.
    pub steps: Vec<(Way, Step)>,
    /// Whether the token crosses a network in clear.
    pub in_clear: bool,
}

impl Reached {
    /// Whether all went well.
    #[must_use]
    pub fn is_well(&self) -> bool {
        !self.steps.iter().any(|(_, step)| matches!(step, Step::Failed(_)))
    }
}

/// Goes the way to an organization, without a token.
///
/// # Errors
///
/// The URL is none, or the CA file is unusable.
pub async fn reach(organization: &str, ca_file: Option<&Path>) -> Result<Reached, SetupError> {
    let base = base_url(organization)?;
    let timing = Timing { call: PATIENCE, connect: PATIENCE, ..Timing::DEFAULT };
    let client = http_client(&base, ca_file, timing)?;
    let host = base.host_str().unwrap_or_default().to_owned();
    let port = base.port_or_known_default().unwrap_or(443);
    let local = is_loopback(&base);
    let proxy = environment_proxy(base.scheme(), &host, port).filter(|_| !local);
    let proxy_url = proxy.as_deref().and_then(|proxy| proxy.parse::<Url>().ok());
    let (first, first_port) = match &proxy_url {
        Some(proxy) => (proxy.host_str().unwrap_or_default().to_owned(), proxy.port_or_known_default().unwrap_or(1080)),
        None => (host.clone(), port),
    };
    let mut steps = Vec::new();
    let (dns, addresses) = resolve(&first, first_port).await;
    let resolved = matches!(dns, Step::Well(_));
    steps.push((Way::Dns, dns));
    let after = |well: bool, step: &str| (!well).then(|| Step::Skipped(format!("{step} has to work first")));
    let tcp = match after(resolved, "DNS") {
        Some(skipped) => skipped,
        None => connect(&addresses).await,
    };
    let connected = matches!(tcp, Step::Well(_));
    steps.push((Way::Tcp, tcp));
    let tls = match after(connected, "the connection") {
        Some(skipped) => skipped,
        None if base.scheme() == "http" => Step::Skipped("the URL begins with http://".to_owned()),
        None => shake_hands(&client, &base).await,
    };
    steps.push((Way::Tls, tls));
    let shown = proxy_url.map(|mut proxy| {
        // Neither can fail for a URL with a host.
        let _ = proxy.set_username("");
        let _ = proxy.set_password(None);
        proxy.to_string()
    });
    Ok(Reached { proxy: shown.or(proxy), host: first, steps, in_clear: base.scheme() == "http" && !local })
}

async fn resolve(host: &str, port: u16) -> (Step, Vec<SocketAddr>) {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match timeout(PATIENCE, lookup_host((bare, port))).await {
        Ok(Ok(found)) => {
            let found: Vec<_> = found.collect();
            let Some(first) = found.first() else {
                return (Step::Failed(format!("{host} has no address")), found);
            };
            let more = if found.len() > 1 { format!(" and {} more", found.len() - 1) } else { String::new() };
            (Step::Well(format!("{}{more}", first.ip())), found)
        }
        Ok(Err(error)) => (Step::Failed(error.to_string()), Vec::new()),
        Err(_) => (Step::Failed(format!("no answer within {PATIENCE:?}")), Vec::new()),
    }
}

/// Connects to the addresses one after the other until one answers.
async fn connect(addresses: &[SocketAddr]) -> Step {
    let end = Instant::now() + PATIENCE;
    let mut why = String::new();
    for address in addresses {
        let asked = Instant::now();
        match tokio::time::timeout_at(end, TcpStream::connect(address)).await {
            Ok(Ok(_)) => return Step::Well(format!("{address}, {} ms", asked.elapsed().as_millis())),
            Ok(Err(error)) => why = format!("{address}: {error}"),
            Err(_) => return Step::Failed(format!("{address}: no answer within {PATIENCE:?}")),
        }
    }
    Step::Failed(why)
}

/// A question without a token: whatever is answered, TLS stands.
async fn shake_hands(client: &reqwest::Client, base: &Url) -> Step {
    let asked = Instant::now();
    match timeout(PATIENCE, client.head(base.clone()).send()).await {
        Ok(Ok(answer)) => Step::Well(format!("HTTP {}, {} ms", answer.status().as_u16(), asked.elapsed().as_millis())),
        Ok(Err(error)) => Step::Failed(certificate(&error).unwrap_or_else(|| innermost(&error))),
        Err(_) => Step::Failed(format!("no answer within {PATIENCE:?}")),
    }
}

fn certificate(error: &reqwest::Error) -> Option<String> {
    causes(error).find(|cause| cause.is::<rustls::Error>()).map(ToString::to_string)
}
