//! The way from agents to Azure DevOps, where there is a proxy or a private authority between: the one that this program
//! itself takes.

use super::Config;

/// The way to Azure DevOps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// The proxy's URL, without a user name: its password has no place where pipeline jobs run.
    pub proxy: Option<String>,
    /// Hosts that are reached without it, as `NO_PROXY` lists them.
    pub no_proxy: Option<String>,
    /// Certificates of private authorities (PEM).
    pub authorities: Option<String>,
}

impl Way {
    /// As the environment has it for this program. `variable` looks one up.
    #[must_use]
    pub fn of(variable: impl Fn(&str) -> Option<String>, authorities: Option<String>) -> Self {
        let either = |name: &str| {
            let value = variable(name).or_else(|| variable(&name.to_lowercase()));
            value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        let proxy = either("HTTPS_PROXY").or_else(|| either("ALL_PROXY")).map(|url| without_user(&url));
        Self { no_proxy: either("NO_PROXY").filter(|_| proxy.is_some()), proxy, authorities }
    }
}

impl Config {
    /// What agents need on their way to Azure DevOps: what we need ourselves.
    #[must_use]
    pub fn way(&self) -> Way {
        // It was read a moment ago; should it be gone by now, agents will say what they miss.
        let authorities = self.private_ca_file.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
        Way::of(|name| std::env::var(name).ok(), authorities)
    }
}

fn without_user(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = rest[..authority_end].rfind('@').map_or(0, |at| at + 1);
    format!("{scheme}://{}", &rest[host..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(variables: &[(&str, &str)]) -> Way {
        let find =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Way::of(find, None)
    }

    #[test]
    fn the_proxy_s_password_stays_here() {
        let found = way(&[("https_proxy", "http://me:s3cr3t@proxy:3128"), ("NO_PROXY", "10.0.0.1")]);
        assert_eq!(found.proxy.as_deref(), Some("http://proxy:3128"));
        assert_eq!(found.no_proxy.as_deref(), Some("10.0.0.1"));
    }

    #[test]
    fn without_a_proxy_there_is_nothing_to_go_past() {
        assert_eq!(way(&[("NO_PROXY", "a"), ("HTTPS_PROXY", " ")]), Way::default());
    }
}
