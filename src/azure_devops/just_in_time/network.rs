//! The way to Azure DevOps as files of the agent: what `config.sh --proxyurl` and `--sslcacert` would have written.

use secrecy::SecretString;

use super::AgentFiles;
use crate::config::Way;

/// The way to Azure DevOps, as an agent reads it.
#[derive(Clone, Debug, Default)]
pub struct Network {
    proxy: Option<String>,
    /// Hosts that are reached without it, each a regular expression.
    bypass: Vec<String>,
    authorities: Option<String>,
}

impl From<Way> for Network {
    fn from(Way { proxy, no_proxy, authorities }: Way) -> Self {
        let hosts = no_proxy.iter().flat_map(|hosts| hosts.split([',', ' ']));
        let bypass = hosts.map(str::trim).filter(|host| !host.is_empty()).map(pattern).collect();
        Self { proxy, bypass, authorities }
    }
}

impl Network {
    /// The files that say so in an agent's root. `ca.pem` is made known to the agent by its start script, which knows where
    /// that root is.
    pub(super) fn files(&self) -> AgentFiles {
        let mut files = AgentFiles::new();
        let mut add =
            |name, content: Option<String>| files.extend(content.map(|text| (name, SecretString::from(text))));
        add(".proxy", self.proxy.clone());
        add(".proxybypass", (!self.bypass.is_empty()).then(|| self.bypass.join("\n")));
        add("ca.pem", self.authorities.clone());
        files
    }
}

/// A host of NO_PROXY as the pattern that the agent matches URLs with. A domain stands for all below it.
fn pattern(host: &str) -> String {
    if host == "*" {
        return ".*".to_owned();
    }
    let escaped: String = host
        .trim_start_matches('*')
        .trim_start_matches('.')
        .chars()
        .flat_map(|c| (!c.is_ascii_alphanumeric() && c != '-').then_some('\\').into_iter().chain([c]))
        .collect();
    format!("(^|[./@]){escaped}([:/]|$)")
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn text(files: &AgentFiles, name: &str) -> Option<String> {
        files.get(name).map(|text| text.expose_secret().to_owned())
    }

    #[test]
    fn an_agent_gets_the_proxy_and_what_goes_past_it() {
        let way = Way {
            proxy: Some("http://proxy:3128".to_owned()),
            no_proxy: Some("10.0.0.1, .corp.example,*".to_owned()),
            authorities: Some("PEM".to_owned()),
        };
        let files = Network::from(way).files();
        assert_eq!(text(&files, ".proxy").unwrap(), "http://proxy:3128");
        assert_eq!(
            text(&files, ".proxybypass").unwrap(),
            "(^|[./@])10\\.0\\.0\\.1([:/]|$)\n(^|[./@])corp\\.example([:/]|$)\n.*"
        );
        assert_eq!(text(&files, "ca.pem").unwrap(), "PEM");
        assert!(Network::default().files().is_empty());
    }
}
