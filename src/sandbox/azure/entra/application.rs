//! Who may sign in, and with what: applications with secrets, certificates and federated tokens, and managed identities.

use secrecy::{ExposeSecret as _, SecretString};

use super::certificate::Certificate;

/// An application of the tenant, or a managed identity.
#[derive(Clone, Debug, Default)]
pub struct Application {
    /// What people call it.
    pub name: String,
    /// Its client id.
    pub client_id: String,
    /// The id of its service principal.
    pub object_id: String,
    /// Whether it may do with container groups what a contributor may.
    pub contributor: bool,
    /// What kind of managed identity it is, if it is one.
    pub managed: Option<Managed>,
    pub(super) secrets: Vec<SecretString>,
    pub(super) certificates: Vec<Certificate>,
    pub(super) federated: Vec<SecretString>,
}

/// The kinds of managed identities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Managed {
    /// The machine's own; at most one.
    System,
    /// One of those that were given to the machine, by its resource id.
    User(String),
}

impl Application {
    /// An application that is a contributor and has nothing to sign in with yet.
    #[must_use]
    pub fn new(name: impl Into<String>, client_id: impl Into<String>) -> Self {
        let (name, client_id) = (name.into(), client_id.into());
        let object_id = client_id.chars().rev().map(|c| if c == '-' { '-' } else { c }).collect::<String>();
        // Another id, and still of the form of one.
        let object_id = if object_id.len() == 36 { regroup(&object_id) } else { format!("object-of-{client_id}") };
        Self { name, client_id, object_id, contributor: true, ..Self::default() }
    }

    /// It can sign in with this secret.
    #[must_use]
    pub fn with_secret(mut self, secret: SecretString) -> Self {
        self.secrets.push(secret);
        self
    }

    /// It can sign in with the key of this certificate, which is X.509 in DER with an RSA key; one that is not is of no use.
    #[must_use]
    pub fn with_certificate(mut self, der: &[u8]) -> Self {
        self.certificates.extend(Certificate::read(der));
        self
    }

    /// It can sign in with this token of a trusted issuer, for as long as it is among those of
    /// [`set_federated_tokens`](crate::sandbox::azure::AzureSandbox::set_federated_tokens).
    #[must_use]
    pub fn with_federated_token(mut self, token: SecretString) -> Self {
        self.federated.push(token);
        self
    }

    /// It is the machine's own identity.
    #[must_use]
    pub fn as_system_assigned(self) -> Self {
        Self { managed: Some(Managed::System), ..self }
    }

    /// It is an identity that was given to the machine, with this resource id.
    #[must_use]
    pub fn as_user_assigned(self, resource_id: impl Into<String>) -> Self {
        Self { managed: Some(Managed::User(resource_id.into())), ..self }
    }

    /// It has no role: it can sign in, and may do nothing.
    #[must_use]
    pub fn without_role(self) -> Self {
        Self { contributor: false, ..self }
    }

    pub(super) fn has_secret(&self, secret: &str) -> bool {
        self.secrets.iter().any(|known| known.expose_secret() == secret)
    }

    pub(super) fn has_federated(&self, token: &str) -> bool {
        self.federated.iter().any(|known| known.expose_secret() == token)
    }
}

/// 8-4-4-4-12 digits again, from the same backwards.
fn regroup(text: &str) -> String {
    let digits: Vec<char> = text.chars().filter(|c| *c != '-').collect();
    let mut grouped = String::new();
    for (at, digit) in digits.iter().enumerate() {
        if matches!(at, 8 | 12 | 16 | 20) {
            grouped.push('-');
        }
        grouped.push(*digit);
    }
    grouped
}
