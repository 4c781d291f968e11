//! The agent's own key: made by `config.sh` or by whoever registers the agent in its place, kept in the file
//! `.credentials_rsaparams`. It signs what the agent proves itself with, and opens what is for the agent alone.
//!
//! The file is read as the real agent's serializer and .NET's `RSA.ImportParameters` do: the names are literal, and each
//! number has its full length, zeros before it included.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use getrandom::SysRng;
use ring::{
    rand::SystemRandom,
    rsa::{KeyPairComponents, PublicKeyComponents},
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use rsa::{
    BoxedUint,
    traits::{PrivateKeyParts as _, PublicKeyParts as _},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::Sha256;

const BITS: usize = 2048;

/// What is wrong with a key.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyError {
    /// The file is not what it should be. Its content is not repeated.
    #[error("the key file is damaged in line {0}")]
    Damaged(usize),
    /// It is no base64.
    #[error("the number {0} of the key is not in base64")]
    Base64(&'static str),
    /// As .NET sees it.
    #[error("the RSA parameters are not valid: {name} has {found} bytes, and must have {wanted}")]
    Length { name: &'static str, found: usize, wanted: usize },
    /// Its numbers do not belong together, or it cannot do what it should.
    #[error("the key is of no use: {0}")]
    Unusable(String),
}

fn unusable(error: impl fmt::Display) -> KeyError {
    KeyError::Unusable(error.to_string())
}

/// The file.
#[derive(Deserialize, Serialize)]
struct Parameters {
    #[serde(rename = "ContainerName", default)]
    container_name: String,
    #[serde(rename = "UseCng", default)]
    use_cng: bool,
    d: String,
    dp: String,
    dq: String,
    exponent: String,
    #[serde(rename = "inverseQ")]
    inverse_q: String,
    modulus: String,
    p: String,
    q: String,
}

/// An RSA key pair; its numbers are big-endian, each of its full length.
pub(super) struct AgentKey {
    modulus: Vec<u8>,
    exponent: Vec<u8>,
    d: Vec<u8>,
    p: Vec<u8>,
    q: Vec<u8>,
    dp: Vec<u8>,
    dq: Vec<u8>,
    inverse_q: Vec<u8>,
}

impl fmt::Debug for AgentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AgentKey(…)")
    }
}

impl AgentKey {
    /// Makes a key pair, which takes a core some 100 ms.
    pub(super) fn generate() -> Result<Self, KeyError> {
        let key = rsa::PrivateKey::new(&mut SysRng, BITS).map_err(unusable)?;
        let incomplete = || unusable("it is incomplete");
        let [p, q] = key.primes() else { return Err(incomplete()) };
        let (long, short) = (BITS / 8, BITS / 16);
        Ok(Self {
            modulus: padded(key.n(), long)?,
            exponent: key.e_bytes().to_vec(),
            d: padded(key.d(), long)?,
            p: padded(p, short)?,
            q: padded(q, short)?,
            dp: padded(key.dp().ok_or_else(incomplete)?, short)?,
            dq: padded(key.dq().ok_or_else(incomplete)?, short)?,
            inverse_q: padded(&key.crt_coefficient().ok_or_else(incomplete)?, short)?,
        })
    }

    /// Reads the file.
    pub(super) fn read(text: &str) -> Result<Self, KeyError> {
        let file: Parameters = serde_json::from_str(text).map_err(|error| KeyError::Damaged(error.line()))?;
        let number = |name: &'static str, text: &str| BASE64_STANDARD.decode(text).map_err(|_| KeyError::Base64(name));
        let modulus = number("modulus", &file.modulus)?;
        let long = modulus.len();
        let short = long.div_ceil(2);
        let exactly = |name: &'static str, text: &str, wanted: usize| {
            let number = number(name, text)?;
            let found = number.len();
            if found == wanted { Ok(number) } else { Err(KeyError::Length { name, found, wanted }) }
        };
        let key = Self {
            exponent: number("exponent", &file.exponent)?,
            d: exactly("d", &file.d, long)?,
            p: exactly("p", &file.p, short)?,
            q: exactly("q", &file.q, short)?,
            dp: exactly("dp", &file.dp, short)?,
            dq: exactly("dq", &file.dq, short)?,
            inverse_q: exactly("inverseQ", &file.inverse_q, short)?,
            modulus,
        };
        // Whether the numbers belong together shows here, and not at the first use.
        key.pair().map(|_| key)
    }

    /// The file's content.
    pub(super) fn write(&self) -> Result<String, KeyError> {
        let text = |number: &[u8]| BASE64_STANDARD.encode(number);
        let file = Parameters {
            container_name: String::new(),
            use_cng: false,
            d: text(&self.d),
            dp: text(&self.dp),
            dq: text(&self.dq),
            exponent: text(&self.exponent),
            inverse_q: text(&self.inverse_q),
            modulus: text(&self.modulus),
            p: text(&self.p),
            q: text(&self.q),
        };
        serde_json::to_string(&file).map_err(unusable)
    }

    /// The public half, as the server is told it.
    pub(super) fn public(&self) -> Value {
        json!({
            "exponent": BASE64_STANDARD.encode(&self.exponent),
            "modulus": BASE64_STANDARD.encode(&self.modulus),
        })
    }

    /// Signs by RS256.
    pub(super) fn sign(&self, text: &str) -> Result<Vec<u8>, KeyError> {
        let pair = self.pair()?;
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
            .map_err(|_| unusable("it does not sign"))?;
        Ok(signature)
    }

    /// Opens what was encrypted with the public half (OAEP), with SHA-256 where the server is in FIPS mode, else SHA-1.
    pub(super) fn decrypt(&self, sealed: &[u8], fips: bool) -> Result<Vec<u8>, KeyError> {
        let number = |bytes: &[u8]| BoxedUint::from_be_slice_vartime(bytes);
        let primes = vec![number(&self.p), number(&self.q)];
        let key =
            rsa::PrivateKey::from_components(number(&self.modulus), number(&self.exponent), number(&self.d), primes)
                .map_err(unusable)?;
        if fips {
            key.oaep_decrypt_with_rng::<Sha256, _>(&mut SysRng, sealed).map_err(unusable)
        } else {
            key.oaep_decrypt_with_rng::<Sha1, _>(&mut SysRng, sealed).map_err(unusable)
        }
    }

    fn pair(&self) -> Result<RsaKeyPair, KeyError> {
        RsaKeyPair::from_components(&KeyPairComponents {
            public_key: PublicKeyComponents { n: plain(&self.modulus), e: plain(&self.exponent) },
            d: plain(&self.d),
            p: plain(&self.p),
            q: plain(&self.q),
            dP: plain(&self.dp),
            dQ: plain(&self.dq),
            qInv: plain(&self.inverse_q),
        })
        .map_err(unusable)
    }
}

/// Without the zeros before it, which ring refuses.
fn plain(number: &[u8]) -> &[u8] {
    let first = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    &number[first..]
}

/// With as many zeros before it as it takes.
fn padded(number: &BoxedUint, length: usize) -> Result<Vec<u8>, KeyError> {
    let bytes = number.to_be_bytes();
    let significant = plain(&bytes);
    let zeros = length.checked_sub(significant.len()).ok_or_else(|| unusable("a number is too long"))?;
    Ok([&vec![0; zeros], significant].concat())
}

#[cfg(test)]
mod tests;
