//! Registering an agent in its place.

use reqwest::Url;
use serde::Deserialize;
use serde_json::Value;

use super::{AgentFiles, AgentKey, NewAgent, RegisteredAgent, files};
use crate::{
    azure_devops::{Error, PoolId, RestClient, answer::Failure, list::Elements, request::Request, wire::AgentJson},
    core::{Agent, AgentId},
};

/// What Azure DevOps says of an agent that it has registered with a key.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EnrolledJson {
    pub(super) id: i64,
    #[serde(default)]
    authorization: Value,
    #[serde(default)]
    properties: Value,
}

/// Who it signs in as, and where.
pub(super) struct Credentials {
    pub(super) client_id: String,
    pub(super) authorization_url: String,
}

impl EnrolledJson {
    pub(super) fn credentials(&self) -> Result<Credentials, Error> {
        let text = |name: &str| self.authorization.get(name).and_then(Value::as_str).map(str::to_owned);
        match (text("clientId"), text("authorizationUrl")) {
            (Some(client_id), Some(authorization_url)) => Ok(Credentials { client_id, authorization_url }),
            _ => Err(Error::Unreadable("an agent that was registered with a key and got no credentials".to_owned())),
        }
    }

    /// The server's address for the agent: an Azure DevOps Server may tell another path; what it is reached by stays.
    fn server_url(&self, base: &Url) -> String {
        let told = self.properties.pointer("/ServerUrl/$value").and_then(Value::as_str);
        let path = told.and_then(|told| told.parse::<Url>().ok()).map(|told| told.path().to_owned());
        let mut url = base.clone();
        if let Some(path) = path.filter(|path| path.trim_end_matches('/').len() > 1) {
            url.set_path(&path);
        }
        url.into()
    }
}

impl RestClient {
    pub(in crate::azure_devops) async fn enroll_agent(
        &self,
        pool: PoolId,
        agent: &NewAgent,
    ) -> Result<AgentFiles, Error> {
        // Before the registration: whoever is registered should have its files soon.
        let (key, packages) = tokio::join!(self.new_key(), self.packages());
        let key = key?;
        let first = self.caller.submit::<EnrolledJson>(&Request::enroll(pool, agent, &key)).await;
        let enrolled = match first {
            Ok(enrolled) => enrolled,
            Err(Failure::Final(Error::Taken(said))) => self.enroll_again(pool, agent, &key, said).await?,
            Err(failure) => return Err(failure.into()),
        };
        let Credentials { client_id, authorization_url } = enrolled.credentials()?;
        let registered = RegisteredAgent {
            id: AgentId(enrolled.id),
            name: agent.name.clone(),
            pool,
            pool_name: agent.pool.clone(),
            client_id,
            authorization_url,
        };
        let mut files = files(&enrolled.server_url(self.caller.base()), &registered, &key);
        files.extend(self.network.files());
        files.insert("packages", packages.into());
        Ok(files)
    }

    /// The name is taken. By us, when we or another process of this installation were interrupted, or when a run of that name
    /// has ended and its registration was not removed yet. That one goes and a new one comes: it has another number, so that
    /// whoever still means to remove the old one does not meet it, and nothing of a former agent's life stands against it.
    async fn enroll_again(
        &self,
        pool: PoolId,
        agent: &NewAgent,
        key: &AgentKey,
        said: String,
    ) -> Result<EnrolledJson, Error> {
        let request = Request::agents_named(pool, &agent.name);
        let deadline = self.caller.deadline();
        let page = self.caller.get(&request, None, deadline, Elements::<AgentJson>::default).await?;
        let is_it = |other: &&Agent| other.name.eq_ignore_ascii_case(&agent.name);
        if let Some(there) = page.content.iter().find(is_it) {
            let is_ours = there.installation() == Some(agent.installation.as_str());
            if !is_ours || there.online || there.assigned.is_some() {
                return Err(Error::Taken(said));
            }
            match self.caller.change(&Request::deregister(pool, there.id)).await {
                Ok(()) | Err(Failure::Gone(_)) => {}
                Err(failure) => return Err(failure.into()),
            }
        }
        Ok(self.caller.submit(&Request::enroll(pool, agent, key)).await?)
    }

    pub(super) async fn new_key(&self) -> Result<AgentKey, Error> {
        self.keys.take().await.map_err(|error| Error::Unreachable(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn enrolled(properties: Value) -> EnrolledJson {
        EnrolledJson { id: 1, authorization: Value::Null, properties }
    }

    #[test]
    fn the_server_tells_the_path_and_is_reached_as_before() {
        let base: Url = "https://tfs.example:8443/tfs/old".parse().unwrap();
        let told = |url: &str| enrolled(json!({ "ServerUrl": { "$type": "System.String", "$value": url } }));
        assert_eq!(told("http://inner/tfs/Default/").server_url(&base), "https://tfs.example:8443/tfs/Default/");
        for silent in [json!(null), json!({}), json!({ "ServerUrl": { "$value": "nonsense" } })] {
            assert_eq!(enrolled(silent).server_url(&base), "https://tfs.example:8443/tfs/old");
        }
        assert_eq!(told("https://dev.azure.com/").server_url(&base), "https://tfs.example:8443/tfs/old");
    }

    #[test]
    fn a_reply_without_credentials_is_an_error_that_says_so() {
        assert!(matches!(enrolled(Value::Null).credentials(), Err(Error::Unreadable(_))));
    }
}
