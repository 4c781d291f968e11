//! What is tried before anything is changed: the token, and each pool.

use super::{
    super::{Exit, Failure},
    say,
    settings::Settings,
    token::Token,
};
use crate::{
    azure_devops::{AzureDevOps, Error, RestClient},
    config::{Environment, TokenSource},
    core::Code,
};

/// Asks Azure DevOps for each pool with the token. All that is wrong is told at once.
pub(super) async fn azure_devops(settings: &Settings, token: &Token) -> Result<(), Failure> {
    let Some(value) = &token.value else { return Ok(()) };
    let url = &settings.config.organization.url;
    // Private authorities of this machine; those of the pod may lie elsewhere.
    let environment = Environment::of_this_process();
    let authorities = environment.get("ADO_CA_FILE").or(environment.get("SSL_CERT_FILE")).map(std::path::Path::new);
    let client = RestClient::new(url, TokenSource::Value(value.clone()), authorities)
        .map_err(|error| Failure::new(Exit::Usage, error.to_string(), Some(error.fix().to_owned())))?;
    let mut failure = Failure { exit: Exit::Failed, causes: Vec::new() };
    for pool in &settings.config.pools {
        match client.pool(&pool.name).await {
            Ok(_) => say(format!("agent pool \"{}\" is there and the token may see it", pool.name)),
            Err(error) => {
                let (code, fix) = explained(&error, url);
                failure.causes.push((format!("{error} ({code})"), Some(fix)));
                // What is wrong with the way or the token is wrong for every pool.
                if !matches!(error, Error::NoSuchPool(_) | Error::UnfitPool { .. } | Error::Forbidden(_)) {
                    break;
                }
            }
        }
    }
    if failure.causes.is_empty() { Ok(()) } else { Err(failure) }
}

/// The code of an error, and what mends it at this point.
fn explained(error: &Error, url: &str) -> (Code, String) {
    let scope = "\"Agent Pools (read, manage)\"";
    match error {
        Error::Unauthorized(_) | Error::Token(_) => (
            Code::TokenRejected,
            format!("make a token with the scope {scope} in {url} and give it with --pat-file FILE"),
        ),
        Error::Forbidden(_) => (
            Code::TokenLacksRights,
            format!("the token needs the scope {scope}, and its owner the role Administrator of the pool"),
        ),
        Error::NoSuchPool(_) => (
            Code::PoolNotFound,
            "compare --pool with Organization settings > Agent pools; the token's owner has to see the pool".to_owned(),
        ),
        Error::UnfitPool { .. } => (
            Code::PoolIsHosted,
            "make a self-hosted pool (Organization settings > Agent pools > Add pool) and name it with --pool"
                .to_owned(),
        ),
        Error::NotFound(_) => (
            Code::OrganizationNotFound,
            "check --org: https://dev.azure.com/ORGANIZATION, or https://SERVER/tfs/COLLECTION".to_owned(),
        ),
        Error::Unreachable(cause) if cause.contains("certificate") => (
            Code::Unreachable,
            "set ADO_CA_FILE to a file with the certificates of the authorities that signed the server's (PEM)"
                .to_owned(),
        ),
        Error::Unreachable(_) => (
            Code::Unreachable,
            "check --org, and HTTPS_PROXY and NO_PROXY; where only the cluster has a way, --skip-checks".to_owned(),
        ),
        Error::Throttled(_) => (Code::Throttled, "try again later, or --skip-checks".to_owned()),
        Error::Unavailable { .. } | Error::Unreadable(_) | Error::Gone(_) | Error::Busy(_) | Error::Taken(_) => (
            Code::ServiceFailing,
            "check --org; if it is right, see https://status.dev.azure.com and try again, or --skip-checks".to_owned(),
        ),
    }
}
