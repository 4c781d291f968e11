//! The key of one agent: made here, told to Azure DevOps by its public half, and written into the agent's own files.
//!
//! The agent reads each number of its key at an exact length (.NET's `RSA.ImportParameters`), so they are padded to it
//! from the left: of fifty keys that are made here, one has a number that happens to be shorter (of those that OpenSSL makes,
//! which reduces the private exponent further, one in ten or so).

use std::fmt;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use getrandom::SysRng;
use rsa::{
    BoxedUint, PrivateKey,
    traits::{PrivateKeyParts as _, PublicKeyParts as _},
};
use secrecy::{ExposeSecret as _, SecretBox};
use serde_json::json;

/// What `config.sh` makes.
const BITS: usize = 2048;

/// The bytes of the modulus and the private exponent.
const LONG: usize = BITS / 8;

/// The bytes of the primes and all that is counted modulo one of them.
const SHORT: usize = LONG / 2;

/// A key pair could not be made: the system has no random numbers to give.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot make a key for an agent: {0}")]
pub struct KeyError(String);

impl KeyError {
    pub(super) fn new(message: String) -> Self {
        Self(message)
    }
}

/// An RSA-2048 key pair. Its private numbers are wiped when it is dropped, and never shown.
pub struct AgentKey {
    modulus: [u8; LONG],
    exponent: Vec<u8>,
    private: SecretBox<PrivateNumbers>,
}

/// Big-endian, each of its full length.
#[derive(Clone)]
pub(super) struct PrivateNumbers {
    pub(super) d: [u8; LONG],
    pub(super) p: [u8; SHORT],
    pub(super) q: [u8; SHORT],
    pub(super) dp: [u8; SHORT],
    pub(super) dq: [u8; SHORT],
    pub(super) inverse_q: [u8; SHORT],
}

impl secrecy::zeroize::Zeroize for PrivateNumbers {
    fn zeroize(&mut self) {
        self.d.zeroize();
        for number in [&mut self.p, &mut self.q, &mut self.dp, &mut self.dq, &mut self.inverse_q] {
            number.zeroize();
        }
    }
}

impl fmt::Debug for AgentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AgentKey(…)")
    }
}

impl AgentKey {
    /// Makes a key pair. It takes a core some 50 to 300 ms: not for the thread that the loop runs on.
    ///
    /// # Errors
    ///
    /// The system has no random numbers to give.
    pub fn generate() -> Result<Self, KeyError> {
        let key = PrivateKey::new(&mut SysRng, BITS).map_err(|error| KeyError(error.to_string()))?;
        Self::from_key(&key)
    }

    /// The key of two primes, big-endian, so that tests have keys that are rare.
    #[cfg(test)]
    pub(super) fn of_primes(p: &[u8], q: &[u8]) -> Self {
        let primes = [p, q].map(BoxedUint::from_be_slice_vartime).to_vec();
        Self::from_key(&PrivateKey::from_primes(primes, BoxedUint::from(65_537_u64)).unwrap()).unwrap()
    }

    fn from_key(key: &PrivateKey) -> Result<Self, KeyError> {
        let missing = || KeyError("it has no precomputed values".to_owned());
        let [p, q] = key.primes() else { return Err(KeyError("it has not two primes".to_owned())) };
        let inverse_q = key.crt_coefficient().ok_or_else(missing)?;
        let private = PrivateNumbers {
            d: padded(key.d())?,
            p: padded(p)?,
            q: padded(q)?,
            dp: padded(key.dp().ok_or_else(missing)?)?,
            dq: padded(key.dq().ok_or_else(missing)?)?,
            inverse_q: padded(&inverse_q)?,
        };
        Ok(Self {
            modulus: padded(key.n())?,
            exponent: key.e_bytes().to_vec(),
            private: SecretBox::new(Box::new(private)),
        })
    }

    /// The modulus as Azure DevOps is told it: 256 bytes, big-endian, in base64.
    #[must_use]
    pub fn modulus(&self) -> String {
        BASE64_STANDARD.encode(self.modulus)
    }

    /// The public exponent in base64: `AQAB`.
    #[must_use]
    pub fn exponent(&self) -> String {
        BASE64_STANDARD.encode(&self.exponent)
    }

    pub(super) fn public_bytes(&self) -> (&[u8], &[u8]) {
        (&self.modulus, &self.exponent)
    }

    pub(super) fn private_numbers(&self) -> &PrivateNumbers {
        self.private.expose_secret()
    }

    /// The file `.credentials_rsaparams`: the names are literal, as the agent's serializer reads them.
    pub(super) fn file(&self) -> String {
        let PrivateNumbers { d, p, q, dp, dq, inverse_q } = self.private_numbers();
        let text = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
        json!({
            "ContainerName": "",
            "UseCng": false,
            "d": text(d),
            "dp": text(dp),
            "dq": text(dq),
            "exponent": self.exponent(),
            "inverseQ": text(inverse_q),
            "modulus": self.modulus(),
            "p": text(p),
            "q": text(q),
        })
        .to_string()
    }
}

/// A number's bytes, big-endian, with as many zeros before them as it takes.
fn padded<const N: usize>(number: &BoxedUint) -> Result<[u8; N], KeyError> {
    let bytes = number.to_be_bytes();
    let significant = bytes.iter().position(|byte| *byte != 0).map_or(&[][..], |first| &bytes[first..]);
    let mut padded = [0; N];
    let room = N.checked_sub(significant.len()).ok_or_else(|| KeyError("a number is too long".to_owned()))?;
    padded[room..].copy_from_slice(significant);
    Ok(padded)
}
