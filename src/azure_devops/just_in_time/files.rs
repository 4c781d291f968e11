//! The three files by which an agent is this one registered agent and no other, as `config.sh` would have written them
//! into its root. Source: the agent's `ConfigurationStore`, `OAuthCredential` and `RSAFileKeyManager`.

use reqwest::Url;
use serde_json::json;

use super::{AgentFiles, AgentKey};
use crate::{azure_devops::PoolId, core::AgentId};

/// The agent's work folder, below its root.
const WORK_FOLDER: &str = "_work";

/// An agent that Azure DevOps has registered with our key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredAgent {
    /// Its number in the pool.
    pub id: AgentId,
    /// Its name.
    pub name: String,
    /// The pool's number.
    pub pool: PoolId,
    /// The pool's name.
    pub pool_name: String,
    /// What the agent signs in as.
    pub client_id: String,
    /// The audience of its assertions, to the letter as Azure DevOps said it.
    pub authorization_url: String,
}

/// The files of an agent: which agent it is, as whom it signs in and where, and its private key. They hold no token.
/// `server_url` is the organization's or collection's URL as the agent shall call it.
#[must_use]
pub fn files(server_url: &str, agent: &RegisteredAgent, key: &AgentKey) -> AgentFiles {
    let server_url = format!("{}/", server_url.trim_end_matches('/'));
    let settings = json!({
        "acceptTeeEula": true,
        "agentId": agent.id.0,
        "agentName": agent.name,
        "poolId": agent.pool.0,
        "poolName": agent.pool_name,
        "serverUrl": server_url,
        "workFolder": WORK_FOLDER,
    });
    let credentials = json!({
        "scheme": "OAuth",
        "data": {
            "clientId": agent.client_id,
            "authorizationUrl": agent.authorization_url,
            "oauthEndpointUrl": token_endpoint(&server_url, &agent.authorization_url),
        },
    });
    AgentFiles::from([
        (".agent", settings.to_string().into()),
        (".credentials", credentials.to_string().into()),
        (".credentials_rsaparams", key.file().into()),
    ])
}

/// Where the agent asks for its token. Azure DevOps Services says it itself. An Azure DevOps Server may know itself by a
/// name that only its own network knows: there the agent's own setup keeps the path, and takes scheme, host and port from
/// the URL that the server was reached by. It does the same here.
#[must_use]
pub fn token_endpoint(server_url: &str, authorization_url: &str) -> String {
    let (Ok(server), Ok(mut endpoint)) = (server_url.parse::<Url>(), authorization_url.parse::<Url>()) else {
        return authorization_url.to_owned();
    };
    if is_services(&server) {
        return authorization_url.to_owned();
    }
    let moved = endpoint.set_scheme(server.scheme()).is_ok()
        && endpoint.set_host(server.host_str()).is_ok()
        && endpoint.set_port(server.port()).is_ok();
    if moved { endpoint.into() } else { authorization_url.to_owned() }
}

/// Whether it is the service that Microsoft runs, and no server of somebody's own.
fn is_services(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let host = host.to_ascii_lowercase();
        host == "dev.azure.com" || host.ends_with(".dev.azure.com") || host.ends_with(".visualstudio.com")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_token_endpoint_is_reached_as_the_server_is_and_that_of_the_service_as_it_says() {
        let told = "https://app-tier.internal:8443/tfs/DefaultCollection/_apis/oauth2/token?x=1";
        for (server, endpoint) in [
            ("https://dev.azure.com/contoso/", told),
            ("https://contoso.visualstudio.com/", told),
            (
                "https://tfs.example/tfs/DefaultCollection/",
                "https://tfs.example/tfs/DefaultCollection/_apis/oauth2/token?x=1",
            ),
            ("http://tfs.example:8080/tfs/X/", "http://tfs.example:8080/tfs/DefaultCollection/_apis/oauth2/token?x=1"),
        ] {
            assert_eq!(token_endpoint(server, told), endpoint, "{server}");
        }
    }
}
