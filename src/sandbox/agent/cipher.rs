//! Messages that only this agent can read: their bodies are encrypted with the session's AES key, which the server has
//! encrypted with the agent's public key.

use aes::cipher::{BlockModeDecrypt as _, KeyIvInit as _, block_padding::Pkcs7};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;

use super::{AgentError, key::AgentKey};

/// What opens the messages of one session; nothing where the server has given it no key.
#[derive(Default)]
pub(super) struct Cipher(Option<[u8; 32]>);

impl Cipher {
    /// Reads the key in what the server answers when a session is opened.
    pub(super) fn of(session: &Value, key: Option<&AgentKey>) -> Result<Self, AgentError> {
        let given = &session["encryptionKey"];
        let Some(value) = given["value"].as_str().filter(|value| !value.is_empty()) else { return Ok(Self(None)) };
        let value = decode(value, "the session's key")?;
        let plain = if given["encrypted"] == true {
            let key =
                key.ok_or_else(|| failed("the session's key is encrypted, and this agent has no key of its own"))?;
            let fips = session["useFipsEncryption"] == true;
            key.decrypt(&value, fips).map_err(|error| failed(&format!("cannot read the session's key: {error}")))?
        } else {
            value
        };
        let plain = plain.try_into().map_err(|_| failed("the session's key is not of 256 bits"))?;
        Ok(Self(Some(plain)))
    }

    /// The body of a message. One without an `iv` is not encrypted.
    pub(super) fn open(&self, message: &Value) -> Result<String, AgentError> {
        let body = message["body"].as_str().unwrap_or_default();
        let iv = message["iv"].as_str().filter(|iv| !iv.is_empty());
        let (Some(key), Some(iv)) = (&self.0, iv) else { return Ok(body.to_owned()) };
        let iv: [u8; 16] = decode(iv, "the iv of a message")?
            .try_into()
            .map_err(|_| failed("the iv of a message is not of 128 bits"))?;
        let sealed = decode(body, "the body of a message")?;
        let plain = cbc::Decryptor::<aes::Aes256>::new(&(*key).into(), &iv.into())
            .decrypt_padded_vec::<Pkcs7>(&sealed)
            .map_err(|_| failed("a message was not encrypted with the session's key"))?;
        String::from_utf8(plain).map_err(|_| failed("a message is no text"))
    }
}

fn decode(text: &str, what: &str) -> Result<Vec<u8>, AgentError> {
    BASE64_STANDARD.decode(text).map_err(|_| failed(&format!("{what} is not in base64")))
}

fn failed(message: &str) -> AgentError {
    AgentError::State(message.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Made by openssl: `openssl enc -aes-256-cbc -K 00..00 -iv 01..01`.
    const SEALED: &str = "trQ2IeOy6QmGEwZT7eSJuNqxcOkhcXmrLRvnVf6U/hU=";

    fn session(key: &[u8]) -> Value {
        json!({ "encryptionKey": { "encrypted": false, "value": BASE64_STANDARD.encode(key) } })
    }

    #[test]
    fn what_another_program_has_encrypted_is_read() {
        let cipher = Cipher::of(&session(&[0; 32]), None).unwrap();
        let iv = BASE64_STANDARD.encode([1; 16]);
        assert_eq!(cipher.open(&json!({ "iv": iv, "body": SEALED })).unwrap(), "{\"jobId\":\"Bücher\"}");
        assert_eq!(cipher.open(&json!({ "body": "{}" })).unwrap(), "{}", "one without an iv is as it is");
        let other = Cipher::of(&session(&[1; 32]), None).unwrap();
        assert!(other.open(&json!({ "iv": iv, "body": SEALED })).is_err());
    }

    #[test]
    fn what_cannot_be_opened_is_an_error() {
        let sealed = json!({ "encryptionKey": { "encrypted": true, "value": "AAAA" } });
        assert!(Cipher::of(&sealed, None).is_err());
        assert!(Cipher::of(&sealed, Some(&AgentKey::read(include_str!("keys/full.json")).unwrap())).is_err());
        assert!(Cipher::of(&session(&[0; 16]), None).is_err());
        let cipher = Cipher::of(&session(&[0; 32]), None).unwrap();
        for (iv, body) in [("AAAA", SEALED), ("§", SEALED), ("AQEBAQEBAQEBAQEBAQEBAQ==", "AAAA")] {
            assert!(cipher.open(&json!({ "iv": iv, "body": body })).is_err(), "{iv} {body}");
        }
    }
}
