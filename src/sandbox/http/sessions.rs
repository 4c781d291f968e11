//! `pools/{id}/sessions` and `messages`: the agent's own calls.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::{
    Shared,
    agents::base,
    authorization::{Caller, revoked},
    call::{Call, number},
    encryption,
    message::{self, Connection},
    reply::Reply,
};
use crate::sandbox::state::{Refusal, SessionDraft};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    owner_name: Option<String>,
    agent: AgentBody,
    system_capabilities: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AgentBody {
    id: i64,
    version: Option<String>,
    os_description: Option<String>,
}

pub(super) fn open(shared: &Shared, call: &Call, pool: &str) -> Result<Reply, Refusal> {
    let pool = number(pool, "poolId")?;
    let body: Body = call.json()?;
    let agent = body.agent.id;
    let mut draft = SessionDraft {
        agent,
        version: body.agent.version,
        os_description: body.agent.os_description,
        system_capabilities: body.system_capabilities,
        key: None,
    };
    let fips = shared.settings.use_fips_encryption;
    let (session, name, key) = shared.with(|state, now| {
        let registered = state.agent(pool, agent)?;
        let name = registered.name.clone();
        let public_key = registered.authorization.as_ref().map(|authorization| &authorization.public_key);
        let key = public_key.map(|key| encryption::session_key(key, fips)).transpose()?;
        let (key, encrypted) = key.unzip();
        draft.key = key;
        Ok::<_, Refusal>((state.open_session(pool, draft, now)?, name, encrypted))
    })?;
    let pause = &shared.settings.poll_pause;
    let mut reply = json!({
        "sessionId": session,
        "ownerName": body.owner_name.unwrap_or_default(),
        "agent": { "id": agent, "name": name },
        "useFipsEncryption": fips,
        message::POLL_PAUSE: [pause.start().as_secs_f64(), pause.end().as_secs_f64()],
    });
    if let Some(key) = key {
        reply["encryptionKey"] = key;
    }
    Ok(Reply::json(&reply))
}

pub(super) fn close(shared: &Shared, pool: &str, session: &str) -> Result<Reply, Refusal> {
    let pool = number(pool, "poolId")?;
    shared.with(|state, now| state.close_session(pool, session, now))?;
    Ok(Reply::empty(204))
}

/// While this lives, its agent is online; when its client goes away, it is dropped.
struct Poll<'a> {
    shared: &'a Shared,
    pool: i64,
    session: &'a str,
}

impl<'a> Poll<'a> {
    fn begin(shared: &'a Shared, pool: i64, session: &'a str) -> Result<Self, Refusal> {
        shared.with(|state, now| state.begin_poll(pool, session, now))?;
        Ok(Self { shared, pool, session })
    }
}

impl Drop for Poll<'_> {
    fn drop(&mut self) {
        self.shared.with(|state, now| state.end_poll(self.pool, self.session, now));
    }
}

/// Waits for a message; 202 says that there was none.
pub(super) async fn next_message(shared: &Shared, call: &Call, caller: &Caller, pool: &str) -> Result<Reply, Refusal> {
    let pool = number(pool, "poolId")?;
    let session = session(call)?;
    let last = call.number("lastMessageId")?.unwrap_or(0);
    let mut changes = shared.changes();
    let poll = Poll::begin(shared, pool, session)?;
    let deadline = Instant::now() + shared.settings.hold;
    loop {
        changes.borrow_and_update();
        let next = shared.with(|state, now| {
            // Whose key was replaced meanwhile hears nothing any more.
            if let Caller::Agent(agent) = caller
                && state.session_of(session).is_some()
                && !agent.is_registered(state)
            {
                return Ok(Some(revoked()));
            }
            let next = state.next_message(pool, session, last, now)?;
            let connect = |request| {
                let token = shared.grants().job_token(request)?;
                Some(Connection { url: format!("{}/", base(shared, call)), token })
            };
            let message = next.and_then(|next| message::message(&next, state, connect));
            let Some(mut message) = message else { return Ok(None) };
            if let Some(key) = state.session_key(session) {
                encryption::seal(&mut message, key)?;
            }
            Ok::<_, Refusal>(Some(Reply::json(&message)))
        })?;
        if let Some(reply) = next {
            return Ok(reply);
        }
        if timeout_at(deadline, changes.changed()).await.is_err() {
            drop(poll);
            return Ok(Reply::empty(202));
        }
    }
}

pub(super) fn delete_message(shared: &Shared, call: &Call, pool: &str, id: &str) -> Result<Reply, Refusal> {
    let (pool, id) = (number(pool, "poolId")?, number(id, "messageId")?);
    let session = session(call)?;
    shared.with(|state, now| state.delete_message(pool, session, id, now))?;
    Ok(Reply::empty(204))
}

fn session(call: &Call) -> Result<&str, Refusal> {
    call.query("sessionId").ok_or_else(|| Refusal::Invalid("The session id is missing.".to_owned()))
}
