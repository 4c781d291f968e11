//! A token of Entra and how long it is good for.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;

/// An access token. Its `Debug` does not show it.
#[derive(Clone, Debug)]
pub struct AccessToken {
    /// What goes after `Bearer`.
    pub secret: SecretString,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Which link of the chain gave it: `EnvironmentCredential (client secret)`.
    pub link: &'static str,
}

impl AccessToken {
    /// How long it is good for. Zero once it has ended.
    #[must_use]
    pub fn remaining(&self, now: Timestamp) -> Duration {
        Duration::try_from(self.expires_at.duration_since(now).max(SignedDuration::ZERO)).unwrap_or_default()
    }
}
