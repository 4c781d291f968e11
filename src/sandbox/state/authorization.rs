//! Agents that are registered with a public key: they sign in by themselves, as the client that the registration made
//! of them. A registration without a key is one whose agent has somebody else's token.

use std::fmt;

use super::{Agent, State};

/// An agent's public RSA key, big-endian.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// The public exponent.
    pub exponent: Vec<u8>,
    /// The modulus.
    pub modulus: Vec<u8>,
}

/// The key that an agent is to be registered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// The public half.
    pub public_key: PublicKey,
    /// Where the agent will get its tokens, as whoever registers it is told.
    pub authorization_url: String,
}

/// How an agent signs in. Each registration with a key makes a new one, and the former is worth nothing then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// Who the agent is when it signs in.
    pub client_id: String,
    /// The audience of its assertions.
    pub authorization_url: String,
    /// What verifies them.
    pub public_key: PublicKey,
}

/// The AES-256 key of a session, known to the organization and to the agent.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKey(pub [u8; 32]);

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(…)")
    }
}

impl State {
    /// The agent that signs in with this client id, and its pool's number.
    #[must_use]
    pub fn client(&self, client_id: &str) -> Option<(i64, &Agent)> {
        let &(pool, agent) = self.clients.get(client_id)?;
        Some((pool, self.agent(pool, agent).ok()?))
    }

    /// Gives a registration its client id.
    pub(super) fn authorize(&mut self, pool: i64, agent: i64, key: Option<KeySpec>) -> Option<Authorization> {
        let KeySpec { public_key, authorization_url } = key?;
        self.last_client += 1;
        let client_id = format!("{:08x}-c11e-4000-8000-{pool:012x}", self.last_client);
        self.clients.insert(client_id.clone(), (pool, agent));
        Some(Authorization { client_id, authorization_url, public_key })
    }

    /// What a registration that ends leaves: nobody.
    pub(super) fn revoke(&mut self, authorization: Option<Authorization>) {
        if let Some(authorization) = authorization {
            self.clients.remove(&authorization.client_id);
        }
    }
}
