//! An agent's assertion: a JSON Web Token, signed with its key (RS256), good once and for a short time.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use reqwest::Url;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use serde::{Deserialize, de::DeserializeOwned};

use crate::sandbox::{
    sign_ins::AssertionFault,
    state::{Authorization, PublicKey},
};

/// How far the agent's clock may differ from ours, in seconds.
const TOLERANCE: i64 = 300;

#[derive(Debug, Deserialize)]
struct Header {
    alg: String,
}

/// What it says.
#[derive(Debug, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    jti: String,
    nbf: i64,
    exp: i64,
}

/// An assertion that was read, and not verified yet.
#[derive(Debug)]
pub(super) struct Assertion<'a> {
    claims: Claims,
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> Assertion<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, AssertionFault> {
        let unreadable = AssertionFault::Unreadable;
        let (signed, signature) = text.rsplit_once('.').ok_or(unreadable)?;
        let (header, claims) = signed.split_once('.').ok_or(unreadable)?;
        let header: Header = part(header)?;
        if header.alg != "RS256" {
            return Err(AssertionFault::Algorithm);
        }
        let claims: Claims = part(claims)?;
        if claims.jti.is_empty() {
            return Err(unreadable);
        }
        if claims.iss != claims.sub {
            return Err(AssertionFault::Subject);
        }
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(|_| unreadable)?;
        Ok(Self { claims, signed, signature })
    }

    /// Who it says it is by.
    pub(super) fn client_id(&self) -> &str {
        &self.claims.sub
    }

    /// What tells it from all others of this client.
    pub(super) fn id(&self) -> &str {
        &self.claims.jti
    }

    /// The second until which it is accepted.
    pub(super) fn accepted_until(&self) -> i64 {
        self.claims.exp.saturating_add(TOLERANCE)
    }

    /// Whether it is by this client, for us, and for now. That it was not used before is another question.
    pub(super) fn verify(&self, of: &Authorization, now: Timestamp) -> Result<(), AssertionFault> {
        verify(&of.public_key, self.signed.as_bytes(), &self.signature)?;
        let Claims { aud, nbf, .. } = &self.claims;
        let now = now.as_second();
        if *aud != absolute(&of.authorization_url) {
            Err(AssertionFault::Audience)
        } else if nbf.saturating_sub(TOLERANCE) > now {
            Err(AssertionFault::TooEarly)
        } else if self.accepted_until() <= now {
            Err(AssertionFault::Expired)
        } else {
            Ok(())
        }
    }
}

/// A URL as .NET's `Uri.AbsoluteUri` has it: scheme and host in lower case, without the default port, blanks encoded.
/// Agents are for that one, however the URL was written.
fn absolute(url: &str) -> String {
    url.parse::<Url>().map_or_else(|_| url.to_owned(), String::from)
}

fn part<T: DeserializeOwned>(text: &str) -> Result<T, AssertionFault> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| AssertionFault::Unreadable)?;
    serde_json::from_slice(&bytes).map_err(|_| AssertionFault::Unreadable)
}

fn verify(key: &PublicKey, signed: &[u8], signature: &[u8]) -> Result<(), AssertionFault> {
    let key = RsaPublicKeyComponents { n: plain(&key.modulus), e: plain(&key.exponent) };
    key.verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature).map_err(|_| AssertionFault::Signature)
}

/// Without the zeros before it, which ring refuses.
fn plain(number: &[u8]) -> &[u8] {
    let first = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    &number[first..]
}
