//! `config.sh` and `config.sh remove`: in the order of calls of the real one. The token that they are given is for that
//! one time; what stays is the agent's own key.

use reqwest::{Method, Url};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{
    AgentError, Surroundings,
    answer::ClientError,
    arguments::Configuration,
    capabilities::{capabilities, computer, os_description},
    client::Client,
    console::say,
    files::{self, AgentSettings, Credentials, OAuth},
    key::AgentKey,
};
use crate::sandbox::AGENT_VERSION;

pub(super) async fn configure(wanted: &Configuration, surroundings: &Surroundings) -> Result<(), AgentError> {
    if files::are_there(&surroundings.root) {
        let message = "cannot configure the agent because it is already configured; remove it first";
        return Err(AgentError::State(message.to_owned()));
    }
    let client = Client::with_token(&wanted.url, wanted.token.clone())?;
    client.greet().await?;
    client.call(Method::GET, "connectionData", &[], None).await?;
    let pool = pool(&client, &wanted.pool).await?;
    let name = wanted.agent.clone().unwrap_or_else(|| computer(&surroundings.environment));
    let key = tokio::task::spawn_blocking(AgentKey::generate).await;
    let key = key.map_err(|error| AgentError::State(error.to_string()))?;
    let key = key.map_err(|error| AgentError::State(error.to_string()))?;
    let body = json!({
        "name": name,
        "maxParallelism": 1,
        "provisioningState": "Provisioned",
        "version": AGENT_VERSION,
        "osDescription": os_description(),
        "systemCapabilities": capabilities(&name, surroundings),
        "authorization": { "publicKey": key.public() },
    });
    let (id, sign_in, server_url) = register(&client, pool, &name, body, wanted.replace).await?;
    let settings = AgentSettings {
        accept_tee_eula: wanted.accept_tee_eula,
        agent_id: id,
        agent_name: name,
        pool_id: pool,
        pool_name: wanted.pool.clone(),
        server_url: match server_url {
            Some(said) => adopted(&wanted.url, &said),
            None => format!("{}/", wanted.url.trim_end_matches('/')),
        },
        work_folder: wanted.work.clone(),
    };
    let credentials = match sign_in {
        Some(sign_in) => Credentials::Key(sign_in, Box::new(key)),
        None => Credentials::Token(wanted.token.clone()),
    };
    files::write(&surroundings.root, &settings, &credentials)?;
    say(&format!("Settings Saved. Agent {} has number {id} in pool {}.", settings.agent_name, settings.pool_name));
    Ok(())
}

async fn pool(client: &Client, name: &str) -> Result<i64, AgentError> {
    let query = [("poolName", name), ("poolType", "automation")];
    let pools = client.call(Method::GET, "distributedtask/pools", &query, None).await?;
    let id = pools["value"].get(0).and_then(|pool| pool["id"].as_i64());
    id.ok_or_else(|| AgentError::State(format!("agent pool not found: '{name}'")))
}

/// The URL that an agent uses whose registration says one: that one, if it is on the host that it was registered at. Of
/// another host only the path is taken, for the agent has to reach the host as it did before.
fn adopted(registered_at: &str, said: &str) -> String {
    let (Ok(mut ours), Ok(said)) = (registered_at.parse::<Url>(), said.parse::<Url>()) else {
        return registered_at.to_owned();
    };
    let is_same = ours.host_str() == said.host_str();
    if is_same {
        return said.into();
    }
    // Without its path there it would be no organization.
    let is_lost = ours.host_str() == Some("dev.azure.com") && said.path() == "/";
    if !is_lost {
        ours.set_path(said.path());
    }
    ours.into()
}

/// Registers the agent, or takes its old number if it may. An answer that was lost shows as a name that is taken;
/// then the second look finds it. The agent's number, how it signs in with its key if the server knows keys, and what URL it
/// is to use.
async fn register(
    client: &Client,
    pool: i64,
    name: &str,
    mut body: Value,
    replace: bool,
) -> Result<(i64, Option<OAuth>, Option<String>), AgentError> {
    let path = format!("distributedtask/pools/{pool}/agents");
    for _ in 0..2 {
        let found = client.call(Method::GET, &path, &[("agentName", name)], None).await?;
        let old = found["value"].get(0).and_then(|agent| agent["id"].as_i64());
        let agent = match old {
            None => client.call(Method::POST, &path, &[], Some(&body)).await,
            Some(old) if replace => {
                body["id"] = old.into();
                client.call(Method::PUT, &format!("{path}/{old}"), &[], Some(&body)).await
            }
            Some(_) => {
                let message = format!("the pool already contains an agent with the name {name}; use --replace");
                return Err(AgentError::State(message));
            }
        };
        match agent {
            Ok(agent) => {
                let without_number = || AgentError::State("the server gave the agent no number".to_owned());
                let id = agent["id"].as_i64().ok_or_else(without_number)?;
                let server_url = agent["properties"]["ServerUrl"]["$value"].as_str().map(str::to_owned);
                return Ok((id, sign_in(&agent["authorization"]), server_url));
            }
            Err(error) if replace && error.is("TaskAgentExistsException") => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(AgentError::State(format!("the name {name} is taken by another agent again and again")))
}

fn sign_in(authorization: &Value) -> Option<OAuth> {
    // As `Uri.AbsoluteUri` writes it, which is how the server reads the audience.
    let authorization_url = authorization["authorizationUrl"].as_str()?;
    let authorization_url =
        authorization_url.parse::<Url>().map_or_else(|_| authorization_url.to_owned(), String::from);
    Some(OAuth {
        client_id: authorization["clientId"].as_str()?.to_owned(),
        oauth_endpoint_url: Some(authorization_url.clone()),
        authorization_url,
    })
}

/// Unregisters the agent. One that is gone already is as good.
pub(super) async fn remove(token: &SecretString, surroundings: &Surroundings) -> Result<(), AgentError> {
    if !files::are_there(&surroundings.root) {
        say("The agent is not configured.");
        return Ok(());
    }
    let settings = files::read_settings(&surroundings.root)?;
    let client = Client::with_token(&settings.server_url, token.clone())?;
    let path = format!("distributedtask/pools/{}/agents/{}", settings.pool_id, settings.agent_id);
    let removed: Result<Value, ClientError> = client.call(Method::DELETE, &path, &[], None).await;
    match removed {
        Ok(_) => say("Removed the agent from the server."),
        Err(error) if error.is("TaskAgentNotFoundException") => say("The server does not know the agent any more."),
        Err(error) => return Err(error.into()),
    }
    files::remove(&surroundings.root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_url_of_another_host_the_path_is_adopted_and_of_the_same_host_all() {
        for (registered_at, said, expected) in [
            ("http://tfs/tfs/Main", "http://tfs:8080/tfs/Main/", "http://tfs:8080/tfs/Main/"),
            ("https://tfs.corp/tfs/Main", "http://internal/other/", "https://tfs.corp/other/"),
            // A Server that is installed at the root.
            ("https://tfs.corp/Main", "https://internal/", "https://tfs.corp/"),
            ("https://dev.azure.com/contoso", "https://elsewhere/", "https://dev.azure.com/contoso"),
            ("https://dev.azure.com/contoso", "https://elsewhere/fabrikam/", "https://dev.azure.com/fabrikam/"),
            ("https://dev.azure.com/contoso", "no URL", "https://dev.azure.com/contoso"),
        ] {
            assert_eq!(adopted(registered_at, said), expected, "{registered_at} {said}");
        }
    }

    #[test]
    fn the_authorization_url_is_written_as_dot_net_does() {
        let of = |url: &str| sign_in(&json!({ "clientId": "c", "authorizationUrl": url })).unwrap().authorization_url;
        assert_eq!(of("http://TFSSERVER:80/tfs/My Collection/_apis"), "http://tfsserver/tfs/My%20Collection/_apis");
        assert_eq!(
            of("https://vssps.dev.azure.com/o/_apis/oauth2/token"),
            "https://vssps.dev.azure.com/o/_apis/oauth2/token"
        );
    }
}
