//! Registering an agent in its place, as the real client does it in up to three calls, each in its own weather.

use std::sync::atomic::Ordering;

use kubectl_ado::{
    azure_devops::{AgentFiles, Error, NewAgent, PoolId, Proof, ProofStep},
    core::{AgentId, INSTALLATION_CAPABILITY, Placeholder},
    sandbox::{
        AgentSpec, State,
        state::{KeySpec, PublicKey},
    },
};
use serde_json::json;

use crate::{
    devops::{FakeAzureDevOps, error, spec},
    secrets::Files,
};

impl FakeAzureDevOps {
    /// A key is a number that nobody else draws.
    fn new_key(&self) -> String {
        format!("{:016x}", self.storm.dice.number(0..=u64::MAX))
    }

    pub(crate) async fn enroll_agent(&self, pool: PoolId, agent: &NewAgent) -> Result<AgentFiles, Error> {
        let key = self.new_key();
        let offered = agent.capabilities.iter();
        let mut spec = offered.fold(AgentSpec::named(&agent.name), |spec, (name, value)| spec.with(name, value));
        let public_key = PublicKey { exponent: vec![1, 0, 1], modulus: key.clone().into_bytes() };
        spec.key = Some(KeySpec { public_key, authorization_url: "https://tokens.example".to_owned() });
        let registers = spec.clone();
        let registered = self
            .tell(&format!("enroll {}", agent.name), move |state, now, _| {
                state.register(pool.0, registers, now).map_err(|refusal| error(&refusal))
            })
            .await;
        let id = match registered {
            Err(Error::Taken(said)) => self.replace(pool, agent, spec, said).await?,
            registered => registered?,
        };
        Ok(Files { agent: id, key }.written())
    }

    async fn replace(&self, pool: PoolId, agent: &NewAgent, spec: AgentSpec, said: String) -> Result<i64, Error> {
        let known = |state: &State| {
            let pool = state.pool(pool.0).map_err(|refusal| Error::NotFound(refusal.to_string()))?;
            let found = pool.agents().find(|known| known.name == agent.name);
            let found = found.ok_or_else(|| Error::Gone("it is gone".to_owned()))?;
            let ours = found.system_capabilities.get(INSTALLATION_CAPABILITY) == Some(&agent.installation);
            if found.online || !ours { Err(Error::Taken(said.clone())) } else { Ok(found.id) }
        };
        let id = self.ask("agents of a name", known).await?;
        let late_keys = self.storm.late_keys.clone();
        self.tell(&format!("enroll agent {id} again"), move |state, now, is_late| {
            if is_late {
                late_keys.fetch_add(1, Ordering::Relaxed);
            }
            state.replace(pool.0, id, spec, now).map(|()| id).map_err(|refusal| error(&refusal))
        })
        .await
    }

    pub(crate) async fn prove_it(&self, pool: PoolId, agent: Option<AgentId>, placeholder: &Placeholder) -> Proof {
        let spec = spec(placeholder);
        let proven = self
            .tell("prove", move |state, now, _| match agent {
                Some(AgentId(agent)) => Ok(agent),
                None => state.register(pool.0, spec, now).map_err(|refusal| error(&refusal)),
            })
            .await;
        match proven {
            Ok(agent) => Proof { agent: Some(AgentId(agent)), failed: None },
            Err(error) => Proof { agent, failed: Some((ProofStep::Register, error)) },
        }
    }
}

impl Files {
    fn written(&self) -> AgentFiles {
        let settings = json!({"agentId": self.agent}).to_string();
        AgentFiles::from([(".agent", settings.into()), (".credentials_rsaparams", self.key.as_str().into())])
    }
}
