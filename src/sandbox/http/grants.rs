//! What was granted: access tokens, and which assertions were used up for them. A token is worth something as long as
//! it has not expired and the registration that it was granted to is the agent's.

use std::{collections::HashMap, time::Duration};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::sandbox::{
    sign_ins::{AssertionFault, Assertions},
    state::State,
};

/// An agent that called with a token of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AgentCaller {
    pub(super) pool: i64,
    pub(super) agent: i64,
    client_id: String,
}

impl AgentCaller {
    /// Whether the registration that it was granted to is still there.
    pub(super) fn is_registered(&self, state: &State) -> bool {
        state.client(&self.client_id).is_some()
    }
}

#[derive(Debug)]
struct Grant {
    caller: AgentCaller,
    expires: Timestamp,
}

/// Everything that was granted and has not expired.
#[derive(Default)]
pub(in crate::sandbox) struct Grants {
    tokens: HashMap<String, Grant>,
    /// The tokens of jobs, by their requests, and the other way round.
    job_tokens: HashMap<i64, String>,
    jobs: HashMap<String, i64>,
    /// The second until which each used assertion holds, by client and assertion.
    used: HashMap<(String, String), i64>,
    counts: Assertions,
}

impl std::fmt::Debug for Grants {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grants").field("tokens", &self.tokens.len()).field("counts", &self.counts).finish()
    }
}

impl Grants {
    /// Notes that an assertion is used; it must not be used again for as long as it holds, until that second.
    pub(super) fn use_up(
        &mut self,
        client_id: &str,
        id: &str,
        until: i64,
        now: Timestamp,
    ) -> Result<(), AssertionFault> {
        let second = now.as_second();
        self.used.retain(|_, until| *until > second);
        match self.used.insert((client_id.to_owned(), id.to_owned()), until) {
            None => Ok(()),
            Some(_) => Err(AssertionFault::Replayed),
        }
    }

    /// A new token, or `None` where the system has no random numbers to give.
    pub(super) fn grant(
        &mut self,
        (pool, agent): (i64, i64),
        client_id: &str,
        lifetime: Duration,
        now: Timestamp,
    ) -> Option<String> {
        let token = random_token()?;
        let caller = AgentCaller { pool, agent, client_id: client_id.to_owned() };
        let expires = now.checked_add(lifetime).unwrap_or(Timestamp::MAX);
        self.tokens.retain(|_, grant| grant.expires > now);
        self.tokens.insert(token.clone(), Grant { caller, expires });
        Some(token)
    }

    /// The token for the worker of a job request; always the same one.
    pub(super) fn job_token(&mut self, request: i64) -> Option<String> {
        if let Some(token) = self.job_tokens.get(&request) {
            return Some(token.clone());
        }
        let token = random_token()?;
        self.job_tokens.insert(request, token.clone());
        self.jobs.insert(token.clone(), request);
        Some(token)
    }

    /// The job request whose worker this token is for.
    pub(super) fn job(&self, token: &str) -> Option<i64> {
        self.jobs.get(token).copied()
    }

    /// Whose token it is.
    pub(super) fn caller(&self, token: &str, now: Timestamp) -> Option<AgentCaller> {
        self.tokens.get(token).filter(|grant| grant.expires > now).map(|grant| grant.caller.clone())
    }

    /// Ends all tokens.
    pub(in crate::sandbox) fn revoke_all(&mut self) {
        self.tokens.clear();
    }

    pub(super) fn count(&mut self, outcome: Result<(), AssertionFault>) {
        match outcome {
            Ok(()) => self.counts.verified += 1,
            Err(fault) => *self.counts.refused.entry(fault).or_default() += 1,
        }
    }

    pub(in crate::sandbox) fn counts(&self) -> Assertions {
        self.counts.clone()
    }
}

fn random_token() -> Option<String> {
    let mut bytes = [0; 48];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}
