//! Registered agents: they come, change and go by REST. A registration outlives its agent's process.

use jiff::Timestamp;

use super::{Agent, AgentChange, AgentRecord, AgentSpec, Refusal, State};
use crate::core::Capabilities;

impl State {
    /// Registers an agent, offline until it opens a session, and returns its number.
    ///
    /// # Errors
    ///
    /// [`Refusal::AgentExists`] if the name is taken, [`Refusal::Invalid`] if it is empty.
    pub fn register(&mut self, pool: i64, spec: AgentSpec, now: Timestamp) -> Result<i64, Refusal> {
        self.lapse(now);
        let into = self.pool_mut(pool)?;
        if spec.name.trim().is_empty() {
            return Err(Refusal::Invalid("The agent has no name.".to_owned()));
        }
        if into.names.contains_key(&spec.name.to_lowercase()) {
            return Err(Refusal::AgentExists { pool, agent: spec.name });
        }
        into.last_agent += 1;
        let id = into.last_agent;
        let authorization = self.authorize(pool, id, spec.key);
        let mut agent = Agent {
            id,
            name: spec.name,
            version: spec.version,
            os_description: spec.os_description,
            enabled: spec.enabled,
            online: false,
            created_at: now,
            status_changed_at: now,
            system_capabilities: spec.system_capabilities,
            user_capabilities: spec.user_capabilities,
            authorization,
            assigned: None,
            last_completed: None,
            session: None,
            offers: Capabilities::default(),
        };
        agent.refresh_offers();
        let record = AgentRecord {
            pool,
            id,
            name: agent.name.clone(),
            registered_at: now,
            online_at: None,
            removed_at: None,
            received: 0,
        };
        let into = self.pool_mut(pool)?;
        into.names.insert(agent.name.to_lowercase(), id);
        into.agents.insert(id, agent);
        self.history.insert((pool, id), record);
        self.changed();
        self.assign(now);
        Ok(id)
    }

    /// Makes an agent that has never been online one that was registered earlier.
    ///
    /// # Errors
    ///
    /// [`Refusal::PoolNotFound`], [`Refusal::AgentNotFound`].
    pub fn backdate(&mut self, pool: i64, id: i64, registered_at: Timestamp) -> Result<(), Refusal> {
        let agent = self.agent_mut(pool, id)?;
        (agent.created_at, agent.status_changed_at) = (registered_at, registered_at);
        if let Some(record) = self.history.get_mut(&(pool, id)) {
            record.registered_at = registered_at;
        }
        self.changed();
        Ok(())
    }

    /// Registers an agent anew under its old number, as `config.sh --replace` does. Its key is the new one, or none if
    /// there is none. A session that it has goes on, for whoever can still call.
    ///
    /// # Errors
    ///
    /// [`Refusal::AgentNotFound`]; [`Refusal::AgentExists`] if another agent has the name.
    pub fn replace(&mut self, pool: i64, id: i64, spec: AgentSpec, now: Timestamp) -> Result<(), Refusal> {
        self.lapse(now);
        let into = self.pool_mut(pool)?;
        if into.names.get(&spec.name.to_lowercase()).is_some_and(|&other| other != id) {
            return Err(Refusal::AgentExists { pool, agent: spec.name });
        }
        let former = into.agents.get_mut(&id).ok_or(Refusal::AgentNotFound(id))?.authorization.take();
        self.revoke(former);
        let authorization = self.authorize(pool, id, spec.key);
        let into = self.pool_mut(pool)?;
        let agent = into.agents.get_mut(&id).ok_or(Refusal::AgentNotFound(id))?;
        agent.authorization = authorization;
        agent.name = spec.name;
        agent.version = spec.version;
        agent.os_description = spec.os_description;
        agent.enabled = spec.enabled;
        agent.system_capabilities = spec.system_capabilities;
        agent.user_capabilities = spec.user_capabilities;
        agent.refresh_offers();
        let name = agent.name.clone();
        into.names.retain(|_, of| *of != id);
        into.names.insert(name.to_lowercase(), id);
        self.candidates.insert((pool, id));
        if let Some(record) = self.history.get_mut(&(pool, id)) {
            record.name = name;
        }
        self.changed();
        self.assign(now);
        Ok(())
    }

    /// Changes an agent, for example to drain it.
    ///
    /// # Errors
    ///
    /// [`Refusal::PoolNotFound`], [`Refusal::AgentNotFound`].
    pub fn change_agent(&mut self, pool: i64, id: i64, change: AgentChange, now: Timestamp) -> Result<(), Refusal> {
        self.lapse(now);
        let agent = self.agent_mut(pool, id)?;
        agent.enabled = change.enabled.unwrap_or(agent.enabled);
        if let Some(version) = change.version {
            agent.version = version;
        }
        if let Some(os_description) = change.os_description {
            agent.os_description = os_description;
        }
        if let Some(capabilities) = change.system_capabilities {
            agent.system_capabilities = capabilities;
        }
        if let Some(capabilities) = change.user_capabilities {
            agent.user_capabilities = capabilities;
        }
        agent.refresh_offers();
        self.candidates.insert((pool, id));
        self.changed();
        self.assign(now);
        Ok(())
    }

    /// Removes an agent and its session. Requests that are queued stay queued, even if nobody can serve them now.
    ///
    /// # Errors
    ///
    /// [`Refusal::JobStillRunning`] while it has a job request; [`Refusal::AgentNotFound`].
    pub fn remove_agent(&mut self, pool: i64, id: i64, now: Timestamp) -> Result<(), Refusal> {
        self.lapse(now);
        let from = self.pool_mut(pool)?;
        let agent = from.agents.get(&id).ok_or(Refusal::AgentNotFound(id))?;
        if agent.assigned.is_some() {
            return Err(Refusal::JobStillRunning { agent: agent.name.clone(), pool: from.name.clone() });
        }
        from.names.remove(&agent.name.to_lowercase());
        let mut agent = from.agents.remove(&id);
        self.revoke(agent.as_mut().and_then(|agent| agent.authorization.take()));
        if let Some(session) = agent.as_ref().and_then(|agent| agent.session.as_ref()) {
            self.sessions.remove(&session.id);
        }
        self.online -= usize::from(agent.is_some_and(|agent| agent.online));
        if let Some(record) = self.history.get_mut(&(pool, id)) {
            record.removed_at = Some(now);
        }
        self.changed();
        self.assign(now);
        Ok(())
    }

    /// An agent by its number.
    ///
    /// # Errors
    ///
    /// [`Refusal::PoolNotFound`], [`Refusal::AgentNotFound`].
    pub fn agent(&self, pool: i64, id: i64) -> Result<&Agent, Refusal> {
        self.pool(pool)?.agents.get(&id).ok_or(Refusal::AgentNotFound(id))
    }

    pub(super) fn agent_mut(&mut self, pool: i64, id: i64) -> Result<&mut Agent, Refusal> {
        self.pool_mut(pool)?.agents.get_mut(&id).ok_or(Refusal::AgentNotFound(id))
    }
}
