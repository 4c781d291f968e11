//! Which proxy leads to the cluster, if any, as kubectl decides it.
//!
//! kube 5.0 compares NO_PROXY with the proxy's own address and refuses to start over an empty entry (`a,,b`), so the
//! decision is made here. A `proxy-url` in the kubeconfig is meant for that very cluster and always counts (a SOCKS
//! tunnel to a cluster whose address reads 127.0.0.1 is a usual case); HTTPS_PROXY does not count for this machine
//! itself and for what NO_PROXY names.

use std::net::IpAddr;

/// The proxy that the environment has for an address outside of clusters: HTTPS_PROXY or HTTP_PROXY by the scheme, else
/// ALL_PROXY, where NO_PROXY does not name the host.
#[must_use]
pub fn environment_proxy(scheme: &str, host: &str, port: u16) -> Option<String> {
    let first = |names: &[&str]| {
        names.iter().filter_map(|name| std::env::var(name).ok()).find(|value| !value.trim().is_empty())
    };
    let names: &[&str] = match scheme {
        "https" => &["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"],
        _ => &["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"],
    };
    let variables = ProxyVariables { https_proxy: first(names), no_proxy: first(&["NO_PROXY", "no_proxy"]) };
    variables.choose(None, host, port)
}

/// The proxy-related variables of the environment.
#[derive(Clone, Debug, Default)]
pub(super) struct ProxyVariables {
    /// HTTPS_PROXY or https_proxy.
    pub(super) https_proxy: Option<String>,
    /// NO_PROXY or no_proxy.
    pub(super) no_proxy: Option<String>,
}

impl ProxyVariables {
    pub(super) fn read() -> Self {
        let first = |names: [&str; 2]| {
            names.into_iter().filter_map(|name| std::env::var(name).ok()).find(|value| !value.trim().is_empty())
        };
        Self { https_proxy: first(["HTTPS_PROXY", "https_proxy"]), no_proxy: first(["NO_PROXY", "no_proxy"]) }
    }

    /// The proxy for a cluster, with a scheme.
    pub(super) fn choose(&self, proxy_url: Option<&str>, host: &str, port: u16) -> Option<String> {
        let explicit = proxy_url.map(str::trim).filter(|url| !url.is_empty());
        let chosen = explicit.or_else(|| {
            let direct = is_loopback(host) || self.no_proxy.as_deref().is_some_and(|list| matches(list, host, port));
            self.https_proxy.as_deref().map(str::trim).filter(|_| !direct)
        })?;
        Some(if chosen.contains("://") { chosen.to_owned() } else { format!("http://{chosen}") })
    }
}

fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.')
}

fn is_loopback(host: &str) -> bool {
    let host = bare(host);
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether an entry of NO_PROXY names the host: `*`, an address, a range (`10.0.0.0/8`), a domain with all below it
/// (`corp`, `corp:6443`), or only what is below it (`.corp`, `*.corp`).
fn matches(list: &str, host: &str, port: u16) -> bool {
    let host = bare(host).to_ascii_lowercase();
    let address = host.parse::<IpAddr>().ok();
    list.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        let entry = entry.to_ascii_lowercase();
        if entry == "*" {
            return true;
        }
        if let Some((network, bits)) = entry.split_once('/') {
            return address.is_some_and(|address| in_range(address, bare(network), bits));
        }
        let (name, entry_port) = match entry.rsplit_once(':') {
            Some((name, digits)) if !name.contains(':') || name.ends_with(']') => match digits.parse::<u16>() {
                Ok(port) => (name, Some(port)),
                Err(_) => (entry.as_str(), None),
            },
            _ => (entry.as_str(), None),
        };
        if entry_port.is_some_and(|wanted| wanted != port) {
            return false;
        }
        if let Ok(wanted) = bare(name).parse::<IpAddr>() {
            return address == Some(wanted);
        }
        if address.is_some() {
            return false;
        }
        match name.strip_prefix('*').unwrap_or(name) {
            below if below.starts_with('.') => host.ends_with(below),
            exact => host == exact || host.strip_suffix(exact).is_some_and(|rest| rest.ends_with('.')),
        }
    })
}

fn in_range(address: IpAddr, network: &str, bits: &str) -> bool {
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    let (address, network, width) = match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => (u32::from(address).into(), u32::from(network).into(), 32),
        (IpAddr::V6(address), IpAddr::V6(network)) => (u128::from(address), u128::from(network), 128),
        _ => return false,
    };
    if bits > width {
        return false;
    }
    let shift = width - bits;
    address.checked_shr(shift) == network.checked_shr(shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goes_direct(no_proxy: &str, host: &str) -> bool {
        let variables =
            ProxyVariables { https_proxy: Some("http://proxy.corp:3128".into()), no_proxy: Some(no_proxy.into()) };
        variables.choose(None, host, 6443).is_none()
    }

    #[test]
    fn no_proxy_is_compared_with_the_cluster() {
        for (no_proxy, host, direct) in [
            ("api.corp", "api.corp", true),
            ("API.corp", "api.Corp", true),
            ("corp", "api.corp", true),
            (".corp", "api.corp", true),
            ("*.corp", "api.corp", true),
            (".corp", "corp", false),
            ("corp", "mycorp", false),
            ("proxy.corp:3128", "api.corp", false),
            ("api.corp:6443", "api.corp", true),
            ("api.corp:443", "api.corp", false),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("0.0.0.0/0", "11.1.2.3", true),
            ("10.0.0.0/99", "10.1.2.3", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3:6443", "10.1.2.3", true),
            ("1.2.3", "10.1.2.3", false),
            ("fd00::/8", "[fd00::1]", true),
            ("fd00::1", "[fd00::1]", true),
            ("[fd00::1]:6443", "[fd00::1]", true),
            ("*", "api.corp", true),
            ("a,,api.corp, ", "api.corp", true),
            ("a b", "api.corp", false),
        ] {
            assert_eq!(goes_direct(no_proxy, host), direct, "NO_PROXY={no_proxy} {host}");
        }
    }

    #[test]
    fn this_machine_is_reached_directly() {
        for host in ["localhost", "127.0.0.1", "127.1.2.3", "[::1]"] {
            assert!(goes_direct("", host), "{host}");
        }
    }

    #[test]
    fn the_proxy_of_the_kubeconfig_always_counts() {
        let variables = ProxyVariables { https_proxy: None, no_proxy: Some("*".into()) };
        assert_eq!(
            variables.choose(Some("socks5://127.0.0.1:1080"), "127.0.0.1", 443).unwrap(),
            "socks5://127.0.0.1:1080"
        );
    }

    #[test]
    fn a_proxy_without_a_scheme_is_an_http_proxy() {
        let variables = ProxyVariables { https_proxy: Some("proxy.corp:3128".into()), no_proxy: None };
        assert_eq!(variables.choose(None, "api.corp", 443).unwrap(), "http://proxy.corp:3128");
    }
}
