//! The tokens that were given out, for whoever has to tell good ones from bad ones.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::json;

use super::Application;
use crate::sandbox::served::lock;

/// How somebody signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SignIn {
    /// With a client secret.
    Secret,
    /// With an assertion that a certificate's key has signed.
    Certificate,
    /// With the token of a trusted issuer: workload identity.
    Federated,
    /// As the machine's identity, by the instance metadata service.
    Metadata,
    /// As the machine's identity, by IDENTITY_ENDPOINT.
    IdentityEndpoint,
    /// By the handle: what a developer's tool would have got.
    Handle,
}

/// Who a token was given to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// What people call it.
    pub name: String,
    /// The application's client id.
    pub client_id: String,
    /// The service principal's id.
    pub object_id: String,
    /// The tenant.
    pub tenant: String,
    /// How it signed in.
    pub sign_in: SignIn,
    /// Whether it may do with container groups what a contributor may.
    pub contributor: bool,
}

/// A token's owner, what it is for, and until when.
#[derive(Clone, Debug)]
pub(in crate::sandbox::azure) struct Granted {
    pub(in crate::sandbox::azure) principal: Principal,
    pub(in crate::sandbox::azure) audience: String,
    pub(in crate::sandbox::azure) expires: Timestamp,
}

/// All tokens that were given out. Clones are the same ones.
#[derive(Clone, Default)]
pub struct Tokens(Arc<Mutex<BTreeMap<String, Granted>>>);

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("given", &self.lock().len()).finish()
    }
}

impl Tokens {
    /// Whose token it is, if it is for this audience and holds now. `X`, `X/` and `X/.default` are the same audience.
    #[must_use]
    pub fn accepts(&self, token: &str, audience: &str, now: Timestamp) -> Option<Principal> {
        let granted = self.look(token)?;
        (granted.expires > now && granted.audience == plain(audience)).then_some(granted.principal)
    }

    /// Ends all tokens now.
    pub fn revoke_all(&self) {
        self.lock().clear();
    }

    /// How many tokens were given out and have not been revoked.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Every token that was given out, so that a test can look for it where it must not be.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    pub(in crate::sandbox::azure) fn look(&self, token: &str) -> Option<Granted> {
        self.lock().get(token).cloned()
    }

    /// A new token; `None` where the system has no random numbers to give.
    pub(super) fn grant(
        &self,
        principal: Principal,
        audience: &str,
        lifetime: Duration,
        now: Timestamp,
    ) -> Option<String> {
        let audience = plain(audience).to_owned();
        let expires = now.checked_add(lifetime).unwrap_or(Timestamp::MAX);
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).ok()?;
        let part = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let claims = json!({
            "aud": audience,
            "iss": format!("https://sts.windows.net/{}/", principal.tenant),
            "iat": now.as_second(),
            "nbf": now.as_second(),
            "exp": expires.as_second(),
            "appid": principal.client_id,
            "oid": principal.object_id,
            "tid": principal.tenant,
            "idtyp": "app",
            "ver": "1.0",
        });
        let header = json!({ "typ": "JWT", "alg": "RS256" });
        // It looks like one of Entra's; its signature is nobody's, since nobody but the issuer's friends may verify it.
        let token =
            format!("{}.{}.{}", part(header.to_string().as_bytes()), part(claims.to_string().as_bytes()), part(&bytes));
        self.lock().insert(token.clone(), Granted { principal, audience, expires });
        Some(token)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Granted>> {
        lock(&self.0)
    }
}

impl Principal {
    pub(super) fn of(application: &Application, tenant: &str, sign_in: SignIn) -> Self {
        Self {
            name: application.name.clone(),
            client_id: application.client_id.clone(),
            object_id: application.object_id.clone(),
            tenant: tenant.to_owned(),
            sign_in,
            contributor: application.contributor,
        }
    }
}

/// An audience without what scopes have in addition.
pub(in crate::sandbox::azure) fn plain(audience: &str) -> &str {
    audience.strip_suffix("/.default").unwrap_or(audience).trim_end_matches('/')
}
