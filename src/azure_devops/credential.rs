//! The token of one request: the header it makes, and what keeps it out of every message.

use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use super::Error;

/// Shorter texts are no tokens; taking them out would only garble messages.
const SHORTEST: usize = 4;

/// How a token is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// As the password of an empty user: a personal access token.
    Basic,
    /// As it is: a token of OAuth.
    Bearer,
}

/// A token as it was read for one request.
#[derive(Debug)]
pub(super) struct Credential {
    token: SecretString,
    basic: SecretString,
}

impl Credential {
    pub(super) fn of(token: &SecretString) -> Self {
        let token = SecretString::from(token.expose_secret().trim());
        let pair = SecretString::from(format!(":{}", token.expose_secret()));
        let basic = SecretString::from(BASE64_STANDARD.encode(pair.expose_secret()));
        Self { token, basic }
    }

    /// The header. `Basic` has an empty user name: Azure DevOps takes any.
    pub(super) fn header(&self, scheme: Scheme) -> Result<HeaderValue, Error> {
        let text = SecretString::from(match scheme {
            Scheme::Basic => format!("Basic {}", self.basic.expose_secret()),
            Scheme::Bearer => format!("Bearer {}", self.token.expose_secret()),
        });
        let mut header = HeaderValue::from_str(text.expose_secret())
            .map_err(|_| Error::Token("the token does not fit into a header".to_owned()))?;
        header.set_sensitive(true);
        Ok(header)
    }

    /// The text without the token, in clear or encoded, should a server or a proxy have repeated it.
    pub(super) fn scrub(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in [self.token.expose_secret(), self.basic.expose_secret()] {
            if secret.len() >= SHORTEST && text.contains(secret) {
                text = text.replace(secret, "***");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(token: &str) -> Credential {
        Credential::of(&SecretString::from(token))
    }

    #[test]
    fn the_token_is_trimmed_and_the_header_sensitive() {
        let header = credential(" pat1\n").header(Scheme::Basic).unwrap();
        assert_eq!(header, "Basic OnBhdDE=");
        assert!(header.is_sensitive());
    }

    #[test]
    fn a_repeated_token_is_taken_out() {
        let credential = credential("s3cr3tpat");
        let encoded = BASE64_STANDARD.encode(":s3cr3tpat");
        assert_eq!(credential.scrub(&format!("bad s3cr3tpat ({encoded})")), "bad *** (***)");
        assert!(!format!("{credential:?}").contains("s3cr3tpat"));
    }
}
