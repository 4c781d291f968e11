//! Names as Kubernetes and registries allow them, so that a slip is found here and not by the API server later.

use super::{SecretKey, error::Wrong, value::quoted};
use crate::core::clean_prefix;

/// The key of `JOB_TOKEN_SECRET` where it names none.
const DEFAULT_SECRET_KEY: &str = "token";

/// A DNS label (RFC 1123): the name of a namespace or of an agent template.
pub(super) fn dns_label(text: &str) -> Result<String, Wrong> {
    if is_dns_label(text) {
        return Ok(text.to_owned());
    }
    let wrong = Wrong::new(format!(
        "is {}; it has to be at most 63 lower-case letters, digits and dashes, with no dash at its ends",
        quoted(text)
    ));
    let mended = text.trim().to_lowercase().replace(['_', ' ', '.'], "-");
    Err(if is_dns_label(&mended) && quoted(text).starts_with('"') {
        wrong.mend(format!("for example {mended}"))
    } else {
        wrong
    })
}

fn is_dns_label(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&text.len()) && text.chars().all(fits) && !text.starts_with('-') && !text.ends_with('-')
}

/// A value of a label: what an installation's id is written on every Job as.
pub(super) fn label_value(text: &str) -> Result<String, Wrong> {
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    if text.len() <= 63 && text.chars().all(inside) && end(text.chars().next()) && end(text.chars().last()) {
        return Ok(text.to_owned());
    }
    Err(Wrong::new(format!(
        "is {}; it has to be at most 63 letters, digits, dashes, dots and underscores, with a letter or digit at its ends",
        quoted(text)
    )))
}

/// `NAME[:KEY]` of an existing Secret.
pub(super) fn secret_key(text: &str) -> Result<SecretKey, Wrong> {
    let (name, key) = text.split_once(':').unwrap_or((text, DEFAULT_SECRET_KEY));
    let example = "for example JOB_TOKEN_SECRET=ado-token or JOB_TOKEN_SECRET=ado-token:pat";
    if name.len() > 253 || !name.split('.').all(is_dns_label) {
        let what = format!("names the Secret {}, which is not a name of a Secret", quoted(name));
        return Err(Wrong::new(what).mend(example));
    }
    if !quoted(text).starts_with('"') {
        return Err(Wrong::new("looks like a token; it has to be the name of a Secret that holds one").mend(example));
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if key.is_empty() || key.len() > 253 || !key.chars().all(fits) || key.starts_with("..") || key == "." {
        let what = format!("names the key {}, which is not a key of a Secret", quoted(key));
        return Err(Wrong::new(what).mend(example));
    }
    Ok(SecretKey { name: name.to_owned(), key: key.to_owned() })
}

/// The prefix of the names of Jobs and agents: whatever something is left of.
pub(super) fn job_prefix(text: &str) -> Result<String, Wrong> {
    if text.to_lowercase().contains(|c: char| c.is_ascii_alphanumeric()) {
        return Ok(text.to_owned());
    }
    let what = format!("is {}; it has to hold at least one of the letters a to z or a digit", quoted(text));
    Err(Wrong::new(what).mend("for example agent-job-"))
}

/// The prefix as it will stand in names, if that is not as it was written.
pub(super) fn changed_prefix(prefix: &str) -> Option<String> {
    let clean = clean_prefix(prefix);
    (clean != prefix.trim_end_matches('-')).then_some(clean)
}

/// A container image: `[registry/]repository[:tag][@digest]`.
pub(super) fn image(text: &str) -> Result<String, Wrong> {
    let wrong = |what: &str| Wrong::new(format!("is {}; {what}", quoted(text)));
    if let Some((_, rest)) = text.split_once("://") {
        let wrong = wrong("an image has no scheme");
        return Err(if quoted(rest).starts_with('"') { wrong.mend(format!("write {rest}")) } else { wrong });
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(wrong("an image has no white space in it"));
    }
    let (name, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
    if digest.is_some_and(|digest| !digest.contains(':')) {
        return Err(wrong("after the @ comes a digest such as sha256:…"));
    }
    let slash = name.rfind('/').map_or(0, |index| index + 1);
    let (repository, tag) = match name[slash..].split_once(':') {
        Some((last, tag)) => (&name[..slash + last.len()], Some(tag)),
        None => (name, None),
    };
    let in_tag = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if tag.is_some_and(|tag| tag.is_empty() || tag.len() > 128 || !tag.chars().all(in_tag)) {
        return Err(wrong("after the colon comes a tag of letters, digits, dots, dashes and underscores"));
    }
    let path = match repository.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => rest,
        _ => repository,
    };
    let in_path = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    if path.split('/').any(|part| part.is_empty() || !part.chars().all(in_path)) {
        return Err(wrong("a repository is made of lower-case letters, digits, dots, dashes and slashes"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_every_form_are_accepted() {
        for text in [
            "ghcr.io/akanieski/ado-pipelines-linux:latest",
            "ghcr.io/akanieski/ado-pipelines-linux:0.0.1-preview",
            "agent",
            "localhost:5000/agent:1",
            "Registry.Example:443/a/b__c/d.e@sha256:0123",
            "a:1@sha256:0123",
        ] {
            assert!(image(text).is_ok(), "{text}");
        }
        for text in ["", "a b", "https://ghcr.io/a", "Agent", "a:", "a/", "a:b:c", "a@sha256", "ghcr.io/A/b"] {
            assert!(image(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_secret_is_named_with_or_without_its_key() {
        let key = |name: &str, key: &str| SecretKey { name: name.into(), key: key.into() };
        assert_eq!(secret_key("ado-token").unwrap(), key("ado-token", "token"));
        assert_eq!(secret_key("ado.token:PAT_1").unwrap(), key("ado.token", "PAT_1"));
        for text in ["Token", "a:", ":b", "a:b c", "a/b", "a:..", "-a"] {
            assert!(secret_key(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_trailing_dash_is_no_change_of_the_prefix() {
        assert_eq!(changed_prefix("agent-job-"), None);
        assert_eq!(changed_prefix("Agent_Job"), Some("agent-job".to_owned()));
    }
}
