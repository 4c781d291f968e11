//! An app registration with a certificate: a PEM file with the private key and its certificate, in whatever order.

use std::path::{Path, PathBuf};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom, SystemRandom},
    signature::{RSA_PSS_SHA256, RsaKeyPair},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::{
    AccessToken,
    endpoint::{ASSERTION_TYPE, Application, Endpoint},
    link::Refusal,
};

/// How long an assertion is good for; Entra takes no more than ten minutes.
const VALID_FOR: SignedDuration = SignedDuration::from_mins(5);

/// `AZURE_CLIENT_CERTIFICATE_PATH` and whose it is. The file is read anew each time: certificates are renewed.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    pub(super) endpoint: Endpoint,
    pub(super) application: Application,
    pub(super) path: PathBuf,
}

/// A key with its certificate's fingerprint.
struct Signer {
    key: RsaKeyPair,
    thumbprint: String,
}

impl Certificate {
    pub(super) const NAME: &str = "EnvironmentCredential (certificate)";

    pub(super) async fn token(&self, scope: &str) -> Result<AccessToken, Refusal> {
        let url = self.endpoint.cloud.token_url(&self.application.tenant);
        let assertion = signer(&self.path)?.assertion(&url, &self.application.client_id, Timestamp::now())?;
        let proof = [ASSERTION_TYPE, ("client_assertion", assertion.expose_secret())];
        self.endpoint.token(Self::NAME, &self.application, scope, &proof).await
    }
}

impl Signer {
    /// A signed statement that we are this application, for this token endpoint.
    fn assertion(&self, audience: &str, client_id: &str, now: Timestamp) -> Result<SecretString, Refusal> {
        let broken = |_| Refusal::failed("nothing can be signed on this machine", "try again");
        let random = SystemRandom::new();
        let mut id = [0; 16];
        random.fill(&mut id).map_err(broken)?;
        let part = |value: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let header = part(json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": self.thumbprint }));
        let claims = part(json!({
            "aud": audience, "iss": client_id, "sub": client_id, "jti": BASE64_URL_SAFE_NO_PAD.encode(id),
            "iat": now.as_second(), "nbf": now.as_second(), "exp": (now + VALID_FOR).as_second(),
        }));
        let signed = format!("{header}.{claims}");
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key.sign(&RSA_PSS_SHA256, &random, signed.as_bytes(), &mut signature).map_err(broken)?;
        Ok(SecretString::from(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))))
    }
}

fn signer(path: &Path) -> Result<Signer, Refusal> {
    let name = path.display();
    let bytes = std::fs::read(path).map_err(|error| {
        Refusal::failed(
            format!("the certificate file {name} cannot be read: {error}"),
            "set AZURE_CLIENT_CERTIFICATE_PATH to a file that this user may read",
        )
    })?;
    read(&bytes, &name.to_string())
}

/// Reads the text of such a file; `name` is for messages, which show nothing of it.
fn read(bytes: &[u8], name: &str) -> Result<Signer, Refusal> {
    let broken = |what: &str, fix: String| Refusal::failed(format!("the certificate file {name} {what}"), fix);
    // DER begins with the tag of a sequence.
    if bytes.first() == Some(&0x30) {
        let fix = format!("convert it: openssl pkcs12 -in {name} -nodes -out certificate.pem");
        return Err(broken("is a PFX file (PKCS#12) or DER, not PEM", fix));
    }
    let text = String::from_utf8_lossy(bytes);
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        let fix = format!(
            "take the password off, into a file that only this user may read: \
             openssl pkey -in {name} -out certificate.pem && openssl x509 -in {name} >> certificate.pem"
        );
        return Err(broken("has a private key with a password", fix));
    }
    let pem = || "it has to hold a private key and its certificate in PEM form (-----BEGIN …)".to_owned();
    let key = PrivateKeyDer::from_pem_slice(bytes).map_err(|_| broken("holds no private key", pem()))?;
    let key = match &key {
        PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
        _ => return Err(broken("has a key that is not RSA", rsa())),
    };
    let key = key.map_err(|_| broken("has a key that is not RSA, or not one of 2048 to 4096 bits", rsa()))?;
    // A chain may go with it, in any order: its own certificate is the one that has its public key.
    let public = key.public().as_ref();
    let own = CertificateDer::pem_slice_iter(bytes)
        .filter_map(Result::ok)
        .find(|certificate| certificate.windows(public.len()).any(|part| part == public))
        .ok_or_else(|| broken("holds no certificate of its private key", pem()))?;
    let thumbprint = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, &own));
    Ok(Signer { key, thumbprint })
}

fn rsa() -> String {
    "make an RSA certificate: openssl req -x509 -newkey rsa:2048 -noenc -keyout k.pem -out c.pem -days 365 -subj /CN=ado; \
     cat k.pem c.pem"
        .to_owned()
}
