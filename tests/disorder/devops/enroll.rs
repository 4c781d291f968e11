//! Registering an agent in its place, call by call as the real client does it, and trying whether that is possible.
//!
//! A key is a number here, and an agent that comes with another one than its last cannot sign in.

use std::collections::BTreeMap;

use kubectl_ado::{
    azure_devops::{AgentFiles, AzureDevOps as _, Error, NewAgent, PoolId, Proof, ProofStep},
    core::{Agent, AgentId, Placeholder},
    sandbox::{
        AgentSpec, State,
        state::{KeySpec, PublicKey, SessionDraft},
    },
};
use serde_json::json;

use crate::{organization::has_key, weather::Call};

use super::{
    Asked, FakeAzureDevOps,
    translation::{agent as translated, error, offering, spec},
};

impl FakeAzureDevOps {
    pub(super) async fn enroll_agent(&self, pool: PoolId, agent: &NewAgent) -> Result<AgentFiles, Error> {
        let serial = self.new_serial();
        let spec = offering(&agent.name, &agent.capabilities);
        let id = match self.give_key(pool, None, spec.clone(), &serial).await {
            Err(Error::Taken(said)) => {
                if let Some(there) = self.named(pool, &agent.name).await? {
                    let is_ours = there.installation() == Some(agent.installation.as_str());
                    if !is_ours || there.online || there.assigned.is_some() {
                        return Err(Error::Taken(said));
                    }
                    self.storm.log.note(format!("{} is registered anew", agent.name));
                    self.deregister(pool, there.id).await?;
                }
                self.give_key(pool, None, spec, &serial).await?
            }
            other => other?,
        };
        let settings = json!({"agentId": id.0, "agentName": agent.name, "poolId": pool.0, "poolName": agent.pool});
        Ok(BTreeMap::from([
            (".agent", settings.to_string().into()),
            (".credentials", json!({"scheme": "OAuth", "data": {"clientId": serial}}).to_string().into()),
            (".credentials_rsaparams", json!({"modulus": serial}).to_string().into()),
        ]))
    }

    pub(super) async fn prove_with(&self, pool: PoolId, agent: Option<AgentId>, placeholder: &Placeholder) -> Proof {
        let mut proof = Proof { agent, failed: None };
        proof.failed = self.steps(pool, placeholder, &mut proof.agent).await.err();
        proof
    }

    async fn steps(
        &self,
        pool: PoolId,
        placeholder: &Placeholder,
        agent: &mut Option<AgentId>,
    ) -> Result<(), (ProofStep, Error)> {
        let at = |step| move |error| (step, error);
        let serial = self.new_serial();
        let registered = self.give_key(pool, *agent, spec(placeholder), &serial).await;
        let id = registered.map_err(at(ProofStep::Register))?;
        *agent = Some(id);
        let refused = || Err(Error::Unauthorized("another key is registered".to_owned()));
        let may = |state: &State| has_key(state, pool.0, id.0, &serial);
        let asked = Asked { call: Call::Session, pool: None, what: "sign in" };
        let signed_in = self.ask(asked, |state| if may(state) { Ok(()) } else { refused() }).await;
        signed_in.map_err(at(ProofStep::SignIn))?;
        let opened = self.change(Call::Session, pool, "open a session", move |state, now| {
            let draft = SessionDraft { agent: id.0, ..SessionDraft::default() };
            state.open_session(pool.0, draft, now).map_err(|refusal| error(&refusal))
        });
        let session = opened.await.map_err(at(ProofStep::OpenSession))?;
        let closed = self.change(Call::Session, pool, "close the session", move |state, now| {
            state.close_session(pool.0, &session, now).map_err(|refusal| error(&refusal))
        });
        closed.await.map_err(at(ProofStep::CloseSession))
    }

    /// Registers an agent with a key, or gives one that is registered another.
    async fn give_key(
        &self,
        pool: PoolId,
        agent: Option<AgentId>,
        spec: AgentSpec,
        serial: &str,
    ) -> Result<AgentId, Error> {
        let public_key = PublicKey { exponent: vec![1, 0, 1], modulus: serial.as_bytes().to_owned() };
        let key = Some(KeySpec { public_key, authorization_url: "https://tokens.example".to_owned() });
        let spec = AgentSpec { key, ..spec };
        let what = match agent {
            None => format!("register {} with the key {serial}", spec.name),
            Some(agent) => format!("give agent {agent:?}, {}, the key {serial}", spec.name),
        };
        let call = if agent.is_none() { Call::Register } else { Call::Update };
        self.change(call, pool, &what, move |state, now| {
            let id = match agent {
                None => state.register(pool.0, spec, now),
                Some(agent) => state.replace(pool.0, agent.0, spec, now).map(|()| agent.0),
            };
            id.map(AgentId).map_err(|refusal| error(&refusal))
        })
        .await
    }

    async fn named(&self, pool: PoolId, name: &str) -> Result<Option<Agent>, Error> {
        let pool_name = self.organization.name_of(pool.0);
        let what = format!("agent {name}");
        self.ask(Asked { call: Call::Agents, pool: Some(&pool_name), what: &what }, |state| {
            let found = state.pool(pool.0).map_err(|refusal| Error::NotFound(refusal.to_string()))?;
            let mut agents = found.agents();
            Ok(agents.find(|agent| agent.name.eq_ignore_ascii_case(name)).map(|agent| translated(state, agent)))
        })
        .await
    }

    fn new_serial(&self) -> String {
        format!("{:016x}", self.storm.dice.number(0..=u64::MAX))
    }
}
