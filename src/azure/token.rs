//! A token of Entra and how long it is good for.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;

/// The longest that a token is believed to be good for: Entra gives out none for more than a day or so.
const LONGEST: i64 = 7 * 24 * 3600;

/// When a token ends that was given out then and is good for so many seconds.
pub(super) fn end_of(given_at: Timestamp, seconds: i64) -> Timestamp {
    given_at + SignedDuration::from_secs(seconds.clamp(0, LONGEST))
}

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
