//! Keeps secrets out of messages: servers and tools may repeat what they were given.

use secrecy::{ExposeSecret, SecretString};

use super::text::readable;

/// Shorter texts are no secrets; taking them out would only garble messages.
const SHORTEST: usize = 4;

/// The text in one line, without these secrets and without anything that looks like a token of Entra.
pub(super) fn scrubbed<'a>(text: &str, secrets: impl IntoIterator<Item = &'a SecretString>) -> String {
    let mut text = text.to_owned();
    for secret in secrets {
        let secret = secret.expose_secret();
        let encoded: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        for form in [secret, encoded.as_str()] {
            if form.len() >= SHORTEST && text.contains(form) {
                text = text.replace(form, "***");
            }
        }
    }
    readable(&without_tokens(&text))
}

/// Every JSON Web Token begins with an encoded `{"`, has two more parts, and no word of a language is like that.
pub(crate) fn without_tokens(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let mut rest = text;
    let mut clean = String::new();
    while let Some(start) = rest.find("eyJ") {
        let end = rest[start..].find(|c| !is_part(c)).map_or(rest.len(), |length| start + length);
        clean.push_str(&rest[..start]);
        clean.push_str(if rest[start..end].contains('.') { "***" } else { &rest[start..end] });
        rest = &rest[end..];
    }
    clean + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_taken_out_in_clear_and_as_a_form_has_them() {
        let secret = SecretString::from("s3c/r3t~value");
        let said = scrubbed("got client_secret=s3c%2Fr3t%7Evalue and s3c/r3t~value", [&secret]);
        assert_eq!(said, "got client_secret=*** and ***");
    }

    #[test]
    fn whatever_looks_like_a_token_is_taken_out() {
        let token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2lnbmF0dXJl";
        assert_eq!(scrubbed(&format!("assertion '{token}' is bad\n"), []), "assertion '***' is bad");
        assert_eq!(scrubbed("eyJ is how they begin", []), "eyJ is how they begin");
    }
}
