//! A certificate as far as signing in needs it: its thumbprints and its RSA key.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

/// A registered certificate.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    /// The SHA-1 of it, as `x5t` has it.
    pub(super) sha1: String,
    /// The SHA-256 of it, as `x5t#S256` has it.
    pub(super) sha256: String,
    /// RSAPublicKey (RFC 8017), DER.
    pub(super) key: Vec<u8>,
}

impl Certificate {
    /// Reads X.509 in DER; `None` if it is something else.
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate, _) = element(der)?;
        let (_, to_be_signed, _) = element(certificate)?;
        // version (explicit, may be missing), serial number, algorithm, issuer, validity, subject, key.
        let mut rest = to_be_signed;
        let (tag, _, after) = element(rest)?;
        if tag == 0xa0 {
            rest = after;
        }
        for _ in 0..5 {
            rest = element(rest)?.2;
        }
        let (_, key_info, _) = element(rest)?;
        let (_, _, after_algorithm) = element(key_info)?;
        let (tag, bits, _) = element(after_algorithm)?;
        let key = bits.strip_prefix(&[0]).filter(|_| tag == 0x03)?.to_vec();
        let sha1 = BASE64_URL_SAFE_NO_PAD.encode(Sha1::digest(der));
        let sha256 = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(der));
        Some(Self { sha1, sha256, key })
    }
}

/// The first element of DER: its tag, its content, and what comes after it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        (bytes.iter().try_fold(0_usize, |length, byte| Some(length.checked_mul(256)? + usize::from(*byte)))?, rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}
