//! A client's assertion: a JSON Web Token that the key of a registered certificate has signed, RS256 or PS256.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm};
use serde::{Deserialize, de::DeserializeOwned};

use super::{Application, Refused, certificate::Certificate};

/// How far the client's clock may differ from ours, in seconds.
const TOLERANCE: i64 = 300;

#[derive(Debug, Deserialize)]
struct Header {
    alg: String,
    x5t: Option<String>,
    #[serde(rename = "x5t#S256")]
    x5t_s256: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    jti: Option<String>,
    nbf: Option<i64>,
    exp: i64,
}

/// Whether the assertion is by this application, for one of these audiences, and for now.
pub(super) fn verify(
    text: &str,
    application: &Application,
    audiences: &[String],
    now: Timestamp,
) -> Result<(), Refused> {
    let unreadable = || Refused::client(50027, "JWT token is invalid or malformed.");
    let (signed, signature) = text.rsplit_once('.').ok_or_else(unreadable)?;
    let (header, claims) = signed.split_once('.').ok_or_else(unreadable)?;
    let header: Header = part(header).ok_or_else(unreadable)?;
    let claims: Claims = part(claims).ok_or_else(unreadable)?;
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(|_| unreadable())?;
    let algorithm: &'static dyn VerificationAlgorithm = match header.alg.as_str() {
        "RS256" => &RSA_PKCS1_2048_8192_SHA256,
        "PS256" => &RSA_PSS_2048_8192_SHA256,
        other => return Err(Refused::client(5002738, &format!("The algorithm '{other}' is not allowed."))),
    };
    let named = |known: &&Certificate| {
        header.x5t.as_ref() == Some(&known.sha1) || header.x5t_s256.as_ref() == Some(&known.sha256)
    };
    let certificate = application.certificates.iter().find(named).ok_or_else(|| {
        let what =
            "The certificate with identifier used to sign the client assertion is not registered on application.";
        Refused::client(700_027, what)
    })?;
    let key = UnparsedPublicKey::new(algorithm, &certificate.key);
    key.verify(signed.as_bytes(), &signature)
        .map_err(|_| Refused::client(700_027, "Client assertion failed signature validation."))?;
    if claims.iss != application.client_id || claims.sub != claims.iss {
        let what = "Client assertion contains an invalid issuer or subject; both must be the client's id.";
        return Err(Refused::client(700_021, what));
    }
    if !audiences.contains(&claims.aud) {
        let what = "Client assertion audience claim does not match Realm issuer.";
        return Err(Refused::client(700_023, what));
    }
    if claims.jti.is_none_or(|id| id.is_empty()) {
        return Err(Refused::client(50027, "JWT token is invalid: the claim 'jti' is missing."));
    }
    let now = now.as_second();
    let early = claims.nbf.is_some_and(|from| from - TOLERANCE > now);
    if early || claims.exp + TOLERANCE <= now {
        return Err(Refused::client(700_024, "Client assertion is not within its valid time range."));
    }
    Ok(())
}

fn part<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}
