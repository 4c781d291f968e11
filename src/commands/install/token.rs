//! The token: from a file, standard input, the environment, a Secret that is there, or a hidden prompt. It is never a
//! flag's value, and never in anything that is printed.

use std::path::Path;

use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use secrecy::{ExposeSecret, SecretString};

use super::{
    super::{Exit, Failure},
    DryRun, Options, ask,
    existing::Existing,
    say,
    settings::Settings,
};
use crate::{
    cluster::{Cluster, ErrorKind, TOKEN_KEY, TOKEN_SECRET},
    config::{Authentication, token},
};

const VARIABLES: [&str; 2] = ["ADO_PAT", "AZURE_DEVOPS_EXT_PAT"];

/// Where the token comes from, and what it is if we may know.
#[derive(Debug)]
pub(super) struct Token {
    /// The Secret and the key that the orchestrator reads. `None`: it signs in with Entra.
    pub(super) secret: Option<(String, String)>,
    /// The token, to be tried.
    pub(super) value: Option<SecretString>,
    /// Set if it is to be written into our own Secret.
    pub(super) write: bool,
}

/// Whether flags or the environment say where the token is.
pub(super) fn is_named(options: &Options) -> bool {
    options.pat_file.is_some() || options.existing_secret.is_some() || of_environment().is_some()
}

/// The Secret and its key, as `--existing-secret` names them.
pub(super) fn named_secret(text: &str) -> (String, String) {
    let (name, key) = text.split_once(':').unwrap_or((text, TOKEN_KEY));
    (name.to_owned(), key.to_owned())
}

/// Finds the token: what flags say, else what is installed, else the environment, else somebody who can be asked.
pub(super) async fn find(
    options: &Options,
    cluster: &Cluster,
    namespace: &str,
    existing: &Existing,
    settings: &Settings,
) -> Result<Token, Failure> {
    if matches!(settings.config.organization.authentication, Authentication::Entra) {
        return Ok(Token { secret: None, value: None, write: false });
    }
    if let Some(named) = &options.existing_secret {
        let secret = named_secret(named);
        return of_secret(cluster, namespace, secret, "--existing-secret").await;
    }
    let ours = (TOKEN_SECRET.to_owned(), TOKEN_KEY.to_owned());
    if let Some(path) = &options.pat_file {
        return Ok(Token { secret: Some(ours), value: Some(of_file("--pat-file", path)?), write: true });
    }
    if let Some(secret) = existing.secret() {
        match read(cluster, namespace, &secret).await? {
            Known::Token(value) => return Ok(Token { secret: Some(secret), value: Some(value), write: false }),
            Known::Hidden => return Ok(Token { secret: Some(secret), value: None, write: false }),
            Known::Missing if existing.has_our_secret() => {}
            Known::Missing => return of_secret(cluster, namespace, secret, "the install").await,
        }
    }
    if existing.install.is_none() && existing.is_there() {
        // An uninstall that was not finished has deleted the Deployment, and not yet the token.
        match read(cluster, namespace, &ours).await? {
            Known::Token(value) => return Ok(Token { secret: Some(ours), value: Some(value), write: false }),
            Known::Hidden if existing.owns_token() => {
                return Ok(Token { secret: Some(ours), value: None, write: false });
            }
            Known::Hidden | Known::Missing => {}
        }
    }
    if let Some(path) = &settings.token_file {
        say(format!("the token is that of organization.tokenFile, {}", path.display()));
        let value = of_file("organization.tokenFile", path)?;
        return Ok(Token { secret: Some(ours), value: Some(value), write: true });
    }
    let value = match of_environment() {
        Some((name, text)) => {
            let value = token(&text).map_err(|what| wrong(&format!("the variable {name} {what}")))?;
            say(format!("the token is that of {name}"));
            value
        }
        None if ask::can_ask() => {
            let text = ask::hidden("Token with the scope \"Agent Pools (read, manage)\"")?;
            token(text.expose_secret()).map_err(|what| wrong(&format!("the token {what}")))?
        }
        None if options.dry_run == DryRun::Server => {
            say("no token is given: its Secret is left out");
            return Ok(Token { secret: Some(ours), value: None, write: false });
        }
        None => {
            let fix = "--pat-file FILE (- is standard input), --existing-secret NAME[:KEY], or the variable ADO_PAT";
            return Err(Failure::new(Exit::Usage, "the token is missing", Some(fix.into())));
        }
    };
    Ok(Token { secret: Some(ours), value: Some(value), write: true })
}

fn wrong(message: &str) -> Failure {
    Failure::new(Exit::Usage, message, Some("give the token alone, as Azure DevOps showed it".into()))
}

fn of_file(key: &str, path: &Path) -> Result<SecretString, Failure> {
    let (text, place) = if path == Path::new("-") {
        (std::io::read_to_string(std::io::stdin()), "standard input".to_owned())
    } else {
        (std::fs::read_to_string(path), path.display().to_string())
    };
    let text = text.map_err(|error| {
        let fix = "name a file that holds the token, or - for standard input";
        Failure::new(Exit::Usage, format!("{key}: {place} cannot be read: {error}"), Some(fix.into()))
    })?;
    token(&text).map_err(|what| wrong(&format!("{key}: {place} {what}")))
}

fn of_environment() -> Option<(&'static str, String)> {
    VARIABLES.into_iter().find_map(|name| {
        let text = std::env::var(name).ok().filter(|text| !text.trim().is_empty())?;
        Some((name, text))
    })
}

/// What is known of the token in a Secret.
pub(super) enum Known {
    Token(SecretString),
    /// We may not read it.
    Hidden,
    /// There is no such Secret, or no such key in it.
    Missing,
}

async fn of_secret(cluster: &Cluster, namespace: &str, secret: (String, String), who: &str) -> Result<Token, Failure> {
    let value = match read(cluster, namespace, &secret).await? {
        Known::Token(value) => Some(value),
        Known::Hidden => {
            say(format!("the Secret \"{}\" may not be read: its token is not tried", secret.0));
            None
        }
        Known::Missing => {
            let (name, key) = &secret;
            let message = format!(
                "{who} names the Secret \"{name}\", which is not in namespace \"{namespace}\" or has no key \"{key}\""
            );
            let fix = format!("kubectl -n {namespace} create secret generic {name} --from-file={key}=FILE");
            return Err(Failure::new(Exit::Failed, message, Some(fix)));
        }
    };
    Ok(Token { secret: Some(secret), value, write: false })
}

/// Reads the token of a Secret, with the rights of the person who installs.
pub(super) async fn read(cluster: &Cluster, namespace: &str, (name, key): &(String, String)) -> Result<Known, Failure> {
    let api: Api<Secret> = Api::namespaced(cluster.client.clone(), namespace);
    let what = format!("get the Secret \"{name}\" in namespace \"{namespace}\"");
    let secret = match cluster.call(&what, api.get_opt(name)).await {
        Ok(secret) => secret,
        Err(error) if error.kind == ErrorKind::Forbidden => return Ok(Known::Hidden),
        Err(error) => return Err(error.into()),
    };
    let Some(data) = secret.and_then(|secret| secret.data).and_then(|mut data| data.remove(key)) else {
        return Ok(Known::Missing);
    };
    let text = String::from_utf8(data.0).map_err(|_| wrong(&format!("the Secret \"{name}\" holds no text")))?;
    let value = token(&text).map_err(|what| wrong(&format!("the key \"{key}\" of the Secret \"{name}\" {what}")))?;
    Ok(Known::Token(value))
}

/// The forms in which a token could stand in somebody's message, taken out of it.
pub(super) fn without(text: &str, value: &SecretString) -> String {
    let token = value.expose_secret();
    text.replace(token, "***").replace(&STANDARD.encode(token), "***")
}
