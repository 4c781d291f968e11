//! What must not be said: everything secret in a group, taken out of whatever Azure or an agent repeats.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::azure::without_tokens;

/// Shorter texts are no secrets; taking them out would only garble messages.
const SHORTEST: usize = 6;

/// Keys of a group whose values are secret.
const KEYS: [&str; 4] = ["secureValue", "password", "storageAccountKey", "workspaceKey"];

/// All that is secret in a group: passwords, keys, secure variables, the files of secret volumes.
pub(super) fn of_group(body: &Value) -> Vec<SecretString> {
    let mut found = Vec::new();
    collect(body, &mut found);
    found
}

fn collect(value: &Value, found: &mut Vec<SecretString>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(map) => {
            for (key, item) in map {
                match item {
                    Value::String(text) if KEYS.contains(&key.as_str()) => found.push(text.as_str().into()),
                    Value::Object(files) if key == "secret" => {
                        for text in files.values().filter_map(Value::as_str) {
                            found.push(text.into());
                            let decoded = STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                            found.extend(decoded.map(SecretString::from));
                        }
                    }
                    _ => collect(item, found),
                }
            }
        }
        _ => {}
    }
}

/// The text without any of these, and without what looks like a token of Entra.
pub(super) fn scrub(text: &str, secrets: &[SecretString]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().map(ExposeSecret::expose_secret).map(str::trim).filter(|it| it.len() >= SHORTEST) {
        if text.contains(secret) {
            text = text.replace(secret, "***");
        }
        text = without_beginning(&text, secret);
    }
    without_tokens(&text)
}

/// A message that was cut may end in the middle of a secret.
fn without_beginning(text: &str, secret: &str) -> String {
    let whole = text.trim_end_matches('…');
    let cut = whole.len() < text.len();
    let lengths = (SHORTEST..secret.len()).rev().filter(|_| cut);
    let beginning = lengths.filter_map(|length| secret.get(..length)).find(|beginning| whole.ends_with(beginning));
    match beginning {
        Some(beginning) => format!("{}***…", &whole[..whole.len() - beginning.len()]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_secret_of_a_group_is_taken_out_in_clear_and_as_it_is_sent() {
        let body = serde_json::json!({"properties": {
            "containers": [{"properties": {"environmentVariables": [
                {"name": "AZP_TOKEN", "secureValue": "s3cr3t-one"}, {"name": "A", "value": "open"}]}}],
            "volumes": [{"name": "v", "secret": {"token": STANDARD.encode("s3cr3t-two\n")}},
                        {"name": "f", "azureFile": {"storageAccountKey": "s3cr3t-three"}}],
            "imageRegistryCredentials": [{"password": "s3cr3t-four"}],
            "diagnostics": {"logAnalytics": {"workspaceKey": "s3cr3t-five"}},
        }});
        let secrets = of_group(&body);
        let said = format!(
            "s3cr3t-one s3cr3t-two {} s3cr3t-three s3cr3t-four s3cr3t-five open",
            STANDARD.encode("s3cr3t-two\n")
        );
        assert_eq!(scrub(&said, &secrets), "*** *** *** *** *** *** open");
        let key = ["0123456789abcdef".into()];
        assert_eq!(scrub("key 0123456789abcdef, key 01234567…", &key), "key ***, key ***…");
        assert_eq!(scrub("it ends in 01234567", &key), "it ends in 01234567", "nothing was cut");
        let token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2lnbmF0dXJl";
        assert_eq!(scrub(&format!("Bearer {token}!"), &[]), "Bearer ***!");
    }
}
