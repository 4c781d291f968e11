//! Entra as far as programs sign in with it: a tenant with applications and managed identities, and the tokens that
//! they are given. Pure, but for the random numbers in a token; the time is passed in.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;
use secrecy::SecretString;

mod application;
mod assertion;
mod certificate;
mod identity;
mod refused;
mod tokens;

pub use application::{Application, Managed};
pub use tokens::{Principal, SignIn, Tokens};

pub(super) use identity::{NoIdentity, Which};
pub(super) use refused::Refused;
pub(super) use tokens::plain;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What a client gets.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) token: String,
    pub(super) lifetime: Duration,
    pub(super) client_id: String,
}

/// A tenant.
#[derive(Debug)]
pub(super) struct Tenant {
    pub(super) id: String,
    pub(super) lifetime: Duration,
    /// What there are tokens for.
    pub(super) audiences: Vec<String>,
    pub(super) applications: Vec<Application>,
    pub(super) tokens: Tokens,
}

impl Tenant {
    /// Answers the form that was posted to the token endpoint of a tenant, which is reached as `origin`. Says how the client
    /// tried to sign in as well.
    pub(super) fn sign_in(
        &self,
        tenant: &str,
        form: &HashMap<String, String>,
        origin: &str,
        now: Timestamp,
    ) -> (Option<SignIn>, Result<Given, Refused>) {
        let text = |name: &str| form.get(name).map(String::as_str).filter(|text| !text.is_empty());
        let by = match (text("client_secret"), text("client_assertion")) {
            (Some(_), _) => Some(SignIn::Secret),
            // Kubernetes' and others' tokens are by others; the client's own names the client as the issuer.
            (None, Some(assertion)) if self.is_own(assertion, text("client_id")) => Some(SignIn::Certificate),
            (None, Some(_)) => Some(SignIn::Federated),
            (None, None) => None,
        };
        (by, self.exchange(tenant, form, by, origin, now))
    }

    fn exchange(
        &self,
        tenant: &str,
        form: &HashMap<String, String>,
        by: Option<SignIn>,
        origin: &str,
        now: Timestamp,
    ) -> Result<Given, Refused> {
        let field = |name: &str| {
            let text = form.get(name).map(String::as_str).filter(|text| !text.is_empty());
            text.ok_or_else(|| Refused::missing(name))
        };
        if !tenant.eq_ignore_ascii_case(&self.id) {
            let what = format!("Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID.");
            return Err(Refused::new(400, "invalid_request", 90002, what));
        }
        let grant_type = field("grant_type")?;
        if grant_type != "client_credentials" {
            let what = format!("The app requested an unsupported grant type '{grant_type}'.");
            return Err(Refused::new(400, "unsupported_grant_type", 70003, what));
        }
        let client_id = field("client_id")?;
        let known = self.applications.iter().find(|one| one.client_id.eq_ignore_ascii_case(client_id));
        let application = known.ok_or_else(|| {
            let what = format!("Application with identifier '{client_id}' was not found in the directory '{tenant}'.");
            Refused::new(400, "unauthorized_client", 700_016, what)
        })?;
        let scope = field("scope")?;
        let audience = scope.strip_suffix("/.default").ok_or_else(|| {
            let what = format!(
                "The provided value for scope {scope} is not valid. Client credential flows must have a scope value with \
                 /.default suffixed to the resource identifier (application ID URI)."
            );
            Refused::new(400, "invalid_scope", 1_002_012, what)
        })?;
        self.knows(audience, origin)?;
        let by = by.ok_or_else(|| {
            let what = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.";
            Refused::client(7_000_218, what)
        })?;
        match by {
            SignIn::Secret if application.has_secret(field("client_secret")?) => {}
            SignIn::Secret => {
                let what = format!(
                    "Invalid client secret provided. Ensure the secret being sent in the request is the client secret \
                     value, not the client secret ID, for a secret added to app '{client_id}'."
                );
                return Err(Refused::client(7_000_215, &what));
            }
            _ => {
                let kind = field("client_assertion_type")?;
                if kind != ASSERTION_TYPE {
                    let what = format!("The client assertion type is not '{ASSERTION_TYPE}'.");
                    return Err(Refused::new(400, "invalid_request", 50027, what));
                }
                self.assertion(field("client_assertion")?, application, by, origin, now)?;
            }
        }
        self.give(application, audience, by, now).ok_or_else(|| Refused::new(500, "server_error", 90033, "No luck."))
    }

    fn assertion(
        &self,
        assertion: &str,
        application: &Application,
        by: SignIn,
        origin: &str,
        now: Timestamp,
    ) -> Result<(), Refused> {
        if by == SignIn::Certificate {
            let here = format!("{origin}/{}", self.id);
            let audiences = [format!("{here}/oauth2/v2.0/token"), format!("{here}/v2.0")];
            return assertion::verify(assertion, application, &audiences, now);
        }
        if application.has_federated(assertion) {
            return Ok(());
        }
        let what = "No matching federated identity record found for presented assertion.";
        Err(Refused::client(700_213, what))
    }

    fn knows(&self, audience: &str, origin: &str) -> Result<(), Refused> {
        let audience = plain(audience);
        if audience == origin || self.audiences.iter().any(|known| plain(known) == audience) {
            return Ok(());
        }
        let what = format!("The resource principal named {audience} was not found in the tenant named {}.", self.id);
        Err(Refused::new(400, "invalid_resource", 500_011, what))
    }

    /// A token for an application.
    pub(super) fn give(&self, application: &Application, audience: &str, by: SignIn, now: Timestamp) -> Option<Given> {
        let principal = Principal::of(application, &self.id, by);
        let token = self.tokens.grant(principal, audience, self.lifetime, now)?;
        Some(Given { token, lifetime: self.lifetime, client_id: application.client_id.clone() })
    }

    pub(super) fn set_federated(&mut self, client_id: &str, tokens: Vec<SecretString>) {
        if let Some(application) = self.applications.iter_mut().find(|one| one.client_id == client_id) {
            application.federated = tokens;
        }
    }

    /// Whether an assertion says that it is by this client itself.
    fn is_own(&self, assertion: &str, client_id: Option<&str>) -> bool {
        use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
        let claims = assertion.split('.').nth(1).and_then(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok());
        let claims: Option<serde_json::Value> = claims.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let issuer = claims.as_ref().and_then(|claims| claims["iss"].as_str());
        issuer.is_some_and(|issuer| client_id.is_some_and(|client| client.eq_ignore_ascii_case(issuer)))
    }
}
