//! What became of the assertions that agents signed in with, for whoever wants to know that each was verified.

use std::collections::BTreeMap;

/// What can be wrong with an assertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum AssertionFault {
    /// It cannot be read, or lacks a claim.
    #[error("it is no JSON Web Token with the claims iss, sub, aud, jti, nbf and exp")]
    Unreadable,
    /// It is signed in another way, or not at all.
    #[error("it is not signed by RS256")]
    Algorithm,
    /// Issuer and subject differ.
    #[error("its issuer and its subject are not the same client")]
    Subject,
    /// There is no registration of this client id (any more).
    #[error("no agent is registered under its client id")]
    UnknownClient,
    /// Another key signed it, or something was changed since.
    #[error("its signature is not by the registered key")]
    Signature,
    /// It is for somebody else.
    #[error("its audience is not the authorization URL of the registration")]
    Audience,
    /// The time from which it holds has not come.
    #[error("it does not hold yet")]
    TooEarly,
    /// The time until which it holds is over.
    #[error("it has expired")]
    Expired,
    /// It was used before.
    #[error("it was used before")]
    Replayed,
}

/// How many assertions came, and what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assertions {
    /// Those that were verified against the registered key, and exchanged for a token.
    pub verified: u64,
    /// Those that were refused, by what was wrong with them.
    pub refused: BTreeMap<AssertionFault, u64>,
}
