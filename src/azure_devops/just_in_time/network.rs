//! What an agent needs on its way to Azure DevOps, where there is a proxy or a private authority between: the same that
//! this program needs. Written as `config.sh --proxyurl` and `--sslcacert` would have.

use secrecy::SecretString;

use super::AgentFiles;

/// The way to Azure DevOps.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// The proxy's URL, without a user name.
    proxy: Option<String>,
    /// Hosts that are reached without it, each a regular expression.
    bypass: Vec<String>,
    /// Certificates of private authorities (PEM).
    authorities: Option<String>,
}

impl Network {
    /// As the environment has it for this program. `variable` looks one up.
    #[must_use]
    pub fn of(variable: impl Fn(&str) -> Option<String>, authorities: Option<String>) -> Self {
        let either = |name: &str| {
            let value = variable(name).or_else(|| variable(&name.to_lowercase()));
            value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        let proxy = either("HTTPS_PROXY").or_else(|| either("ALL_PROXY")).map(|url| without_user(&url));
        let bypass = either("NO_PROXY").unwrap_or_default();
        let bypass = bypass.split([',', ' ']).map(str::trim).filter(|host| !host.is_empty()).map(pattern).collect();
        Self { bypass: if proxy.is_some() { bypass } else { Vec::new() }, proxy, authorities }
    }

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

/// A proxy's password has no place where pipeline jobs run.
fn without_user(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = rest[..authority_end].rfind('@').map_or(0, |at| at + 1);
    format!("{scheme}://{}", &rest[host..])
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

    fn network(variables: &[(&str, &str)]) -> Network {
        let find =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Network::of(find, Some("PEM".to_owned()))
    }

    fn text(files: &AgentFiles, name: &str) -> Option<String> {
        files.get(name).map(|text| text.expose_secret().to_owned())
    }

    #[test]
    fn an_agent_gets_the_proxy_without_its_password_and_what_goes_past_it() {
        let files =
            network(&[("https_proxy", "http://me:s3cr3t@proxy:3128"), ("NO_PROXY", "10.0.0.1, .corp.example,*")])
                .files();
        assert_eq!(text(&files, ".proxy").unwrap(), "http://proxy:3128");
        assert_eq!(
            text(&files, ".proxybypass").unwrap(),
            "(^|[./@])10\\.0\\.0\\.1([:/]|$)\n(^|[./@])corp\\.example([:/]|$)\n.*"
        );
        assert_eq!(text(&files, "ca.pem").unwrap(), "PEM");
    }

    #[test]
    fn without_a_proxy_there_is_nothing_to_go_past() {
        let files = network(&[("NO_PROXY", "a")]).files();
        assert_eq!((text(&files, ".proxy"), text(&files, ".proxybypass")), (None, None));
    }
}
