//! What is for an agent's eyes alone: the key of its session, encrypted with its public key, and its messages, encrypted
//! with that.

use aes::cipher::{BlockModeEncrypt as _, KeyIvInit as _, block_padding::Pkcs7};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use getrandom::SysRng;
use ring::rand::{SecureRandom as _, SystemRandom};
use rsa::BoxedUint;
use serde::Deserialize;
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::Sha256;

use crate::sandbox::state::{PublicKey, Refusal, SessionKey};

type Encryptor = cbc::Encryptor<aes::Aes256>;

/// Less is no key for an agent.
const LEAST_BYTES: usize = 256;

/// A public key as agents tell theirs.
#[derive(Debug, Deserialize)]
pub(super) struct PublicKeyJson {
    exponent: String,
    modulus: String,
}

impl PublicKeyJson {
    pub(super) fn read(&self) -> Result<PublicKey, Refusal> {
        let unusable = || Refusal::Invalid("The agent's public key is no RSA key of 2048 bits or more.".to_owned());
        let number = |text: &str| BASE64_STANDARD.decode(text).map_err(|_| unusable());
        let key = PublicKey { exponent: number(&self.exponent)?, modulus: number(&self.modulus)? };
        let significant = key.modulus.iter().skip_while(|byte| **byte == 0).count();
        rsa_key(&key).filter(|_| significant >= LEAST_BYTES).map(|_| key).ok_or_else(unusable)
    }

    pub(super) fn write(key: &PublicKey) -> Value {
        json!({ "exponent": BASE64_STANDARD.encode(&key.exponent), "modulus": BASE64_STANDARD.encode(&key.modulus) })
    }
}

fn rsa_key(key: &PublicKey) -> Option<rsa::PublicKey> {
    let number = |bytes: &[u8]| BoxedUint::from_be_slice_vartime(bytes);
    rsa::PublicKey::new(number(&key.modulus), number(&key.exponent)).ok()
}

/// A fresh key for a session, and what its agent is sent of it.
pub(super) fn session_key(of: &PublicKey, fips: bool) -> Result<(SessionKey, Value), Refusal> {
    let failed = || Refusal::Invalid("The session's key cannot be encrypted.".to_owned());
    let mut key = SessionKey([0; 32]);
    SystemRandom::new().fill(&mut key.0).map_err(|_| failed())?;
    let public = rsa_key(of).ok_or_else(failed)?;
    let encrypted = if fips {
        public.oaep_encrypt_with_rng::<Sha256, _>(&mut SysRng, &key.0)
    } else {
        public.oaep_encrypt_with_rng::<Sha1, _>(&mut SysRng, &key.0)
    };
    let value = BASE64_STANDARD.encode(encrypted.map_err(|_| failed())?);
    Ok((key, json!({ "encrypted": true, "value": value })))
}

/// Replaces the body of a message by what only the session's agent can read.
pub(super) fn seal(message: &mut Value, key: &SessionKey) -> Result<(), Refusal> {
    let mut iv = [0; 16];
    let random = SystemRandom::new().fill(&mut iv);
    random.map_err(|_| Refusal::Invalid("The message cannot be encrypted.".to_owned()))?;
    let body = message["body"].as_str().unwrap_or_default().as_bytes();
    let sealed = Encryptor::new(&key.0.into(), &iv.into()).encrypt_padded_vec::<Pkcs7>(body);
    message["iv"] = BASE64_STANDARD.encode(iv).into();
    message["body"] = BASE64_STANDARD.encode(sealed).into();
    Ok(())
}
