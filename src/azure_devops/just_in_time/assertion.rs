//! What an agent proves itself with: a JSON Web Token, signed with its key (RS256). Here it is made for the one question
//! whether the organization accepts it; real agents make their own.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use secrecy::SecretString;
use serde_json::json;

use super::{AgentKey, key::PrivateNumbers};

/// How long it holds, as the agent's own do.
const LIFETIME_SECONDS: i64 = 300;

/// The key cannot sign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot sign with an agent's key: {0}")]
pub struct SigningError(String);

/// The assertion of an agent for the token endpoint.
pub fn assertion(
    key: &AgentKey,
    client_id: &str,
    authorization_url: &str,
    now: Timestamp,
) -> Result<SecretString, SigningError> {
    let part = |value: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let seconds = now.as_second();
    let claims = json!({
        "sub": client_id,
        "iss": client_id,
        "aud": authorization_url,
        "jti": format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..)),
        "nbf": seconds,
        "exp": seconds + LIFETIME_SECONDS,
    });
    let signed = format!("{}.{}", part(json!({ "alg": "RS256", "typ": "JWT" })), part(claims));
    let pair = key_pair(key)?;
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
        .map_err(|_| SigningError("the signature failed".to_owned()))?;
    Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)).into())
}

/// The same key in another library, which checks that its numbers belong together.
pub(super) fn key_pair(key: &AgentKey) -> Result<RsaKeyPair, SigningError> {
    let (n, e) = key.public_bytes();
    let PrivateNumbers { d, p, q, dp, dq, inverse_q } = key.private_numbers();
    let public_key = ring::rsa::PublicKeyComponents { n, e };
    RsaKeyPair::from_components(&ring::rsa::KeyPairComponents {
        public_key,
        d: plain(d),
        p: plain(p),
        q: plain(q),
        dP: plain(dp),
        dQ: plain(dq),
        qInv: plain(inverse_q),
    })
    .map_err(|error| SigningError(error.to_string()))
}

/// Without the zeros that .NET wants and ring refuses.
fn plain(number: &[u8]) -> &[u8] {
    let first = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    &number[first..]
}
