//! Sessions and their messages: how an agent is online, and how it learns what to do. One session per agent; it is
//! online while it polls, and for a while after.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;

use super::{Message, MessageContent, Refusal, SessionKey, State, after, model::Session};

/// What an agent says of itself when it opens a session; what is `None` stays as it was registered.
#[derive(Clone, Debug, Default)]
pub struct SessionDraft {
    /// The agent's number.
    pub agent: i64,
    /// The version of its software.
    pub version: Option<String>,
    /// Its operating system, in words.
    pub os_description: Option<String>,
    /// What its machine really offers.
    pub system_capabilities: Option<BTreeMap<String, String>>,
    /// What its messages shall be encrypted with.
    pub key: Option<SessionKey>,
}

impl Session {
    pub(super) fn push(&mut self, content: MessageContent) {
        self.last_message += 1;
        self.messages.push_back(Message { id: self.last_message, content, delivered: false });
    }
}

impl State {
    /// Opens an agent's session and returns its id. A session whose agent counts as offline is superseded.
    ///
    /// # Errors
    ///
    /// [`Refusal::SessionConflict`] while another session of the agent is online; [`Refusal::AgentNotFound`].
    pub fn open_session(&mut self, pool: i64, draft: SessionDraft, now: Timestamp) -> Result<String, Refusal> {
        self.lapse(now);
        let agent = self.agent_mut(pool, draft.agent)?;
        if agent.online {
            return Err(Refusal::SessionConflict(agent.name.clone()));
        }
        if let Some(old) = agent.session.take() {
            self.drop_session(pool, draft.agent, &old.id);
        }
        self.last_session += 1;
        let id = format!("{:08x}-5e55-4000-8000-{:012x}", self.last_session, pool);
        let agent = self.agent_mut(pool, draft.agent)?;
        agent.session = Some(Session {
            id: id.clone(),
            last_seen: now,
            open_polls: 0,
            closing: false,
            messages: VecDeque::new(),
            last_message: 0,
            key: draft.key,
        });
        agent.version = draft.version.unwrap_or_else(|| agent.version.clone());
        agent.os_description = draft.os_description.unwrap_or_else(|| agent.os_description.clone());
        if let Some(capabilities) = draft.system_capabilities {
            agent.system_capabilities = capabilities;
            agent.refresh_offers();
        }
        let is_enabled = agent.enabled;
        if let Some(record) = self.history.get_mut(&(pool, draft.agent)).filter(|_| is_enabled) {
            record.online_at.get_or_insert(now);
        }
        self.sessions.insert(id.clone(), (pool, draft.agent));
        self.seen(pool, draft.agent, now);
        self.assign(now);
        Ok(id)
    }

    /// Closes a session: its agent is offline. A request that it was sent and has not received goes back into the
    /// queue; one that it has received stays with it until the lease lapses.
    ///
    /// # Errors
    ///
    /// [`Refusal::SessionExpired`].
    pub fn close_session(&mut self, pool: i64, session: &str, now: Timestamp) -> Result<(), Refusal> {
        self.lapse(now);
        let id = self.agent_of(pool, session)?;
        let agent = self.agent_mut(pool, id)?;
        agent.session = None;
        agent.status_changed_at = now;
        let was_online = std::mem::take(&mut agent.online);
        self.online -= usize::from(was_online);
        self.drop_session(pool, id, session);
        self.assign(now);
        Ok(())
    }

    fn drop_session(&mut self, pool: i64, agent: i64, session: &str) {
        self.sessions.remove(session);
        self.changed();
        let assigned = self.agent(pool, agent).ok().and_then(|agent| agent.assigned);
        let unreceived = assigned.filter(|id| self.requests.get(id).is_some_and(|r| r.received_at.is_none()));
        if let Some(id) = unreceived {
            self.take_back(id);
        }
    }

    /// The agent begins to wait for a message. While it waits it is online, however long that takes.
    ///
    /// # Errors
    ///
    /// [`Refusal::SessionExpired`].
    pub fn begin_poll(&mut self, pool: i64, session: &str, now: Timestamp) -> Result<(), Refusal> {
        self.lapse(now);
        let agent = self.agent_of(pool, session)?;
        if let Some(session) = &mut self.agent_mut(pool, agent)?.session {
            session.open_polls += 1;
        }
        if let Some(record) = self.history.get_mut(&(pool, agent)) {
            record.online_at.get_or_insert(now);
        }
        self.seen(pool, agent, now);
        self.assign(now);
        Ok(())
    }

    /// The agent has stopped waiting, with a message, without one, or because it is gone.
    pub fn end_poll(&mut self, pool: i64, session: &str, now: Timestamp) {
        self.lapse(now);
        let Ok(agent) = self.agent_of(pool, session) else { return };
        if let Some(session) = self.agent_mut(pool, agent).ok().and_then(|agent| agent.session.as_mut()) {
            session.open_polls = session.open_polls.saturating_sub(1);
        }
        self.seen(pool, agent, now);
    }

    /// The session's first message after number `last`, if there is one. It stays until it is deleted.
    ///
    /// # Errors
    ///
    /// [`Refusal::SessionExpired`].
    pub fn next_message(
        &mut self,
        pool: i64,
        session: &str,
        last: i64,
        now: Timestamp,
    ) -> Result<Option<Message>, Refusal> {
        self.advance(now);
        let agent = self.agent_of(pool, session)?;
        let session = self.agent_mut(pool, agent)?.session.as_mut();
        let message = session.and_then(|session| session.messages.iter_mut().find(|message| message.id > last));
        Ok(message.map(|message| {
            message.delivered = true;
            *message
        }))
    }

    /// The agent has understood a message.
    ///
    /// # Errors
    ///
    /// [`Refusal::SessionExpired`]. A message that is not there is none.
    pub fn delete_message(&mut self, pool: i64, session: &str, message: i64, now: Timestamp) -> Result<(), Refusal> {
        self.lapse(now);
        let agent = self.agent_of(pool, session)?;
        if let Some(session) = &mut self.agent_mut(pool, agent)?.session {
            session.messages.retain(|kept| kept.id != message);
        }
        self.seen(pool, agent, now);
        Ok(())
    }

    /// Whose session it is, as (pool, agent).
    #[must_use]
    pub fn session_of(&self, session: &str) -> Option<(i64, i64)> {
        self.sessions.get(session).copied()
    }

    /// What the messages of a session are encrypted with.
    #[must_use]
    pub fn session_key(&self, session: &str) -> Option<&SessionKey> {
        let (pool, agent) = self.session_of(session)?;
        self.agent(pool, agent).ok()?.session.as_ref()?.key.as_ref()
    }

    fn agent_of(&self, pool: i64, session: &str) -> Result<i64, Refusal> {
        self.pool(pool)?;
        let found = self.sessions.get(session).filter(|&&(of, _)| of == pool);
        found.map(|&(_, agent)| agent).ok_or_else(|| Refusal::SessionExpired(session.to_owned()))
    }

    /// Notes that the agent is there.
    fn seen(&mut self, pool: i64, id: i64, now: Timestamp) {
        let offline_after = self.rules.offline_after;
        self.candidates.insert((pool, id));
        let Ok(agent) = self.agent_mut(pool, id) else { return };
        let Some(session) = &mut agent.session else { return };
        session.last_seen = now;
        let polls = session.open_polls > 0;
        if !std::mem::replace(&mut agent.online, true) {
            agent.status_changed_at = now;
            self.online += 1;
            self.peak_online = self.peak_online.max(self.online);
            self.changed();
        }
        if !polls {
            self.wake_by(after(now, offline_after));
        }
    }
}
